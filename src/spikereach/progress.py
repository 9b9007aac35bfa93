"""Progress bars: animated on a terminal, a line now and then in a log."""

import sys
from typing import Any

from tqdm import tqdm

EVERY_S = 20.0
"""Time between two lines of a bar in a log; a bar that ends sooner leaves none."""


def progress_bar(*arguments: Any, **options: Any) -> tqdm:
    """A bar of tqdm, with its arguments, on the terminal where there is one, else on stderr."""
    terminal = sys.__stderr__  # that of a job too, whose output goes to its log
    if terminal is not None and terminal.isatty():
        return tqdm(*arguments, file=terminal, leave=False, **options)
    seldom = dict.fromkeys(("delay", "mininterval", "maxinterval"), EVERY_S)
    lines = "{l_bar}{bar}{r_bar}\n"
    return tqdm(*arguments, file=sys.stderr, ascii=True, bar_format=lines, **seldom, **options)
