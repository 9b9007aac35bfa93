"""Tensors and JSON in one checksummed safetensors file: atomic to write, no code to read."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from spikereach import files
from spikereach.identity import array_checksum, canonical
from spikereach.kinds import Kind, again, mistaken

# One key only: safetensors writes several in random order, and equal content shall be equal bytes.
KEY = "spikereach"


FILE_LIMIT, HEADER_LIMIT = 4 * 2**30, 16 * 2**20
"""Bytes of the largest file, and of the largest header, that are read."""


class CheckpointError(ValueError):
    """A file of tensors cannot be used: names the file and the remedy."""


def write(path: Path, kind: str, tensors: Mapping[str, Tensor], metadata: dict) -> None:
    """Write a file; where that fails, an earlier file of the name is unchanged.

    Args:
        path: its folder is made where absent.
        kind: what the file is; :func:`read` asks for the same.
        tensors: on any device.
        metadata: JSON-like.
    Raises:
        WriteError: the disk is full, the folder read-only, ...
    """
    tensors = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
    content = {"kind": kind, "metadata": metadata}
    content["sha256"] = array_checksum(tensors, metadata)
    files.replace(path, safetensors.torch.save(tensors, {KEY: canonical(content)}))


def read(path: Path, kind: str) -> tuple[dict[str, Tensor], dict]:
    """Tensors (on the CPU) and metadata of a file that :func:`write` made.

    Raises:
        CheckpointError: the file is missing, truncated, altered, of another kind or no such file.
    """
    path = Path(path)
    wanted = Kind(kind)
    try:
        if problem := mistaken(path, wanted):
            raise CheckpointError(f"{path} {problem}")
        _check_sizes(path)
        with safe_open(path, framework="pt") as file:
            content = json.loads(file.metadata()[KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = content["metadata"]
        intact = array_checksum(tensors, metadata) == content["sha256"]
    except CheckpointError:
        raise
    except (
        SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError, MemoryError
    ) as error:  # fmt: skip
        if problem := files.read_error(path, error):
            raise problem from error
        raise CheckpointError(
            f"{path} is damaged or no {kind} ({error}): {again(path, wanted)}"
        ) from error
    if not intact:
        raise CheckpointError(
            f"{path} is damaged (its content does not match its checksum): {again(path, wanted)}"
        )
    return tensors, metadata


def _check_sizes(path: Path) -> None:
    """Refuse what would take memory: a header of any length, a file with holes of any size."""
    with open(path, "rb") as file:
        header, size = int.from_bytes(file.read(8), "little"), os.fstat(file.fileno()).st_size
    for name, found, limit in (("file", size, FILE_LIMIT), ("header", header, HEADER_LIMIT)):
        if found > limit:
            raise ValueError(f"its {name} declares {found} bytes, at most {limit} are read")
