"""How long a server asks to be left alone before the next try."""

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from requests import Response

LIMIT_S = 600.0
"""Longest wait between two tries, and longest time in all that one file is held because a server
asks for it. Zenodo counts requests per minute, so that ten minutes are ten of its windows. Whoever
asks for more (some ask for a day) shuts the run out, and then somebody should know."""
_EPOCH_S = 10**9
"""Larger numbers are seconds since 1970 (this is one of 2001), smaller ones seconds from now."""


def asked(response: "Response | None") -> tuple[float, str]:
    """Seconds that a server asks to wait and the header that says so; 0 and nothing where it asks
    for no time.

    ``Retry-After`` comes first. ``X-RateLimit-Reset`` stands in every answer, and asks for a wait
    only where too many requests are the reason.
    """
    from urllib3.exceptions import InvalidHeader  # where nothing is downloaded, not needed

    headers = {} if response is None else response.headers
    names = ["Retry-After"]
    if headers.get("X-RateLimit-Remaining") == "0" or getattr(response, "status_code", 0) == 429:
        names.append("X-RateLimit-Reset")
    for name in names:
        text = headers.get(name, "").strip()
        try:
            wait_s = _seconds(text)
        except (InvalidHeader, ValueError, OverflowError):  # neither a number nor a date
            continue
        if wait_s > 0:
            return wait_s, f"{name}: {text[:40]}"
    return 0.0, ""


def _seconds(text: str) -> float:
    """From now, of seconds, of seconds since 1970, or of a date."""
    from urllib3.util import Retry

    if text.isdecimal() and int(text) > _EPOCH_S:
        return min(int(text), 2**40) - time.time()
    return Retry().parse_retry_after(text)
