"""A local server that behaves as Zenodo does since 2026, and misbehaves on order."""

import hashlib
import json
import re
import threading
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from spikereach.config import Config, Download
from spikereach.config.sessions import ZENODO
from spikereach.data.sources.zenodo import Zenodo

CONTENT = np.random.default_rng(7).bytes(700_001)
MD5 = hashlib.md5(CONTENT).hexdigest()
SESSION = replace(ZENODO["loco_20170213_02"], md5=MD5)
KNOWN = ZENODO["loco_20170210_03"]
"""Its file is another one than that of the true record."""
AGENT = re.compile(r"\w+/[\d.]+ \(https?://[^ ]+\)")
WINDOW_S = 60


@dataclass
class Request:
    """What was asked for: metadata ("record"), a file's "content", or the file beside the record's
    page ("file")."""

    kind: str
    byte_range: str | None


class Server(ThreadingHTTPServer):
    """A record with two files.

    ``script`` says what happens to the next requests for the record or a file, wherever that lies;
    ``ranges`` whether parts are sent from where the metadata say the file lies; ``limit`` how many
    requests it answers within a minute of ``clock``.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.root = f"http://127.0.0.1:{self.server_port}"
        self.record = f"{self.root}/api/records/583331"
        self.script: dict[str, deque] = {"record": deque(), "file": deque()}
        self.ranges, self.limit, self.clock = True, 133, time.monotonic
        self.window: tuple[float, int] = (self.clock(), 0)  # its start, requests in it
        self.hung_up = False
        self.requests: list[Request] = []
        self.refused = 0
        """Requests beyond the limit."""
        self.metadata = {
            "files": [
                {
                    "key": f"{session.name}.mat",
                    "size": len(CONTENT),
                    "checksum": f"md5:{MD5}",
                    "links": {"self": f"{self.record}/files/{session.name}.mat/content"},
                }
                for session in (KNOWN, SESSION)
            ]
        }

    def asked(self) -> list[str | None]:
        """The Range headers of the requests for files so far."""
        return [each.byte_range for each in self.requests if each.kind != "record"]

    def left(self) -> tuple[int, float]:
        """Requests and seconds that are left of this minute, when another one comes."""
        start, count = self.window
        if self.clock() >= start + WINDOW_S:
            start, count = self.clock(), 0
        self.window = start, count + 1
        return self.limit - count - 1, start + WINDOW_S - self.clock()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_):
        pass

    def do_GET(self):
        server, path = self.server, self.path
        kind = "file" if path.startswith("/records/") else "record"
        kind = "content" if path.endswith("/content") else kind
        left, seconds = server.left()
        headers = {
            "X-RateLimit-Limit": server.limit,
            "X-RateLimit-Remaining": max(left, 0),
            "X-RateLimit-Reset": int(time.time() + seconds) + 1,
        }
        if left < 0:
            server.refused += 1
            return self.send(429, b"133 per 1 minute", headers)
        if not AGENT.fullmatch(self.headers.get("User-Agent", "")):
            return self.send(403, b"Unusual traffic from your network", headers)
        server.requests.append(Request(kind, self.headers.get("Range")))
        script = server.script["record" if kind == "record" else "file"]
        step = script.popleft() if script else {}
        if kind == "record" and self.headers["Accept"] != "application/json":
            step = {"body": b"<!doctype html><title>A record</title>"} | step
        body = json.dumps(server.metadata).encode() if kind == "record" else CONTENT
        body = step.get("body", body)
        status, begin = step.get("status", 200), 0
        headers |= step.get("headers", {})
        byte_range = self.headers.get("Range")
        ranged = kind == "file" or (kind == "content" and server.ranges)
        if status == 200 and byte_range and ranged and not step.get("ignore_range"):
            begin = int(byte_range.removeprefix("bytes=").removesuffix("-"))
            status = 206
            headers["Content-Range"] = f"bytes {begin}-{len(body) - 1}/{len(body)}"
        how = {name: step[name] for name in ("cut_after", "announced") if name in step}
        return self.send(status, body[begin:], headers, **how)

    def send(self, status, body, headers, *, cut_after=None, announced=True):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, str(value))
        if announced:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.close_connection = True
        try:
            self.wfile.write(body[:cut_after])
        except ConnectionError:
            self.server.hung_up = True


def settings(record: str, retries: int = 3) -> Download:
    return Download(record=record, retries=retries, backoff_s=0.01, timeout_s=5.0)


def source(download: Download, progress: bool = False) -> Zenodo:
    return Zenodo(Config.model_construct(download=download, progress=progress))


def fetch(server, target, session=SESSION, **changes):
    source(settings(server.record, **changes)).fetch(session, target)


@contextmanager
def running(server):
    """A server that answers while within."""
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
