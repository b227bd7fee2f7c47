"""The image registry over its HTTP API, as Docker speaks it: https://distribution.github.io/distribution/spec/api/."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from kubestage.commands.web import Answer, Site, SiteError

REPOSITORY = "kubestage-verify"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass(frozen=True)
class Image:
    """An image of one layer: its parts as the registry keeps them."""

    manifest: bytes
    config: bytes
    layer: bytes

    @property
    def digest(self) -> str:
        return digest(self.manifest)

    @property
    def blobs(self) -> dict[str, bytes]:
        """Digest -> content of all that the manifest names."""
        return {digest(blob): blob for blob in (self.config, self.layer)}


def image(architecture: str, text: str) -> Image:
    """An image for Linux with one file, which holds `text`: there is nothing in it to run."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        member = tarfile.TarInfo("text")
        member.size = len(text.encode())
        tar.addfile(member, io.BytesIO(text.encode()))
    content = layer.getvalue()
    about = {
        "architecture": architecture,
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [digest(content)]},
    }
    config = json.dumps(about).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _descriptor(_CONFIG, config),
        "layers": [_descriptor(_LAYER, content)],
    }
    return Image(json.dumps(manifest).encode(), config, content)


def _descriptor(kind: str, content: bytes) -> dict[str, object]:
    return {"mediaType": kind, "digest": digest(content), "size": len(content)}


@dataclass(frozen=True)
class Login:
    """A user of the registry."""

    user: str
    password: str = field(repr=False)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()}


@dataclass(frozen=True)
class Repository:
    """REPOSITORY of the registry at one node, as a user has it. SiteError says what the registry did not do."""

    site: Site
    login: Login

    def push(self, image: Image) -> None:
        for name, content in image.blobs.items():
            begun = self._ask("POST", "/blobs/uploads/", 202)
            place = urlsplit(begun.headers["location"])
            query = "&".join(filter(None, [place.query, f"digest={quote(name)}"]))
            kind = {"Content-Type": "application/octet-stream"}
            self._ask("PUT", f"{place.path}?{query}", 201, kind, content, whole=True)
        self._ask("PUT", f"/manifests/{image.digest}", 201, {"Content-Type": _MANIFEST}, image.manifest)

    def manifest(self, name: str) -> bytes:
        """The manifest of that digest."""
        return self._ask("GET", f"/manifests/{name}", 200, {"Accept": _MANIFEST}).body

    def blob(self, name: str) -> bytes:
        return self._ask("GET", f"/blobs/{name}", 200).body

    def delete(self, image: Image) -> None:
        """Delete the manifest and what it names; it is no error if there is no such thing."""
        for path in (f"/manifests/{image.digest}", *(f"/blobs/{name}" for name in image.blobs)):
            self._ask("DELETE", path, 202, missing_is_good=True)

    def _ask(
        self,
        method: str,
        path: str,
        wanted: int,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        *,
        whole: bool = False,
        missing_is_good: bool = False,
    ) -> Answer:
        """`path` is below the repository's own, if it is not the `whole` of it."""
        where = path if whole else f"/v2/{REPOSITORY}{path}"
        answer = self.site.ask(where, method=method, headers={**self.login.headers, **(headers or {})}, body=body)
        if answer.status != wanted and not (missing_is_good and answer.status == 404):
            told = answer.body.decode(errors="replace").strip()
            raise SiteError(f"{method} {urlsplit(where).path}: HTTP {answer.status} {told}")
        return answer
