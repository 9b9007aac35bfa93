"""Downloads against a local HTTP server that misbehaves on order."""

import hashlib
import json
import logging
import resource
import socket
import threading
import time
from collections import deque
from dataclasses import replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from spikereach import progress
from spikereach.config import Config, Download
from spikereach.config.sessions import ZENODO
from spikereach.data import transfer
from spikereach.data.errors import SessionError
from spikereach.data.sources.zenodo import Zenodo

CONTENT = np.random.default_rng(7).bytes(700_001)
MD5 = hashlib.md5(CONTENT).hexdigest()
SESSION = ZENODO["loco_20170213_02"]  # its checksum is not built in
KNOWN = replace(ZENODO["loco_20170210_03"], md5=MD5)


class Server(ThreadingHTTPServer):
    """A record with two files. ``script`` says what happens to the next requests."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.root = f"http://127.0.0.1:{self.server_port}"
        self.record = f"{self.root}/api/records/583331"
        self.script: dict[str, deque] = {"record": deque(), "file": deque()}
        self.hung_up = False
        self.requests: list[tuple[str, str | None]] = []
        self.metadata = {
            "files": [
                {
                    "key": f"{session.name}.mat",
                    "size": len(CONTENT),
                    "checksum": f"md5:{MD5}",
                    "links": {"self": f"{self.root}/content/{session.name}.mat"},
                }
                for session in (KNOWN, SESSION)
            ]
        }

    def ranges(self) -> list[str | None]:
        """The Range headers of the requests for files so far."""
        return [byte_range for kind, byte_range in self.requests if kind == "file"]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_):
        pass

    def do_GET(self):
        kind = "record" if self.path.startswith("/api/") else "file"
        self.server.requests.append((kind, self.headers.get("Range")))
        script = self.server.script[kind]
        step = script.popleft() if script else {}
        body = json.dumps(self.server.metadata).encode() if kind == "record" else CONTENT
        body = step.get("body", body)
        status, begin = step.get("status", 200), 0
        headers = dict(step.get("headers", {}))
        byte_range = self.headers.get("Range")
        if status == 200 and kind == "file" and byte_range and not step.get("ignore_range"):
            begin = int(byte_range.removeprefix("bytes=").removesuffix("-"))
            status = 206
            headers["Content-Range"] = f"bytes {begin}-{len(body) - 1}/{len(body)}"
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if step.get("announced", True):
            self.send_header("Content-Length", str(len(body) - begin))
        self.end_headers()
        self.close_connection = True
        try:
            self.wfile.write(body[begin : begin + step.get("cut_after", len(body))])
        except ConnectionError:
            self.server.hung_up = True


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def waits(monkeypatch):
    """The waits between tries in seconds, which are not waited for."""
    waits = []
    monkeypatch.setattr(transfer.time, "sleep", waits.append)
    return waits


@pytest.fixture
def target(tmp_path):
    return tmp_path / "data" / "raw" / f"{SESSION.name}.mat"


def settings(record: str, retries: int = 3) -> Download:
    return Download(record=record, retries=retries, backoff_s=0.01, timeout_s=5.0)


def source(download: Download, progress: bool = False) -> Zenodo:
    return Zenodo(Config.model_construct(download=download, progress=progress))


def fetch(server, target, session=SESSION, **changes):
    source(settings(server.record, **changes)).fetch(session, target)


def files(target):
    """What lies in the target's folder."""
    return sorted(path.name for path in target.parent.iterdir())


def test_whole_file(server, target):
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert files(target) == [target.name]
    assert server.ranges() == [None]


def test_file_is_readable_by_the_group(server, target):
    fetch(server, target)
    reference = target.with_name("reference")
    reference.touch()
    assert target.stat().st_mode == reference.stat().st_mode


def test_cut_connections_are_resumed(server, target):
    server.script["file"].extend([{"cut_after": 300_000}, {"cut_after": 300_000}])
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    first, second, third = server.ranges()
    assert first is None
    offsets = [int(value.removeprefix("bytes=").removesuffix("-")) for value in (second, third)]
    assert 200_000 < offsets[0] <= 300_000  # no more than a buffer is lost
    assert offsets[0] + 200_000 < offsets[1] <= 600_000


def test_a_later_call_goes_on_where_the_last_one_stopped(server, target):
    server.script["file"].append({"cut_after": 400_000})
    with pytest.raises(SessionError, match="gave up after 1 tries"):
        fetch(server, target, retries=0)
    assert not target.exists()
    have = target.with_name(target.name + ".part").stat().st_size
    assert have > 300_000
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.ranges()[-1] == f"bytes={have}-"
    assert files(target) == [target.name]


def test_complete_part_is_not_transferred_again(server, target):
    target.parent.mkdir(parents=True)
    target.with_name(target.name + ".part").write_bytes(CONTENT)
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.ranges() == []


def test_server_that_ignores_ranges(server, target):
    server.script["file"].extend([{"cut_after": 300_000}, {"ignore_range": True}])
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert len(server.ranges()) == 2


def test_server_that_cannot_satisfy_a_range(server, target):
    server.script["file"].extend([{"cut_after": 300_000}, {"status": 416, "body": b"no"}])
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.ranges()[-1] is None


@pytest.mark.parametrize("kind", ["record", "file"])
@pytest.mark.parametrize("status", [429, 503])
def test_busy_server_is_given_the_time_it_asks_for(server, target, waits, kind, status):
    server.script[kind].extend(
        [{"status": status, "headers": {"Retry-After": "17"}}, {"status": status}]
    )
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert waits == [17.0, 0.02]


def test_retry_after_as_a_date(server, target, waits):
    in_a_minute = {"Retry-After": formatdate(transfer.time.time() + 60, usegmt=True)}
    server.script["file"].append({"status": 429, "headers": in_a_minute})
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert 55 < waits[0] <= 60


def test_retry_after_that_is_none_and_every_wait_are_told(server, target, waits, caplog):
    server.script["file"].extend(
        [{"status": 503, "headers": {"Retry-After": "soon"}}, {"cut_after": 300_000}]
    )
    with caplog.at_level(logging.WARNING):
        fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert waits == [0.01, 0.02]
    busy, cut = (record.getMessage() for record in caplog.records)
    assert busy == f"{target.name}: 503 Service Unavailable; next try in 0.0 s"
    assert "300000 bytes read" in cut


def test_metadata_that_are_cut_are_asked_for_again(server, target):
    server.script["record"].append({"cut_after": 50})
    fetch(server, target)
    assert target.read_bytes() == CONTENT


def test_server_that_goes_away_is_tried_again(server, target, waits):
    """Unlike one that cannot be reached from the start."""
    server.metadata["files"][1]["links"]["self"] = closed_port()
    with pytest.raises(SessionError, match=r"gave up after 4 tries.*refused"):
        fetch(server, target)
    assert waits == [0.01, 0.02, 0.04]


def test_waits_double_and_end(server, target, waits):
    server.script["file"].extend([{"status": 503}] * 9)
    with pytest.raises(SessionError) as error:
        fetch(server, target)
    assert waits == [0.01, 0.02, 0.04]
    assert len(server.ranges()) == 4
    for part in (target.name, "gave up after 4 tries", "503", str(target), "make demo"):
        assert part in str(error.value)
    assert not target.exists()


@pytest.mark.parametrize("resumed", [False, True])
def test_wrong_bytes_are_named_and_removed(server, target, resumed):
    if resumed:
        target.parent.mkdir(parents=True)
        target.with_name(target.name + ".part").write_bytes(b"?" * 1000)
    else:
        server.script["file"].append({"body": b"?" * len(CONTENT)})
    with pytest.raises(SessionError, match="wrong bytes") as error:
        fetch(server, target)
    assert MD5 in str(error.value)
    assert str(target) in str(error.value)
    assert "run again" in str(error.value)
    assert files(target) == []
    fetch(server, target)
    assert target.read_bytes() == CONTENT


def test_endless_body_is_cut_off(server, target):
    server.script["file"].append({"body": CONTENT * 100, "announced": False})
    with pytest.raises(SessionError, match="wrong bytes"):
        fetch(server, target)
    deadline = time.monotonic() + 5
    while not server.hung_up and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.hung_up
    assert files(target) == []


def test_missing_file_is_not_retried(server, target):
    server.script["file"].append({"status": 404})
    with pytest.raises(SessionError, match="404") as error:
        fetch(server, target)
    assert len(server.ranges()) == 1
    assert target.name in str(error.value)


def test_silent_server_times_out(target, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        record = f"http://127.0.0.1:{silent.getsockname()[1]}/api/records/583331"
        download = Download(record=record, retries=1, backoff_s=0.01, timeout_s=0.1)
        with pytest.raises(SessionError, match=r"gave up after 2 tries.*timed out"):
            source(download).fetch(SESSION, target)


def closed_port() -> str:
    """The address of a record on a port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"http://127.0.0.1:{free.getsockname()[1]}/api/records/583331"


@pytest.mark.parametrize("where", ["refused", "no such host"])
def test_no_network_stops_at_once_with_everything_in_one_message(target, waits, monkeypatch, where):
    monkeypatch.setenv("NO_PROXY", "*")
    record = closed_port() if where == "refused" else "https://host.invalid/api/records/583331"
    with pytest.raises(SessionError) as error:
        source(settings(record, retries=9)).fetch(SESSION, target)
    assert waits == []
    message = str(error.value)
    address = record.replace("/api/records/", "/records/") + f"/files/{SESSION.name}.mat"
    for part in ("no network", f"{SESSION.name}.mat", address, str(target), "make demo"):
        assert part in message
    assert "\n" not in message


def test_copy_put_there_by_hand_needs_no_network(target):
    target.parent.mkdir(parents=True)
    target.write_bytes(CONTENT)
    source(settings(closed_port())).fetch(KNOWN, target)
    assert target.read_bytes() == CONTENT


def test_copy_put_there_by_hand_with_the_wrong_checksum(target):
    target.parent.mkdir(parents=True)
    target.write_bytes(b"something else")
    with pytest.raises(SessionError, match="not the published file") as error:
        source(settings(closed_port())).fetch(KNOWN, target)
    assert str(target) in str(error.value)
    assert target.read_bytes() == b"something else"


def test_copy_put_there_by_hand_is_checked_against_the_metadata(server, target):
    target.parent.mkdir(parents=True)
    target.write_bytes(CONTENT)
    fetch(server, target)
    assert server.ranges() == []
    target.write_bytes(b"something else")
    with pytest.raises(SessionError, match=f"not the published file.*{MD5}"):
        fetch(server, target)
    assert target.read_bytes() == b"something else"


def test_copy_put_there_by_hand_that_cannot_be_checked_is_used_with_a_warning(target, caplog):
    target.parent.mkdir(parents=True)
    target.write_bytes(CONTENT)
    with caplog.at_level(logging.WARNING):
        source(settings(closed_port())).fetch(SESSION, target)
    assert MD5 in caplog.text
    assert target.read_bytes() == CONTENT


def test_metadata_that_contradict_the_built_in_checksum(server, target):
    with pytest.raises(SessionError, match=r"record is not the paper's") as error:
        fetch(server, target, session=ZENODO[KNOWN.name])
    assert MD5 in str(error.value)
    assert ZENODO[KNOWN.name].md5 in str(error.value)
    assert server.ranges() == []


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        [],
        {"files": None},
        {"files": [{"key": f"{SESSION.name}.mat"}]},
        {"files": [{"key": "other.mat"}]},
        {
            "files": [
                {
                    "key": f"{SESSION.name}.mat",
                    "size": 3,
                    "checksum": "sha1:00",
                    "links": {"self": "http://127.0.0.1/x"},
                }
            ]
        },
    ],
)
def test_metadata_of_another_shape(server, target, metadata):
    server.metadata = metadata
    with pytest.raises(SessionError, match=server.record):
        fetch(server, target)


@pytest.mark.parametrize(
    "body", [b"upstream connect error", b"", b'{"files": [{"key"', b"<Error/>", b"[" * 10**5]
)
def test_metadata_that_are_no_json_are_a_failure_that_passes(server, target, waits, caplog, body):
    server.script["record"].extend([{"body": body}] * 2)
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert waits == [0.01, 0.02]
    assert f"sent {len(body)} bytes that are not JSON" in caplog.text
    assert "check download.record in the config if it goes on" in caplog.text


PAGES = {
    "by its type": {"headers": {"Content-Type": "text/html; charset=utf-8"}, "body": b"be patient"},
    "by its start": {"body": b"\n<!doctype html><head><title>Just a\n moment</title>".ljust(2840)},
    "of no length": {"body": b"<html>".ljust(2840), "announced": False},
    "long": {"body": b"<html>".ljust(10**6), "announced": False},
}
"""What a login of the network, or a service that is being mended, sends with status 200."""


@pytest.mark.parametrize("kind", ["record", "file"])
@pytest.mark.parametrize("page", PAGES)
def test_a_web_page_is_a_failure_that_passes(server, target, waits, caplog, kind, page):
    server.script[kind].extend([PAGES[page]] * 2)
    with caplog.at_level(logging.WARNING):
        fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert waits == [0.01, 0.02]
    assert server.ranges() == [None] * (3 if kind == "file" else 1), "nothing of it was kept"
    assert "sent a web page" in caplog.text


@pytest.mark.parametrize("page", PAGES)
def test_a_web_page_does_not_touch_what_came_before(server, target, page):
    """Neither is it kept where the server knows no ranges."""
    server.script["file"].extend([{"cut_after": 300_000}, PAGES[page] | {"ignore_range": True}])
    with pytest.raises(SessionError, match=r"gave up after 2 tries, at last: .*sent a web page"):
        fetch(server, target, retries=1)
    part = target.with_name(target.name + ".part")
    have = part.read_bytes()
    assert len(have) > 200_000
    assert have == CONTENT[: len(have)]
    fetch(server, target)
    assert server.ranges()[-1] == f"bytes={len(have)}-"
    assert target.read_bytes() == CONTENT


def test_a_web_page_for_good_is_told_with_its_title(server, target, waits):
    """As by an address that is the record's page, and not its metadata."""
    server.script["record"].extend([PAGES["by its start"]] * 4)
    with pytest.raises(SessionError) as error:
        fetch(server, target)
    for part in ("gave up after 4 tries", server.record, "'Just a moment'", "download.record"):
        assert part in str(error.value)
    assert len(waits) == 3
    assert not target.parent.exists()


OTHERS = {
    "shorter": {"body": CONTENT[:2840]},
    "longer": {"body": CONTENT * 2},
    "of another type": {"headers": {"Content-Type": "application/problem+json"}},
    "in pieces": {
        "headers": {"Transfer-Encoding": "chunked"},
        "body": b"4\r\nbusy\r\n0\r\n\r\n",
        "announced": False,
    },
}


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("other", OTHERS)
def test_what_is_not_the_file_is_not_kept(server, target, waits, other, resumed):
    cuts = [{"cut_after": 300_000}] * resumed
    server.script["file"].extend([*cuts, OTHERS[other] | {"ignore_range": True}])
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert files(target) == [target.name]
    last = server.ranges()[-1]
    # Pieces of unknown length replace what came before, as the server sends it all again.
    assert (last is not None) == (resumed and other != "in pieces")


def test_another_range_than_was_asked_for_is_not_kept(server, target):
    ranges = {"Content-Range": f"bytes 7-{len(CONTENT) - 1}/{len(CONTENT)}"}
    server.script["file"].extend(
        [{"cut_after": 300_000}, {"status": 206, "headers": ranges, "announced": False}]
    )
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    first, second, third = server.ranges()
    assert first is None
    assert second == third


@pytest.mark.parametrize("kind", ["record", "file"])
@pytest.mark.parametrize("asked", ["86400", "9" * 400, formatdate(4e9, usegmt=True)])
def test_a_server_is_not_granted_any_wait(server, target, waits, caplog, kind, asked):
    server.script[kind].append({"status": 429, "headers": {"Retry-After": asked}})
    with caplog.at_level(logging.WARNING):
        fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert waits == [transfer.WAIT_LIMIT_S]
    assert f"Retry-After: {asked[:40]}; 600 s are waited at most" in caplog.text


def test_waits_that_double_end_at_the_same_limit(server, target, waits):
    server.script["file"].extend([{"status": 503}] * 3)
    download = Download(record=server.record, retries=3, backoff_s=200.0, timeout_s=5.0)
    source(download).fetch(SESSION, target)
    assert waits == [200.0, 400.0, 600.0]


def test_a_wait_that_was_not_granted_is_told_at_last(server, target, waits):
    server.script["file"].extend([{"status": 503, "headers": {"Retry-After": "86400"}}] * 4)
    with pytest.raises(SessionError, match=r"at last: 503 .*asks to wait, Retry-After: 86400"):
        fetch(server, target)
    assert waits == [600.0] * 3


def test_record_that_is_no_address(target):
    with pytest.raises(SessionError, match=r"download\.record"):
        source(settings("zenodo 583331")).fetch(SESSION, target)


def test_disk_that_takes_no_more(server, target):
    """A write that fails names the partial file and keeps it for the next try."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(SessionError, match="make room") as error:
            fetch(server, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert f"{target}.part" in str(error.value)
    assert str(len(CONTENT)) in str(error.value)
    assert files(target) == [f"{target.name}.part"]
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.ranges()[1] is not None


def test_progress_bar_counts_every_byte(server, target, capfd, monkeypatch):
    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    server.script["file"].append({"cut_after": 300_000})
    source(settings(server.record), progress=True).fetch(SESSION, target)
    shown = capfd.readouterr().err
    assert target.name in shown
    assert "100%" in shown
    assert "700k/700k" in shown
