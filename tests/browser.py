"""Headless Chromium, driven over its DevTools protocol through a pair of pipes."""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is not installed (Debian: apt-get install chromium)"
)

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-sync", "--disable-background-networking", "--disable-component-update",
    "--disable-dev-shm-usage", "--disable-extensions", "--remote-debugging-pipe",
)  # fmt: skip
FRAME = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


class Page:
    """One page; everything it logs, and every request it makes, is kept."""

    def __init__(self, send, receive):
        self._send, self._receive = send, receive
        self._number, self._session = 0, None
        self.requests: list[str] = []
        self.messages: list[str] = []
        """Console output, uncaught exceptions, and what the browser itself complains of."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, timeout=60.0, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._send(message)
        end = time.monotonic() + timeout
        while (answer := self._receive(end)).get("id") != self._number:
            self._note(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _note(self, event):
        found = event.get("params", {})
        match event.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(found["request"]["url"])
            case "Runtime.consoleAPICalled":
                values = [str(one.get("value", one.get("description"))) for one in found["args"]]
                self.messages.append(f"{found['type']}: {' '.join(values)}")
            case "Runtime.exceptionThrown":
                details = found["exceptionDetails"]
                self.messages.append(details.get("exception", details).get("description", "?"))
            case "Log.entryAdded":
                self.messages.append(f"{found['entry']['level']}: {found['entry']['text']}")

    def size(self, width, height):
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def open(self, path: Path):
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.wait("document.readyState === 'complete'")
        self.evaluate(FRAME)

    def begin(self, path: Path):
        """Open a file on a screen of 1280 x 800, with nothing noted of what was before."""
        self.size(1280, 800)
        self.messages.clear()
        self.requests.clear()
        self.open(path)

    def evaluate(self, expression):
        """The JSON-like value of a JavaScript expression; promises are awaited."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait(self, expression, timeout=30.0):
        end = time.monotonic() + timeout
        while not self.evaluate(expression):
            assert time.monotonic() < end, f"never became true: {expression}"
            time.sleep(0.05)

    def key(self, key):
        """Press and release one key, such as " " or ArrowRight."""
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def click(self, selector):
        """Click the middle of an element with the mouse."""
        x, y = self.evaluate(
            f"(box => [box.x + box.width / 2, box.y + box.height / 2])"
            f"(document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self, path: Path):
        """What is in view, as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


@contextlib.contextmanager
def chromium():
    """A `Page` of a browser with a new profile; the browser ends with the context."""
    from_us, to_us = os.pipe(), os.pipe()
    # Chromium reads commands from descriptor 3 and answers on descriptor 4.
    shell = f'exec "$@" 3<&{from_us[0]} 4>&{to_us[1]}'
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            ["bash", "-c", shell, "bash", CHROMIUM, *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(from_us[0], to_us[1]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(from_us[0])
        os.close(to_us[1])
        pending = bytearray()

        def send(message):
            data = json.dumps(message).encode() + b"\0"
            while data:
                data = data[os.write(from_us[1], data) :]

        def receive(end):
            while b"\0" not in pending:
                left = end - time.monotonic()
                if left <= 0 or not select.select([to_us[0]], [], [], left)[0]:
                    raise TimeoutError("chromium does not answer")
                piece = os.read(to_us[0], 1 << 20)
                if not piece:
                    raise RuntimeError("chromium has ended")
                pending.extend(piece)
            message, _, rest = bytes(pending).partition(b"\0")
            pending[:] = rest
            return json.loads(message)

        try:
            yield Page(send, receive)
        finally:
            os.close(from_us[1])  # chromium ends when its commands do
            os.close(to_us[0])
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
