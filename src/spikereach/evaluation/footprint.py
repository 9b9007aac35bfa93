"""The memory a decoder needs where it is deployed: weights, streaming buffers, neuron states."""

from collections.abc import Iterator
from typing import Any

from torch.nn.modules.batchnorm import _NormBase

from spikereach.models.decoder import Decoder
from spikereach.ops.common.fixed_point import Format


def bits(number_format: Format) -> int:
    """Bits of one value: "float32", "float16", a sign bit, integer and fractional bits, or all."""
    if isinstance(number_format, int):
        return number_format
    if isinstance(number_format, str):
        return {"float32": 32, "float16": 16}[number_format]
    return 1 + sum(number_format)


def deployment(decoder: Decoder) -> dict[str, Any]:
    """Bytes of weights, buffers and states at their bit widths (Krausse et al. 2025).

    Weights are all parameters, and the statistics of batch norms that are not folded. Where each
    matrix has a scale of its own, that is its exponent, a byte, and all that is no matrix has the
    buffers' format (`Formats.constants`). Buffers
    are what :meth:`Decoder.buffer_sizes` lists as inputs (one bit per spike, a byte for the
    windowed nets) and as activations between layers. Parts are rounded up to whole bytes.

    Returns:
        weights_bytes, buffers_bytes, states_bytes, total_bytes; weight_format and
        buffer_format as the decoder has them; ``parts``, a list of layer, kind ("weights",
        "scale", "input", "buffer" or "state"), values and bytes.
    """
    sizes = list(_weights(decoder))
    for size in decoder.buffer_sizes():
        each = size.input_bits if size.kind == "input" else bits(decoder.buffer_format)
        sizes.append((size.layer, size.kind, size.values, each))
    parts = [
        {"layer": layer, "kind": kind, "values": values, "bytes": -(-values * each // 8)}
        for layer, kind, values, each in sizes
    ]

    def total(*kinds: str) -> int:
        return sum(part["bytes"] for part in parts if part["kind"] in kinds)

    return {
        "weights_bytes": total("weights", "scale"),
        "buffers_bytes": total("input", "buffer"),
        "states_bytes": total("state"),
        "total_bytes": total("weights", "scale", "input", "buffer", "state"),
        "weight_format": decoder.weight_format,
        "buffer_format": decoder.buffer_format,
        "parts": parts,
    }


def _weights(decoder: Decoder) -> Iterator[tuple[str, str, int, int]]:
    """Name, kind, number and bits of the values of each module that has any of its own."""
    weights, constants = bits(decoder.weight_format), bits(decoder.formats.constants)
    apart = isinstance(decoder.weight_format, int)
    for name, module in decoder.named_modules():
        own = list(module.parameters(recurse=False))
        matrices = [parameter for parameter in own if parameter.ndim > 1 or not apart]
        values = sum(parameter.numel() for parameter in matrices)
        others = sum(parameter.numel() for parameter in own) - values
        if isinstance(module, _NormBase) and module.track_running_stats:
            values += module.running_mean.numel() + module.running_var.numel()
        sizes = ("weights", values, weights), ("weights", others, constants)
        scales = ("scale", len(matrices) if apart else 0, 8)
        yield from ((name or "own", *size) for size in (*sizes, scales) if size[1])
