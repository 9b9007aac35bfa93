"""Transfer of published files over HTTP: resumed where it stopped, tried again, verified.

urllib3 cannot go on inside a body, and so every try is made here; pooch starts anew after every
cut connection, and leaves files that only their owner may read.
"""

import itertools
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal

import requests
from requests.exceptions import InvalidSchema, InvalidURL, MissingSchema, RequestException
from urllib3 import exceptions

import spikereach
from spikereach.config import Download
from spikereach.data import access, answers, waits
from spikereach.identity import file_checksum
from spikereach.progress import progress_bar

UNREACHABLE = (exceptions.ConnectTimeoutError, exceptions.ProxyError, exceptions.SSLError)
"""No connection came about: no such host, no route, refused, silent."""
AGENT = f"spikereach/{spikereach.__version__} (https://arxiv.org/abs/2506.13400)"
"""As Zenodo asks for it, name/version (URL); it has answered 403 to agents without an address. This
one is of the paper that is reproduced."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RemoteFile:
    """A file as its publisher describes it."""

    address: str
    size: int
    algorithm: Literal["md5", "sha256"]
    checksum: str
    """lower-case hex"""
    ranged: str | None = None
    """Another address of it, that may send a part of it where the first one does not."""


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
        self._reached = 0  # bytes of the file that were here at one time
        self._left = 0  # tries after this one, unless it gets further
        self._held_s = 0.0  # waited so far because the server asked for it

    def get(self, address: str, offset: int = 0, accept: str = "*/*") -> requests.Response:
        """Open ``address`` for reading from ``offset``, within `retried`."""
        response = self._ask(address, offset, accept)
        status = response.status_code
        if status >= 400 and status != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            response.close()
            raise self.failed(f"{address} answered {status} {response.reason}".strip())
        return response

    def retried(self, action: Callable[[], Any]) -> Any:
        """Do ``action``, which may be repeated at any point, and again after failures that may
        pass (403, 429 and 5xx among them), after a wait that doubles or as long as the server
        asks, but not beyond `waits.LIMIT_S`. A transfer that got further than any before it has
        all its tries again. Where there is no network, that is said at once.
        """
        number = 0
        while True:
            before, self._left = self._reached, self._settings.retries - number
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
                further = self._reached > before
                number = 0 if further else number
                wait_s, remark = self._wait(number, getattr(problem, "response", None))
                if not further and self._left == 0:
                    raise self.failed(
                        f"gave up after {number + 1} tries, at last: {reason}{remark}. Run again "
                        "to go on where the transfer stopped"
                    ) from None
                log.warning("%s: %s%s; next try in %.1f s", self.name, reason, remark, wait_s)
                time.sleep(wait_s)
                number += not further

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
        with self._answer(remote, have) as response:
            if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.unlink(missing_ok=True)
                raise exceptions.ProtocolError(f"the server cannot go on at byte {have}")
            if response.status_code != HTTPStatus.PARTIAL_CONTENT:
                have = 0  # a server that knows no ranges sends everything again
            chunks = response.raw.stream(2**16)
            first = next(chunks, b"")
            answers.check_part(response, have, remote.size, first)  # before a byte of it is kept
            try:
                with (
                    open(part, "ab" if have else "wb") as file,
                    progress_bar(total=remote.size, initial=have, **bar) as told,
                ):
                    for chunk in itertools.chain([first], chunks):
                        told.update(file.write(chunk))
                        self._reached = max(self._reached, size := file.tell())
                        if size > remote.size:
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
            raise answers.Unexpected(
                f"{remote.address} sent {size - have} bytes of {remote.size - have}"
            )
        raise exceptions.ProtocolError(f"the connection ended after {size} of {remote.size} bytes")

    def _answer(self, remote: RemoteFile, have: int) -> requests.Response:
        """An answer with the bytes from ``have`` on; the whole file where no address sends them."""
        response = self.get(remote.address, have)
        if not have or response.status_code == HTTPStatus.PARTIAL_CONTENT or not remote.ranged:
            return response
        try:
            other = self._ask(remote.ranged, have)
        except RequestException:
            if self._left == 0:
                return response
            response.close()
            raise
        if other.status_code != HTTPStatus.PARTIAL_CONTENT:
            other.close()
            return response
        response.close()
        return other

    def _ask(self, address: str, offset: int, accept: str = "*/*") -> requests.Response:
        """The answer of ``address``, unless it is one that will pass."""
        # Whole bytes as they lie on the server, so that offsets and sizes are those of the file.
        headers = {"Accept": accept, "Accept-Encoding": "identity", "User-Agent": AGENT}
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
        answers.check_status(response)
        return response

    def _wait(self, number: int, response: "requests.Response | None") -> tuple[float, str]:
        """Seconds until the next try, and a remark where the server asks for more."""
        asked_s, header = waits.asked(response)
        granted_s = min(asked_s, waits.LIMIT_S - self._held_s)
        self._held_s += granted_s
        own_s = min(self._settings.backoff_s * 2**number, waits.LIMIT_S)
        remark = (
            f" (the server asks to wait, {header}; {waits.LIMIT_S:.0f} s are waited at most)"
            if granted_s < asked_s
            else ""
        )
        return max(own_s, granted_s), remark
