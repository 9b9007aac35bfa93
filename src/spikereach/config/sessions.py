"""The catalogue of recording sessions: Zenodo, synthetic, and those of the configuration."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING

from spikereach.config.errors import ConfigError

if TYPE_CHECKING:
    from spikereach.config import SessionEntry

_WORD = r"[^\s\x00-\x1f\x7f=,]+"
AREA = rf"{_WORD}( {_WORD})*"
"""What an area may be called: any words, such as ``PMd`` or ``M1 left``. ``--areas M1 left=96``
and lists in messages need ``=`` and ``,`` for themselves."""
AREA_LENGTH = 40
PAPER_AREAS = ("M1", "S1")
"""The areas of the sessions on Zenodo and of the synthetic ones, and so of the paper's ablation."""


def is_area(text: str) -> bool:
    """Whether an area may be called so."""
    return len(text) <= AREA_LENGTH and re.fullmatch(AREA, text) is not None


@dataclass(frozen=True)
class Session:
    """What is known of a session before its file is opened."""

    name: str
    monkey: str
    areas: dict[str, int] = field(hash=False)
    """Channels per cortex area, in the order in which they lie in the file."""
    # Of the file, where known in advance. What is counted in it is a checksum of its reading.
    md5: str | None = None
    size: int | None = None
    """Bytes."""
    samples: int | None = None
    """Of its field ``t``, steps of 4 ms."""
    segments: int | None = None
    test_steps: int | None = None
    """In NeuroBench's test part."""

    @property
    def channels(self) -> int:
        return sum(self.areas.values())

    def channels_in(self, areas: Sequence[str] | None) -> int:
        """Channels that a system with these `areas` reads; None: all."""
        return sum(n for area, n in self.areas.items() if areas is None or area in areas)

    @property
    def area_of_channels(self) -> tuple[str, ...]:
        return tuple(area for area, channels in self.areas.items() for _ in range(channels))


_M1 = {"M1": 96}
_BOTH = {"M1": 96, "S1": 96}


def _record() -> dict[str, Session]:
    """From record.json, which has of every file what is known of it, from these sources.

    Its MD5 and size, in bytes, are the record's, as projects that use it have found them; so are
    its channels. Samples of ``t`` and segments were counted by such projects. The test parts
    follow from the published dense operations of NeuroBench's ANN2, which skips its first 49
    steps.
    """
    known = json.loads(resources.files(__package__).joinpath("record.json").read_bytes())
    areas = {sum(each.values()): each for each in (_M1, _BOTH)}
    return {
        name: Session(name, name.partition("_")[0], areas[file.pop("channels")], **file)
        for name, file in known.items()
    }


ZENODO = _record()
"""The 47 sessions of Zenodo record 583331 by name. On Indy's with both areas Liu et al. (2024) do
not pretrain; Krausse et al. (2025) use their M1 half."""
_EVALUATION = [name for name, session in ZENODO.items() if session.test_steps]

_SYNTHETIC = re.compile(r"(synthetic_(indy|loco))_([1-9][0-9]*)")


_FOLD = re.compile(r"(.+)\.fold([1-9][0-9]*)")


def folded(name: str, fold: int | None) -> str:
    """The name of a fold of a session, or of a monkey's; None: the name itself."""
    return name if fold is None else f"{name}.fold{fold}"


def unfolded(name: str) -> tuple[str, int | None]:
    """The session, or the monkey, and the fold that a name is of (`folded`)."""
    found = _FOLD.fullmatch(name)
    return (found[1], int(found[2])) if found else (name, None)


def find(name: str, catalogue: Mapping[str, SessionEntry]) -> Session:
    """A Zenodo session, ``synthetic_indy_N`` or ``synthetic_loco_N`` with N >= 1, or one of
    `Config.catalogue`.

    Raises:
        ConfigError: no such session, or the catalogue redefines a built-in name.
    """
    synthetic = _SYNTHETIC.fullmatch(name)
    if name in catalogue and (name in ZENODO or synthetic):
        raise ConfigError(f"catalogue.{name}: the name belongs to a built-in session; rename it")
    if name in ZENODO:
        return ZENODO[name]
    if synthetic:
        return Session(name, synthetic[1], _M1 if synthetic[2] == "indy" else _BOTH)
    if name in catalogue:
        return Session(name, catalogue[name].monkey, dict(catalogue[name].areas))
    known = [*ZENODO, *catalogue, "synthetic_indy_1", "synthetic_loco_1"]
    close = difflib.get_close_matches(name, known)
    hint = f"close names: {', '.join(close)}" if close else "no name comes close"
    raise ConfigError(
        f"session {name!r} is unknown ({hint}); name one of Zenodo record 583331, "
        f"synthetic_indy_N or synthetic_loco_N, or describe it under `catalogue`"
    )


def evaluation_session(name: str) -> str | None:
    """The evaluation session that a session is, or that a synthetic one is calibrated to."""
    if synthetic := _SYNTHETIC.fullmatch(name):
        same = [session for session in _EVALUATION if session.startswith(synthetic[2])]
        return same[(int(synthetic[3]) - 1) % len(same)]
    return name if name in _EVALUATION else None
