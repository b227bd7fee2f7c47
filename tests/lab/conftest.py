"""One cluster for all tests here: blank hosts, and the deploy on them.

While tests are written, KUBESTAGE_TEST_REUSE=1 lets them begin with the lab and the cluster as they are, and stay so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.lab.commands import deploy, lab


@pytest.fixture(scope="session")
def blank_hosts() -> Iterator[None]:
    """The lab's hosts as they come from the cloud."""
    if os.environ.get("KUBESTAGE_TEST_REUSE"):
        lab("up")
        yield
        return
    lab("down")
    lab("up")
    yield
    lab("down")


@pytest.fixture(scope="session")
def cluster(blank_hosts: None) -> None:
    """A cluster on the lab's hosts, as the deploy makes it."""
    deploy()
