"""How a training ends when it is told to."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)


@contextmanager
def terminable(save: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Meets SIGTERM within; what it yields is called between two updates, where a run can stop.

    There it saves, then exits with 143. Only the main thread can handle signals; elsewhere this
    does nothing.
    """
    requests = []

    def check() -> None:
        if requests:
            save()
            log.warning("stopped by SIGTERM; run again to continue")
            raise SystemExit(128 + signal.SIGTERM)

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    previous = signal.signal(signal.SIGTERM, lambda number, frame: requests.append(number))
    try:
        yield check
    finally:
        signal.signal(signal.SIGTERM, previous or signal.SIG_DFL)
