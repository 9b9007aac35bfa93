"""Transfer of published files over HTTP: resumed where it stopped, tried again, verified.

The transfer is done here and not by a library: pooch, for one, starts anew after every cut
connection, knows no ``Retry-After`` and leaves files that only their owner may read.
"""

from __future__ import annotations

import email.utils
import itertools
import logging
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Literal, TypeVar

import requests
from requests.exceptions import (
    ConnectTimeout,
    InvalidSchema,
    InvalidURL,
    MissingSchema,
    ProxyError,
    RequestException,
    SSLError,
)
from tqdm import tqdm
from urllib3.exceptions import HTTPError, NewConnectionError

from spikereach.config import Download
from spikereach.identity import file_checksum
from spikereach.progress import progress_bar

CHUNK = 2**16
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


class AddressError(Exception):
    """What was given as an address is none."""


class NoNetworkError(Exception):
    """The server cannot be reached at all."""


class _PassingError(Exception):
    """A failure that may pass; ``after_s`` is how long the server asks to wait."""

    def __init__(self, reason: str, after_s: float = 0.0):
        super().__init__(reason)
        self.after_s = after_s


class Server:
    """Requests for one file, tried again as the configuration says.

    Args:
        name: of the file, for messages.
        settings: the block ``download`` of the configuration.
        by_hand: makes, of a problem, the message of a failed download: what can be done instead.
        error: the class of the errors raised.
    """

    def __init__(
        self,
        name: str,
        settings: Download,
        *,
        by_hand: Callable[[str], str],
        error: type[Exception],
    ):
        self._name = name
        self._settings = settings
        self._by_hand = by_hand
        self._error = error
        # Whole bytes as they lie on the server, so that offsets and sizes are those of the file.
        self._headers = {"Accept-Encoding": "identity", "User-Agent": "spikereach"}

    def get(self, address: str, offset: int = 0) -> requests.Response:
        """Open ``address`` for reading from ``offset``; 429 and 5xx are worth another try.

        Raises:
            AddressError: it is none.
        """
        headers = dict(self._headers)
        if offset:
            headers["Range"] = f"bytes={offset}-"
        try:
            response = requests.get(
                address, headers=headers, stream=True, timeout=self._settings.timeout_s
            )
        except (MissingSchema, InvalidSchema, InvalidURL) as error:
            raise AddressError(f"{address!r} is not an address ({error})") from None
        status = response.status_code
        if status == HTTPStatus.TOO_MANY_REQUESTS or status >= 500:
            response.close()
            raise _PassingError(_status(response), _retry_after(response))
        if status >= 400 and status != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            response.close()
            raise self._error(self._by_hand(f"{address} answered {_status(response)}"))
        return response

    def retried(self, action: Callable[[], T], *, contact: bool = False) -> T:
        """Do ``action``, and again after failures that may pass, waiting longer each time.

        Args:
            action: may be repeated at any point.
            contact: the first contact: an unreachable server means that there is no network.

        Raises:
            NoNetworkError: at the first contact.
        """
        wait_s = self._settings.backoff_s
        for attempt in itertools.count(1):
            try:
                return action()
            except _PassingError as problem:
                reason, pause_s = str(problem), max(wait_s, problem.after_s)
            except (RequestException, HTTPError) as problem:
                if contact and _unreachable(problem):
                    raise NoNetworkError(_root(problem)) from None
                reason, pause_s = _root(problem), wait_s
            if attempt > self._settings.retries:
                raise self._error(
                    self._by_hand(
                        f"gave up after {attempt} tries, at last: {reason}. Run again to go on "
                        "where the transfer stopped"
                    )
                )
            log.warning("%s: %s; next try in %.1f s", self._name, reason, pause_s)
            time.sleep(pause_s)
            wait_s *= 2

    def download(
        self, remote: RemoteFile, target: Path, *, progress: bool, contact: bool = False
    ) -> None:
        """Put the file at ``target``; it gets that name only whole and with its checksum.

        An interrupted transfer leaves ``target`` + ``.part`` and is taken up there by the next
        call.

        Args:
            remote: the file.
            target: where it shall lie; its folder is made if need be.
            progress: show a progress bar.
            contact: as in :meth:`retried`.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")
        with progress_bar(
            desc=target.name, total=remote.size, unit="B", unit_scale=True, disable=not progress
        ) as bar:
            self.retried(lambda: self._transfer(remote, part, bar), contact=contact)
        if (found := file_checksum(part, remote.algorithm)) != remote.checksum:
            part.unlink()
            raise self._error(
                f"{target}: {remote.address} gave wrong bytes ({remote.algorithm.upper()} {found}, "
                f"expected {remote.checksum}); they were removed: run again, or put a right copy "
                "there by hand"
            )
        os.replace(part, target)

    def _transfer(self, remote: RemoteFile, part: Path, bar: tqdm) -> None:
        """Bring ``part`` to its full size, going on behind the bytes it has.

        Raises:
            _PassingError: the connection ended early.
        """
        have = part.stat().st_size if part.exists() else 0
        if have >= remote.size:  # complete already, or not ours: the checksum decides
            return
        with self.get(remote.address, have) as response:
            begin = _begin(response)
            if begin not in (0, have):
                part.unlink(missing_ok=True)
                raise _PassingError(f"the server cannot go on at byte {have}")
            have = begin  # a server that knows no ranges sends everything again
            bar.reset()
            bar.update(have)
            try:
                with open(part, "ab" if have else "wb") as file:
                    for chunk in response.iter_content(CHUNK):
                        file.write(chunk)
                        have += len(chunk)
                        bar.update(len(chunk))
                        if have > remote.size:
                            break
                    file.flush()
                    os.fsync(file.fileno())
            except RequestException:
                raise  # also an OSError, but of the connection
            except OSError as error:
                raise self._error(
                    f"{part}: {error.strerror}; the file needs {remote.size} bytes: "
                    "make room and run again"
                ) from error
        if have < remote.size:
            raise _PassingError(f"the connection ended after {have} of {remote.size} bytes")


def _begin(response: requests.Response) -> int | None:
    """The offset in the file at which the answer begins; None where it is no part of it."""
    if response.status_code == HTTPStatus.OK:
        return 0
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _retry_after(response: requests.Response) -> float:
    """Seconds to wait by the header Retry-After: a number, or a date."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        until = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def _unreachable(problem: Exception) -> bool:
    """Whether no connection came about (no such host, no route, refused, silent)."""
    if isinstance(problem, ConnectTimeout | ProxyError | SSLError):
        return True
    cause = problem.args[0] if problem.args else None
    return isinstance(getattr(cause, "reason", None), NewConnectionError)


def _root(problem: Exception) -> str:
    """The reason in words, without the wrapping of the HTTP libraries."""
    cause = problem.args[0] if problem.args else problem
    reason = str(getattr(cause, "reason", cause))
    return re.sub(r"^(<[^>]*>|\w+\([^)]*\)): ", "", reason)


def _status(response: requests.Response) -> str:
    return f"{response.status_code} {response.reason}".strip()
