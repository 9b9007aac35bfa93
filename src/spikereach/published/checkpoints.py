"""Published weights as checkpoints, so that they are evaluated like trained ones."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor

from spikereach.config import System
from spikereach.models import zoo
from spikereach.models.decoder import Decoder
from spikereach.published.importers import Source, WeightsError, import_weights, sources
from spikereach.sessions import ZENODO
from spikereach.training.checkpoint import Checkpoint


def published_checkpoint(name: str, system: System, path: str | Path) -> Checkpoint:
    """The checkpoint of a published file, which its SHA-256 identifies.

    Args:
        name: of the system, as in `importers.import_weights`.
        system: its configuration; sizes must be the published ones.
        path: the published file.
    Raises:
        WeightsError: unreadable file, the weights of another system or no published ones,
            or weights that do not fit the configured sizes.
        ConfigError: sizes that the architecture does not take.
    """
    tensors = import_weights(name, path)
    source = _source(name, path)
    session = ZENODO[source.session]
    areas = tuple(area for area, channels in session.areas.items() for _ in range(channels))
    return Checkpoint(
        decoder=_decoder(name, system, tensors, len(areas), path),
        system=system,
        system_name=name,
        dataset=session.name,
        monkey=session.monkey,
        areas=areas,
        seed=source.seed or 0,
        provenance={"address": source.address, "sha256": source.sha256, "licence": source.licence},
    )


def _source(name: str, path: str | Path) -> Source:
    sha256 = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    for source in sources():
        if (source.system, source.sha256) == (name, sha256):
            return source
    raise WeightsError(f"{path}: no published file of {name} has its SHA-256 {sha256}")


def _decoder(
    name: str, system: System, tensors: dict[str, Tensor], channels: int, path: str | Path
) -> Decoder:
    decoder = zoo.build(system, channels).eval()
    if any(tensor.dtype == torch.float16 for tensor in tensors.values()):
        decoder.half()
        decoder.weight_format = decoder.buffer_format = "float16"
    try:
        decoder.load_parameters(tensors)
    except ValueError as error:
        raise WeightsError(
            f"{path}: systems.{name}.sizes are not the published ones: {error}"
        ) from None
    return decoder
