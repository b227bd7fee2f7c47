"""One control plane host with no worker has the whole platform. After the tests that share three hosts."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

import pytest

from kubestage.certificates.platform import issued, new_ca, wildcard_names
from lab.definition import CHECKOUT
from tests.lab.commands import deploy, lab, verify
from tests.lab.sites import DOMAIN

INVENTORY = "tests/lab/single.py"
FILES = CHECKOUT / ".state" / "single-files"


@pytest.fixture
def files() -> None:
    """What a user brings: a CA, a certificate of it for the sites, and a password."""
    FILES.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)
    ca = new_ca("A CA of one's own", now)
    site = issued(ca, wildcard_names(DOMAIN), now)
    contents = {
        "ca.crt": ca.certificate,
        "ca.key": ca.key,
        "site.crt": site.certificate,
        "site.key": site.key,
        "password": secrets.token_urlsafe(),
    }
    for name, content in contents.items():
        (FILES / name).touch(mode=0o600)
        (FILES / name).write_text(content)


def test_a_host_alone_has_it_all(blank_hosts: None, files: None) -> None:
    """By settings that other tests have not: ports, certificates, users, a label, a taint and a kernel setting."""
    lab("up", KUBESTAGE_LAB_WORKERS="0")  # the others go
    lab("rebuild", "cp1", KUBESTAGE_LAB_WORKERS="0")
    deploy(inventory=INVENTORY)
    assert deploy(inventory=INVENTORY).changed == {}
    assert verify(inventory=INVENTORY) == set()
