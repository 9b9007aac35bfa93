"""Transfer of published files over HTTP: resumed where it stopped, tried again, verified.

urllib3 tries requests again. It cannot go on inside a body, which is done here; pooch starts anew
after every cut connection, and leaves files that only their owner may read.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal, TypeVar

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidSchema, InvalidURL, MissingSchema, RequestException
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    InvalidHeader,
    ProtocolError,
    ProxyError,
    SSLError,
)
from urllib3.util import Retry

from spikereach.config import Download
from spikereach.identity import file_checksum
from spikereach.progress import progress_bar

CHUNK = 2**16
UNREACHABLE = (ConnectTimeoutError, ProxyError, SSLError)
"""No connection came about: no such host, no route, refused, silent."""
log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class RemoteFile:
    """A file as its publisher describes it."""

    address: str
    size: int
    algorithm: Literal["md5", "sha256"]
    checksum: str
    """lower-case hex"""


class NoNetworkError(Exception):
    """The server cannot be reached at all."""


class _Tries(Retry):
    """What is left of the tries for a file: every wait is told, and the end in words."""

    def __init__(self, server: Server, **options: Any):
        super().__init__(**options)
        self.server = server

    def new(self, **changes: Any) -> _Tries:
        return super().new(server=self.server, **changes)

    def increment(self, method=None, url=None, response=None, error=None, *where, **how) -> _Tries:
        reason = _reason(response, error)
        if not self.server.met and isinstance(error, UNREACHABLE):
            raise NoNetworkError(reason)
        if self.total == 0:
            raise self.server.failed(
                f"gave up after {len(self.history) + 1} tries, at last: {reason}. Run again to go "
                "on where the transfer stopped"
            )
        return super().increment(method, url, response, error, *where, **how)

    def sleep(self, response=None) -> None:
        """Wait as configured, longer each time, or as long as the server asks."""
        wait_s = self.backoff_factor * 2 ** (len(self.history) - 1)
        with contextlib.suppress(InvalidHeader):
            wait_s = max(wait_s, (response and self.get_retry_after(response)) or 0)
        reason = _reason(response, self.history[-1].error)
        log.warning("%s: %s; next try in %.1f s", self.server.name, reason, wait_s)
        time.sleep(wait_s)


class Server:
    """Requests for one file, tried again as the configuration says.

    Args:
        name: of the file, for messages.
        settings: the block ``download`` of the configuration.
        failed: makes, of a problem, the error of a failed download, which says what can be done
            instead.
    """

    def __init__(self, name: str, settings: Download, failed: Callable[[str], Exception]):
        self.name, self.failed = name, failed
        self.met = False
        """Whether it has ever answered; before, to be unreachable means that there is no
        network."""
        self._settings = settings

    def get(self, address: str, offset: int = 0) -> requests.Response:
        """Open ``address`` for reading from ``offset``, within `retried`."""
        # Whole bytes as they lie on the server, so that offsets and sizes are those of the file.
        headers = {"Accept-Encoding": "identity", "User-Agent": "spikereach"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        with requests.Session() as session:
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=self._tries))
            try:
                response = session.get(
                    address, headers=headers, stream=True, timeout=self._settings.timeout_s
                )
            except (MissingSchema, InvalidSchema, InvalidURL) as error:
                raise self.failed(
                    f"{address!r} is not an address ({error}); check download.record in the config"
                ) from None
        self._tries, self.met = response.raw.retries, True
        status = response.status_code
        if status >= 400 and status != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            response.close()
            raise self.failed(f"{address} answered {_reason(response.raw, None)}")
        return response

    def retried(self, action: Callable[[], T]) -> T:
        """Do ``action``, which may be repeated at any point, and again after failures that may
        pass (429 and 5xx among them).

        Raises:
            NoNetworkError: at the first contact.
        """
        self._tries = _Tries(
            self,
            total=self._settings.retries,
            backoff_factor=self._settings.backoff_s,
            status_forcelist=(HTTPStatus.TOO_MANY_REQUESTS, *range(500, 600)),
        )
        while True:
            try:
                return action()
            except (RequestException, HTTPError) as problem:  # what cuts a body is left to us
                self._tries = self._tries.increment("GET", error=problem)
                self._tries.sleep()

    def download(self, remote: RemoteFile, target: Path, *, progress: bool) -> None:
        """Put the file at ``target``; it gets that name only whole and with its checksum.

        An interrupted transfer leaves ``target`` + ``.part`` and is taken up there by the next
        call.

        Args:
            remote: the file.
            target: where it shall lie; its folder is made if need be.
            progress: show a progress bar.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")
        bar = {"desc": target.name, "unit": "B", "unit_scale": True, "disable": not progress}
        try:
            self.retried(lambda: self._transfer(remote, part, bar))
        except NoNetworkError as reason:
            raise self.failed(f"no network ({reason})") from None
        if (found := file_checksum(part, remote.algorithm)) != remote.checksum:
            part.unlink()
            raise self.failed(
                f"wrong bytes ({remote.algorithm.upper()} {found}, expected {remote.checksum}); "
                "they were removed: run again"
            )
        os.replace(part, target)

    def _transfer(self, remote: RemoteFile, part: Path, bar: dict[str, Any]) -> None:
        """Bring ``part`` to its full size, going on behind the bytes it has.

        Raises:
            ProtocolError: the connection ended early.
        """
        have = part.stat().st_size if part.exists() else 0
        if have >= remote.size:  # complete already, or not ours: the checksum decides
            return
        with self.get(remote.address, have) as response:
            if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.unlink(missing_ok=True)
                raise ProtocolError(f"the server cannot go on at byte {have}")
            if response.status_code != HTTPStatus.PARTIAL_CONTENT:
                have = 0  # a server that knows no ranges sends everything again
            try:
                with (
                    open(part, "ab" if have else "wb") as file,
                    progress_bar(total=remote.size, initial=have, **bar) as told,
                ):
                    for chunk in response.raw.stream(CHUNK):
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
            raise ProtocolError(f"the connection ended after {have} of {remote.size} bytes")


def _reason(response: Any, error: Exception | None) -> str:
    """Why a try failed, without the object that urllib3 names first."""
    if response is not None:
        return f"{response.status} {response.reason}".strip()
    return re.sub(r"^(<[^>]*>|\w+\([^)]*\)): ", "", str(error))
