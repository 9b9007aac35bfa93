"""Download of session files from the Zenodo record, resumable and verified.

The registry (names, sizes, MD5 sums, addresses) is the record's own metadata.
"""

import json
import logging
import re
from pathlib import Path

from spikereach.config import record
from spikereach.config.sessions import ZENODO, Session
from spikereach.data.errors import SessionError
from spikereach.data.sources import Source, wrong
from spikereach.data.transfer import RemoteFile, Server, Unexpected, check_no_page
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
        """Compare the MD5 with the built-in one, or else with that of the record.

        Without a network, a file whose MD5 is not built in is taken with a warning.
        """
        found, expected = file_checksum(path, "md5"), session.md5
        if expected is None:
            server = self._server(session, path)
            try:
                remote = server.retried(lambda: _find(session, self.config.download.record, server))
            except SessionError:
                if not server.offline:
                    raise
                log.warning(
                    "%s: used as it is, MD5 %s unchecked (no network for the record's metadata)",
                    path,
                    found,
                )
                return
            expected = remote.checksum
        if found != expected:
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
        page = self.config.download.record.replace("/api/records/", "/records/").rstrip("/")
        return Server(
            name,
            self.config.download,
            lambda problem: SessionError(
                f"cannot download {name} from {page}/files/{name}: {problem}. "
                f"A copy fetched elsewhere is used as it is when put at {target}. "
                "To run without any download: make demo"
            ),
        )


def _find(session: Session, record: str, server: Server) -> RemoteFile:
    """Look the session's file up in the record's metadata, within `Server.retried`."""
    name, remedy = f"{session.name}.mat", "check download.record in the config"
    remote = None
    with server.get(record) as response:
        content = response.content
        check_no_page(content, response, f"the record's metadata ({remedy} if it goes on)")
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
                remote = RemoteFile(entry["links"]["self"], int(entry["size"]), "md5", md5)
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise SessionError(
                f"{record} is not the metadata of a Zenodo record "
                f"({type(error).__name__}: {error}); {remedy}"
            ) from None
    if remote is None:
        raise SessionError(f"{record} lists no file {name}; {remedy}")
    if algorithm != "md5" or not re.fullmatch(r"[0-9a-f]{32}", md5):
        raise SessionError(f"{record} gives no MD5 for {name}: {entry['checksum']!r}")
    if session.md5 not in (None, md5):
        raise SessionError(
            f"{record} gives the MD5 {md5} for {name}, but the published file has {session.md5}: "
            f"the record is not the paper's; {remedy}"
        )
    return remote
