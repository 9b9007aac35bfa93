"""What commands read: configurations, systems, checkpoints, sessions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spikereach.config import Config, System
    from spikereach.data.binning import BinnedSession
    from spikereach.models.checkpoint import Checkpoint


def config_of(paths: list[Path] | None) -> Config:
    """The given configuration, or that of this folder."""
    from spikereach.config import read

    return read(*paths or ["config.yaml"])


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
    from spikereach.kinds import Kind, kind_of
    from spikereach.models.checkpoint import CheckpointError, load

    if kind_of(file) is Kind.CHECKPOINT and kind_of(path) is not Kind.CHECKPOINT:
        raise CheckpointError(
            f"{file} is a checkpoint, {path} is none: give the checkpoint first, then the session"
        )
    return load(path, trust=trust or ()), session_of(file, *session)


def session_of(
    file: Path, monkey: str | None, areas: str | None, config: list[Path] | None
) -> BinnedSession:
    """A binned session, or a session file binned here: known by the options, else by its name.

    Which of them it is, its content says: browsers and wget add to names.
    """
    from spikereach.config import ConfigError
    from spikereach.config.sessions import Session, find
    from spikereach.data.binning import BinnedSession, bin_session
    from spikereach.data.errors import SessionError
    from spikereach.kinds import Kind, kind_of, mistaken

    if kind_of(file) is Kind.BINNED:
        return BinnedSession.load(file)
    if problem := mistaken(file, Kind.SESSION):
        raise SessionError(f"{file}: {problem}")
    known_as = re.fullmatch(r"(.+?)( \(\d+\))?\.mat\b.*", file.name, re.IGNORECASE)
    name = known_as[1] if known_as else file.stem
    if (monkey is None) != (areas is None):
        raise ConfigError("--monkey and --areas describe a session together: give both")
    if monkey is not None:
        return bin_session(file, Session(name, monkey, _areas(areas)))
    catalogue = config_of(config).catalogue if config or Path("config.yaml").is_file() else {}
    try:
        known = find(name, catalogue)
    except ConfigError as error:
        raise ConfigError(
            f"{error}; or describe the file by --monkey NAME --areas M1=CHANNELS"
        ) from None
    return bin_session(file, known)


def _areas(text: str) -> dict[str, int]:
    """Channels per area from M1=96,S1=96."""
    from spikereach.config import ConfigError

    parts = [part.strip().partition("=")[::2] for part in text.split(",")]
    areas = {area: int(channels) for area, channels in parts if channels.isdecimal()}
    if len(areas) != len(parts) or not set(areas) <= {"M1", "S1"} or 0 in areas.values():
        raise ConfigError(
            f"--areas {text!r}: expected M1 and S1 with their channels, like M1=96,S1=96"
        )
    return areas
