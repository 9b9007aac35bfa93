"""Architectures by name: the one place where a configured system becomes a decoder."""

import importlib
import inspect
from collections.abc import Sequence
from typing import Any

from spikereach.config import ConfigError, System
from spikereach.config.architectures import locate
from spikereach.config.nearest import nearest
from spikereach.models.decoder import Decoder


def find(architecture: str) -> type[Decoder]:
    """The decoder class of a name in :data:`.ARCHITECTURES` or of a path ``package.module:Class``.

    Raises:
        ConfigError: unknown name, module or class, or a class that is no :class:`Decoder`.
    """
    module_name, class_name = locate(architecture)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(
            f"architecture {architecture!r} cannot be imported: {error}; is the absolute path of "
            "its folder in PYTHONPATH?"
        ) from error
    found = getattr(module, class_name, None)
    if found is None:
        raise ConfigError(f"architecture {architecture!r}: {module.__file__} has no {class_name}")
    if not (isinstance(found, type) and issubclass(found, Decoder)):
        raise ConfigError(
            f"architecture {architecture!r}: {class_name} is no Decoder: "
            f"derive it from {Decoder.__module__}.Decoder"
        )
    return found


LARGEST = 2**14
"""Largest whole number among the sizes: beyond it, a number is a mistake that takes all memory."""


def build(system: System, channels: int, *, areas: Sequence[str] = ()) -> Decoder:
    """The decoder of a configured system for sessions with ``channels`` input channels.

    Sizes are the arguments of the decoder's constructor. One that takes
    ``area_channels`` gets the number of channels of each cortex area.

    Args:
        system: configured.
        channels: input channels.
        areas: cortex area of each channel; only decoders that keep areas apart need it.
    Raises:
        ConfigError: unknown architecture, or a size that is unknown, missing or impossible.
    """
    architecture = find(system.architecture)
    parameters = _parameters(architecture)
    found: dict[str, Any] = {"channels": channels}
    if areas and "area_channels" in parameters:
        found["area_channels"] = [list(areas).count(area) for area in dict.fromkeys(areas)]
    for name in ("channels", "area_channels"):  # the session decides them
        parameters.pop(name, None)
    for name in system.sizes.keys() - parameters.keys():
        raise ConfigError(
            f"{system.architecture} has no size {name!r}; the arguments of {architecture.__name__} "
            f"are described in {inspect.getsourcefile(architecture)}; {nearest(name, parameters)}"
        )
    for name, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and name not in system.sizes:
            known = ", ".join(sorted(parameters))
            raise ConfigError(f"{system.architecture} needs the size {name!r}; known: {known}")
    _check_sizes(system)
    try:
        return architecture(**found, **system.sizes)
    except (TypeError, ValueError, ArithmeticError, LookupError, RuntimeError) as error:
        raise ConfigError(f"{system.architecture} with sizes {system.sizes}: {error}") from error


def _parameters(architecture: type[Decoder]) -> dict[str, inspect.Parameter]:
    """Arguments of the constructor, and those it hands to its base's by ``**sizes``."""
    found: dict[str, inspect.Parameter] = {}
    for kind in architecture.__mro__[: architecture.__mro__.index(Decoder)]:
        if "__init__" in vars(kind):
            _, *own = inspect.signature(kind.__init__).parameters.values()
            named = (p for p in own if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD))
            found = {parameter.name: parameter for parameter in named} | found
            if not any(p.kind is p.VAR_KEYWORD for p in own):
                break
    return found


def _check_sizes(system: System) -> None:
    waiting = list(system.sizes.items())
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, list | tuple):
            waiting += [(name, part) for part in value]
        elif isinstance(value, int) and abs(value) > LARGEST:
            raise ConfigError(
                f"{system.architecture}: size {name} is {value}, the largest possible is {LARGEST}"
            )
