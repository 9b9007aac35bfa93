"""How a training ends when it is told to."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


class Termination:
    """Meets SIGTERM between two updates: saves, then exits with 143.

    Only the main thread can handle signals; elsewhere this does nothing.
    """

    def __init__(self, save: Callable[[], None]):
        self.save = save
        self.requested = False

    def __enter__(self) -> Termination:
        self.handles = threading.current_thread() is threading.main_thread()
        if self.handles:
            self.previous = signal.signal(signal.SIGTERM, self._request)
        return self

    def __exit__(self, *_) -> None:
        if self.handles:
            signal.signal(signal.SIGTERM, self.previous or signal.SIG_DFL)

    def _request(self, *_) -> None:
        self.requested = True

    def check(self) -> None:
        """Save and exit where SIGTERM has come."""
        if self.requested:
            self.save()
            log.warning("stopped by SIGTERM; run again to continue")
            raise SystemExit(128 + signal.SIGTERM)
