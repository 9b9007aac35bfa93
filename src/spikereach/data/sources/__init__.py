"""Where session files come from. A source is a class in a module of its name beside this one,
and that name in `Config.source`."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from spikereach.config import Config, record
from spikereach.config.sessions import Session
from spikereach.data.errors import SessionError
from spikereach.identity import file_checksum
from spikereach.kinds import Kind, kind_of

_CLASSES: dict[str, type[Source]] = {}


class Source(ABC):
    """One source as a run uses it. Whoever adds one says what differs from what stands here."""

    name: ClassVar[str]
    """That of its module."""
    caption: ClassVar[str]
    """What data these are, for the captions of tables: "Data: ..." without a full stop."""
    apart: ClassVar[str | None] = None
    """A sentence: why published figures beside ours are no comparison. None: they are one."""
    unit: ClassVar[str] = "file units"
    """Of positions."""
    real: ClassVar[bool] = True
    """Whether neurons were recorded; figures say where the data are made up."""
    downloads: ClassVar[bool] = False
    """Whether `fetch` needs the network; not too many such jobs run at once."""

    def __init__(self, config: Config):
        self.config = config

    def __init_subclass__(cls) -> None:
        cls.name = cls.__module__.rpartition(".")[2]
        _CLASSES[cls.name] = cls

    @abstractmethod
    def fetch(self, session: Session, target: Path) -> None:
        """Put the file of a session at ``target``, whole or not at all; make its folder if need be.

        What lies there is of an earlier fetch, and may be replaced.

        Raises:
            SessionError: the source does not have the session, or getting it failed; the message
                names the file and the remedy.
        """

    @abstractmethod
    def check(self, session: Session, path: Path) -> None:
        """Find out whether a file that somebody put at ``path`` is the session's; it is only read.

        Raises:
            SessionError: it is not; the message names the file and the remedy.
        """

    def key(self, session: Session) -> dict[str, Any]:
        """What the content of the session's file depends on, JSON-like; not how it is fetched."""
        return {"source": self.name}

    def local_file(self, session: Session) -> Path | None:
        """The file on this machine that `fetch` reads, if any; a SessionError if it is missing."""
        return None

    def memory_mb(self) -> int:
        """Peak memory of `fetch`."""
        return 500

    def steps(self, session: Session) -> int:
        """Length of a session in steps of 4 ms, before it is fetched; an estimate if need be."""
        return record.steps(session)

    def download_bytes(self, session: Session) -> int:
        """What `fetch` takes from the network, an estimate if need be."""
        return 0


def wrong(path: Path, problem: str) -> SessionError:
    """The error for a file that is not the session's, and that only its owner may take away."""
    where = f"{path} (a link to {path.resolve()})" if path.is_symlink() else f"{path}"
    return SessionError(
        f"{where}: {problem}; no job is known to have put it there, so it stays as it is: "
        "take it away, or put a right copy in its place, and run again"
    )


def put(source: Source, session: Session, target: Path, made: str | None) -> bool:
    """Have the file of a session at ``target``, without touching what somebody else put there.

    Args:
        source: where it comes from.
        session: whose it is.
        target: where it shall lie, or lies already.
        made: SHA-256 of the file that an earlier call put there, if any.
    Returns:
        whether it is ours, which a later call may replace.
    Raises:
        SessionError: what lies there is not the session's, and not ours; or as `Source.fetch`.
    """
    kind = kind_of(target)
    if kind in (Kind.FOLDER, Kind.RESULTS, Kind.SPECIAL):
        raise wrong(target, f"is {kind.a}")
    if kind is not None and file_checksum(target) != made:
        source.check(session, target)
        return False
    if kind is not None and target.is_symlink():  # ours, moved elsewhere since
        with contextlib.suppress(SessionError):
            source.check(session, target)
            return True
    source.fetch(session, target)
    return True


def named(name: str) -> type[Source]:
    """The class of a source by its name in `Config.source`."""
    import_module(f"{__name__}.{name}")
    return _CLASSES[name]


def of(config: Config) -> Source:
    """The source of a run."""
    return named(config.source)(config)
