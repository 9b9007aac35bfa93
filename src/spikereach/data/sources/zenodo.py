"""Download of session files from the Zenodo record, resumable and verified.

The registry (names, sizes, MD5 sums, addresses) is the record's own metadata. What the catalogue
knows of them serves where these are not at hand.
"""

import json
import logging
import re
from pathlib import Path

from spikereach.config import record
from spikereach.config.sessions import ZENODO, Session
from spikereach.data.answers import Unexpected, check_no_page
from spikereach.data.errors import SessionError
from spikereach.data.sources import Source, wrong
from spikereach.data.transfer import RemoteFile, Server
from spikereach.identity import file_checksum

log = logging.getLogger(__name__)


class Zenodo(Source):
    caption = "Data: Zenodo record 583331"
    unit = "mm"
    downloads = True

    def fetch(self, session: Session, target: Path) -> None:
        """Download the session's file, unless the right one lies at ``target`` already.

        An interrupted transfer leaves ``target`` + ``.part`` and is taken up there by the next
        call. The file gets its name only when it is complete and its checksum is right.
        """
        if target.exists():
            return self.check(session, target)
        server = self._server(session, target)
        remote = server.retried(lambda: _find(session, self.config.download.record, server))
        server.download(remote, target, progress=self.config.progress)

    def check(self, session: Session, path: Path) -> None:
        """Compare the MD5 with the known one, or else with that of the record, which decides."""
        found = file_checksum(path, "md5")
        if found == session.md5:
            return
        server = self._server(session, path)
        try:
            remote = server.retried(lambda: _find(session, self.config.download.record, server))
        except SessionError:
            if not server.offline:
                raise
            expected = f"{session.md5}; the record itself cannot be asked"
        else:
            if found == remote.checksum:
                return
            expected = remote.checksum
        raise wrong(path, f"is not the published file (MD5 {found}, expected {expected})")

    def download_bytes(self, session: Session) -> int:
        return record.size(session)

    def _server(self, session: Session, target: Path) -> Server:
        """Where the file of a session lies; a `SessionError` if the record has none."""
        if session.name not in ZENODO:
            raise SessionError(
                f"{session.name} is not on Zenodo: take it out of `sessions` and "
                "`pretrain_sessions`, or set `source` to where it lies"
            )
        name = f"{session.name}.mat"
        page = _page(self.config.download.record, name)
        return Server(
            name,
            self.config.download,
            lambda problem: SessionError(
                f"cannot download {name} from {page}: {problem}. "
                f"A copy fetched elsewhere is used as it is when put at {target}. "
                "To run without any download: make demo"
            ),
        )


def _page(record: str, name: str) -> str:
    """The address of a file beside that of the metadata: for browsers, and for parts of files."""
    return f"{record.replace('/api/records/', '/records/').rstrip('/')}/files/{name}"


def _find(session: Session, record: str, server: Server) -> RemoteFile:
    """Look the session's file up in the record's metadata, within `Server.retried`."""
    name, remedy = f"{session.name}.mat", "check download.record in the config"
    remote = None
    with server.get(record, accept="application/json") as response:
        content = response.content
        other = "" if "/api/" in record else f" ({remedy}: those of Zenodo lie below /api/)"
        check_no_page(content, response, f"the record's metadata{other}")
        try:
            metadata = json.loads(content)
        except (ValueError, RecursionError) as error:  # a notice, nothing, or a part of it
            raise Unexpected(
                f"{response.url} sent {len(content)} bytes that are not JSON ({error}) instead of "
                f"the record's metadata; {remedy} if it goes on"
            ) from None
        try:
            if entry := {each["key"]: each for each in metadata["files"]}.get(name):
                algorithm, _, md5 = entry["checksum"].lower().partition(":")
                remote = RemoteFile(
                    address=entry["links"]["self"],
                    size=int(entry["size"]),
                    algorithm="md5",
                    checksum=md5,
                    ranged=_page(record, name),
                )
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise SessionError(
                f"{record} is not the metadata of a Zenodo record "
                f"({type(error).__name__}: {error}); {remedy}"
            ) from None
    if remote is None:
        raise SessionError(f"{record} lists no file {name}; {remedy}")
    if algorithm != "md5" or not re.fullmatch(r"[0-9a-f]{32}", md5):
        raise SessionError(f"{record} gives no MD5 for {name}: {entry['checksum']!r}")
    if session.md5 != md5:
        log.warning(
            "%s: the record (%s) gives the MD5 %s, known is %s; the record decides",
            name,
            record,
            md5,
            session.md5,
        )
    return remote
