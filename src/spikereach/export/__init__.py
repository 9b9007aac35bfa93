"""Decoders as integer programs: C for microcontrollers, ONNX and NIR graphs."""
