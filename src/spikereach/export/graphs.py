"""What exports to graph formats share."""

import json
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
from torch import Tensor

from spikereach.export.errors import ExportError
from spikereach.models.decoder import STEP_S, Decoder
from spikereach.models.stages import NoStagesError, Stage


def package(name: str) -> ModuleType:
    """An optional package, such as ``onnx.helper``.

    Raises:
        ExportError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ExportError(
            f"the Python package {name.partition('.')[0]} is missing ({error}): "
            "pip install 'spikereach[export]'"
        ) from error


def stages_of(decoder: Decoder) -> list[Stage]:
    """The decoder's stages.

    Raises:
        ExportError: it does not say them.
    """
    try:
        return decoder.stages()
    except NoStagesError as error:
        raise ExportError(str(error)) from error


def description(decoder: Decoder, metadata: Mapping[str, Any]) -> dict[str, str]:
    """What a graph says of itself: the caller's metadata, and what a user of it has to know.

    Texts stay as they are, other values become JSON.
    """
    scale, offset = decoder.standardisation
    found = {
        **metadata,
        "channels": decoder.channels,
        "step_s": STEP_S,
        "lookahead": decoder.timing.lookahead,
        "scale": scale,
        "offset": offset,
        "unit": "velocity * scale + offset is in the session's unit of position per step, and "
        "belongs to the step that lies lookahead steps back",
        "weight_format": decoder.weight_format,
        "buffer_format": decoder.buffer_format,
    }
    return {
        name: value if isinstance(value, str) else json.dumps(value, default=str)
        for name, value in found.items()
    }


def array(tensor: Tensor) -> np.ndarray:
    """As NumPy's, of the tensor's own type."""
    return tensor.detach().cpu().numpy()
