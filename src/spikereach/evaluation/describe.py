"""What can be said of a system before it is trained."""

from typing import Any

import torch

from spikereach.config import System
from spikereach.evaluation import metrics, realtime
from spikereach.evaluation.footprint import deployment
from spikereach.models import contract, zoo
from spikereach.models.decoder import Decoder
from spikereach.models.passes import as_input
from spikereach.ops.common.record import recording


def describe(system: System, channels: int) -> dict[str, Any]:
    """Size, cost and timing of a system, compressed as configured, with equally large areas.

    Returns:
        channels, parameters, footprint (bytes, NeuroBench's), deployment (as
        `footprint.deployment`), dense (operations per 4 ms step once the decoder runs),
        receptive_field (steps, None where unbounded), lookahead (steps), latency_ms,
        execution_rate_hz, realtime.
    Raises:
        ConfigError: sizes that the architecture does not take.
        ContractError: the decoder does not keep to the protocol.
    """
    # How they spread over the areas matters only to decoders that keep areas apart.
    areas = system.areas or ("all",)
    share = -(-channels // len(areas))
    areas = [area for area in areas for _ in range(share)][:channels]
    decoder = zoo.build(system, channels, areas=areas).eval()
    contract.check(decoder)
    decoder.fold()
    for step in system.compression:
        if step.formats is not None:
            decoder.weight_format, decoder.buffer_format = step.formats
    if decoder.weight_format == "float16":
        decoder.half()
    return {
        "channels": channels,
        "parameters": sum(parameter.numel() for parameter in decoder.parameters()),
        "footprint": metrics.footprint(decoder),
        "deployment": deployment(decoder),
        "dense": _dense(decoder),
        "receptive_field": decoder.timing.receptive_field,
        "lookahead": decoder.timing.lookahead,
        **realtime.timing(decoder),
    }


def _dense(decoder: Decoder) -> float:
    """Dense operations per step after the first prediction."""
    steps = decoder.timing.settled
    silence = as_input(decoder, torch.zeros(steps, decoder.channels))
    with torch.inference_mode():
        _, state = decoder(silence)
        with recording(decoder) as record:
            decoder(silence, state)
    return metrics.dense(record) / steps
