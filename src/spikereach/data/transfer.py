"""Transfer of published files over HTTP: resumed where it stopped, tried again, verified.

urllib3 cannot go on inside a body, and so every try is made here; pooch starts anew after every
cut connection, and leaves files that only their owner may read.
"""

import contextlib
import itertools
import logging
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal

import requests
from requests.exceptions import InvalidSchema, InvalidURL, MissingSchema, RequestException
from urllib3 import exceptions
from urllib3.util import Retry

from spikereach.config import Download
from spikereach.identity import file_checksum
from spikereach.progress import progress_bar

UNREACHABLE = (exceptions.ConnectTimeoutError, exceptions.ProxyError, exceptions.SSLError)
"""No connection came about: no such host, no route, refused, silent."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RemoteFile:
    """A file as its publisher describes it."""

    address: str
    size: int
    algorithm: Literal["md5", "sha256"]
    checksum: str
    """lower-case hex"""


class Server:
    """Requests for the file ``name``, tried again as ``settings`` say, the configured ``download``.

    ``failed`` makes, of a problem, the error of a failed download and what to do instead.
    """

    def __init__(self, name: str, settings: Download, failed: Callable[[str], Exception]):
        self.name, self.failed = name, failed
        self.offline = None
        """Whether there is no network: the server cannot be reached. None before first contact."""
        self._settings = settings

    def get(self, address: str, offset: int = 0) -> requests.Response:
        """Open ``address`` for reading from ``offset``, within `retried`."""
        # Whole bytes as they lie on the server, so that offsets and sizes are those of the file.
        headers = {"Accept-Encoding": "identity", "User-Agent": "spikereach"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        try:
            response = requests.get(
                address, headers=headers, stream=True, timeout=self._settings.timeout_s
            )
        except (MissingSchema, InvalidSchema, InvalidURL) as error:
            raise self.failed(
                f"{address!r} is not an address ({error}); check download.record in the config"
            ) from None
        self.offline = False
        status = response.status_code
        if status >= 400 and status != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            response.close()
            reason = f"{status} {response.reason}".strip()
            if status == HTTPStatus.TOO_MANY_REQUESTS or status >= 500:
                raise RequestException(reason, response=response)
            raise self.failed(f"{address} answered {reason}")
        return response

    def retried(self, action: Callable[[], Any]) -> Any:
        """Do ``action``, which may be repeated at any point, and again after failures that may
        pass (429 and 5xx among them), after a wait that doubles or as long as the server asks.
        Where there is no network, that is said at once.
        """
        for number in itertools.count():
            try:
                return action()
            except (RequestException, exceptions.HTTPError) as problem:
                # urllib3's own error, as requests wraps it, and without the object it names first.
                wrapped = isinstance(problem, RequestException) and problem.args
                cause = problem.args[0] if wrapped else problem
                cause = getattr(cause, "reason", cause)
                reason = re.sub(r"^(<[^>]*>|\w+\([^)]*\)): ", "", str(cause))
                if self.offline is None and isinstance(cause, UNREACHABLE):
                    self.offline = True
                    raise self.failed(f"no network ({reason})") from None
                if number == self._settings.retries:
                    raise self.failed(
                        f"gave up after {number + 1} tries, at last: {reason}. Run again to go on "
                        "where the transfer stopped"
                    ) from None
                wait_s = self._settings.backoff_s * 2**number
                with contextlib.suppress(exceptions.InvalidHeader):  # it asks for no time
                    if getattr(problem, "response", None) is not None:
                        wait_s = max(wait_s, Retry().get_retry_after(problem.response) or 0)
                log.warning("%s: %s; next try in %.1f s", self.name, reason, wait_s)
                time.sleep(wait_s)

    def download(self, remote: RemoteFile, target: Path, *, progress: bool) -> None:
        """Put the file at ``target``; it gets that name only whole and with its checksum.

        An interrupted transfer leaves ``target`` + ``.part`` and is taken up there by the next
        call. The folder of ``target`` is made if need be.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")
        bar = {"desc": target.name, "unit": "B", "unit_scale": True, "disable": not progress}
        self.retried(lambda: self._transfer(remote, part, bar))
        if (found := file_checksum(part, remote.algorithm)) != remote.checksum:
            part.unlink()
            raise self.failed(
                f"wrong bytes ({remote.algorithm.upper()} {found}, expected {remote.checksum}); "
                "they were removed: run again"
            )
        os.replace(part, target)

    def _transfer(self, remote: RemoteFile, part: Path, bar: dict[str, Any]) -> None:
        """Bring ``part`` to its full size, going on behind the bytes it has."""
        have = part.stat().st_size if part.exists() else 0
        if have >= remote.size:  # complete already, or not ours: the checksum decides
            return
        with self.get(remote.address, have) as response:
            if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.unlink(missing_ok=True)
                raise exceptions.ProtocolError(f"the server cannot go on at byte {have}")
            if response.status_code != HTTPStatus.PARTIAL_CONTENT:
                have = 0  # a server that knows no ranges sends everything again
            try:
                with (
                    open(part, "ab" if have else "wb") as file,
                    progress_bar(total=remote.size, initial=have, **bar) as told,
                ):
                    for chunk in response.raw.stream(2**16):
                        told.update(file.write(chunk))
                        if file.tell() > remote.size:
                            break
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise self.failed(
                    f"{part}: {error.strerror}; the file needs {remote.size} bytes: make room and "
                    "run again"
                ) from error
        if (have := part.stat().st_size) < remote.size:
            problem = f"the connection ended after {have} of {remote.size} bytes"
            raise exceptions.ProtocolError(problem)
