"""How large and how long the files of Zenodo record 583331 are, before they are downloaded.

Sizes are those of the record's metadata, lengths those of the files' own field ``t``, as far as
they are known here. The others are estimates.
"""

from spikereach.config.sessions import ZENODO, Session

BYTES = {
    "indy_20160407_02": 418_087_697,
    "indy_20160411_01": 663_268_786,
    "indy_20160624_03": 143_970_619,
    "indy_20160627_01": 1_135_050_817,
    "indy_20160630_01": 382_243_800,
    "indy_20160915_01": 106_555_127,
    "indy_20161005_06": 83_957_398,
    "loco_20170210_03": 1_141_201_538,
    "loco_20170213_02": 1_300_238_672,
    "loco_20170214_02": 1_649_244_107,
    "loco_20170215_02": 779_509_843,
    "loco_20170216_02": 1_341_792_566,
    "loco_20170217_02": 1_156_234_641,
    "loco_20170227_04": 1_433_235_546,
    "loco_20170228_02": 1_599_747_516,
    "loco_20170301_05": 902_210_274,
    "loco_20170302_02": 1_963_627_958,
}
"""Of whole files."""

STEPS = {
    "indy_20160407_02": 204_446,
    "indy_20160624_03": 125_000,
    "indy_20160627_01": 840_737,
    "indy_20160630_01": 365_809,
    "indy_20160915_01": 95_262,
    "indy_20161005_06": 93_501,
}
"""Of 4 ms."""


def steps(session: Session) -> int:
    """Length of a session in steps of 4 ms.

    Where it is not known: four times the test part, which is a quarter of the segments; else by
    the size of the file; else the mean of the monkey's known ones.
    """
    if found := _steps(session):
        return found
    if session.name in BYTES:
        return round(BYTES[session.name] / session.channels / _density(session.monkey))
    known = [n for n in map(_steps, _of(session.monkey)) if n]
    return round(sum(known) / len(known))


def size(session: Session) -> int:
    """Bytes of the file, which grow with channels and steps where they are not known."""
    estimate = round(steps(session) * session.channels * _density(session.monkey))
    return BYTES.get(session.name, estimate)


def _steps(session: Session) -> int | None:
    """The length, where its field ``t`` or its test part is known."""
    tested = session.test_steps and 4 * session.test_steps
    return STEPS.get(session.name, tested)


def _of(monkey: str) -> list[Session]:
    """Sessions of a monkey; of one that is not in the record, all."""
    return [s for s in ZENODO.values() if s.monkey == monkey] or list(ZENODO.values())


def _density(monkey: str) -> float:
    """Bytes per channel and step, over those files of which size and length are known."""
    known = [s for s in _of(monkey) if s.name in BYTES and _steps(s)]
    return sum(BYTES[s.name] for s in known) / sum(s.channels * _steps(s) for s in known)
