"""Backups: read and checked before any host is touched; made, and put back, by scripts that leave nothing behind."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyrage
import pytest
import yaml
from fake_hosts import Facts, fact, run
from pyinfra.api import OperationError
from sample_cluster import GROUPS, hosts_data
from stub_programs import calls, run_with
from test_several_control_planes import host_data

from kubestage.backups import age
from kubestage.backups.archive import CLUSTER, REGISTRY, SUMS, Archive, BackupError, Volume, checked
from kubestage.checks.backup import fits, told
from kubestage.checks.cluster_hosts import ClusterHosts
from kubestage.checks.load import load
from kubestage.facts.files import Missing
from kubestage.facts.host_report import HostReport
from kubestage.facts.kubernetes import Kubeadm
from kubestage.kubernetes import RESTORING
from kubestage.operations import backup as operations
from kubestage.operations import restore
from kubestage.render import backup
from kubestage.render.encryption import Stage, written

STAGE = Stage(("key-1", "identity"), {"key-1": "c2VjcmV0"})
KUBEADM: dict[str, Any] = {
    "kubernetesVersion": "v1.36.3",
    "clusterName": "kubestage",
    "networking": {"dnsDomain": "cluster.local", "podSubnet": "10.244.0.0/16", "serviceSubnet": "10.96.0.0/12"},
    "apiServer": {"extraArgs": [{"name": "encryption-provider-config", "value": STAGE.path}]},
}
PV = {
    "spec": {
        "claimRef": {"namespace": "registry", "name": "registry"},
        "hostPath": {"path": "/var/lib/kubestage/volumes/one"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [{"values": ["cp1"]}]}]}},
    }
}
BLOB = b"a layer"
DIGEST = hashlib.sha256(BLOB).hexdigest()


def tar(files: Mapping[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


def summed(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """With the file of their sums, as sha256sum writes it."""
    lines = "".join(f"{hashlib.sha256(content).hexdigest()}  ./{name}\n" for name, content in files.items())
    return {"sums": lines.encode(), **files}


def state(registry: bytes | None, etcd: bytes = b"etcd's") -> dict[str, bytes]:
    assert STAGE.file
    files = {
        "kubeadm.yaml": yaml.safe_dump(KUBEADM).encode(),
        "nodes.json": json.dumps({"items": [{"metadata": {"name": name}} for name in ("cp1", "w1")]}).encode(),
        "volumes.json": json.dumps({"items": [PV, {"spec": {}}]}).encode(),
        "snapshot.json": b'{"revision": 77}',
        f"encryption/{Path(STAGE.path).name}": STAGE.file.data,
        f"encryption/{Path(written('key-1').path).name}": b"",
        "etcd.db": etcd,
        "pki/ca.key": b"a key",
    }
    if registry is not None:
        files["registry.sha256"] = hashlib.sha256(registry).hexdigest().encode()
    return files


class Made:
    """A backup in a folder, and the key that opens it."""

    def __init__(self, folder: Path, blobs: Mapping[str, bytes] | None = None) -> None:
        self.folder, self.key = folder / "20261127T000000Z", folder / "backup.key"
        self.folder.mkdir()
        self.identity = pyrage.x25519.Identity.generate()
        self.key.write_text(f"# created: today\n{self.identity}\n")
        self.registry = self.sealed(tar(blobs if blobs is not None else {f"{blob(DIGEST)}": BLOB}))
        self.write(self.sealed(tar(summed(state(self.registry)))), self.registry)

    def sealed(self, content: bytes) -> bytes:
        return bytes(pyrage.encrypt(content, [self.identity.to_public()]))

    def write(self, cluster: bytes, registry: bytes | None) -> None:
        files = {CLUSTER: cluster} | ({REGISTRY: registry} if registry is not None else {})
        for name, content in files.items():
            (self.folder / name).write_bytes(content)
        lines = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items()]
        (self.folder / SUMS).write_text("".join(lines))

    def opened(self) -> Archive:
        return checked(self.folder, self.key)

    def refused(self) -> str:
        with pytest.raises(BackupError) as error:
            self.opened()
        return str(error.value)


def blob(digest: str) -> str:
    return f"docker/registry/v2/blobs/sha256/{digest[:2]}/{digest}/data"


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


class TestArchive:
    def test_whole(self, made: Made) -> None:
        found = made.opened()
        assert (found.version, found.nodes, found.revision, found.blobs) == ("1.36.3", ("cp1", "w1"), 77, 1)
        assert found.volumes == (Volume("registry/registry", "cp1", "/var/lib/kubestage/volumes/one"),)
        assert found.encryption.stages == (STAGE,) and found.encryption.path == STAGE.path
        assert found.encryption.written == "key-1"
        assert "c2VjcmV0" not in repr(found)

    def test_larger_than_a_pipe(self, made: Made) -> None:
        made.write(made.sealed(tar(summed(state(None, os.urandom(1 << 20))))), None)
        assert made.opened().blobs is None

    def test_by_a_key_of_ssh(self, made: Made, tmp_path: Path) -> None:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "ssh"], check=True)
        public = pyrage.ssh.Recipient.from_str((tmp_path / "ssh.pub").read_text().strip())
        made.write(bytes(pyrage.encrypt(tar(summed(state(None))), [public])), None)
        made.key = tmp_path / "ssh"
        assert made.opened().revision == 77

    def test_another_key(self, made: Made) -> None:
        made.key.write_text(str(pyrage.x25519.Identity.generate()))
        assert f"{CLUSTER}: it does not open" in made.refused()

    @pytest.mark.parametrize(("text", "said"), [("", "no identity in it"), ("age1abc\n", "no identity of age")])
    def test_no_key(self, made: Made, text: str, said: str) -> None:
        made.key.write_text(text)
        assert said in made.refused()

    def test_no_file_of_a_key(self, made: Made) -> None:
        made.key.unlink()
        assert f"{made.key}: No such file" in made.refused()

    def test_no_backup(self, made: Made) -> None:
        shutil.rmtree(made.folder)
        assert "No such file" in made.refused()

    @pytest.mark.parametrize("name", [CLUSTER, REGISTRY])
    @pytest.mark.parametrize("knows_sums", [False, True])
    @pytest.mark.parametrize("how", ["cut", "changed"])
    def test_damaged(self, made: Made, name: str, knows_sums: bool, how: str) -> None:
        """By a disk; and by somebody who has written the sums anew."""
        path = made.folder / name
        content = bytearray(path.read_bytes())
        if how == "cut":
            del content[-20:]
        else:
            content[-20] ^= 1
        path.write_bytes(content)
        if knows_sums:
            both = {each: (made.folder / each).read_bytes() for each in (CLUSTER, REGISTRY)}
            made.write(both[CLUSTER], both[REGISTRY])
        said = made.refused()
        assert "cut or changed" in said or "does not open" in said or "of two backups" in said

    def test_files_of_two_backups(self, made: Made) -> None:
        made.write((made.folder / CLUSTER).read_bytes(), made.sealed(tar({})))
        assert f"its {REGISTRY} and its {CLUSTER} are of two backups" in made.refused()

    def test_a_blob_that_is_another_one(self, tmp_path: Path) -> None:
        assert "is another one" in Made(tmp_path, {blob("0" * 64): BLOB}).refused()

    @pytest.mark.parametrize("left_out", ["etcd.db", "sums", "pki/ca.key"])
    def test_not_made_by_a_backup(self, made: Made, left_out: str) -> None:
        files = summed(state(None))
        del files[left_out]
        made.write(made.sealed(tar(files)), None)
        assert "it was not made by backup.py" in made.refused()

    def test_the_host_gets_a_key_of_its_own(self, made: Made, tmp_path: Path) -> None:
        copies = {file: tmp_path / file.name for file in made.opened().files}
        said = subprocess.run(age.sealing(made.key, copies), capture_output=True, text=True, check=True).stdout
        own = pyrage.x25519.Identity.from_str(said.strip())
        for file, copy in copies.items():
            opened = pyrage.decrypt(copy.read_bytes(), [own])
            assert opened == pyrage.decrypt(file.read_bytes(), [made.identity])
            with pytest.raises(pyrage.DecryptError):
                pyrage.decrypt(file.read_bytes(), [own])


def cluster(**reports: HostReport) -> ClusterHosts:
    data = {name: host_data(number) for number, name in enumerate(("cp1", "w1", "w2"), 11)}
    return ClusterHosts(load(data, GROUPS), reports)


class TestFits:
    def fits(self, made: Made, **changed: Any) -> list[str]:
        archive = made.opened()
        return [str(each) for each in fits(cluster(), replace(archive, kubeadm={**archive.kubeadm, **changed}))]

    def test_this_cluster(self, made: Made) -> None:
        assert self.fits(made) == []
        assert self.fits(made, kubernetesVersion="v1.36.1") == []

    @pytest.mark.parametrize(
        ("changed", "said"),
        [
            ({"kubernetesVersion": "v1.35.9"}, 'restore with kubernetes_version = "1.35.9", and upgrade afterwards'),
            ({"clusterName": "other"}, 'the backup is of a cluster with "other"'),
            ({"networking": {**KUBEADM["networking"], "podSubnet": "10.9.0.0/16"}}, 'a cluster with "10.9.0.0/16"'),
        ],
    )
    def test_another_cluster(self, changed: dict[str, Any], said: str, made: Made) -> None:
        (problem,) = self.fits(made, **changed)
        assert said in problem

    def test_what_is_not_in_it_is_told(self, made: Made) -> None:
        archive = replace(
            made.opened(),
            nodes=("cp1", "w9"),
            volumes=(Volume("registry/registry", "cp1", "/a"), Volume("a/b", "cp1", "/b"), Volume("c/d", "w9", "/c")),
            blobs=None,
        )
        empty, gone, registry = told(cluster(), archive)
        assert empty.endswith("they will be empty: a/b")
        assert "w9; with them go the volumes of c/d" in gone
        assert "it will be empty" in registry


PROGRAMS = {
    "kubectl": """\
case "$*" in
    *"exec "*) tar -cf - -T /dev/null; cat @FOLDER@/said >&2; exit $(cat @FOLDER@/exec) ;;
    *"get pods"*) ;;
    *"get "*) echo said ;;
esac""",
    "ctr": """\
case "$*" in
    *"snapshot save "*) for last; do :; done; echo db > "$last" ;;
    *"snapshot status"*) echo '{}' ;;
esac""",
    "age": 'while [ $# -gt 1 ]; do shift; done; { echo age; cat; } > "$1"',
}


RECIPIENTS = [str(pyrage.x25519.Identity.generate().to_public()) for _ in range(2)]
SETTINGS = {"backup_recipients": RECIPIENTS, "backup_keep": 2}


class TestScript:
    MOVED = ("/var/lib/etcd", "/var/lib/kubestage", "/etc/kubernetes", "/run")

    def go(
        self,
        folder: Path,
        registry: bool = True,
        exec_code: int = 0,
        said: str = "",
        stubs: Mapping[str, str] | None = None,
    ) -> int:
        pki = folder / "etc/kubernetes/pki/etcd"
        pki.mkdir(parents=True, exist_ok=True)
        for name in ("ca.crt", "ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "sa.key", "sa.pub"):
            (pki.parent / name).touch()
        for name in ("ca.crt", "ca.key"):
            (pki / name).touch()
        (folder / "exec").write_text(str(exec_code))
        (folder / "said").write_text(said)
        programs = {name: text.replace("@FOLDER@", str(folder)) for name, text in {**PROGRAMS, **(stubs or {})}.items()}
        common = load(hosts_data(SETTINGS), GROUPS).common
        script = backup.script(common.model_copy(update={"backup_registry": registry}))
        return run_with(folder, script, programs, self.MOVED).returncode

    def backups(self, folder: Path) -> list[Path]:
        return sorted((folder / "var/lib/kubestage/backups").iterdir())

    def test_made(self, tmp_path: Path) -> None:
        assert self.go(tmp_path) == 0
        (made,) = self.backups(tmp_path)
        assert sorted(file.name for file in made.iterdir()) == [SUMS, CLUSTER, REGISTRY]
        assert all(file.read_bytes().startswith(b"age\n") for file in made.glob("*.age"))
        assert list((tmp_path / "var/lib/etcd").iterdir()) == []
        said = calls(tmp_path)
        assert f"age -r {RECIPIENTS[0]} -r {RECIPIENTS[1]} -o" in " ".join(said)
        patches = [json.loads(call.split("--patch ")[1]) for call in said if " patch cronjob " in call]
        assert [each["spec"]["suspend"] for each in patches] == [True, False]
        made_of = subprocess.run(
            ["tar", "-tf", "-"], input=(made / CLUSTER).read_bytes()[4:], capture_output=True, check=True
        )
        assert {"./sums", "./pki/etcd/ca.key", "./registry.sha256", "./etcd.db"} <= {*made_of.stdout.decode().split()}

    @pytest.mark.parametrize(
        ("said", "code"),
        [
            ("tar: docker/registry/v2/repositories/a/_uploads/1/data: No such file or directory\n", 0),
            ("tar: docker/registry/v2/blobs/a: Input/output error\n", 1),
        ],
    )
    def test_an_upload_that_ends_meanwhile(self, said: str, code: int, tmp_path: Path) -> None:
        last = "tar: error exit delayed from previous errors\ncommand terminated with exit code 1\n"
        assert self.go(tmp_path, exec_code=1, said=said + last) == code

    def test_a_reader_that_ends_without_a_word(self, tmp_path: Path) -> None:
        assert self.go(tmp_path, exec_code=137) == 1

    def test_no_more_than_are_kept(self, tmp_path: Path) -> None:
        for name in ("20250101T000000Z", "20250102T000000Z"):
            (tmp_path / "var/lib/kubestage/backups" / name).mkdir(parents=True)
        assert self.go(tmp_path, registry=False) == 0
        oldest, newest = self.backups(tmp_path)
        assert oldest.name == "20250102T000000Z" and sorted(file.name for file in newest.iterdir()) == [SUMS, CLUSTER]

    @pytest.mark.parametrize(
        ("exec_code", "stubs"),
        [
            (1, {}),
            (0, {"age": "exit 1"}),
            (0, {"ctr": "exit 1"}),
            (0, {"kubectl": 'case "$*" in *" patch "*) ;; *) exit 1 ;; esac'}),
        ],
        ids=["the registry", "age", "etcd", "kubectl"],
    )
    def test_what_fails_leaves_nothing(self, exec_code: int, stubs: dict[str, str], tmp_path: Path) -> None:
        assert self.go(tmp_path, exec_code=exec_code, said="tar: /data: Input/output error", stubs=stubs) != 0
        assert self.backups(tmp_path) == []
        assert list((tmp_path / "var/lib/etcd").iterdir()) == []
        *_, resumed, deleted = calls(tmp_path)
        assert '{"spec":{"suspend":false}}' in resumed and "delete pod registry-volume" in deleted


@pytest.mark.parametrize(("initialized", "images_wait", "sends"), [(0, 0, 1), (1, 1, 1), (1, 0, 0)])
def test_a_second_run_sends_what_is_not_done_alone(
    initialized: int, images_wait: int, sends: int, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Archive] = []
    monkeypatch.setattr(restore, "_send", lambda archive, _identity: sent.append(archive))
    images = f"{RESTORING}/{REGISTRY}"
    facts: Facts = {
        fact(Kubeadm): ["initialized"] if initialized else [],
        fact(Missing, paths=[images]): [] if images_wait else [images],
    }
    run(restore.data, facts, archive=made.opened(), identity=made.key)
    assert len(sent) == sends


def test_nodes_of_before_are_forgotten_before_others_join(made: Made) -> None:
    script = restore.after_init(made.opened(), "cp1")
    assert "delete node w1 " in script and "delete node cp1 " not in script
    assert script.index("delete node w1") < script.index("annotate")


class TestBrought:
    """The host's folder of backups is one here; what comes from there is copied."""

    def bring(self, there: Path, here: Path, monkeypatch: pytest.MonkeyPatch, stays: bool = False) -> None:
        def run_on(_host: object, command: str) -> tuple[bool, str]:
            said = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
            return said.returncode == 0, said.stdout.strip()

        monkeypatch.setattr(operations, "BACKUPS", str(there))
        monkeypatch.setattr(operations, "host", SimpleNamespace(name="cp1"))
        monkeypatch.setattr(operations, "run_on", run_on)
        monkeypatch.setattr(operations, "fetch", lambda _host, path, to: shutil.copy(path, to))
        operations._bring(here, 2, stays)

    def test_the_last_ones_are_kept(self, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        here, there = tmp_path / "here", tmp_path / "there"
        for name in ("20260101T000000Z", "20260102T000000Z"):
            (here / name).mkdir(parents=True)
        shutil.copytree(made.folder, there / made.folder.name)
        self.bring(there, here, monkeypatch, stays=True)
        assert sorted(each.name for each in here.iterdir()) == ["20260102T000000Z", made.folder.name]
        assert checked(here / made.folder.name, made.key).revision == 77
        assert list(there.iterdir())
        self.bring(there, tmp_path / "again", monkeypatch)
        assert not list(there.iterdir())

    def test_one_that_changes_on_its_way(self, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        there = shutil.copytree(made.folder, tmp_path / "there" / made.folder.name)
        (there / REGISTRY).write_bytes(b"half")
        with pytest.raises(OperationError, match=f"cp1: the backup changed on its way here: .*{REGISTRY}"):
            self.bring(there.parent, tmp_path / "here", monkeypatch)
        assert there.exists() and not list((tmp_path / "here").glob("2*"))

    def test_there_is_none(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(OperationError, match="there is no backup"):
            self.bring(tmp_path / "there", tmp_path / "here", monkeypatch)
