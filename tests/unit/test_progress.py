"""Progress bars: frames on a terminal, lines in a log."""

import io
import sys

import pytest

from spikereach import progress
from spikereach.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def log(monkeypatch, capsys):
    """What a process without a terminal writes."""
    monkeypatch.setattr(sys, "__stderr__", None)
    return lambda: capsys.readouterr().err


def test_a_short_bar_leaves_nothing_in_a_log(log):
    assert list(progress_bar(range(1000))) == list(range(1000))
    assert log() == ""


def test_a_long_bar_leaves_lines_in_a_log(log, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(progress.tqdm, "monitor_interval", 0)
    bar = progress_bar(total=1000, desc="training")
    monkeypatch.setattr(bar, "_time", lambda: clock[0])
    bar.start_t = bar.last_print_t = 0.0
    for _ in range(1000):
        clock[0] += 0.1
        bar.update()
    bar.close()
    written = log()
    lines = [line.lstrip("\r") for line in written.split("\n") if line.strip()]
    assert 4 <= len(lines) <= 7, "100 s, a line every 20 s"
    assert all(line.startswith("training: ") for line in lines)
    assert "1000/1000" in lines[-1]
    assert written.count("\r") <= len(lines)


def test_a_bar_on_a_terminal_is_gone_at_its_end(log, monkeypatch):
    monkeypatch.setattr(sys, "__stderr__", Terminal())
    list(progress_bar(range(3), desc="training", mininterval=0))
    shown = sys.__stderr__.getvalue()
    assert "\n" not in shown
    assert shown.count("\rtraining: ") == 4
    assert shown.rstrip("\r").rpartition("\r")[2].isspace()
    assert log() == ""


def test_a_disabled_bar(log):
    assert list(progress_bar(range(3), disable=True)) == [0, 1, 2]
    assert log() == ""
