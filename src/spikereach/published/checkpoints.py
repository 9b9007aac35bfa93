"""Published weights as checkpoints, so that they are evaluated like trained ones."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from spikereach.config import System
from spikereach.config.sessions import ZENODO
from spikereach.identity import file_checksum
from spikereach.models import zoo
from spikereach.models.checkpoint import Checkpoint, load_parameters
from spikereach.models.decoder import Decoder
from spikereach.published.importers import import_weights
from spikereach.published.weights import Source, WeightsError, of_system


def published_checkpoint(name: str, system: System, path: str | Path) -> Checkpoint:
    """The checkpoint of a published file, which its SHA-256 identifies.

    Args:
        name: of the system in the configuration.
        system: its configuration; ``published`` names the published system (default: ``name``),
            sizes must be the published ones.
        path: the published file.
    Raises:
        WeightsError: unreadable file, the weights of another system or no published ones,
            or weights that do not fit the configured sizes.
        ConfigError: sizes that the architecture does not take.
    """
    publication = system.published or name
    tensors = import_weights(publication, path)
    source = _source(publication, path)
    session = ZENODO[source.session]
    areas = tuple(area for area, channels in session.areas.items() for _ in range(channels))
    return Checkpoint(
        decoder=_decoder(name, system, tensors, len(areas), path),
        system=system,
        system_name=name,
        dataset=session.name,
        monkey=session.monkey,
        areas=areas,
        seed=source.seed,
        provenance={"address": source.address, "sha256": source.sha256, "licence": source.licence},
    )


def _source(system: str, path: str | Path) -> Source:
    sha256 = file_checksum(path)
    for source in of_system(system):
        if source.sha256 == sha256:
            return source
    raise WeightsError(f"{path}: no published file of {system} has its SHA-256 {sha256}")


def _decoder(
    name: str, system: System, tensors: dict[str, Tensor], channels: int, path: str | Path
) -> Decoder:
    decoder = zoo.build(system, channels).eval()
    if any(tensor.dtype == torch.float16 for tensor in tensors.values()):
        decoder.half()
        decoder.weight_format = decoder.buffer_format = "float16"
    try:
        load_parameters(decoder, tensors)
    except ValueError as error:
        raise WeightsError(
            f"{path}: systems.{name}.sizes are not the published ones: {error}"
        ) from None
    return decoder
