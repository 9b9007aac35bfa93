"""What commands read: configurations, systems, checkpoints, sessions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spikereach.config import Config, System
    from spikereach.data.binning import BinnedSession
    from spikereach.models.checkpoint import Checkpoint


def config_of(paths: list[Path] | None) -> Config:
    """The given configuration, or config.yaml."""
    from spikereach.config import read

    return read(*paths or ())


def system_of(name: str, config: list[Path] | None) -> System:
    from spikereach.config import ConfigError
    from spikereach.config.nearest import nearest

    systems = config_of(config).systems
    if name not in systems:
        raise ConfigError(f"unknown system {name!r}; {nearest(name, systems)}")
    return systems[name]


def checkpoint_and_session(
    path: Path, trust: list[str] | None, file: Path, *session: Any
) -> tuple[Checkpoint, BinnedSession]:
    """A checkpoint and the session that it is for."""
    from spikereach.api import load_checkpoint
    from spikereach.kinds import Kind, kind_of
    from spikereach.models.checkpoint import CheckpointError

    if kind_of(file) is Kind.CHECKPOINT and kind_of(path) is not Kind.CHECKPOINT:
        raise CheckpointError(
            f"{file} is a checkpoint, {path} is none: give the checkpoint first, then the session"
        )
    return load_checkpoint(path, trust=trust or ()), session_of(file, *session)


def session_of(
    file: Path, monkey: str | None, areas: str | None, config: list[Path] | None
) -> BinnedSession:
    """A session as the options describe it."""
    from spikereach.data.recordings import load_session

    return load_session(file, monkey=monkey, areas=areas_of(areas), config=config or ())


def areas_of(text: str | None) -> dict[str, int] | None:
    """Channels per area from M1=96,S1=96 or "M1 left=64,PMd=32"."""
    from spikereach.config import ConfigError
    from spikereach.config.sessions import is_area

    if text is None:
        return None
    areas = {}
    for part in text.split(","):
        area, _, channels = map(str.strip, part.partition("="))
        if not (is_area(area) and area not in areas and channels.isdecimal() and int(channels)):
            raise ConfigError(
                f"--areas {text!r}: expected each area once with its channels, like M1=96,S1=96 "
                'or "M1 left=64,PMd=32"'
            )
        areas[area] = int(channels)
    return areas
