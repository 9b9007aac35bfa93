"""How large and how long the files of Zenodo record 583331 are, before they are downloaded.

Where the catalogue does not know it, these are estimates.
"""

from spikereach.config.sessions import ZENODO, Session


def steps(session: Session) -> int:
    """Length of a session in steps of 4 ms.

    Where it is not known: four times the test part, which is a quarter of the segments; else by
    the size of the file; else the mean of the monkey's known ones.
    """
    if found := _steps(session):
        return found
    if session.size:
        return round(session.size / session.channels / _density(session.monkey))
    known = [n for n in map(_steps, _of(session.monkey)) if n]
    return round(sum(known) / len(known))


def size(session: Session) -> int:
    """Bytes of the file, which grow with channels and steps where they are not known."""
    return session.size or round(steps(session) * session.channels * _density(session.monkey))


def _steps(session: Session) -> int | None:
    """The length, where its field ``t`` or its test part is known."""
    return session.samples or (session.test_steps and 4 * session.test_steps)


def _of(monkey: str) -> list[Session]:
    """Sessions of a monkey; of one that is not in the record, all."""
    return [s for s in ZENODO.values() if s.monkey == monkey] or list(ZENODO.values())


def _density(monkey: str) -> float:
    """Bytes per channel and step, over those files of which size and length are known."""
    known = [s for s in _of(monkey) if s.size and _steps(s)]
    return sum(s.size for s in known) / sum(s.channels * _steps(s) for s in known)
