"""Downloads against a local HTTP server that misbehaves on order."""

import hashlib
import resource
import socket
import time
from collections import deque

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from spikereach import progress
from spikereach.config import Download
from spikereach.data.errors import SessionError
from zenodo_server import CONTENT, KNOWN, MD5, SESSION, fetch, settings, source


@pytest.fixture
def target(tmp_path):
    return tmp_path / "data" / "raw" / f"{SESSION.name}.mat"


def files(target):
    """What lies in the target's folder."""
    return sorted(path.name for path in target.parent.iterdir())


def test_whole_file(server, target):
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert files(target) == [target.name]
    assert server.asked() == [None]


def test_file_is_readable_by_the_group(server, target):
    fetch(server, target)
    reference = target.with_name("reference")
    reference.touch()
    assert target.stat().st_mode == reference.stat().st_mode


def test_cut_connections_are_resumed(server, target):
    server.script["file"].extend([{"cut_after": 300_000}, {"cut_after": 300_000}])
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    first, second, third = server.asked()
    assert first is None
    offsets = [int(value.removeprefix("bytes=").removesuffix("-")) for value in (second, third)]
    assert 200_000 < offsets[0] <= 300_000  # no more than a buffer is lost
    assert offsets[0] + 200_000 < offsets[1] <= 600_000


def test_a_later_call_goes_on_where_the_last_one_stopped(server, target):
    server.script["file"].extend([{"cut_after": 400_000}, {"status": 503}])
    with pytest.raises(SessionError, match="gave up after 1 tries"):
        fetch(server, target, retries=0)
    assert not target.exists()
    have = target.with_name(target.name + ".part").stat().st_size
    assert have > 300_000
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.asked()[-1] == f"bytes={have}-"
    assert files(target) == [target.name]


def test_a_cut_that_made_progress_does_not_use_up_the_tries(server, target, waits, caplog):
    server.script["file"].extend([{"cut_after": 30_000}] * 20)
    fetch(server, target, retries=0)
    assert target.read_bytes() == CONTENT
    assert len(server.asked()) == 21
    assert waits == [0.01] * 20
    assert len(caplog.records) == 20


def test_tries_are_counted_from_the_last_progress_on(server, target, waits):
    busy = {"status": 503}
    server.script["file"].extend([busy, busy, {"cut_after": 300_000}, busy, busy, busy])
    with pytest.raises(SessionError, match="gave up after 3 tries"):
        fetch(server, target, retries=2)
    assert waits == [0.01, 0.02, 0.01, 0.01, 0.02]


def test_cuts_that_come_no_further_do_use_up_the_tries(server, target, waits):
    """From a server that sends no parts; the first of them made progress."""
    server.script["file"].extend([{"cut_after": 300_000, "ignore_range": True}] * 30)
    with pytest.raises(SessionError, match="gave up after 3 tries"):
        fetch(server, target, retries=2)
    assert len(waits) == 3


@pytest.mark.parametrize("how", ["ignored", "refused"])
def test_parts_come_from_beside_the_page_where_the_content_has_none(server, target, how):
    """Zenodo's `/content` may not honour ranges: nothing is sent twice."""
    if how == "ignored":
        server.ranges = False
        server.script["file"].append({"cut_after": 300_000})
    else:
        server.script["file"].extend([{"cut_after": 300_000}, {"status": 416}])
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    kinds = [request.kind for request in server.requests]
    assert kinds == ["record", "content", "content", "file"]
    first, *others = server.asked()
    assert first is None
    assert len({*others}) == 1
    assert int(others[0].removeprefix("bytes=").removesuffix("-")) > 200_000


@pytest.mark.parametrize("beside", [{"status": 404}, {"body": b"<html>"}, {"ignore_range": True}])
def test_all_is_sent_again_where_no_address_sends_parts(server, target, beside):
    server.ranges = False
    server.script["file"].extend([{"cut_after": 300_000}, {}, {"ignore_range": True} | beside])
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert [request.kind for request in server.requests[2:]] == ["content", "file"]


@pytest.mark.parametrize("status", [403, 503])
def test_a_busy_address_of_parts_is_waited_for_until_the_last_try(server, target, waits, status):
    """It saves what came already, but must not be what the file fails for."""
    server.ranges = False
    busy = [{}, {"status": status}]
    server.script["file"].extend([{"cut_after": 300_000}, *busy * 2])
    fetch(server, target, retries=2)
    assert server.requests[-1].kind == "file"
    assert target.read_bytes() == CONTENT
    target.unlink()
    server.script["file"].extend([{"cut_after": 300_000}, *busy * 3])
    fetch(server, target, retries=2)
    assert target.read_bytes() == CONTENT
    assert len(waits) == 6


@settings_of_hypothesis(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "cut_after": st.integers(0, 700_000),
                "status": st.sampled_from([416, 429, 503]),
                "ignore_range": st.just(True),
                "announced": st.just(False),
            },
        ),
        max_size=8,
    ),
    ranges=st.booleans(),
)
def test_whatever_happens_the_file_comes_whole(server, tmp_path_factory, waits, steps, ranges):
    target = tmp_path_factory.mktemp("any") / "file.mat"
    server.ranges = ranges
    server.script["file"] = deque(steps)
    server.limit = 10**9
    fetch(server, target, retries=len(steps))
    assert target.read_bytes() == CONTENT
    assert files(target) == [target.name]


def test_complete_part_is_not_transferred_again(server, target):
    target.parent.mkdir(parents=True)
    target.with_name(target.name + ".part").write_bytes(CONTENT)
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.asked() == []


def test_server_that_ignores_ranges(server, target):
    server.script["file"].extend([{"cut_after": 300_000}, *[{"ignore_range": True}] * 2])
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert len(server.asked()) == 3


def test_server_that_cannot_satisfy_a_range(server, target):
    server.script["file"].extend([{"cut_after": 300_000}, *[{"status": 416, "body": b"no"}] * 2])
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.asked()[-1] is None


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
    assert len(server.asked()) == 4
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
    assert len(server.asked()) == 1
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


def by_hand(target, content=CONTENT):
    target.parent.mkdir(parents=True)
    target.write_bytes(content)


def test_copy_put_there_by_hand_needs_no_network(target):
    by_hand(target)
    source(settings(closed_port())).fetch(SESSION, target)
    assert target.read_bytes() == CONTENT


def test_copy_put_there_by_hand_that_is_known_asks_nobody(server, target):
    by_hand(target)
    fetch(server, target)
    assert server.requests == []


def test_copy_put_there_by_hand_with_the_wrong_checksum(target):
    by_hand(target, b"something else")
    with pytest.raises(SessionError, match=r"not the published file.*cannot be asked") as error:
        source(settings(closed_port())).fetch(SESSION, target)
    for part in (str(target), hashlib.md5(b"something else").hexdigest(), MD5):
        assert part in str(error.value)
    assert target.read_bytes() == b"something else"


def test_the_record_decides_on_a_copy_put_there_by_hand(server, target, caplog):
    """Where the checksum is not the known one; then the record is asked, which may contradict."""
    by_hand(target)
    fetch(server, target, session=KNOWN)
    assert server.asked() == []
    assert CONTRADICTION in caplog.text
    target.write_bytes(b"something else")
    with pytest.raises(SessionError, match=f"not the published file.*{MD5}"):
        fetch(server, target, session=KNOWN)
    assert target.read_bytes() == b"something else"


CONTRADICTION = f"gives the MD5 {MD5}, known is {KNOWN.md5}; the record decides"


def test_metadata_that_contradict_the_known_checksum_decide(server, target, caplog):
    fetch(server, target, session=KNOWN)
    assert target.read_bytes() == CONTENT
    assert caplog.text.count(CONTRADICTION) == 1
    assert server.record in caplog.text


def test_metadata_that_agree_are_not_spoken_of(server, target, caplog):
    fetch(server, target)
    assert caplog.text == ""


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
    assert (server.asked()[-1] is not None) == resumed


def test_another_range_than_was_asked_for_is_not_kept(server, target):
    ranges = {"Content-Range": f"bytes 7-{len(CONTENT) - 1}/{len(CONTENT)}"}
    server.script["file"].extend(
        [{"cut_after": 300_000}, {"status": 206, "headers": ranges, "announced": False}]
    )
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    first, second, third = server.asked()
    assert first is None
    assert second == third


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
    assert server.asked()[1] is not None


def test_progress_bar_counts_every_byte(server, target, capfd, monkeypatch):
    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    server.script["file"].append({"cut_after": 300_000})
    source(settings(server.record), progress=True).fetch(SESSION, target)
    shown = capfd.readouterr().err
    assert target.name in shown
    assert "100%" in shown
    assert "700k/700k" in shown
