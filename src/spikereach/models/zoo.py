"""Architectures by name: the one place where a configured system becomes a decoder."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from typing import Any

from spikereach.config import ConfigError, System
from spikereach.models.architectures import ARCHITECTURES
from spikereach.models.decoder import Decoder


def find(architecture: str) -> type[Decoder]:
    """The decoder class of a name in :data:`ARCHITECTURES` or of a path ``package.module:Class``.

    Raises:
        ConfigError: unknown name, module or class, or a class that is no :class:`Decoder`.
    """
    path = ARCHITECTURES.get(architecture, architecture)
    module_name, separator, class_name = path.partition(":")
    if not separator:
        raise ConfigError(
            f"unknown architecture {architecture!r}; known: {', '.join(sorted(ARCHITECTURES))}, "
            "or a path package.module:Class of your own"
        )
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ConfigError(f"architecture {architecture!r} cannot be imported: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Decoder)):
        raise ConfigError(f"architecture {architecture!r}: {class_name} is no Decoder")
    return found


FROM_SESSION = ("channels", "area_channels")
"""Arguments of a decoder that the session decides, and not the system's sizes."""


def build(system: System, channels: int, *, areas: Sequence[str] = ()) -> Decoder:
    """The decoder of a configured system for sessions with ``channels`` input channels.

    Sizes are the keyword-only arguments of the decoder's constructor. One that takes
    ``area_channels`` gets the number of channels of each cortex area.

    Args:
        system: configured.
        channels: input channels.
        areas: cortex area of each channel; only decoders that keep areas apart need it.
    Raises:
        ConfigError: unknown architecture, or a size that is unknown, missing or impossible.
    """
    architecture = find(system.architecture)
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(architecture).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    found: dict[str, Any] = {"channels": channels}
    if areas and "area_channels" in parameters:
        found["area_channels"] = [list(areas).count(area) for area in dict.fromkeys(areas)]
    for name in FROM_SESSION:
        parameters.pop(name, None)
    known = ", ".join(sorted(parameters)) or "none"
    for name in system.sizes.keys() - parameters.keys():
        raise ConfigError(f"{system.architecture} has no size {name!r}; known: {known}")
    for name, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and name not in system.sizes:
            raise ConfigError(f"{system.architecture} needs the size {name!r}; known: {known}")
    try:
        return architecture(**found, **system.sizes)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{system.architecture} with sizes {system.sizes}: {error}") from error
