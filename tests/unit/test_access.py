"""No connection, and why: proxies and certificates that the environment names wrongly."""

import datetime
import hashlib
import ipaddress
import json
import os
import shutil
import socket
import ssl
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from spikereach.config import Config, Download
from spikereach.config.sessions import ZENODO
from spikereach.data import transfer
from spikereach.data.errors import SessionError
from spikereach.data.sources.zenodo import Zenodo
from spikereach.published.weights import WeightsError, fetch, sources

RECORD = "http://record.invalid/api/records/583331"
CONTENT = b"a recording"
SESSION = replace(ZENODO["loco_20170213_02"], md5=hashlib.md5(CONTENT).hexdigest())


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    """An environment that names neither proxies nor certificates; no wait between tries."""
    for name in [*os.environ]:
        if name.lower().endswith("_proxy") or name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(transfer.time, "sleep", lambda _: None)


def get(target, record=RECORD):
    download = Download(record=record, retries=2, backoff_s=0.01, timeout_s=5.0)
    Zenodo(Config.model_construct(download=download, progress=False)).fetch(SESSION, target)


def failure(target, record=RECORD):
    with pytest.raises(SessionError) as error:
        get(target, record)
    assert not target.exists()
    message = str(error.value)
    assert "\n" not in message
    assert message.count("make demo") == 1
    return message


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


# ---- Proxies -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"])
@pytest.mark.parametrize(
    ("proxy", "expected"),
    [
        ("socks5://127.0.0.1:1080", "pip install PySocks"),
        ("socks5h://127.0.0.1:1080", "pip install PySocks"),
        ("http://proxy:port", "'proxy:port' is not a valid host"),
        ("http://[::1", "is not a valid host"),
        ("http://", "missing the host"),
        ("ftp://127.0.0.1:21", "unsupported scheme ftp"),
        ("http://a b:3128", "invalid character"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_named(name, proxy, expected, tmp_path, monkeypatch):
    monkeypatch.setenv(name, proxy)
    message = failure(tmp_path / "file")
    assert f"the proxy {proxy} (set by {name})" in message
    assert expected in message
    assert "unset it" in message
    assert "download.record" not in message


@pytest.mark.parametrize("password", ["p/w", "p#w", "p?w", "s3cret"])
def test_passwords_are_not_printed(password, tmp_path, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", f"http://user:{password}@127.0.0.1:{closed_port()}")
    message = failure(tmp_path / "file")
    assert "the proxy http://...@127.0.0.1:" in message
    assert password not in message
    assert "user" not in message.replace("user's", "")


@pytest.mark.parametrize("host", ["127.0.0.1", "proxy.invalid"])
def test_a_proxy_that_is_not_there_is_named(host, tmp_path, monkeypatch):
    proxy = f"http://{host}:{closed_port()}"
    monkeypatch.setenv("HTTP_PROXY", proxy)
    message = failure(tmp_path / "file")
    assert f"no network (the proxy {proxy} (set by HTTP_PROXY) cannot be reached (" in message
    assert ("refused" if host == "127.0.0.1" else "resolve") in message
    assert "unset it" in message
    assert "Error(" not in message


@pytest.mark.parametrize(
    "record", ["zenodo 583331", "http://", "ftp://x/y", "http://a:b/", "x" * 99]
)
def test_an_address_that_is_none_is_told_apart_from_proxies(record, tmp_path, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    assert f"{record!r} is not an address" in failure(tmp_path / "file", record)
    assert "download.record" in failure(tmp_path / "file", record)


def test_weights_are_not_said_to_be_of_the_record(tmp_path, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    settings = Download(record=RECORD, retries=0, backoff_s=0.1, timeout_s=1)
    with pytest.raises(WeightsError, match=r"proxy socks5://.*\(set by ALL_PROXY\)") as error:
        fetch(sources()[0], tmp_path / "x", folder=None, settings=settings, progress=False)
    assert "download.record" not in str(error.value)


# ---- Certificates --------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    """The record and its one file."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        file = {
            "key": f"{SESSION.name}.mat",
            "size": len(CONTENT),
            "checksum": f"md5:{hashlib.md5(CONTENT).hexdigest()}",
            "links": {"self": f"https://127.0.0.1:{self.server.server_port}/file"},
        }
        body = CONTENT if self.path == "/file" else json.dumps({"files": [file]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """One that nobody has signed, with its key."""
    folder = tmp_path_factory.mktemp("certificate")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "key.pem").write_bytes(secret)
    (folder / "certificate.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    return folder


@pytest.fixture
def record(certificate):
    """The address of a record that is served over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "certificate.pem", certificate / "key.pem")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # who does not trust it hangs up
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}/api/records/583331"
        server.shutdown()
        thread.join()


def test_certificates_of_ones_own_are_trusted(record, certificate, tmp_path, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate / "certificate.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/bundle.pem")  # which requests does not read
    get(tmp_path / "file", record)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_certificate_that_is_not_trusted(record, tmp_path):
    message = failure(tmp_path / "file", record)
    for part in ("no trusted connection to 127.0.0.1", "self-signed", "set REQUESTS_CA_BUNDLE"):
        assert part in message


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize("bundle", ["missing", "no certificates", "folder", "of others"])
def test_a_bundle_that_is_none_is_named(name, bundle, record, tmp_path, monkeypatch):
    path = tmp_path / "bundle.pem"
    if bundle == "no certificates":
        path.write_text("none\n")
    elif bundle == "folder":
        path.mkdir()
    elif bundle == "of others":
        shutil.copy(certifi.where(), path)
    monkeypatch.setenv(name, str(path))
    message = failure(tmp_path / "file", record)
    assert f"the certificates in {name}={path} are trusted: correct or unset it" in message
    if bundle == "missing":
        assert "invalid path" in message


def test_a_copy_put_there_by_hand_is_used_where_nothing_is_trusted(record, tmp_path):
    target = tmp_path / "file"
    target.write_bytes(CONTENT)
    get(target, record)
    target.write_bytes(b"another one")
    with pytest.raises(SessionError, match="cannot be asked"):
        get(target, record)
