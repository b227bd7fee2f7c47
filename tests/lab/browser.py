"""Headless Chromium, told what to do by its DevTools protocol: pages as a person's browser shows them, login included.

It trusts the certificates of one CA beside those that it comes with (certutil of libnss3-tools), and looks names up
nowhere: every host is at one address.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import websocket

TIMEOUT_S = 60
# A machine without a way out keeps such a browser waiting for what it asks for by itself.
_ALONE = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")


@dataclass(frozen=True)
class Shown:
    """A page: its HTTP status, its text as it is shown, and a picture of it (PNG)."""

    status: int
    text: str
    picture: bytes


@dataclass
class Page:
    """An open page."""

    connection: websocket.WebSocket
    user: str
    password: str = field(repr=False)
    _sent: int = 0
    _asked: int = 0
    _status: int = 0
    _loaded: bool = False

    def open(self, url: str) -> Shown:
        """Go to `url`. Where a login is asked for it is given, once: where it is not taken, what is shown says so."""
        for domain in ("Page", "Network"):
            self._tell(f"{domain}.enable")
        self._tell("Fetch.enable", handleAuthRequests=True)
        moved = self._tell("Page.navigate", url=url)
        assert "errorText" not in moved, f"{url}: {moved['errorText']}"
        while not self._loaded:
            self._heard(json.loads(self.connection.recv()))
        text = self._tell("Runtime.evaluate", expression="document.body.innerText")["result"]["value"]
        picture = base64.b64decode(self._tell("Page.captureScreenshot")["data"])
        return Shown(self._status, text, picture)

    def _send(self, method: str, **parameters: Any) -> int:
        self._sent += 1
        self.connection.send(json.dumps({"id": self._sent, "method": method, "params": parameters}))
        return self._sent

    def _tell(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command; what happens meanwhile is seen to."""
        number = self._send(method, **parameters)
        while True:
            message = json.loads(self.connection.recv())
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                result: dict[str, Any] = message["result"]
                return result
            self._heard(message)

    def _heard(self, message: dict[str, Any]) -> None:
        event, told = message.get("method"), message.get("params", {})
        if event == "Fetch.requestPaused":
            self._send("Fetch.continueRequest", requestId=told["requestId"])
        elif event == "Fetch.authRequired":
            self._asked += 1
            login = {"response": "ProvideCredentials", "username": self.user, "password": self.password}
            answer = login if self.password and self._asked == 1 else {"response": "CancelAuth"}
            self._send("Fetch.continueWithAuth", requestId=told["requestId"], authChallengeResponse=answer)
        elif event == "Network.responseReceived" and told["type"] == "Document":
            self._status = told["response"]["status"]
        elif event == "Page.loadEventFired":
            self._loaded = True


@contextmanager
def page(ca: Path, address: str, user: str = "", password: str = "") -> Iterator[Page]:
    """A page of a browser of its own, for which every host is at `address`."""
    with TemporaryDirectory(prefix="kubestage-browser-") as name:
        home = Path(name)
        database = home / ".pki" / "nssdb"
        database.mkdir(parents=True)
        for words in (["-N", "--empty-password"], ["-A", "-t", "C,,", "-n", "kubestage", "-i", str(ca)]):
            subprocess.run(["certutil", "-d", f"sql:{database}", *words], check=True, capture_output=True)
        arguments = [
            "--headless",
            "--no-sandbox",  # it is root here, which its sandbox refuses
            "--disable-gpu",
            "--disable-quic",
            *_ALONE,
            "--no-proxy-server",
            "--window-size=1280,800",
            f"--host-resolver-rules=MAP * {address}, EXCLUDE 127.0.0.1",
            "--remote-debugging-port=0",
            f"--user-data-dir={home / 'data'}",
            "about:blank",
        ]
        with subprocess.Popen(
            ["chromium", *arguments],
            env={**os.environ, "HOME": name},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as browser:
            try:
                connection = _connected(browser)
                yield Page(connection, user, password)
                connection.close()
            finally:
                browser.terminate()


def _connected(browser: subprocess.Popen[str]) -> websocket.WebSocket:
    """A connection to the browser's one page."""
    assert browser.stderr
    said = []
    for line in browser.stderr:
        said.append(line)
        if line.startswith("DevTools listening on ws://"):
            break
    else:
        raise AssertionError(f"chromium did not start:\n{''.join(said)}")
    # What it says from now on is not needed, but a full pipe would stop it.
    threading.Thread(target=browser.stderr.read, daemon=True).start()
    browser_address = line.split()[-1]
    whole = websocket.create_connection(browser_address, timeout=TIMEOUT_S, suppress_origin=True)
    whole.send(json.dumps({"id": 1, "method": "Target.getTargets"}))
    targets = json.loads(whole.recv())["result"]["targetInfos"]
    whole.close()
    (target,) = (each["targetId"] for each in targets if each["type"] == "page")
    address = browser_address.partition("/devtools/")[0]
    return websocket.create_connection(f"{address}/devtools/page/{target}", timeout=TIMEOUT_S, suppress_origin=True)
