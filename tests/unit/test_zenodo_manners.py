"""What Zenodo asks of programs, and how it turns them away."""

import logging
import time
from email.utils import formatdate

import pytest
import requests

from spikereach.config import Download
from spikereach.data import transfer
from spikereach.data.errors import SessionError
from spikereach.data.waits import LIMIT_S, asked
from zenodo_server import CONTENT, SESSION, fetch, settings, source


@pytest.fixture
def target(tmp_path):
    return tmp_path / "data" / "raw" / f"{SESSION.name}.mat"


@pytest.mark.parametrize("agent", ["spikereach", "python-requests/2.32", "spikereach/0.1.0"])
def test_agents_without_an_address_are_turned_away(server, target, waits, monkeypatch, agent):
    """And ours is not, as all other tests show."""
    monkeypatch.setattr(transfer, "AGENT", agent)
    with pytest.raises(
        SessionError, match=r"gave up after 2 tries, at last: 403 Forbidden \("
    ) as e:
        fetch(server, target, retries=1)
    assert "turn requests away for a while" in str(e.value)
    assert "download.record" not in str(e.value)


@pytest.mark.parametrize("kind", ["record", "file"])
def test_403_is_a_failure_that_passes(server, target, waits, caplog, kind):
    server.script[kind].extend([{"status": 403, "body": b"<html>"}] * 2)
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert waits == [0.01, 0.02]
    assert caplog.text.count("403 Forbidden (servers turn requests away for a while") == 2


def test_metadata_are_asked_for_as_json(server, target):
    """From who does not, the server hides them behind a page."""
    with requests.get(server.record, headers={"User-Agent": transfer.AGENT}, timeout=5) as page:
        assert page.text.startswith("<!doctype html>")
    fetch(server, target)
    assert target.read_bytes() == CONTENT


def test_133_requests_a_minute(server, target, waits):
    """A transfer that is cut 140 times meets the limit once, and is let in when the minute ends."""
    server.clock = lambda: sum(waits)
    server.window = (0.0, 0)
    server.script["file"].extend([{"cut_after": 5_000}] * 140)
    fetch(server, target, retries=1)
    assert target.read_bytes() == CONTENT
    assert len(server.requests) == 142
    assert server.refused == 1
    long = [wait for wait in waits if wait > 0.01]
    assert len(long) == 1
    assert 55 < long[0] <= 61


def answer(status=429, **headers):
    response = requests.Response()
    response.status_code = status
    response.headers.update({name.replace("_", "-"): text for name, text in headers.items()})
    return response


@pytest.mark.parametrize("header", ["Retry_After", "X_RateLimit_Reset"])
@pytest.mark.parametrize("form", ["seconds", "seconds since 1970", "date"])
def test_waits_in_all_forms(header, form):
    later = time.time() + 90
    text = {"seconds": "90", "date": formatdate(later, usegmt=True)}.get(form, str(round(later)))
    wait_s, told = asked(answer(**{header: text}))
    assert 85 < wait_s <= 91
    assert told == f"{header.replace('_', '-')}: {text}"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Retry_After": "soon"}, 429),
        ({"Retry_After": "-3"}, 429),
        ({"Retry_After": formatdate(0, usegmt=True)}, 503),
        ({"X_RateLimit_Reset": "1000000001"}, 429),
        ({"X_RateLimit_Reset": ""}, 429),
        ({"X_RateLimit_Reset": "90", "X_RateLimit_Remaining": "7"}, 503),  # in every answer
        ({"X_RateLimit_Reset": "90"}, 403),
    ],
)
def test_answers_that_ask_for_no_wait(headers, status):
    assert asked(answer(status, **headers)) == (0.0, "")


def test_which_wait_counts():
    both = {"Retry_After": "20", "X_RateLimit_Reset": "90"}
    assert asked(answer(**both)) == (20.0, "Retry-After: 20")
    assert asked(answer(**both | {"Retry_After": "soon"})) == (90.0, "X-RateLimit-Reset: 90")
    used_up = {"X_RateLimit_Reset": "90", "X_RateLimit_Remaining": "0"}
    assert asked(answer(403, **used_up)) == (90.0, "X-RateLimit-Reset: 90")
    assert asked(None) == (0.0, "")


def test_a_page_may_say_how_long_the_repairs_take(server, target, waits):
    server.script["record"].append(
        {"headers": {"Content-Type": "text/html", "Retry-After": "30"}, "body": b"in repairs"}
    )
    fetch(server, target)
    assert waits == [30.0]


@pytest.mark.parametrize("kind", ["record", "file"])
@pytest.mark.parametrize("status", [429, 503])
def test_busy_server_is_given_the_time_it_asks_for(server, target, waits, kind, status):
    server.script[kind].extend(
        [{"status": status, "headers": {"Retry-After": "17"}}, {"status": status}]
    )
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert waits[0] == 17.0
    if status == 429:  # Zenodo says when its minute ends
        assert 50 < waits[1] < 62
    else:
        assert waits[1] == 0.02


def test_retry_after_as_a_date(server, target, waits):
    in_a_minute = {"Retry-After": formatdate(time.time() + 60, usegmt=True)}
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
    assert waits == [0.01, 0.01]
    busy, cut = (record.getMessage() for record in caplog.records)
    assert busy == f"{target.name}: 503 Service Unavailable; next try in 0.0 s"
    assert "300000 bytes read" in cut


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
    assert server.asked() == [None] * (3 if kind == "file" else 1), "nothing of it was kept"
    assert "sent a web page" in caplog.text


@pytest.mark.parametrize("page", PAGES)
def test_a_web_page_does_not_touch_what_came_before(server, target, page):
    """Both addresses of the file send it; neither is it kept where the server knows no ranges."""
    pages = [PAGES[page] | {"ignore_range": True}] * 2
    server.script["file"].extend([{"cut_after": 300_000}, *pages])
    with pytest.raises(SessionError, match=r"gave up after 1 tries, at last: .*sent a web page"):
        fetch(server, target, retries=0)
    part = target.with_name(target.name + ".part")
    have = part.read_bytes()
    assert len(have) > 200_000
    assert have == CONTENT[: len(have)]
    fetch(server, target)
    assert server.asked()[-1] == f"bytes={len(have)}-"
    assert target.read_bytes() == CONTENT


def test_a_web_page_for_good_is_told_with_its_title(server, target, waits):
    server.script["record"].extend([PAGES["by its start"]] * 4)
    with pytest.raises(SessionError) as error:
        fetch(server, target)
    for part in ("gave up after 4 tries", server.record, "'Just a moment'", "being mended"):
        assert part in str(error.value)
    assert "download.record" not in str(error.value)
    assert len(waits) == 3
    assert not target.parent.exists()


def test_an_address_that_is_the_page_for_browsers(server, target, waits):
    record = server.record.replace("/api/", "/")
    server.script["file"].extend([PAGES["by its start"]] * 4)
    with pytest.raises(SessionError, match=r"check download\.record .* below /api/"):
        source(settings(record)).fetch(SESSION, target)


@pytest.mark.parametrize("kind", ["record", "file"])
@pytest.mark.parametrize("asked", ["86400", "9" * 400, formatdate(4e9, usegmt=True)])
def test_a_server_is_not_granted_any_wait(server, target, waits, caplog, kind, asked):
    server.script[kind].append({"status": 429, "headers": {"Retry-After": asked}})
    with caplog.at_level(logging.WARNING):
        fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert waits == [LIMIT_S]
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
    assert waits == [600.0, 0.02, 0.04]


def test_all_waits_of_a_file_that_a_server_asks_for_have_one_limit(server, target, waits):
    """Also where it sends a little in between."""
    asks = {"status": 503, "headers": {"Retry-After": "250"}}
    server.script["file"].extend([asks, {"cut_after": 90_000}] * 5)
    fetch(server, target, retries=1)
    assert target.read_bytes() == CONTENT
    assert waits[::2] == [250.0, 250.0, 100.0, 0.01, 0.01]
    assert waits[1::2] == [0.01] * 5
