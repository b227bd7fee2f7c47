"""Volumes on the nodes' disks: the manifest, the scripts that make and delete a volume, and how the stack goes."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_hosts import Facts, fact, run, told_by
from pyinfra.api import OperationError
from sample_stacks import check_labels, check_namespaced, check_unprivileged, documents, images, one, pods, settings
from stub_programs import calls, run_with

from kubestage.facts.files import EmptyFolder, Missing
from kubestage.facts.kubernetes import Workload
from kubestage.facts.stack_objects import ObjectName, StackObject, StackObjects, StacksInCluster
from kubestage.facts.unknown import Unknown
from kubestage.operations import stacks
from kubestage.operations import storage as operations
from kubestage.stacks import storage
from kubestage.stacks.stack import Stack

FOLDER_OF_MANIFESTS = "/etc/kubernetes/kubestage/manifests/storage"
KUBECTL = "kubectl --kubeconfig /etc/kubernetes/admin.conf"


def stack(**changed: Any) -> Stack:
    return storage.storage(settings(**changed))


def configuration(**changed: Any) -> dict[str, str]:
    data: dict[str, str] = one(stack(**changed), "ConfigMap")["data"]
    return data


def pod_annotations(**changed: Any) -> dict[str, str]:
    (pod,) = pods(stack(**changed))
    found: dict[str, str] = pod["metadata"]["annotations"]
    return found


def test_what_it_is_made_of() -> None:
    found = stack(storage={"image": "example.com/provisioner:9"})
    assert found.workloads == (Workload("local-path-storage", "Deployment", "local-path-provisioner"),)
    assert images(found) == {"example.com/provisioner:9"}
    check_labels(found)
    check_namespaced(found, cluster_wide={"Namespace", "ClusterRole", "ClusterRoleBinding", "StorageClass"})
    (pod,) = pods(found)
    check_unprivileged(pod)


def test_storage_class() -> None:
    found = one(stack(), "StorageClass")
    assert found["metadata"]["name"] == storage.STORAGE_CLASS
    assert found["metadata"]["annotations"] == {"storageclass.kubernetes.io/is-default-class": "true"}
    assert (found["reclaimPolicy"], found["volumeBindingMode"]) == ("Delete", "WaitForFirstConsumer")


def test_roles_are_given_to_its_own_account() -> None:
    account = one(stack(), "ServiceAccount")["metadata"]
    for binding in documents(stack(), "RoleBinding") + documents(stack(), "ClusterRoleBinding"):
        (subject,) = binding["subjects"]
        assert (subject["name"], subject["namespace"]) == (account["name"], account["namespace"])


def test_it_runs_where_there_is_a_control_plane_alone() -> None:
    (pod,) = pods(stack())
    assert pod["spec"]["tolerations"] == [
        {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"}
    ]


def test_settings_reach_the_provisioner() -> None:
    data = configuration(storage={"path": "/data/volumes"}, busybox_image="example.com/busybox:9")
    (entry,) = json.loads(data["config.json"])["nodePathMap"]
    assert entry == {"node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": ["/data/volumes"]}
    (helper,) = yaml.safe_load(data["helperPod.yaml"])["spec"]["containers"]
    assert helper["image"] == "example.com/busybox:9"
    assert pod_annotations() == pod_annotations()
    assert pod_annotations() != pod_annotations(storage={"path": "/data/volumes"})
    assert pod_annotations() != pod_annotations(busybox_image="example.com/busybox:9")


@pytest.mark.parametrize(("own", "used"), [("", "local-path"), ("cloud-ssd", "cloud-ssd")])
def test_the_platforms_own_class(own: str, used: str) -> None:
    assert storage.storage_class(settings(storage_class=own)) == used


class TestScripts:
    """The scripts that the helper pod runs, by the shell of this machine."""

    def run(self, script: str, volume: Path) -> None:
        environment = {"PATH": os.environ["PATH"], "VOL_DIR": str(volume)}
        subprocess.run(["sh", "-c", configuration()[script]], env=environment, check=True)

    def mode(self, path: Path) -> str:
        return f"{stat.S_IMODE(path.stat().st_mode):o}"

    def test_a_volume_is_made_and_deleted(self, tmp_path: Path) -> None:
        folder = tmp_path / "volumes"
        folder.mkdir(mode=0o755)
        self.run("setup", folder / "pvc-1")
        assert (self.mode(folder), self.mode(folder / "pvc-1")) == ("700", "777")
        self.run("setup", folder / "pvc-2")
        (folder / "pvc-1" / "sub").mkdir()
        (folder / "pvc-1" / "sub" / "file").touch()
        self.run("teardown", folder / "pvc-1")
        assert sorted(path.name for path in folder.iterdir()) == ["pvc-2"]

    def test_a_second_time_is_fine(self, tmp_path: Path) -> None:
        for _ in range(2):
            self.run("setup", tmp_path / "pvc-1")
        (tmp_path / "pvc-1" / "file").touch()
        self.run("setup", tmp_path / "pvc-1")
        assert (tmp_path / "pvc-1" / "file").exists()
        for _ in range(2):
            self.run("teardown", tmp_path / "pvc-1")

    def test_a_folder_that_holds_other_things_is_left_as_it_is(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o755)
        (tmp_path / "others").touch()
        self.run("setup", tmp_path / "pvc-1")
        assert self.mode(tmp_path) == "755"


WAIT = (
    f"volumes=$({KUBECTL} get persistentvolumes "
    "-o jsonpath='{.items[?(@.spec.storageClassName==\"local-path\")].metadata.name}') && "
    f'if test -n "$volumes"; then {KUBECTL} wait --for=delete --timeout=180s persistentvolumes $volumes >/dev/null || '
    f"{{ {KUBECTL} get persistentvolumes >&2; "
    "echo 'the stack storage stays while it has volumes: delete their claims' >&2; exit 1; }; fi"
)


class TestRemoved:
    SEEN = StackObjects((StackObject("storage", "v1", ObjectName("", "Namespace", "", "local-path-storage")),))

    def go(self, seen: StackObjects, on_disk: bool) -> list[str]:
        facts = {
            fact(Missing, paths=[FOLDER_OF_MANIFESTS]): [FOLDER_OF_MANIFESTS] * (not on_disk),
            fact(StacksInCluster): [
                "stack_object storage|v1|Namespace||local-path-storage|Apply||7|{}",
                "stack_objects ",
            ],
        }
        told = told_by(stacks.no_stack, facts, stack=stack(), seen=seen)
        return [each.command for each in told]

    @pytest.mark.parametrize("on_disk", [True, False])
    def test_volumes_go_first(self, on_disk: bool) -> None:
        delete = f"{KUBECTL} delete --ignore-not-found --wait --timeout=180s -f -"
        assert self.go(self.SEEN, on_disk) == [WAIT, delete, *[f"rm -r {FOLDER_OF_MANIFESTS}"] * on_disk]

    def test_it_is_not_there(self) -> None:
        assert self.go(StackObjects(), on_disk=False) == []
        assert self.go(StackObjects(), on_disk=True) == [f"rm -r {FOLDER_OF_MANIFESTS}"]

    def test_no_volumes(self, tmp_path: Path) -> None:
        assert run_with(tmp_path, WAIT, {"kubectl": ""}).returncode == 0
        assert len(calls(tmp_path)) == 1

    @pytest.mark.parametrize("go", [True, False])
    def test_volumes_are_waited_for(self, tmp_path: Path, go: bool) -> None:
        kubectl = f'case "$*" in *jsonpath*) echo pvc-1 pvc-2 ;; *" wait "*) {"true" if go else "false"} ;; esac'
        result = run_with(tmp_path, WAIT, {"kubectl": kubectl})
        assert result.returncode == (0 if go else 1)
        assert f"{KUBECTL} wait --for=delete --timeout=180s persistentvolumes pvc-1 pvc-2" in calls(tmp_path)
        assert ("delete their claims" in result.stderr) is not go

    def test_nothing_is_removed_while_the_api_does_not_answer(self, tmp_path: Path) -> None:
        assert run_with(tmp_path, WAIT, {"kubectl": "exit 1"}).returncode != 0


class TestFoldersOfARebuiltHost:
    """By the shell of this machine."""

    def test_operation(self, tmp_path: Path) -> None:
        folder = tmp_path / "data" / "volumes"
        volumes = {"shop/orders": f"{folder}/pvc-1", "shop/it's": f"{folder}/pvc 2", "shop/kept": f"{tmp_path}/pvc-3"}
        (tmp_path / "pvc-3").mkdir(mode=0o700)
        known = {fact(Missing, paths=sorted(volumes.values())): self.missing(tmp_path, *sorted(volumes.values()))}
        (command,) = run(operations.folders, known, volumes=volumes)
        assert run_with(tmp_path, command, {}).returncode == 0
        assert {path.name: self.mode(path) for path in folder.iterdir()} == {"pvc-1": "777", "pvc 2": "777"}
        assert (self.mode(folder), self.mode(tmp_path / "data")) == ("700", "755")
        assert self.mode(tmp_path / "pvc-3") == "700"
        assert self.missing(tmp_path, *volumes.values()) == []

    def missing(self, folder: Path, *paths: str) -> list[str]:
        result = run_with(folder, fact(Missing, paths=paths), {})
        assert (result.returncode, result.stderr) == (0, "")
        return Missing().process(result.stdout.splitlines())

    def mode(self, path: Path) -> str:
        return f"{stat.S_IMODE(path.stat().st_mode):o}"

    def test_nothing_is_lost(self) -> None:
        known: Facts = {fact(Missing, paths=["/data/pvc-1"]): []}
        assert run(operations.folders, known, volumes={"shop/orders": "/data/pvc-1"}) == []

    def test_nobody_knows_what_lay_here(self) -> None:
        with pytest.raises(OperationError, match=r"h1: which volumes lay here .* EOF\n    -> run again"):
            run(operations.folders, {}, volumes=Unknown("EOF"))


class TestFolder:
    def empty(self, folder: Path, mountpoint: str = "exit 32") -> bool:
        result = run_with(folder, fact(EmptyFolder, path=f"{folder}/volumes"), {"mountpoint": mountpoint})
        assert (result.returncode, result.stderr) == (0, "")
        return EmptyFolder().process(result.stdout.splitlines())

    def test_fact(self, tmp_path: Path) -> None:
        assert not self.empty(tmp_path)
        (tmp_path / "volumes").mkdir()
        assert self.empty(tmp_path)
        assert not self.empty(tmp_path, mountpoint="exit 0")
        (tmp_path / "volumes" / ".hidden").touch()
        assert not self.empty(tmp_path)

    @pytest.mark.parametrize(("lines", "commands"), [(["empty"], ["rmdir /data/volumes"]), ([], [])])
    def test_operation(self, lines: list[str], commands: list[str]) -> None:
        facts = {fact(EmptyFolder, path="/data/volumes"): lines}
        assert run(operations.no_empty_folder, facts, path="/data/volumes") == commands
