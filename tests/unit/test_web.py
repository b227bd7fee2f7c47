"""Sites asked by name at an address: what is sent, what comes back, and why nothing does."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from kubestage.commands.web import Site, SiteError


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server on the loopback that sends back a request's line, host, colour and body."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            told = f"{self.command} {self.path} {self.headers['Host']} {self.headers['X-Colour']} {body}".encode()
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        do_GET = do_POST

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing to read for a test."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_request_as_it_was_made(echo: int) -> None:
    answer = Site("shop.example", "127.0.0.1", echo).ask("/a?b", method="POST", headers={"X-Colour": "red"}, body=b"c")
    assert answer.body.decode() == f"POST /a?b shop.example:{echo} red c"


def test_no_redirect_is_followed(echo: int) -> None:
    answer = Site("shop.example", "127.0.0.1", echo).ask()
    assert (answer.status, answer.headers["location"], answer.certificate) == (302, "/elsewhere", b"")


def test_the_address_as_people_write_it() -> None:
    context = ssl.create_default_context()
    assert Site("a.test", "10.0.0.1", 80).url == "http://a.test"
    assert Site("a.test", "10.0.0.1", 443).url == "http://a.test:443"
    assert Site("a.test", "10.0.0.1", 443, context).url == "https://a.test"
    assert Site("a.test", "10.0.0.1", 8443, context).url == "https://a.test:8443"


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(SiteError, match=r"^Connection refused$"):
        Site("a.test", "127.0.0.1", port).ask()


def test_no_answer_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(SiteError, match="timed out"):
        Site("a.test", "127.0.0.1", silent.getsockname()[1]).ask(timeout_s=0.05)


def test_no_tls_where_it_is_asked_for(echo: int) -> None:
    with pytest.raises(SiteError, match=r"(?i)wrong.version"):
        Site("a.test", "127.0.0.1", echo, ssl.create_default_context()).ask()
