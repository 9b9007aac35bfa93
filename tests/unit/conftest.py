"""Fixtures of downloads."""

import pytest

import zenodo_server
from spikereach.data import transfer


@pytest.fixture
def server(monkeypatch):
    """A record on this machine, which behaves as Zenodo does."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with zenodo_server.running(zenodo_server.Server()) as server:
        yield server


@pytest.fixture
def waits(monkeypatch):
    """The waits between tries in seconds, which are not waited for."""
    waits = []
    monkeypatch.setattr(transfer.time, "sleep", waits.append)
    return waits
