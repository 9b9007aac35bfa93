"""Names near a mistyped one."""

import difflib
from collections.abc import Iterable


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that comes closest, in whatever case; None where none comes close."""
    by_letters = {each.casefold(): each for each in known}
    found = difflib.get_close_matches(name.casefold(), by_letters, n=1)
    return by_letters[found[0]] if found else None


def nearest(name: str, known: Iterable[str]) -> str:
    """A question after the closest name, or all known ones."""
    names = sorted(known)
    if (close := closest(name, names)) is not None:
        return f"did you mean {close}?"
    return f"known: {', '.join(names) or 'none'}"
