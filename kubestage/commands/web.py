"""The platform's sites, asked as people ask for them: by name, at one node's address, whatever DNS says of the name."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

TIMEOUT_S = 5.0


class SiteError(Exception):
    """A site has not answered; the message says why in a few words."""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; the names of `headers` are in lower case. `certificate`: the site's (DER), empty without TLS."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    certificate: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Site:
    """`host` at the machine at `address`; with TLS where there is a `context`, which says what CA is trusted."""

    host: str
    address: str
    port: int
    context: ssl.SSLContext | None = None

    @property
    def url(self) -> str:
        """Without the port where it is the usual one, as people write it."""
        scheme, usual = ("https", 443) if self.context else ("http", 80)
        return f"{scheme}://{self.host}" + ("" if self.port == usual else f":{self.port}")

    def ask(
        self,
        path: str = "/",
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Answer:
        """What the site answers; redirects are not followed. SiteError where there is no answer, or no trust in it."""
        client: http.client.HTTPConnection
        if self.context:
            client = http.client.HTTPSConnection(self.host, self.port, context=self.context)
        else:
            client = http.client.HTTPConnection(self.host, self.port)
        try:
            with self._connected(timeout_s) as connection:
                certificate = b""
                if isinstance(connection, ssl.SSLSocket):
                    certificate = connection.getpeercert(binary_form=True) or b""
                client.sock = connection
                client.request(method, path, body, dict(headers or {}))
                answer = client.getresponse()
                found = {name.lower(): value for name, value in answer.getheaders()}
                return Answer(answer.status, found, answer.read(), certificate)
        except ssl.SSLCertVerificationError as error:
            raise SiteError(f"its certificate is not trusted: {error.verify_message}") from None
        except (OSError, http.client.HTTPException) as error:
            raise SiteError(getattr(error, "strerror", None) or str(error) or type(error).__name__) from None

    def _connected(self, timeout_s: float) -> socket.socket:
        plain = socket.create_connection((self.address, self.port), timeout_s)
        if not self.context:
            return plain
        try:
            return self.context.wrap_socket(plain, server_hostname=self.host)
        except OSError:
            plain.close()
            raise
