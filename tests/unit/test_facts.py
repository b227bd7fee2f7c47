"""What facts make of a host's answers; and their commands, run where they can be."""

from __future__ import annotations

import base64
import json
import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from socket import gethostname

import pytest
import yaml
from fake_hosts import Hosts, fact
from pyinfra.api import FactBase
from stub_programs import calls, run_with

from kubestage.facts.certificates import Authority
from kubestage.facts.files import FileState, FileStates, Texts
from kubestage.facts.kubernetes import (
    ApiserverNames,
    Applied,
    ImagesPresent,
    Kubeadm,
    KubeadmState,
    ManifestsApplied,
    Nodes,
    Ready,
    Workload,
    WorkloadsReady,
)
from kubestage.facts.node_certificates import NodeCertificates
from kubestage.facts.packages import PackageState, PackageStates
from kubestage.facts.static_pods import StaticPods, StaticPodsState
from kubestage.facts.system import HostNames, LoadedModules, Swap, SwapState, Sysctls
from kubestage.facts.units import UnitState, UnitStates
from kubestage.facts.unknown import Unknown
from kubestage.host_file import HostFile
from kubestage.started import recorded


def sh(command: str) -> list[str]:
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.parametrize(
    ("kind", "arguments", "default"),
    [
        (FileStates, {"paths": ["/a"]}, {}),
        (PackageStates, {"names": ["a"]}, {}),
        (Sysctls, {"names": ["a.b"]}, {}),
        (LoadedModules, {"modules": ["a"]}, []),
        (Swap, {}, SwapState((), (), None)),
        (Texts, {"paths": ["/a"]}, {}),
        (HostNames, {}, []),
        (UnitStates, {"units": {"a.service": ()}}, {}),
        (Kubeadm, {}, KubeadmState()),
        (ApiserverNames, {}, frozenset()),
        (StaticPods, {}, StaticPodsState()),
        (Nodes, {}, Unknown()),
        (ManifestsApplied, {"parts": ["true"]}, Applied()),
        (WorkloadsReady, {}, Unknown()),
        (NodeCertificates, {"addresses": {}}, Unknown()),
        (Authority, {}, Unknown()),
        (ImagesPresent, {}, []),
    ],
)
def test_a_host_that_says_nothing(kind: type[FactBase[object]], arguments: dict[str, object], default: object) -> None:
    """pyinfra takes the default then: operations rely on it before there is a cluster."""
    host = Hosts({"h1": {fact(kind, **arguments): []}})["h1"]
    assert host.get_fact(kind, **arguments) == default


class TestFileStates:
    def test_files_as_they_are(self, tmp_path: Path) -> None:
        plain, secret, blank = (tmp_path / name for name in ("plain", "secret", "two  words"))
        for path, mode in ((plain, 0o644), (secret, 0o600), (blank, 0o4755)):
            path.write_text(path.name)
            path.chmod(mode)
        (tmp_path / "folder").mkdir()
        paths = [str(path) for path in (plain, secret, blank, tmp_path / "folder", tmp_path / "missing")]
        owner = f"{plain.stat().st_uid}:{plain.stat().st_gid}"
        assert FileStates().process(sh(fact(FileStates, paths=paths))) == {
            str(plain): FileState(HostFile("", "plain").sha256, "644", owner),
            str(secret): FileState(HostFile("", "secret").sha256, "600", owner),
            str(blank): FileState(HostFile("", "two  words").sha256, "4755", owner),
        }

    def test_a_link_is_not_the_file_that_it_points_to(self, tmp_path: Path) -> None:
        """So it is replaced: its own mode is 777."""
        (tmp_path / "file").write_text("")
        (tmp_path / "link").symlink_to(tmp_path / "file")
        states = FileStates().process(sh(fact(FileStates, paths=[str(tmp_path / "link")])))
        assert states[str(tmp_path / "link")].mode == "777"


class TestPackageStates:
    def test_parsed(self) -> None:
        lines = [
            "docker-ce 5:29.9.3-1~debian.12~bookworm hold ok installed",
            "kubelet 1.36.3-1.1 install ok installed",
            "kubeadm 1.36.3-1.1 hold ok half-configured",
            "kubectl 1.36.3-1.1 hold reinstreq installed",
            "containerd.io 2.4.2-1 deinstall ok config-files",
        ]
        assert PackageStates().parse(lines) == {
            "docker-ce": PackageState("5:29.9.3-1~debian.12~bookworm", held=True),
            "kubelet": PackageState("1.36.3-1.1", held=False),
        }

    def test_a_package_that_only_others_name_is_not_installed(self) -> None:
        """Recorded: dpkg knows it by the packages that depend on it or replace it, and prints no version."""
        lines = ["containerd.io  unknown ok not-installed", "docker-ce 5:29.9.3-1 hold ok installed"]
        assert PackageStates().parse(lines) == {"docker-ce": PackageState("5:29.9.3-1", held=True)}

    def test_a_package_that_is_not_known_is_no_error(self, tmp_path: Path) -> None:
        dpkg = "echo 'kubelet 1.36.3-1.1 hold ok installed'; echo 'no packages found' >&2; exit 1"
        result = run_with(tmp_path, fact(PackageStates, names=["kubelet", "none"]), {"dpkg-query": dpkg})
        assert (result.returncode, result.stderr) == (0, "")
        assert PackageStates().process(result.stdout.splitlines()) == {"kubelet": PackageState("1.36.3-1.1", True)}


class TestSystem:
    def test_sysctls(self) -> None:
        lines = [
            "net.ipv4.ip_forward = 1",
            "net.ipv4.tcp_rmem = 4096\t131072\t6291456",
            "kernel.core_pattern = |/a b=c",
        ]
        assert Sysctls().parse(lines) == {
            "net.ipv4.ip_forward": "1",
            "net.ipv4.tcp_rmem": "4096 131072 6291456",
            "kernel.core_pattern": "|/a b=c",
        }

    def test_sysctls_of_this_kernel(self) -> None:
        states = Sysctls().process(sh(fact(Sysctls, names=["kernel.ostype", "kernel.no_such_setting"])))
        assert states == {"kernel.ostype": "Linux"}

    def test_modules_of_this_kernel(self) -> None:
        assert LoadedModules().process(sh(fact(LoadedModules, modules=["no_such_module"]))) == []

    def test_module_by_its_folder_or_by_its_effect(self, tmp_path: Path) -> None:
        command = LoadedModules().ask(modules=["overlay", "br_netfilter", "vxlan"])
        for prefix in ("/sys/module/", "/proc/filesystems", "/proc/sys/net/bridge"):
            command = command.replace(prefix, f"{tmp_path}{prefix}")
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc" / "filesystems").write_text("nodev\tfuse_overlayfs\n")
        assert sh(command) == []
        (tmp_path / "proc" / "filesystems").write_text("nodev\tsysfs\nnodev\toverlay\n")
        (tmp_path / "proc" / "sys" / "net" / "bridge").mkdir(parents=True)
        (tmp_path / "sys" / "module" / "vxlan").mkdir(parents=True)
        assert sh(command) == ["overlay", "br_netfilter", "vxlan"]

    def test_host_names(self, tmp_path: Path) -> None:
        """A byte that is not text would end every answer; it is in no name."""
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc/hostname").write_bytes(b"w\xe9 1\n# \xc3\xa9\n")
        command = HostNames().ask().replace("/etc/hostname", f"{tmp_path}/etc/hostname")
        assert HostNames().parse(sh(command)) == [gethostname(), "w 1", "#"]

    FSTAB = b"/dev/vdb none swap sw 0 0\n# /dev/vdc none swap sw 0 0\n/a /b ext4 d\xe9fauts 0 0\n"

    def test_swap(self) -> None:
        content = self.FSTAB.decode(errors="surrogateescape")
        lines = ["in_use /dev/vdb", "in_use /swap.img", r"unit dev-disk-by\x2duuid-0c1d.swap"]
        fstab = f"fstab 600 {base64.b64encode(self.FSTAB).decode()}"
        assert Swap().parse([*lines, fstab]) == SwapState(
            ("/dev/vdb", "/swap.img"),
            (r"dev-disk-by\x2duuid-0c1d.swap",),
            HostFile("/etc/fstab", content, mode="600"),
        )
        assert Swap().parse([f"fstab 644 {base64.b64encode(b'# none swap sw').decode()}"]) == Swap.default()

    def test_swap_by_its_command(self, tmp_path: Path) -> None:
        """Units that are masked or only named by others bring nothing back."""
        listed = "dev-zram0.swap loaded active active\nold.swap masked inactive dead\ngone.swap not-found inactive dead"
        listed += "\nzramswap.service loaded active exited\ndphys-swapfile.service masked inactive dead"
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc/swaps").write_text("Filename Type Size Used Priority\n/dev/zram0 partition 1024 0 -2\n")
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc/fstab").write_bytes(self.FSTAB)
        (tmp_path / "etc/fstab").chmod(0o640)
        systemctl = f"printf '%s\\n' '{listed}'"
        result = run_with(tmp_path, Swap().ask(), {"systemctl": systemctl}, moved=("/proc", "/etc"))
        found = Swap().parse(result.stdout.splitlines())
        assert (found.in_use, found.units) == (("/dev/zram0",), ("dev-zram0.swap", "zramswap.service"))
        assert found.fstab is not None
        assert (found.fstab.data, found.fstab.mode) == (self.FSTAB, "640")
        (asked,) = calls(tmp_path)
        assert asked.startswith("systemctl list-units --all --plain --no-legend *.swap zramswap.service ")


class TestTexts:
    def test_all_of_a_file(self, tmp_path: Path) -> None:
        content = b"d\xe9p\xf4t\r\n\x85\n\nno end"
        (tmp_path / "two  words").write_bytes(content)
        (tmp_path / "empty").touch()
        paths = [str(tmp_path / name) for name in ("two  words", "empty", "missing")]
        texts = Texts().parse(sh(Texts().ask(paths)))
        assert {path: text.encode(errors="surrogateescape") for path, text in texts.items()} == {
            paths[0]: content,
            paths[1]: b"",
        }


class TestUnitStates:
    # Recorded: `systemctl show … --timestamp=us+utc` of systemd 252.
    DOCKER = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no\n"
    MISSING = "LoadState=not-found\nActiveState=inactive\nUnitFileState=\nNeedDaemonReload=no\n"

    @pytest.mark.parametrize(
        ("lines", "state"),
        [
            (DOCKER, UnitState(True, True, False, False)),
            (DOCKER + "Stale=yes", UnitState(True, True, True, False)),
            (
                DOCKER.replace("=active", "=activating").replace("=enabled", "=disabled"),
                UnitState(False, False, False, False),
            ),
            (DOCKER.replace("Reload=no", "Reload=yes"), UnitState(True, True, False, True)),
            (DOCKER.replace("=enabled", "=static"), UnitState(True, True, False, False)),
            (DOCKER.replace("=loaded", "=masked") + "Stale=yes", None),
            (MISSING, None),
        ],
        ids=["right", "stale", "disabled", "reload", "static", "masked", "missing"],
    )
    def test_parsed(self, lines: str, state: UnitState | None) -> None:
        states = UnitStates().parse([*lines.splitlines(), "Unit=docker.service"])
        assert states == ({"docker.service": state} if state else {})

    def test_a_unit_that_nothing_is_said_of_is_not_the_one_before(self) -> None:
        lines = [*self.DOCKER.splitlines(), "Stale=yes", "Unit=docker.service", "Unit=other.service"]
        assert list(UnitStates().parse(lines)) == ["docker.service"]

    def stale(self, folder: Path, units: dict[str, Sequence[str]]) -> dict[str, bool]:
        """By the fact's command, whose paths are moved into `folder`."""
        show = f"case $2 in none.service) printf '{self.MISSING}';; *) printf '{self.DOCKER}';; esac"
        result = run_with(folder, fact(UnitStates, units=units), {"systemctl": show}, moved=("/etc/", "/run/"))
        assert result.stderr == ""
        return {unit: state.stale for unit, state in UnitStates().process(result.stdout.splitlines()).items()}

    def start(self, folder: Path, unit: str, files: Sequence[str]) -> None:
        """What systemd does before it starts a unit that records its configuration."""
        words = shlex.split(recorded(unit, files).removeprefix("ExecStartPre=-"))
        assert words[:2] == ["/bin/sh", "-c"]
        run_with(folder, words[2], {}, moved=("/etc/", "/run/"))

    def test_by_what_it_was_started_with(self, tmp_path: Path) -> None:
        """Whatever the clock says, and whoever started it."""
        files = ["/etc/a.conf", "/etc/b.conf"]
        units: dict[str, Sequence[str]] = {"docker.service": files, "kubelet.service": (), "none.service": files}
        (tmp_path / "etc").mkdir()
        a, b = tmp_path / "etc/a.conf", tmp_path / "etc/b.conf"
        a.write_text("1\n")
        assert self.stale(tmp_path, units) == {"docker.service": True, "kubelet.service": False}  # never started
        self.start(tmp_path, "docker.service", files)
        assert not self.stale(tmp_path, units)["docker.service"]
        os.utime(a, (2**32, 2**32))
        assert not self.stale(tmp_path, units)["docker.service"]
        a.write_text("2\n")
        os.utime(a, (1, 1))
        assert self.stale(tmp_path, units)["docker.service"]
        a.write_text("1\n")
        assert not self.stale(tmp_path, units)["docker.service"]
        b.write_text("new\n")
        assert self.stale(tmp_path, units)["docker.service"]
        self.start(tmp_path, "docker.service", files)
        assert not self.stale(tmp_path, units)["docker.service"]


class TestKubeadm:
    def in_folder(self, folder: Path, files: list[str], running: str = "") -> KubeadmState:
        for name in files:
            path = folder / "etc/kubernetes" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")
        command = fact(Kubeadm).replace("/etc/kubernetes", f"{folder}/etc/kubernetes")
        result = run_with(folder, command, {"systemctl": f'test "$3" = "{running}"'})
        assert (result.returncode, result.stderr) == (0, "")
        return Kubeadm().process(result.stdout.splitlines())

    def test_bare(self, tmp_path: Path) -> None:
        assert self.in_folder(tmp_path, []) == KubeadmState()

    def test_control_plane(self, tmp_path: Path) -> None:
        files = ["admin.conf", "kubelet.conf", "pki/ca.crt", "manifests/kube-apiserver.yaml", "kubestage/initialized"]
        assert self.in_folder(tmp_path, files) == KubeadmState(
            admin_conf=True, initialized=True, kubelet_conf=True, debris=True
        )

    def test_init_that_did_not_end(self, tmp_path: Path) -> None:
        files = ["admin.conf", "kubelet.conf", "pki/ca.crt", "kubestage/kubeadm.yaml"]
        assert self.in_folder(tmp_path, files) == KubeadmState(admin_conf=True, kubelet_conf=True, debris=True)

    def test_reset_by_hand(self, tmp_path: Path) -> None:
        assert self.in_folder(tmp_path, ["kubestage/initialized"]) == KubeadmState(initialized=True)

    @pytest.mark.parametrize("left", ["pki/ca.crt", "bootstrap-kubelet.conf", "manifests/kube-apiserver.yaml"])
    def test_debris(self, tmp_path: Path, left: str) -> None:
        assert self.in_folder(tmp_path, [left]) == KubeadmState(debris=True)

    @pytest.mark.parametrize("unit", ["kubestage-init", "kubestage-join"])
    def test_at_work(self, tmp_path: Path, unit: str) -> None:
        assert self.in_folder(tmp_path, ["pki/ca.crt"], unit) == KubeadmState(debris=True, running=unit)


class TestCluster:
    NODES = json.dumps(
        {"kind": "List", "items": [{"metadata": {"name": "cp1"}}, {"metadata": {"name": "w1"}}]}, indent=4
    )

    def test_nodes(self) -> None:
        assert Nodes().parse(self.NODES.splitlines()) == {
            "cp1": {"metadata": {"name": "cp1"}},
            "w1": {"metadata": {"name": "w1"}},
        }

    @pytest.mark.parametrize(
        ("admin_conf", "kubectl", "names"),
        [
            (False, f"echo '{NODES}'", []),
            (True, f"echo '{NODES}'", ["cp1", "w1"]),
            (True, f"echo 'Warning: old' >&2; echo '{NODES}'", ["cp1", "w1"]),
            (True, "echo 'one'; echo 'connection refused' >&2; exit 1", Unknown("connection refused")),
            (True, f"echo '{NODES}'; exit 1", Unknown()),
        ],
        ids=["no cluster", "cluster", "a warning", "no answer", "half an answer"],
    )
    def test_nodes_by_their_command(
        self, tmp_path: Path, admin_conf: bool, kubectl: str, names: list[str] | Unknown
    ) -> None:
        (tmp_path / "etc/kubernetes").mkdir(parents=True)
        if admin_conf:
            (tmp_path / "etc/kubernetes/admin.conf").write_text("")
        result = run_with(tmp_path, Nodes().ask(), {"kubectl": kubectl}, moved=("/etc/kubernetes/",))
        assert (result.returncode, result.stderr) == (0, "")
        found = Nodes().parse(result.stdout.splitlines())
        assert (found if isinstance(found, Unknown) else list(found)) == names

    @pytest.mark.parametrize(
        ("part", "kubectl", "same"),
        [
            ("echo 'kind: One'", "cat > @FOLDER@/asked; exit 0", True),
            ("echo 'kind: One'", "cat > @FOLDER@/asked; echo difference; exit 1", False),
            ("echo 'kind: One'", "cat > @FOLDER@/asked; echo 'no API' >&2; exit 2", False),
        ],
        ids=["same", "differs", "no API"],
    )
    def test_manifests_applied(self, tmp_path: Path, part: str, kubectl: str, same: bool) -> None:
        command = fact(ManifestsApplied, parts=[part, "echo 'kind: Two'"])
        result = run_with(tmp_path, command, {"kubectl": kubectl.replace("@FOLDER@", str(tmp_path))})
        assert (result.returncode, result.stderr) == (0, "")
        assert ManifestsApplied().process(result.stdout.splitlines()) == Applied(same)
        assert list(yaml.safe_load_all((tmp_path / "asked").read_text())) == [{"kind": "One"}, {"kind": "Two"}]

    def test_what_differs(self, tmp_path: Path) -> None:
        """By a real diff of two folders with a file for each object, as kubectl has it made."""
        config = {"data": "two", "kind": "ConfigMap"}
        annotated = {"spec": {"template": {"metadata": {"annotations": {"kubestage/configuration": "new"}}}}}
        merged = {
            "v1.ConfigMap.web.edited.by.hand": config,
            "v1.ConfigMap.web.new": config,
            "apps.v1.Deployment.web.reader": annotated,
            "apps.v1.DaemonSet.web.new": annotated,
            "apps.v1.DaemonSet.web.other": {"metadata": {"labels": {"kubestage/stack": "web"}}},  # starts no pod anew
            "rbac.authorization.k8s.io.v1.ClusterRole..reader": {"rules": []},
        }
        live = {name: {"kind": "other"} for name in merged if ".new" not in name}
        for folder, objects in (("LIVE-1", live), ("MERGED-2", merged)):
            (tmp_path / folder).mkdir()
            for name, content in objects.items():
                (tmp_path / folder / name).write_text(yaml.safe_dump(content))
        kubectl = f"diff -u -N {tmp_path}/LIVE-1 {tmp_path}/MERGED-2"
        result = run_with(tmp_path, fact(ManifestsApplied, parts=["true"]), {"kubectl": kubectl})
        assert "two" not in result.stdout  # a Secret's values might be there
        found = ManifestsApplied().process(result.stdout.splitlines())
        restarted = {Workload("web", "Deployment", "reader"), Workload("web", "DaemonSet", "new")}
        assert found == Applied(False, frozenset({("web", "edited.by.hand")}), frozenset(restarted))

    def ready(self, lines: list[str]) -> Ready:
        found = WorkloadsReady().parse(lines)
        assert isinstance(found, Ready)
        return found

    @pytest.mark.parametrize(("lines", "found"), [(["none"], Ready()), (["Node True", "unknown EOF"], Unknown("EOF"))])
    def test_no_workloads_and_nobody_who_knows(self, lines: list[str], found: Ready | Unknown) -> None:
        assert WorkloadsReady().parse(lines) == found

    @pytest.mark.parametrize(
        ("numbers", "ready"),
        [
            ("2 2 3 3 3 3", True),
            ("2 1 3 3 3 3", False),
            ("2 2 3 3 2 3", False),
            ("2 2 3 3 3 2", False),
            ("2 2 1 2 1 1", False),
            ("1 1 3 3 3 ", False),
            ("1     ", False),
            ("1 1    ", False),
        ],
        ids=[
            "ready",
            "not seen by its controller",
            "some are old",
            "some are not ready",
            "the old one is ready, the new one is not",
            "none is ready",
            "no status",
            "no number at all",
        ],
    )
    def test_workloads_ready(self, numbers: str, ready: bool) -> None:
        """Generation, the one that was observed; replicas wanted, there, of the current version, ready."""
        lines = [f"Deployment demo web {numbers}", "DaemonSet kube-flannel kube-flannel-ds 1 1 2 2 2 2"]
        found = self.ready(lines).workloads
        assert (Workload("demo", "Deployment", "web") in found) is ready
        assert Workload("kube-flannel", "DaemonSet", "kube-flannel-ds") in found

    @pytest.mark.parametrize(("node", "ready"), [("True", False), ("Unknown", True)])
    def test_a_replica_on_a_node_that_is_down_is_not_waited_for(self, node: str, ready: bool) -> None:
        lines = ["Node True", f"Node {node}", "DaemonSet demo agent 1 1 2 2 2 1", "Deployment demo web 1 1 2 2 2 1"]
        assert (Workload("demo", "DaemonSet", "agent") in self.ready(lines).workloads) is ready
        assert Workload("demo", "Deployment", "web") not in self.ready(lines).workloads

    def test_apis_that_answer(self) -> None:
        lines = ["APIService v1.apps True", "APIService v1beta1.metrics.k8s.io False", "APIService v1.new "]
        assert WorkloadsReady().parse(lines) == Ready(apis=frozenset({"v1.apps"}))

    def test_workloads_are_asked_for_with_all_numbers_of_both_kinds(self) -> None:
        command = fact(WorkloadsReady)
        for one in ("spec.replicas", "status.replicas", "status.updatedReplicas", "status.readyReplicas"):
            assert f"{{.{one}}}" in command
        for one in ("desiredNumberScheduled", "currentNumberScheduled", "updatedNumberScheduled", "numberReady"):
            assert f"{{.status.{one}}}" in command

    def test_images(self) -> None:
        lines = ["registry.k8s.io/pause:3.10.2", "sha256:0a1b"]
        assert ImagesPresent().parse(lines) == lines
