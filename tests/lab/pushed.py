"""An image that tests push to the platform's registry, and look for later."""

from __future__ import annotations

import json

from kubestage.facts.registry import USERS
from lab.host_processes import wait_until
from tests.lab.commands import WITHIN_S, on
from tests.lab.sites import AWAY, page, site
from tests.verify.registry import Login, Repository, image

IMAGE = image("amd64", "that tests look for")


def repository(leader: str = "cp1") -> Repository:
    """Of the registry at w1, as its user, of whom the host `leader` knows."""
    ((user, password),) = json.loads(on(leader, f"cat {USERS}")).items()
    return Repository(site("registry", "w1"), Login(user, password))


def image_is_there(leader: str = "cp1") -> None:
    """All of IMAGE, by digest, once the registry is served: Envoy is told in its turn."""
    assert wait_until(lambda: not page("registry", "w1").startswith(AWAY), WITHIN_S, 0.2)
    pulled = repository(leader)
    assert pulled.manifest(IMAGE.digest) == IMAGE.manifest
    for name, content in IMAGE.blobs.items():
        assert pulled.blob(name) == content
