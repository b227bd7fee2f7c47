"""Hosts on which others have been at work: apt sources, runtimes, restarts, programs of the same name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest

from kubestage.kubernetes import CERTS_D
from kubestage.render.runtime import DOCKER_CONFIG, MIRROR_MARK, UNITS
from tests.lab.commands import deploy, on

pytestmark = pytest.mark.life

RUNTIME = "Runtime | Services of containerd and Docker"
SOURCES = "/etc/apt/sources.list.d/kubestage.list"
THEIR_KEY = "/etc/apt/keyrings/docker.asc"
THEIRS = "/etc/apt/sources.list.d/docker.list"


@contextmanager
def undone(host: str, command: str) -> Iterator[None]:
    """Whatever happens, the host is as before at the end."""
    try:
        yield
    finally:
        on(host, command)


def test_an_apt_source_of_the_same_repository(cluster: None) -> None:
    """Docker's own docker.list: apt would read no source at all any more."""
    ours = on("w1", f"grep -v ' /$' {SOURCES}")
    key = ours.partition("signed-by=")[2].partition("]")[0]
    with undone("w1", f"rm -f {THEIRS} {THEIR_KEY}"):
        on("w1", f"cp {key} {THEIR_KEY}; sed -n 's|{key}|{THEIR_KEY}|p' {SOURCES} >{THEIRS}")
        assert "Conflicting values set for option Signed-By" in on("w1", "apt-get update 2>&1 || true")
        assert deploy("--limit", "w1").changed == {"Runtime | apt sources": ["w1"]}
        assert on("w1", f"cat {THEIRS}").startswith(f"# kubestage: deb [signed-by={THEIR_KEY}")
        assert "Conflicting" not in on("w1", "apt-get indextargets 2>&1 >/dev/null")
        assert deploy("--limit", "w1").changed == {}


def test_neither_a_clock_nor_a_namesake_changes_anything(cluster: None) -> None:
    """Files that are of tomorrow, and a kube-apiserver that is somebody else's: the newest, which pidof puts first."""
    files = [file for configuration in UNITS.values() for file in configuration]
    on("w1", f"touch --date tomorrow {' '.join(files)} /etc/kubernetes/kubelet.conf.d/kubestage.conf")
    with undone("cp1", "systemctl stop namesake"):
        on("cp1", "cp /bin/sleep /tmp/kube-apiserver && systemd-run --quiet --unit namesake /tmp/kube-apiserver 300")
        assert deploy().changed == {}


def test_a_restart_that_is_owed_and_a_mirror_that_is_gone(cluster: None) -> None:
    """Docker runs with what is not on disk, whose time says nothing; a registry of an earlier profile is left."""
    on("w2", f"cp --preserve {DOCKER_CONFIG} /tmp/kept && sed -i 's/20m/30m/' {DOCKER_CONFIG}")
    on("w2", f"systemctl restart docker && cp --preserve /tmp/kept {DOCKER_CONFIG}")
    old, theirs = f"{CERTS_D}/old.example", f"{CERTS_D}/theirs.example"
    with undone("w2", f"rm -rf {theirs}"):
        on("w2", f"mkdir -p {old} {theirs} && cat >{old}/hosts.toml", given=f"{MIRROR_MARK}\n")
        on("w2", f"echo '# mine' >{theirs}/hosts.toml")
        changed = deploy().changed
        assert changed == {RUNTIME: ["w2"], "Runtime | Configuration of containerd and Docker": ["w2"]}
        assert on("w2", f"ls {CERTS_D}").split().count("theirs.example") == 1
        assert on("w2", f"test -e {old} || echo gone") == "gone"


@pytest.mark.parametrize("files", ["4", "3"])
def test_docker_restarts_on_one_host_after_the_other(cluster: None, files: str) -> None:
    """The lab's hosts have one kernel, and so one monotonic clock. The second run sets it back."""
    assert RUNTIME in deploy("--data", f"docker_log_max_files={files}").changed
    show = "systemctl show docker --value --property InactiveExitTimestampMonotonic,ActiveEnterTimestampMonotonic"
    times = sorted(sorted(int(time) for time in on(host, show).split()) for host in ("cp1", "w1", "w2"))
    assert all(ended <= began for (_, ended), (began, _) in pairwise(times)), times
