"""Files of published weights: where they lie, and how they come from a server or a folder."""

import hashlib
import socket
import subprocess
import sys
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from spikereach.cli import app
from spikereach.config import Download
from spikereach.data import transfer
from spikereach.published import figures, weights
from spikereach.published.weights import WeightsError, fetch, of_system, sources
from zenodo_server import running

SETTINGS = Download(record="unused", retries=2, backoff_s=0.01, timeout_s=5.0)


def content(name: str) -> bytes:
    """What the server has under a name: some thousand bytes that depend on it."""
    return hashlib.sha512(name.encode()).digest() * 50


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self.server.requests.append(self.path)
        body = content(self.path)
        begin = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=")[:-1])
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - begin))
        self.end_headers()
        end = self.server.cuts.pop() if self.server.cuts else len(body)
        self.wfile.write(body[begin:end])
        self.close_connection = True


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(transfer.time, "sleep", lambda _: None)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.requests, server.cuts = [], []
    with running(server):
        yield server


@pytest.fixture
def served(server):
    """The published files as that server has them: its addresses, and what it sends."""
    found = []
    for source in sources():
        body = content(f"/{source.file}")
        found.append(
            replace(
                source,
                address=f"http://127.0.0.1:{server.server_port}/{source.file}",
                size=len(body),
                sha256=hashlib.sha256(body).hexdigest(),
            )
        )
    return tuple(found)


def get(source, target, folder=None):
    fetch(source, target, folder=folder, settings=SETTINGS, progress=False)


def test_files_are_those_of_the_evaluation_sessions():
    found = {(s.system, s.session): 0 for s in sources()}
    for source in sources():
        found[source.system, source.session] += 1
    for system in ("ANN2", "ANN3", "SNN2", "SNN3", "tinyRSNN"):
        for session in figures.sessions().values():
            assert found.pop((system, session)) == (5 if system == "tinyRSNN" else 1)
    assert not found
    assert len({source.file for source in sources()}) == 54
    assert {s.seed for s in of_system("tinyRSNN")} == {1, 2, 3, 4, 5}
    assert {s.seed for s in of_system("SNN3")} == {0}


def test_sizes_are_those_of_the_files(shared):
    sizes = {
        hashlib.sha256(path.read_bytes()).hexdigest(): path.stat().st_size
        for path in (shared / "reference" / "weights").glob("*/*.p*")
    }
    assert sizes == {source.sha256: source.size for source in sources()}


def test_system_without_published_weights():
    with pytest.raises(WeightsError, match=r"'RTnet'; there are some for ANN2, .*tinyRSNN"):
        of_system("RTnet")


def test_the_workflow_plans_without_torch():
    code = "import sys, spikereach.published.weights; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_folder_is_searched_by_content(shared, tmp_path):
    source = of_system("SNN2")[3]
    target = tmp_path / "data" / source.file
    get(source, target, folder=shared / "reference")
    assert hashlib.sha256(target.read_bytes()).hexdigest() == source.sha256
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_folder_without_the_file(tmp_path):
    source = of_system("SNN2")[0]
    (tmp_path / "wrong.pt").write_bytes(bytes(source.size))
    with pytest.raises(WeightsError, match="holds no copy") as error:
        get(source, tmp_path / "out" / "a.pt", folder=tmp_path)
    assert source.sha256 in str(error.value)
    assert "weights_folder" in str(error.value)
    assert not (tmp_path / "out").exists()


def test_download_goes_on_after_a_cut_and_is_not_repeated(server, served, tmp_path):
    source = served[0]
    target = tmp_path / source.file
    server.cuts = [1000]
    get(source, target)
    assert target.read_bytes() == content(f"/{source.file}")
    assert len(server.requests) == 2
    get(source, target)
    assert len(server.requests) == 2


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("size", ["the same", "another"])
def test_a_file_of_that_name_stays(server, served, tmp_path, local, size):
    """It may be a damaged copy, or weights of one's own."""
    source = served[5]
    target = tmp_path / source.file
    target.parent.mkdir()
    target.write_bytes(before := b"0" * (source.size if size == "the same" else 7))
    with pytest.raises(WeightsError, match=r"is not the published file.*move it") as error:
        get(source, target, tmp_path if local else None)
    assert str(target) in str(error.value)
    assert target.read_bytes() == before
    target.rename(tmp_path / "elsewhere")
    get(source, target)
    assert target.read_bytes() == content(f"/{source.file}")


def test_wrong_bytes_are_refused(server, served, tmp_path):
    source = replace(served[0], sha256="0" * 64)
    with pytest.raises(WeightsError, match=r"wrong bytes \(SHA256") as error:
        get(source, tmp_path / source.file)
    assert "run again" in str(error.value)
    assert not list(tmp_path.rglob("*.p*"))


def test_no_network_says_what_to_do(served, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    source = replace(served[0], address=f"http://127.0.0.1:{port}/x.pth")
    target = tmp_path / source.file
    with pytest.raises(WeightsError, match="no network") as error:
        get(source, target)
    for part in (source.address, str(target), "weights_folder"):
        assert part in str(error.value)


def test_command_downloads_all_files(server, served, tmp_path, monkeypatch, repository):
    monkeypatch.setattr(weights, "sources", lambda: served)
    arguments = ["download-weights", str(tmp_path), "--config", str(repository / "config.yaml")]
    for requests in (54, 54):  # the second time everything is there
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        assert len(server.requests) == requests
    for source in served:
        assert (tmp_path / source.file).read_bytes() == content(f"/{source.file}")
    assert f"54 files of published weights are in {tmp_path}" in result.output
