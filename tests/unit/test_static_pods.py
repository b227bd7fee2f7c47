"""Static pods: what a change of their manifests does in each state, by its own script; and when there is one."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from fake_hosts import fact, told_by
from small_kubelet import MOVED, PODS, cluster, manifest, programs
from stub_programs import api_server, calls, run_with

from kubestage.facts.static_pods import StaticPods, StaticPodsState
from kubestage.kubernetes import STATIC_PODS_FILES, STATIC_PODS_UNIT, static_pod_pid
from kubestage.operations import static_pods
from kubestage.operations.transient import in_unit


def change(
    folder: Path, flags: dict[str, list[str]] | None = None, timeout_s: int = 20
) -> subprocess.CompletedProcess[str]:
    script = static_pods.change(flags or {}, "10.0.0.11", 6443, timeout_s)
    return run_with(folder, script, programs(folder), moved=MOVED)


def in_place(folder: Path, pod: str = "kube-apiserver") -> str:
    return (folder / f"etc/kubernetes/manifests/{pod}.yaml").read_text()


def process(folder: Path, pod: str = "kube-apiserver") -> list[str]:
    pid = (folder / "pids" / pod).read_text()
    return (folder / f"proc/{pid}/cmdline").read_text().split("\0")[1:-1]


def worked(folder: Path) -> Path:
    return folder / "etc/kubernetes/kubestage/static-pods/worked"


class TestChange:
    def test_new_flags(self, tmp_path: Path) -> None:
        with cluster(tmp_path) as rendered:
            (rendered / "kube-apiserver.yaml").write_text(manifest("kube-apiserver", "--v=2"))
            result = change(tmp_path, {"kube-apiserver": ["--v=2"]})
            assert (result.returncode, result.stdout + result.stderr) == (0, "")
            assert process(tmp_path) == ["--v=2"]
        assert not worked(tmp_path).exists()
        asked = (
            "--namespace k8s.io run --rm registry.k8s.io/kube-apiserver:v1 kubestage-flags kube-apiserver --v=2 --help"
        )
        assert f"ctr {asked}" in calls(tmp_path)
        assert (tmp_path / "etc/kubernetes/manifests/kube-apiserver.yaml").stat().st_mode & 0o777 == 0o600

    def test_nothing_to_change(self, tmp_path: Path) -> None:
        """An API server that only has to come up is waited for; no program is asked for its flags."""
        with cluster(tmp_path):
            assert change(tmp_path, {"kube-apiserver": ["--v=1"]}).returncode == 0
        assert not [call for call in calls(tmp_path) if " run " in call]

    def test_flags_that_yaml_quotes(self, tmp_path: Path) -> None:
        values = ("it's", "b: c", '{"b": ["c", "d\'"]}', "word " * 40 + "end", "\u00e9", "'", "\\", "")
        flags = [f"--flag{number}={value}" for number, value in enumerate(values)]
        with cluster(tmp_path) as rendered:
            (rendered / "kube-apiserver.yaml").write_text(manifest("kube-apiserver", *flags))
            assert change(tmp_path).returncode == 0
            assert process(tmp_path) == flags

    def test_flags_that_are_not_known_change_nothing(self, tmp_path: Path) -> None:
        """All of them are told at once."""
        with cluster(tmp_path) as rendered:
            before = in_place(tmp_path)
            (rendered / "kube-apiserver.yaml").write_text(manifest("kube-apiserver", "--unknown=1"))
            result = change(tmp_path, {"kube-apiserver": ["--unknown=1"], "etcd": ["--v=1", "--unknown=2"]})
            assert in_place(tmp_path) == before
        assert result.returncode == 1
        assert result.stdout.splitlines() == [
            "kube-apiserver of registry.k8s.io/kube-apiserver:v1 does not take its flags: "
            "Error: unknown flag: --unknown",
            "etcd of registry.k8s.io/etcd:v1 does not take its flags: Error: unknown flag: --unknown",
            "Nothing was changed: correct the flags in the settings.",
        ]

    def test_a_program_that_can_not_be_asked_is_tried(self, tmp_path: Path) -> None:
        with cluster(tmp_path) as rendered:
            (rendered / "kube-apiserver.yaml").write_text(manifest("kube-apiserver", "--unasked=1"))
            result = change(tmp_path, {"kube-apiserver": ["--unasked=1"]})
        assert result.returncode == 0
        assert result.stdout == "kube-apiserver could not be asked whether it knows its flags: ctr: no such image\n"

    @pytest.mark.parametrize("pod", ["kube-apiserver", "kube-scheduler"])
    def test_what_does_not_serve_is_taken_back(self, tmp_path: Path, pod: str) -> None:
        """It ends three times, and is not waited for any longer."""
        with cluster(tmp_path, fatal=("--bad",)) as rendered:
            (rendered / f"{pod}.yaml").write_text(manifest(pod, "--bad=1"))
            result = change(tmp_path, timeout_s=60)
            assert in_place(tmp_path, pod) == manifest(pod, "--v=1")
            assert process(tmp_path, pod) == ["--v=1"]
        assert result.returncode == 1
        lines = result.stdout.splitlines()
        assert lines[lines.index(f"The last lines of {pod}:") + 1] == "F: can't open what it was given"
        assert lines[-1] == (
            f"{pod} ended again and again. The manifests that worked are in place again, and the API server serves."
        )
        assert not worked(tmp_path).exists()

    def test_a_pod_that_is_never_started_is_taken_back(self, tmp_path: Path) -> None:
        """It has no log: the kubelet says why."""
        with cluster(tmp_path) as rendered:
            (rendered / "kube-apiserver.yaml").write_text("kind: Pod\n")
            result = change(tmp_path, timeout_s=1)
            assert process(tmp_path) == ["--v=1"]
        assert result.returncode == 1
        assert "E kubelet: no volume for kube-apiserver" in result.stdout
        assert "did not serve within 1 s. The manifests that worked are in place again" in result.stdout

    def test_broken_manifests_are_repaired(self, tmp_path: Path) -> None:
        with cluster(tmp_path):
            for pod, broken in zip(PODS, ("{not: [yaml", "- a list\n", "spec: {containers: []}\n", None), strict=True):
                file = tmp_path / f"etc/kubernetes/manifests/{pod}.yaml"
                file.unlink()
                if broken is not None:
                    file.write_text(broken)
            assert change(tmp_path).returncode == 0
            assert [process(tmp_path, pod) for pod in PODS] == [["--v=1"]] * 4

    def test_what_did_not_work_is_not_put_back(self, tmp_path: Path) -> None:
        with cluster(tmp_path, fatal=("--bad",)) as rendered:
            (tmp_path / "etc/kubernetes/manifests/kube-apiserver.yaml").write_text("broken")
            (rendered / "kube-apiserver.yaml").write_text(manifest("kube-apiserver", "--bad=1"))
            while (tmp_path / "pids/kube-apiserver").exists():
                time.sleep(0.01)
            result = change(tmp_path, timeout_s=1)
            assert "--bad=1" in in_place(tmp_path)
        assert result.returncode == 1
        assert result.stdout.splitlines()[-1] == "kube-apiserver did not serve within 1 s."

    @pytest.mark.parametrize(
        ("pod", "wanted", "code"),
        [("kube-apiserver", "--bad=2", 1), ("kube-scheduler", "--bad=2", 1), ("kube-apiserver", "--v=3", 0)],
    )
    def test_after_a_power_cut(self, tmp_path: Path, pod: str, wanted: str, code: int) -> None:
        """The change had put its manifest in place: the next run judges it, or what it wants itself."""
        with cluster(tmp_path, fatal=("--bad",)) as rendered:
            worked(tmp_path).mkdir(parents=True)
            for each in PODS:
                (worked(tmp_path) / f"{each}.yaml").write_text(manifest(each, "--v=1"))
            (tmp_path / f"etc/kubernetes/manifests/{pod}.yaml").write_text(manifest(pod, "--bad=2"))
            (rendered / f"{pod}.yaml").write_text(manifest(pod, wanted))
            assert change(tmp_path).returncode == code
            assert process(tmp_path, pod) == ["--v=1" if code else wanted]
        assert not worked(tmp_path).exists()

    def test_after_a_power_cut_with_a_flag_that_is_not_known(self, tmp_path: Path) -> None:
        with cluster(tmp_path, fatal=("--bad",)) as rendered:
            worked(tmp_path).mkdir(parents=True)
            (worked(tmp_path) / "kube-apiserver.yaml").write_text(manifest("kube-apiserver", "--v=1"))
            (tmp_path / "etc/kubernetes/manifests/kube-apiserver.yaml").write_text(
                manifest("kube-apiserver", "--bad=2")
            )
            (rendered / "kube-apiserver.yaml").write_text(manifest("kube-apiserver", "--unknown=1"))
            assert change(tmp_path, {"kube-apiserver": ["--unknown=1"]}).returncode == 1
            assert process(tmp_path) == ["--v=1"]

    def test_another_file_starts_the_pod_anew(self, tmp_path: Path) -> None:
        """Its flags are the same: what tells the new process is the file that it has mounted."""
        old, new = (f"{tmp_path}{STATIC_PODS_FILES}/{name}-audit.yaml" for name in ("1", "2"))
        Path(old).parent.mkdir(parents=True)
        Path(old).touch()
        Path(new).touch()
        with cluster(tmp_path, looks_every_s=1) as rendered:
            now = manifest("kube-apiserver", "--v=1", files=(old,))
            (tmp_path / "etc/kubernetes/manifests/kube-apiserver.yaml").write_text(now)
            while not (tmp_path / "pids/kube-apiserver").exists():
                time.sleep(0.01)
            (rendered / "kube-apiserver.yaml").write_text(manifest("kube-apiserver", "--v=1", files=(new,)))
            assert change(tmp_path).returncode == 0
            pid = (tmp_path / "pids/kube-apiserver").read_text()
            assert new in (tmp_path / f"proc/{pid}/mountinfo").read_text()
        assert [path.name for path in Path(old).parent.iterdir()] == ["2-audit.yaml"]

    def test_the_file_of_what_worked_stays(self, tmp_path: Path) -> None:
        old, new = (f"{tmp_path}{STATIC_PODS_FILES}/{name}-audit.yaml" for name in ("1", "2"))
        Path(old).parent.mkdir(parents=True)
        Path(old).touch()
        Path(new).touch()
        with cluster(tmp_path, fatal=("2-audit",)) as rendered:
            now = manifest("kube-apiserver", "--v=1", files=(old,))
            (tmp_path / "etc/kubernetes/manifests/kube-apiserver.yaml").write_text(now)
            while not (tmp_path / "pids/kube-apiserver").exists():
                time.sleep(0.01)
            (rendered / "kube-apiserver.yaml").write_text(manifest("kube-apiserver", "--v=1", files=(new,)))
            assert change(tmp_path).returncode == 1
            assert in_place(tmp_path) == now
        assert Path(old).exists()

    def test_kubeadm_can_not_render(self, tmp_path: Path) -> None:
        with cluster(tmp_path) as rendered:
            before = in_place(tmp_path)
            (rendered / "etcd.yaml").unlink()
            result = change(tmp_path)
            assert in_place(tmp_path) == before
        assert result.returncode == 1
        assert "kubeadm can't make manifests of" in result.stdout

    def test_what_etcd_was_told_at_its_beginning_is_no_difference(self, tmp_path: Path) -> None:
        with cluster(tmp_path) as rendered:
            joined = manifest(
                "etcd", "--initial-cluster=a=https://1,b=https://2", "--initial-cluster-state=existing", "--v=1"
            )
            (tmp_path / "etc/kubernetes/manifests/etcd.yaml").write_text(joined)
            (rendered / "etcd.yaml").write_text(manifest("etcd", "--initial-cluster=a=https://1", "--v=1"))
            assert change(tmp_path).returncode == 0
            assert in_place(tmp_path, "etcd") == joined

    def test_no_proxy_gets_into_a_manifest(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
        with cluster(tmp_path):
            stubs = {
                **programs(tmp_path),
                "kubeadm": 'test -z "$HTTPS_PROXY" || exit 1' + programs(tmp_path)["kubeadm"],
            }
            script = static_pods.change({}, "10.0.0.11", 6443, 20)
            assert run_with(tmp_path, script, stubs, moved=MOVED).returncode == 0


@pytest.mark.parametrize("pid", ["4711", ""])
def test_a_program_is_found_by_containerd(tmp_path: Path, pid: str) -> None:
    """Another cluster's on the same host, such as a kind's, bears the same name."""
    result = run_with(tmp_path, static_pod_pid("kube-apiserver"), {"ctr": api_server(pid)})
    assert (result.returncode, result.stdout.split()) == (0, pid.split())


CONFIGURATION = """\
kind: InitConfiguration
---
kind: ClusterConfiguration
apiServer: {extraArgs: [{name: v, value: '2'}], extraVolumes: []}
networking: {podSubnet: 10.244.0.0/16}
"""
STORED = """\
apiServer: {extraArgs: [{name: v, value: '2'}], certSANs: []}
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
networking: {podSubnet: 10.244.0.0/16, dnsDomain: cluster.local}
"""


class TestFact:
    def ask(self, folder: Path, kubectl: str, *, kubeadm: bool = True) -> StaticPodsState:
        (folder / "etc/kubernetes/admin.conf").touch()
        stubs = {**programs(folder), "kubectl": kubectl}
        if not kubeadm:
            stubs["kubeadm"] = "exit 127"
        result = run_with(folder, fact(StaticPods), stubs, moved=MOVED, given=CONFIGURATION)
        assert (result.returncode, result.stderr) == (0, "")
        return StaticPods().process(result.stdout.splitlines())

    def test_all_as_kubeadm_renders_them(self, tmp_path: Path) -> None:
        (tmp_path / "kept").write_text(STORED)
        with cluster(tmp_path):
            assert self.ask(tmp_path, f"cat {tmp_path}/kept") == StaticPodsState((), stored=STORED.rstrip("\n"))

    def test_what_differs(self, tmp_path: Path) -> None:
        manifests = tmp_path / "etc/kubernetes/manifests"
        with cluster(tmp_path) as rendered:
            (rendered / "etcd.yaml").write_text(manifest("etcd", "--v=3"))
            (manifests / "kube-scheduler.yaml").unlink()
            (manifests / "kube-controller-manager.yaml").write_text("\0\0")
            assert self.ask(tmp_path, "exit 1").differing == ("etcd", "kube-controller-manager", "kube-scheduler")

    def test_unknown_is_not_absent(self, tmp_path: Path) -> None:
        """No answer, and an answer that there is no such ConfigMap."""
        with cluster(tmp_path):
            assert self.ask(tmp_path, "echo refused >&2; exit 1").stored is None
            assert self.ask(tmp_path, "exit 0").stored == ""

    def test_a_change_that_has_not_ended_and_files(self, tmp_path: Path) -> None:
        files = tmp_path / STATIC_PODS_FILES.lstrip("/")
        files.mkdir(parents=True)
        (files / "1-a.yaml").touch()
        worked(tmp_path).mkdir(parents=True)
        with cluster(tmp_path):
            found = self.ask(tmp_path, "exit 1")
        assert (found.pending, found.files) == (True, (f"{files}/1-a.yaml",))

    def test_a_host_without_kubeadm(self, tmp_path: Path) -> None:
        with cluster(tmp_path):
            assert self.ask(tmp_path, "exit 1", kubeadm=False) == StaticPodsState()


class TestKept:
    CHANGE = in_unit(STATIC_PODS_UNIT, "", lines=40).get_raw_value()
    UPLOAD = "kubeadm init phase upload-config kubeadm --config /etc/kubernetes/kubestage/kubeadm.yaml"
    SAME = ("same etcd", "same kube-apiserver", "same kube-controller-manager", "same kube-scheduler")

    def go(self, *lines: str, stored: str | None = STORED) -> list[str]:
        answer = [] if stored is None else ["answers", *(f"stored {line}" for line in stored.splitlines())]
        told = told_by(
            static_pods.manifests,
            {fact(StaticPods): [*lines, *answer]},
            configuration=CONFIGURATION,
            flags={"kube-apiserver": ["--v=2"]},
            files=[f"{STATIC_PODS_FILES}/2-a.yaml"],
            address="10.0.0.11",
            port=6443,
            timeout_s=180,
        )
        assert all(
            each.stdin == static_pods.change({"kube-apiserver": ["--v=2"]}, "10.0.0.11", 6443, 180)
            for each in told
            if each.command == self.CHANGE
        )
        return [each.command for each in told]

    def test_as_they_should_be(self) -> None:
        assert self.go(*self.SAME, f"file {STATIC_PODS_FILES}/2-a.yaml") == []

    @pytest.mark.parametrize("lines", [SAME[1:], (*SAME[:3], "pending"), (*SAME, "pending"), ()])
    def test_a_change(self, lines: tuple[str, ...]) -> None:
        assert self.go(*lines) == [self.CHANGE]

    def test_no_answer_is_waited_for(self) -> None:
        assert self.go(*self.SAME, stored=None) == [self.CHANGE, self.UPLOAD]

    @pytest.mark.parametrize(
        "stored",
        [
            "",
            "{not: [yaml",
            "- a list",
            "2026-13-45",
            "apiServer: text",
            STORED.replace("'2'", "'3'"),
            STORED.replace("name: v", "name: w"),
            STORED.replace("10.244", "10.245"),
            STORED.replace("}], ", "}], extraVolumes: [{name: a}], "),
        ],
    )
    def test_what_the_cluster_keeps_is_repaired(self, stored: str) -> None:
        assert self.go(*self.SAME, stored=stored) == [self.UPLOAD]

    def test_a_file_that_nobody_wants_goes(self) -> None:
        assert self.go(*self.SAME, f"file {STATIC_PODS_FILES}/1-a.yaml") == [f"rm -f {STATIC_PODS_FILES}/1-a.yaml"]
