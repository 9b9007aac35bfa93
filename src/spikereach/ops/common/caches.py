"""Compiled code on disk: where it cannot be kept, it is used all the same."""

import logging
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from spikereach.files import remedy

log = logging.getLogger(__name__)


def kept_where_possible(loop: Callable) -> Callable:
    """A function of numba with ``cache=True``, which otherwise fails where the disk is full."""
    own = getattr(loop, "_cache", None)  # None: numba is told not to compile
    if hasattr(own, "cache_path"):
        own.save_overload = partial(_save, own.save_overload, own)
    return loop


def _save(save: Callable, own: Any, *compiled: Any) -> None:
    try:
        save(*compiled)
    except OSError as error:
        _tell(str(own.cache_path), str(error.strerror), remedy(error))


@cache  # not for each of many functions
def _tell(*why: str) -> None:
    log.warning(
        "compiled code cannot be kept in %s (%s), and every process compiles it anew: %s, or set "
        "NUMBA_CACHE_DIR to a folder that has room",
        *why,
    )
