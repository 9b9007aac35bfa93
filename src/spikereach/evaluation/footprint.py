"""The memory a decoder needs where it is deployed: weights, streaming buffers, neuron states."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.modules.batchnorm import _NormBase

from spikereach.models.decoder import Decoder
from spikereach.ops.common.fixed_point import Format

_FORMATS = {"float32": 32, "float16": 16}


def bits(number_format: Format) -> int:
    """Bits of one value: "float32", "float16", or a sign bit, integer and fractional bits."""
    if isinstance(number_format, str):
        return _FORMATS[number_format]
    return 1 + sum(number_format)


def deployment(decoder: Decoder) -> dict[str, Any]:
    """Bytes of weights, buffers and states at their bit widths (Krausse et al. 2025).

    Weights are all parameters, and the statistics of batch norms that are not folded. Buffers
    are what :meth:`Decoder.buffer_sizes` lists as inputs (one bit per spike, a byte for the
    windowed nets) and as activations between layers. Parts are rounded up to whole bytes.

    Returns:
        weights_bytes, buffers_bytes, states_bytes, total_bytes; weight_format and
        buffer_format as the decoder has them; ``parts``, a list of layer, kind ("weights",
        "input", "buffer" or "state"), values and bytes.
    """
    weight_bits, buffer_bits = bits(decoder.weight_format), bits(decoder.buffer_format)
    parts = [
        _part(name, "weights", values, weight_bits) for name, values in _weights(decoder).items()
    ]
    parts += [
        _part(
            size.layer,
            size.kind,
            size.values,
            size.input_bits if size.kind == "input" else buffer_bits,
        )
        for size in decoder.buffer_sizes()
    ]
    totals = {
        f"{group}_bytes": sum(part["bytes"] for part in parts if part["kind"] in kinds)
        for group, kinds in {
            "weights": {"weights"},
            "buffers": {"input", "buffer"},
            "states": {"state"},
        }.items()
    }
    return {
        **totals,
        "total_bytes": sum(totals.values()),
        "weight_format": decoder.weight_format,
        "buffer_format": decoder.buffer_format,
        "parts": parts,
    }


def _part(layer: str, kind: str, values: int, bits_each: int) -> dict[str, Any]:
    return {"layer": layer, "kind": kind, "values": values, "bytes": -(-values * bits_each // 8)}


def _weights(decoder: torch.nn.Module) -> dict[str, int]:
    """Values per module that has any of its own."""
    counts = {}
    for name, module in decoder.named_modules():
        values = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        if isinstance(module, _NormBase) and module.track_running_stats:
            values += module.running_mean.numel() + module.running_var.numel()
        if values:
            counts[name or "own"] = values
    return counts
