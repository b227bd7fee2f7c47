"""A cluster that is lost with all of its hosts, and made again of its backup; and backups that are refused.

In this order: the backup that the first test makes is restored by the others.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import pyrage
import pytest

from kubestage.backups.archive import CLUSTER, SUMS
from kubestage.kubernetes import BACKUPS, RESTORING
from lab.definition import CHECKOUT
from lab.host_processes import wait_until
from tests.lab.commands import (
    ADMIN,
    KUBECONFIG,
    WITHIN_S,
    control_planes,
    deploy,
    deploy_refused,
    killed_once,
    kubectl,
    kubectl_json,
    lab,
    on,
    settle,
    verify,
)
from tests.lab.notes import notes_on
from tests.lab.pushed import IMAGE, image_is_there, repository

pytestmark = pytest.mark.life

SPACE = "kubestage-test-backup"
ELSEWHERE = "tests/lab/elsewhere/lab.py"
COPIES = CHECKOUT / ".state" / "lab" / "backups"


@dataclass(frozen=True)
class Before:
    """What the cluster had: the folder of its backup, the file of the key that opens it, and what users had in hand."""

    folder: Path
    key: Path
    recipient: str
    kubeconfig: str
    token: str

    def restore(self, folder: Path | None = None, key: Path | None = None) -> tuple[str, ...]:
        return "--data", f"backup={folder or self.folder}", "--data", f"identity={key or self.key}"


def note(name: str) -> None:
    kubectl("-n", SPACE, "create", "configmap", name)


def notes() -> set[str]:
    items = kubectl_json("-n", SPACE, "get", "configmaps")["items"]
    return {each["metadata"]["name"] for each in items} - {"kube-root-ca.crt"}


@pytest.fixture(scope="module")
def before(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Before:
    """The cluster in use, and a backup of it; then something later."""
    identity = pyrage.x25519.Identity.generate()
    key = tmp_path_factory.mktemp("key") / "backup.key"
    key.write_text(f"{identity}\n")
    kubectl("delete", "namespace", SPACE, "--ignore-not-found")
    kubectl("create", "namespace", SPACE)
    note("before")
    kubectl("-n", SPACE, "apply", "-f", "-", given=notes_on("w1", "noted"))
    kubectl("-n", SPACE, "rollout", "status", "deployment/noted", "--timeout=120s")
    kubectl("-n", SPACE, "create", "secret", "generic", "secret", "--from-literal=word=hidden")
    token = kubectl("-n", SPACE, "create", "token", "default", "--duration=24h").strip()
    repository().push(IMAGE)
    shutil.rmtree(COPIES, ignore_errors=True)
    deploy("--data", f"backup_recipients={json.dumps([str(identity.to_public())])}", script="backup.py", **ADMIN)
    (folder,) = COPIES.iterdir()
    note("later")
    return Before(folder, key, str(identity.to_public()), KUBECONFIG.read_text(), token)


def test_a_backup_is_brought_here_and_nothing_is_left_on_the_host(before: Before) -> None:
    assert sorted(file.name for file in before.folder.iterdir()) == [SUMS, CLUSTER, "registry.tar.age"]
    assert on("cp1", f"find {BACKUPS} -mindepth 1; ls /var/lib/etcd") == "member"
    cronjob = kubectl_json("-n", "registry", "get", "cronjob", "registry-cleanup")
    assert cronjob["spec"]["suspend"] is False
    assert deploy().changed == {}


def test_backups_by_a_timer(before: Before) -> None:
    recipients = f"backup_recipients={json.dumps([before.recipient])}"
    there = f"ls -d {BACKUPS}/[0-9]*Z 2>/dev/null || true"
    try:
        changed = deploy("--data", recipients, "--data", "backup_schedule=*:0/1").changed
        assert changed["Backup timer | Timer of backups"] == ["cp1"]
        assert wait_until(lambda: on("cp1", there) != "", WITHIN_S, 1.0)
        assert deploy("--data", recipients, "--data", "backup_schedule=*:0/1").changed == {}
    finally:
        assert deploy().changed == {"Backup timer | No timer of backups": ["cp1"]}
    on("cp1", f"flock /run/kubestage-backup.lock rm -rf {BACKUPS}")
    assert deploy().changed == {}


def test_nobody_is_named_who_could_read_it(cluster: None) -> None:
    assert "nobody is named who could read a backup" in deploy_refused(script="backup.py")


def test_a_living_cluster_is_not_restored_over(before: Before) -> None:
    assert "nothing is restored over that" in deploy_refused(*before.restore(), script="restore.py")


def test_a_backup_that_does_not_open_is_refused(before: Before, tmp_path: Path) -> None:
    other = tmp_path / "other.key"
    other.write_text(str(pyrage.x25519.Identity.generate()))
    assert "it does not open" in deploy_refused(*before.restore(key=other), script="restore.py")
    for how in ("cut", "changed"):
        folder = shutil.copytree(before.folder, tmp_path / how)
        content = bytearray((folder / CLUSTER).read_bytes())
        if how == "cut":
            del content[-1000:]
        else:
            content[len(content) // 2] ^= 1
        (folder / CLUSTER).write_bytes(content)
        assert "cut or changed" in deploy_refused(*before.restore(folder), script="restore.py")
        sums = [line.split() for line in (folder / SUMS).read_text().splitlines()]
        new = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for _, name in sums}
        (folder / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in new.items()))
        assert "it was cut or changed: " in deploy_refused(*before.restore(folder), script="restore.py")
    assert "does not name the file with its key" in deploy_refused(*before.restore()[:2], script="restore.py")


def all_is_as_it_was(before: Before) -> None:
    """But for what came later."""
    settle()
    assert notes() == {"before"}
    assert base64.b64decode(kubectl_json("-n", SPACE, "get", "secret", "secret")["data"]["word"]) == b"hidden"
    new = KUBECONFIG.read_text()
    KUBECONFIG.write_text(before.kubeconfig)
    try:
        assert kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}") == "kubernetes-admin"
    finally:
        KUBECONFIG.write_text(new)
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": before.token}}
    told = json.loads(kubectl("create", "-o", "json", "-f", "-", given=json.dumps(review)))["status"]
    assert told["user"]["username"] == f"system:serviceaccount:{SPACE}:default", told
    image_is_there()
    kubectl("-n", SPACE, "scale", "deployment/noted", "--replicas=2")  # by controllers that know of it
    kubectl("-n", SPACE, "rollout", "status", "deployment/noted", "--timeout=120s")
    kubectl("-n", SPACE, "scale", "deployment/noted", "--replicas=1")
    assert on("cp1", f"ls -d {RESTORING} 2>/dev/null || true") == ""


@pytest.mark.parametrize("control_plane_hosts", [1, 3])
def test_all_hosts_are_lost(control_plane_hosts: int, before: Before) -> None:
    """The first run is killed while kubeadm is at work; the time of the second is printed."""
    with control_planes(control_plane_hosts):
        lab("up")
        for name in ("cp1", "w1", "w2"):
            lab("rebuild", name)
        restored(before)
    lab("up")


def restored(before: Before) -> None:
    at_work = "test -e /etc/kubernetes/manifests/etcd.yaml && echo yes || true"
    killed_once(lambda: on("cp1", at_work) == "yes", *before.restore(), script="restore.py")
    began = time.monotonic()
    run = deploy(*before.restore(), script="restore.py")
    print(f"the second run: {time.monotonic() - began:.1f} s")
    assert run.changed
    all_is_as_it_was(before)
    assert verify() == set()
    assert deploy(*before.restore(), script="restore.py").changed == {}
    assert deploy().changed == {}


def test_other_names_and_addresses(before: Before) -> None:
    """On two hosts, of which the one that leads has the address of a worker of before. Volumes go with their nodes."""
    for name in ("cp1", "w1", "w2"):
        lab("rebuild", name)
    told = deploy(*before.restore(), script="restore.py", inventory=ELSEWHERE, **ADMIN).printed
    assert "cp1, w1, w2" in told and f"the volumes of {SPACE}/noted" in told
    settled = "get", "nodes", "-o", "jsonpath={.items[*].metadata.name}"
    assert kubectl(*settled).split() == ["m1", "n1"]
    assert notes() == {"before"}
    assert kubectl("-n", SPACE, "get", "persistentvolumeclaims", "-o", "name") == ""
    image_is_there("w1")
    kubectl("-n", SPACE, "delete", "deployment", "noted")
    settle()
    assert verify(inventory=ELSEWHERE) == set()
    assert deploy(*before.restore(), script="restore.py", inventory=ELSEWHERE).changed == {}
    assert deploy(inventory=ELSEWHERE).changed == {}
