"""Download of session files from the Zenodo record, resumable and verified.

The registry (names, sizes, MD5 sums, addresses) is the record's own metadata; pooch compares
the checksums. The transfer itself is done here, because pooch starts anew after every cut
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
from typing import TypeVar

import pooch
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
from spikereach.data.errors import SessionError
from spikereach.sessions import Session

CHUNK = 2**16
log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class RemoteFile:
    """One file of the record, as its metadata describe it."""

    address: str
    size: int
    md5: str


class _PassingError(Exception):
    """A failure that may pass; ``after_s`` is how long the server asks to wait."""

    def __init__(self, reason: str, after_s: float = 0.0):
        super().__init__(reason)
        self.after_s = after_s


class _NoNetworkError(Exception):
    """The server cannot be reached at all."""


def fetch(session: Session, target: Path, download: Download, *, progress: bool) -> None:
    """Put the session's file at ``target``, unless the right one lies there already.

    An interrupted transfer leaves ``target`` + ``.part`` and is taken up there by the next
    call. The file gets its name only when it is complete and its checksum is right.

    Args:
        session: one of the Zenodo catalogue.
        target: where the file shall lie; its folder is made if need be.
        download: the block ``download`` of the configuration.
        progress: show a progress bar.
    Raises:
        SessionError: no network, wrong bytes, a server that keeps failing, a full disk, or
            metadata that contradict what is known of the file. It names the file and what
            to do.
    """
    if target.exists() and session.md5 is not None:
        _verify_present(target, session.md5)
        return
    server = _Server(session.name, target, download)
    try:
        remote = server.retried(lambda: _find(session, server), contact=True)
    except _NoNetworkError as reason:
        if target.exists():
            log.warning(
                "%s: used as it is, MD5 %s unchecked (no network for the record's metadata)",
                target,
                _md5(target),
            )
            return
        raise SessionError(server.by_hand(f"no network ({reason})")) from None
    if target.exists():
        _verify_present(target, remote.md5)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    with tqdm(
        desc=target.name, total=remote.size, unit="B", unit_scale=True, disable=not progress
    ) as bar:
        server.retried(lambda: _transfer(remote, part, server, bar))
    if (found := _md5(part)) != remote.md5:
        part.unlink()
        raise SessionError(
            f"{target}: {remote.address} gave wrong bytes (MD5 {found}, expected {remote.md5}); "
            "they were removed: run again, or put a right copy there by hand"
        )
    os.replace(part, target)


def _verify_present(target: Path, md5: str) -> None:
    """Refuse a file that someone else put at ``target`` unless it is the published one."""
    if (found := _md5(target)) != md5:
        raise SessionError(
            f"{target}: is not the published file (MD5 {found}, expected {md5}); "
            "delete it, or replace it by a right copy, and run again"
        )


class _Server:
    """Requests for one file, tried again as the configuration says."""

    def __init__(self, name: str, target: Path, download: Download):
        self._file = f"{name}.mat"
        self._target = target
        self._download = download
        self.record = download.record
        # Whole bytes as they lie on the server, so that offsets and sizes are those of the file.
        self._headers = {"Accept-Encoding": "identity", "User-Agent": "spikereach"}

    def get(self, address: str, offset: int = 0) -> requests.Response:
        """Open ``address`` for reading from ``offset``; 429 and 5xx are worth another try."""
        headers = dict(self._headers)
        if offset:
            headers["Range"] = f"bytes={offset}-"
        try:
            response = requests.get(
                address, headers=headers, stream=True, timeout=self._download.timeout_s
            )
        except (MissingSchema, InvalidSchema, InvalidURL) as error:
            raise SessionError(
                f"{address!r} is not an address ({error}); check download.record in the config"
            ) from None
        status = response.status_code
        if status == HTTPStatus.TOO_MANY_REQUESTS or status >= 500:
            response.close()
            raise _PassingError(_status(response), _retry_after(response))
        if status >= 400 and status != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            response.close()
            raise SessionError(self.by_hand(f"{address} answered {_status(response)}"))
        return response

    def retried(self, action: Callable[[], T], *, contact: bool = False) -> T:
        """Do ``action``, and again after failures that may pass, waiting longer each time.

        Args:
            action: may be repeated at any point.
            contact: the first contact: an unreachable server means that there is no network.
        """
        wait_s = self._download.backoff_s
        for attempt in itertools.count(1):
            try:
                return action()
            except _PassingError as problem:
                reason, pause_s = str(problem), max(wait_s, problem.after_s)
            except (RequestException, HTTPError) as problem:
                if contact and _unreachable(problem):
                    raise _NoNetworkError(_root(problem)) from None
                reason, pause_s = _root(problem), wait_s
            if attempt > self._download.retries:
                raise SessionError(
                    self.by_hand(
                        f"gave up after {attempt} tries, at last: {reason}. Run again to go on "
                        "where the transfer stopped"
                    )
                )
            log.warning("%s: %s; next try in %.1f s", self._file, reason, pause_s)
            time.sleep(pause_s)
            wait_s *= 2

    def by_hand(self, problem: str) -> str:
        """The message of a failed download: what can be done instead."""
        page = self.record.replace("/api/records/", "/records/").rstrip("/")
        return (
            f"cannot download {self._file} from {page}/files/{self._file}: {problem}. "
            f"A copy fetched elsewhere is used as it is when put at {self._target}. "
            "To run without any download: make demo"
        )


def _find(session: Session, server: _Server) -> RemoteFile:
    """Look the session's file up in the record's metadata."""
    name = f"{session.name}.mat"
    with server.get(server.record) as response:
        try:
            files = response.json()["files"]
            entry = next((file for file in files if file["key"] == name), None)
            if entry is None:
                raise SessionError(
                    f"{server.record} lists no file {name}; check download.record in the config"
                )
            kind, _, md5 = entry["checksum"].partition(":")
            remote = RemoteFile(entry["links"]["self"], int(entry["size"]), md5.lower())
        except (requests.JSONDecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
            if isinstance(error, SessionError):
                raise
            raise SessionError(
                f"{server.record} is not the metadata of a Zenodo record "
                f"({type(error).__name__}: {error}); check download.record in the config"
            ) from None
    if kind != "md5" or not re.fullmatch(r"[0-9a-f]{32}", md5.lower()):
        raise SessionError(f"{server.record} gives no MD5 for {name}: {entry['checksum']!r}")
    if session.md5 not in (None, remote.md5):
        raise SessionError(
            f"{server.record} gives the MD5 {remote.md5} for {name}, but the published file has "
            f"{session.md5}: the record is not the paper's; check download.record in the config"
        )
    return remote


def _transfer(remote: RemoteFile, part: Path, server: _Server, bar: tqdm) -> None:
    """Bring ``part`` to its full size, going on behind the bytes it has.

    Raises:
        _PassingError: the connection ended early.
    """
    have = part.stat().st_size if part.exists() else 0
    if have >= remote.size:  # complete already, or not ours: the checksum decides
        return
    with server.get(remote.address, have) as response:
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
            raise SessionError(
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


def _md5(path: Path) -> str:
    return pooch.file_hash(str(path), alg="md5")
