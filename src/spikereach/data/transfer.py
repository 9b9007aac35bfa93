"""Transfer of published files over HTTP: resumed where it stopped, tried again, verified.

urllib3 cannot go on inside a body, and so every try is made here; pooch starts anew after every
cut connection, and leaves files that only their owner may read.
"""

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
from spikereach.data import access
from spikereach.identity import file_checksum
from spikereach.kinds import is_web_page
from spikereach.progress import progress_bar

UNREACHABLE = (exceptions.ConnectTimeoutError, exceptions.ProxyError, exceptions.SSLError)
"""No connection came about: no such host, no route, refused, silent."""
WAIT_LIMIT_S = 600.0
"""Longest wait between two tries; some servers ask for a day."""
FOREIGN = re.compile(
    r"(text/html|application/(xhtml\+xml|json|problem\+json|xml)|text/xml)\b", re.I
)
"""Types of content that no recording and no file of weights has."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RemoteFile:
    """A file as its publisher describes it."""

    address: str
    size: int
    algorithm: Literal["md5", "sha256"]
    checksum: str
    """lower-case hex"""


class Unexpected(RequestException):
    """Something else came than was asked for, such as a page of a service that is being mended."""


class Server:
    """Requests for the file ``name``, tried again as ``settings`` say, the configured ``download``.

    ``failed`` makes, of a problem, the error of a failed download and what to do instead.
    """

    def __init__(self, name: str, settings: Download, failed: Callable[[str], Exception]):
        self.name, self.failed = name, failed
        self.offline = None
        """Whether there is no network: the server cannot be reached. None before first contact."""
        self._settings = settings
        self._address = ""  # the last that was asked for

    def get(self, address: str, offset: int = 0) -> requests.Response:
        """Open ``address`` for reading from ``offset``, within `retried`."""
        # Whole bytes as they lie on the server, so that offsets and sizes are those of the file.
        headers = {"Accept-Encoding": "identity", "User-Agent": "spikereach"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        self._address = address
        try:
            response = requests.get(
                address, headers=headers, stream=True, timeout=self._settings.timeout_s
            )
        except (MissingSchema, InvalidSchema, InvalidURL, exceptions.LocationValueError) as error:
            raise self.failed(access.wrong_address(address, error)) from None
        except RequestException:
            raise
        except OSError as error:  # requests has no class of its own for missing certificates
            raise self.failed(access.no_certificates(error)) from None
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
        pass (429 and 5xx among them), after a wait that doubles or as long as the server asks, but
        not beyond `WAIT_LIMIT_S`. Where there is no network, that is said at once.
        """
        for number in itertools.count():
            try:
                return action()
            except (RequestException, exceptions.HTTPError) as problem:
                # urllib3's own error, as requests wraps it.
                wrapped = isinstance(problem, RequestException) and problem.args
                cause = problem.args[0] if wrapped else problem
                cause = getattr(cause, "reason", cause)
                reason = access.told(cause, self._address)
                if self.offline is None and isinstance(cause, UNREACHABLE):
                    self.offline = True
                    trusted = not isinstance(cause, exceptions.SSLError)
                    raise self.failed(f"no network ({reason})" if trusted else reason) from None
                asked_s, told = _retry_after(problem)
                if number == self._settings.retries:
                    raise self.failed(
                        f"gave up after {number + 1} tries, at last: {reason}{told}. Run again to "
                        "go on where the transfer stopped"
                    ) from None
                wait_s = min(max(self._settings.backoff_s * 2**number, asked_s), WAIT_LIMIT_S)
                log.warning("%s: %s%s; next try in %.1f s", self.name, reason, told, wait_s)
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
            chunks = response.raw.stream(2**16)
            first = next(chunks, b"")
            _check_answer(remote, response, have, first)  # before a byte of it is kept
            try:
                with (
                    open(part, "ab" if have else "wb") as file,
                    progress_bar(total=remote.size, initial=have, **bar) as told,
                ):
                    for chunk in itertools.chain([first], chunks):
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
        if (size := part.stat().st_size) >= remote.size:
            return
        if response.raw.chunked:  # it ended without an error, and so is another document
            os.truncate(part, have)
            raise Unexpected(f"{remote.address} sent {size - have} bytes of {remote.size - have}")
        raise exceptions.ProtocolError(f"the connection ended after {size} of {remote.size} bytes")


def check_no_page(head: bytes, response: requests.Response, wanted: str) -> None:
    """Refuse a web page, which begins with ``head``, where something else was asked for.

    Raises:
        Unexpected: it is one. It will pass: a network that wants a login, a service being mended.
    """
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip()
    if is_web_page(head) or kind in ("text/html", "application/xhtml+xml"):
        title = re.search(rb"<title[^>]*>(.*?)</title>", head, re.I | re.S)
        named = " ".join(title[1].decode(errors="replace").split())[:60] if title else ""
        raise Unexpected(
            f"{response.url} sent a web page{f' ({named!r})' * bool(named)} instead of {wanted}: a "
            "login that the network asks for, or a service that is being mended"
        )


def _check_answer(remote: RemoteFile, response: requests.Response, have: int, first: bytes) -> None:
    """Compare what an answer says of itself, and how it begins, with the bytes from ``have`` on.

    Raises:
        Unexpected: it is something else.
    """
    if have == 0:
        check_no_page(first, response, f"the file of {remote.size} bytes")
    headers, problem = response.headers, None
    kind, length = headers.get("Content-Type", ""), headers.get("Content-Length", "")
    found = re.match(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
    if FOREIGN.match(kind):
        problem = f"of the type {kind}"
    elif length.isdecimal() and int(length) != remote.size - have:
        problem = f"of {length} bytes"
    elif have and found and (int(found[1]) != have or found[2] not in ("*", str(remote.size))):
        problem = f"with the bytes {found[0]}"
    if problem:
        raise Unexpected(
            f"{response.url} sent something {problem}; expected are {remote.size - have} bytes of "
            f"a file of {remote.size}"
        )


def _retry_after(problem: Exception) -> tuple[float, str]:
    """How long the server asks to wait in seconds, and a remark if that is beyond the limit."""
    response = getattr(problem, "response", None)
    if response is None:
        return 0.0, ""
    try:
        asked_s = Retry().get_retry_after(response) or 0.0
    except (exceptions.InvalidHeader, ValueError):  # it asks for no time
        return 0.0, ""
    if asked_s <= WAIT_LIMIT_S:
        return asked_s, ""
    asked = response.headers["Retry-After"][:40]
    limit = f"{WAIT_LIMIT_S:.0f} s are waited at most"
    return asked_s, f" (the server asks to wait, Retry-After: {asked}; {limit})"
