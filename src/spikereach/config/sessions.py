"""The catalogue of recording sessions: Zenodo, synthetic, and those of the configuration."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
    md5: str | None = None
    """Of the file, where known in advance."""
    test_steps: int | None = None
    """Steps in NeuroBench's test part of the real file: a checksum of binning and split."""

    @property
    def channels(self) -> int:
        return sum(self.areas.values())

    def channels_in(self, areas: Sequence[str] | None) -> int:
        """Channels that a system with these `areas` reads; None: all."""
        return sum(n for area, n in self.areas.items() if areas is None or area in areas)

    @property
    def area_of_channels(self) -> tuple[str, ...]:
        return tuple(area for area, channels in self.areas.items() for _ in range(channels))


# File checksums and test parts of the six evaluation sessions. The step counts follow from
# the published dense operations of NeuroBench's ANN2, which skips its first 49 steps.
_EVALUATION = {
    "indy_20160622_01": ("c33d5fff31320d709d23fe445561fb6e", 132_593),
    "indy_20160630_01": ("197413a5339630ea926cbd22b8b43338", 106_862),
    "indy_20170131_02": ("2790b1c869564afaa7772dbf9e42d784", 51_792),
    "loco_20170210_03": ("4cae63b58c4cb9c8abd44929216c703b", 137_047),
    "loco_20170215_02": ("739b70762d838f3a1f358733c426bb02", 76_476),
    "loco_20170301_05": ("47342da09f9c950050c9213c3df38ea3", 113_159),
}

# Liu et al. (2024) do not pretrain on these; Krausse et al. (2025) use their M1 half.
_INDY_BOTH = """
20160407_02 20160411_01 20160411_02 20160418_01 20160419_01 20160420_01 20160426_01
"""
_INDY_M1 = """
20160622_01 20160624_03 20160627_01 20160630_01 20160915_01 20160916_01 20160921_01 20160927_04
20160927_06 20160930_02 20160930_05 20161005_06 20161006_02 20161007_02 20161011_03 20161013_03
20161014_04 20161017_02 20161024_03 20161025_04 20161026_03 20161027_03 20161206_02 20161207_02
20161212_02 20161220_02 20170123_02 20170124_01 20170127_03 20170131_02
"""
_LOCO = """
20170210_03 20170213_02 20170214_02 20170215_02 20170216_02 20170217_02 20170227_04 20170228_02
20170301_05 20170302_02
"""
_M1 = {"M1": 96}
_BOTH = {"M1": 96, "S1": 96}
_RECORDED = (("indy", _BOTH, _INDY_BOTH), ("indy", _M1, _INDY_M1), ("loco", _BOTH, _LOCO))

ZENODO: dict[str, Session] = {
    name: Session(name, monkey, areas, *_EVALUATION.get(name, ()))
    for monkey, areas, dates in _RECORDED
    for name in [f"{monkey}_{date}" for date in dates.split()]
}
"""The 47 sessions of Zenodo record 583331 by name."""

_SYNTHETIC = re.compile(r"(synthetic_(indy|loco))_([1-9][0-9]*)")


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
