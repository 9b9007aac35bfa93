"""A trained decoder with everything needed to rebuild it, in one safetensors file."""

import math
import shlex
from collections.abc import Collection, Mapping
from dataclasses import field, fields
from pathlib import Path
from typing import Any

import torch
from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass
from torch import Tensor

from spikereach.config import System
from spikereach.config.architectures import ARCHITECTURES
from spikereach.models import tensorfile
from spikereach.models.decoder import Decoder, Standardisation
from spikereach.models.tensorfile import CheckpointError
from spikereach.models.zoo import build
from spikereach.ops.common.fixed_point import Format

KIND, FORMAT = "checkpoint", TypeAdapter(Format)


@dataclass(config=ConfigDict(arbitrary_types_allowed=True))
class Checkpoint:
    """A decoder and where it comes from."""

    decoder: Decoder
    system: System
    system_name: str
    dataset: str
    """Session, or monkey where pretrained."""
    monkey: str
    areas: tuple[str, ...]
    """Cortex area of each input channel."""
    seed: int
    train_r2: float | None = None
    """Of the epoch whose weights these are, in the training loop; None where there was none."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """JSON-like."""


ORIGIN = [each.name for each in fields(Checkpoint) if each.name != "decoder"]


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint atomically; equal checkpoints give equal bytes.

    Raises:
        WriteError: it cannot be written; an earlier file is unchanged.
    """
    decoder = checkpoint.decoder
    tensors = decoder.state_dict()
    if decoder.weight_format == "float16":
        tensors = {n: t.half() if t.is_floating_point() else t for n, t in tensors.items()}
    metadata = {name: getattr(checkpoint, name) for name in ORIGIN} | {
        "weight_format": decoder.weight_format,
        "buffer_format": decoder.buffer_format,
        "output_scale": decoder.standardisation.scale,
        "output_offset": decoder.standardisation.offset,
        "folded": decoder.folded,
    }
    tensorfile.write(path, KIND, tensors, metadata)


def load(path: Path, *, trust: Collection[str] = ()) -> Checkpoint:
    """Rebuild a decoder from its file, in evaluation mode on the CPU.

    Nothing in the file is executed. A decoder of one's own (an architecture given as
    ``package.module:Class``) means importing a module by a name that stands in the file, so
    that only happens for names the caller trusts.

    Args:
        path: a file that :func:`save` made.
        trust: architectures outside the package that may be imported, as in one's own
            configuration.
    Raises:
        CheckpointError: missing, truncated, altered or foreign file, parameters that do not
            fit the architecture, or an architecture that is not trusted.
    """
    tensors, metadata = tensorfile.read(path, KIND)
    try:
        metadata["system"] = system = System.model_validate(metadata["system"])
        if system.architecture not in ARCHITECTURES and system.architecture not in trust:
            raise CheckpointError(
                f"{path} needs the architecture {system.architecture!r} from outside spikereach: "
                f"if you trust the file, add --trust {shlex.quote(system.architecture)} (in "
                f"Python, trust=[{system.architecture!r}])"
            )
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise ValueError(f"{name} has values that are no finite numbers")
        if system.architecture in ARCHITECTURES:
            # Shapes alone: a decoder that the file is too small for takes no memory.
            with torch.device("meta"):
                check_parameters(_unfilled(system, metadata), tensors)
        decoder = _unfilled(system, metadata)
        load_parameters(decoder, tensors)
        decoder.standardisation = Standardisation(
            _pair(metadata["output_scale"]), _pair(metadata["output_offset"])
        )
        return Checkpoint(decoder.eval(), **{name: metadata[name] for name in ORIGIN})
    except CheckpointError:
        raise
    except (ValueError, ArithmeticError, LookupError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} does not fit this version of spikereach ({error}): make it again"
        ) from error


def origin(path: Path) -> dict[str, Any]:
    """What a checkpoint says of itself, all fields of :class:`Checkpoint` but the decoder, which
    is not built.

    Raises:
        CheckpointError: missing, truncated, altered or foreign file.
    """
    _, metadata = tensorfile.read(path, KIND)
    return {name: metadata.get(name) for name in ORIGIN}


def load_parameters(decoder: Decoder, tensors: Mapping[str, Tensor]) -> None:
    """Load a state dict exactly.

    Raises:
        ValueError: as :func:`check_parameters`.
    """
    check_parameters(decoder, tensors)
    decoder.load_state_dict(tensors)


def check_parameters(decoder: Decoder, tensors: Mapping[str, Tensor]) -> None:
    """Whether tensors are the decoder's: none missing, extra, or of other shape or kind.

    Raises:
        ValueError: naming every key that does not fit.
    """
    own = decoder.state_dict()
    problems = [f"missing {k}" for k in own.keys() - tensors.keys()]
    problems += [f"unexpected {k}" for k in tensors.keys() - own.keys()]
    for k in own.keys() & tensors.keys():
        if own[k].shape != tensors[k].shape:
            found, expected = tuple(tensors[k].shape), tuple(own[k].shape)
            problems.append(f"{k} has shape {found}, expected {expected}")
        if own[k].is_floating_point() != tensors[k].is_floating_point():
            problems.append(f"{k} is {tensors[k].dtype}, expected {own[k].dtype}")
    if problems:
        raise ValueError("parameters do not fit the decoder: " + "; ".join(sorted(problems)))


def _unfilled(system: System, metadata: dict) -> Decoder:
    decoder = build(system, len(metadata["areas"]), areas=metadata["areas"])
    if metadata["folded"]:
        decoder.fold()
    decoder.weight_format = FORMAT.validate_python(metadata["weight_format"])
    decoder.buffer_format = FORMAT.validate_python(metadata["buffer_format"])
    return decoder.half() if decoder.weight_format == "float16" else decoder


def _pair(values: Any) -> tuple[float, float]:
    x, y = map(float, values)
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ValueError(f"{x} and {y} are no finite numbers")
    return x, y
