"""kubeadm's operations: what a host is told in each state that it may be in."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from fake_hosts import Facts, Hosts, Told, fact, run, told_by, unpacked, writes
from pyinfra.api import OperationError
from sample_reports import served
from stub_programs import api_server, calls, run_with

from kubestage.facts.kubernetes import Apiserver, ApiserverNames, ImagesPresent, Kubeadm, ManifestsApplied, Nodes
from kubestage.kubernetes import APISERVER_PID, FORGET_POD_NETWORK
from kubestage.operations import kubeadm

INIT = (
    "if systemctl --quiet is-active kubestage-init; then "
    "while systemctl --quiet is-active kubestage-init; do sleep 0.2; done; else "
    "systemd-run --quiet --wait --collect --unit kubestage-init --service-type exec --setenv PATH=$PATH "
    "-p StandardOutput=truncate:/var/log/kubestage-init.log -p StandardError=append:/var/log/kubestage-init.log "
    f"sh -c '{FORGET_POD_NETWORK} && rm -f /etc/kubernetes/kubestage/initialized && "
    "kubeadm init --config /etc/kubernetes/kubestage/kubeadm.yaml --skip-token-print && "
    "touch /etc/kubernetes/kubestage/initialized'; fi; "
    "test -f /etc/kubernetes/kubestage/initialized || { tail -n 25 /var/log/kubestage-init.log >&2; "
    "echo 'kubestage-init failed; all of its output: /var/log/kubestage-init.log' >&2; exit 1; }"
)
JOIN = (
    "if systemctl --quiet is-active kubestage-join; then "
    "while systemctl --quiet is-active kubestage-join; do sleep 0.2; done; else "
    "systemd-run --quiet --wait --collect --unit kubestage-join --service-type exec --setenv PATH=$PATH "
    "-p StandardOutput=truncate:/var/log/kubestage-join.log -p StandardError=append:/var/log/kubestage-join.log "
    "sh -c '@SCRIPT@'; fi; "
    "test -f /etc/kubernetes/kubelet.conf || { tail -n 25 /var/log/kubestage-join.log >&2; "
    "echo 'kubestage-join failed; all of its output: /var/log/kubestage-join.log' >&2; exit 1; }"
)
JOIN_FRESH = JOIN.replace(
    "@SCRIPT@",
    f"{FORGET_POD_NETWORK} && kubeadm join --config /etc/kubernetes/kubestage/join.yaml; result=$?; "
    "rm -f /etc/kubernetes/kubestage/join.yaml; exit $result",
)
JOIN_CONFIG = writes("/etc/kubernetes/kubestage/join.yaml")


def joining(told: Told) -> str:
    """The JoinConfiguration that a worker was sent."""
    ((content, mode),) = unpacked(told).values()
    assert mode == "600"
    return content


TOKEN, CA_HASH = "abcdef.0123456789abcdef", "sha256:1f2e"
MINTED = [f"kubeadm join 10.0.0.11:6443 --token {TOKEN} --discovery-token-ca-cert-hash {CA_HASH} "]


def state(*found: str) -> Facts:
    return {fact(Kubeadm): found}


def nodes(*names: str) -> Facts:
    return {fact(Nodes): [json.dumps({"items": [{"metadata": {"name": name}} for name in names]})]}


def registered(name: str) -> str:
    return f"kubectl --kubeconfig /etc/kubernetes/admin.conf wait --for=create --timeout=60s node/{name}"


class TestInit:
    def test_fresh(self) -> None:
        assert run(kubeadm.init, state()) == [INIT]

    def test_initialised(self) -> None:
        assert run(kubeadm.init, state("admin_conf", "initialized", "kubelet_conf", "debris")) == []

    def test_a_running_one_is_waited_for(self) -> None:
        assert run(kubeadm.init, state("admin_conf", "debris", "running kubestage-init")) == [INIT]

    @pytest.mark.parametrize("found", [["debris"], ["admin_conf"], ["admin_conf", "kubelet_conf", "debris"]])
    def test_a_half_finished_one_is_refused(self, found: list[str]) -> None:
        with pytest.raises(OperationError) as error:
            run(kubeadm.init, state(*found))
        assert str(error.value).splitlines() == [
            "h1: an earlier `kubeadm init` did not come to its end "
            "(there is no /etc/kubernetes/kubestage/initialized); its log is "
            "/var/log/kubestage-init.log. Nothing of this cluster can be in use yet. Give on h1:",
            "    kubeadm reset --force && rm -rf /etc/cni/net.d /etc/kubernetes/kubestage",
            "and run the deploy again.",
        ]


class TestUnit:
    """The script that starts a unit or waits for it, run with programs that stand in for systemd's."""

    MOVED = ("/var/log/", "/etc/kubernetes/kubestage/", "/etc/cni/", "/sys/class/net/", "/run/flannel")
    START = 'for script; do :; done; sh -c "$script" > @FOLDER@/var/log/kubestage-init.log 2>&1'

    def go(
        self, folder: Path, kubeadm_does: str, active: str = "exit 3", ip: str = "exit 1"
    ) -> subprocess.CompletedProcess[str]:
        programs = {
            "systemctl": active,
            "systemd-run": self.START.replace("@FOLDER@", str(folder)),
            "kubeadm": kubeadm_does,
            "ip": ip,
            "sleep": "",
        }
        return run_with(folder, INIT, programs, self.MOVED)

    def test_success(self, tmp_path: Path) -> None:
        result = self.go(tmp_path, "echo fine")
        assert (result.returncode, result.stderr) == (0, "")
        assert [call.split()[0] for call in calls(tmp_path)] == ["systemctl", "systemd-run", "kubeadm"]

    def test_failure_shows_the_log(self, tmp_path: Path) -> None:
        result = self.go(tmp_path, "echo 'port 6443 is in use'; exit 1")
        assert result.returncode == 1
        assert result.stderr.splitlines()[0] == "port 6443 is in use"
        assert "kubestage-init failed" in result.stderr

    def test_the_pod_network_of_a_cluster_that_was_reset_goes(self, tmp_path: Path) -> None:
        """`kubeadm reset` leaves cni0 with its address, with which no pod of the new cluster could start."""
        for left in ("sys/class/net/cni0", "sys/class/net/eth0", "run/flannel/subnet.env", "etc/cni/net.d/87-podman"):
            (tmp_path / left).mkdir(parents=True)
        assert self.go(tmp_path, "echo fine", ip="true").returncode == 0
        does = [call for call in calls(tmp_path) if call.startswith(("ip", "kubeadm"))]
        assert [call.partition(" --config")[0] for call in does] == ["ip link delete cni0", "kubeadm init"]
        assert not (tmp_path / "run/flannel").exists()
        assert (tmp_path / "etc/cni/net.d/87-podman").exists()

    def test_the_marker_of_a_cluster_that_was_reset_is_no_success(self, tmp_path: Path) -> None:
        self.go(tmp_path, "echo fine")
        assert (tmp_path / "etc/kubernetes/kubestage/initialized").exists()
        assert self.go(tmp_path, "exit 1").returncode == 1

    def test_a_running_one_is_waited_for(self, tmp_path: Path) -> None:
        """Active twice, then no more; what the unit did meanwhile is what counts."""
        marker = tmp_path / "etc/kubernetes/kubestage/initialized"
        active = f"test $(grep -c systemctl {tmp_path}/calls) -lt 3 && exit 0; touch {marker}; exit 3"
        assert self.go(tmp_path, "", active).returncode == 0
        assert [call.split()[0] for call in calls(tmp_path)] == ["systemctl", "systemctl", "sleep", "systemctl"]


class TestPull:
    IMAGES = ("registry.k8s.io/pause:3.10.2", "ghcr.io/flannel-io/flannel:v0.28.4")
    PULL = (
        "for image in $(kubeadm config images list --kubernetes-version 1.36.3 | grep -E 'kube-proxy|coredns') "
        "registry.k8s.io/pause:3.10.2 ghcr.io/flannel-io/flannel:v0.28.4 ; "
        "do ctr --namespace k8s.io images pull --hosts-dir /etc/containerd/certs.d $image >/dev/null || exit; done"
    )

    def go(self, *found: str, images: tuple[str, ...] = ()) -> list[str]:
        facts = {**state(*found), fact(ImagesPresent): images}
        return run(kubeadm.pull, facts, images=self.IMAGES, kubernetes_version="1.36.3")

    def test_fresh(self) -> None:
        assert self.go() == [self.PULL]

    def test_some_are_missing(self) -> None:
        assert self.go(images=self.IMAGES[:1]) == [self.PULL]

    def test_all_are_there(self) -> None:
        assert self.go(images=(*self.IMAGES, "docker.io/library/busybox:1.35.0")) == []

    def test_a_host_that_has_joined_has_what_it_needs(self) -> None:
        assert self.go("kubelet_conf") == []


def test_init_or_pull() -> None:
    both = {**state(), fact(ImagesPresent): ()}
    arguments = {"images": TestPull.IMAGES, "kubernetes_version": "1.36.3"}
    assert run(kubeadm.init_or_pull, both, control_plane=True, **arguments) == [INIT]
    assert run(kubeadm.init_or_pull, both, control_plane=False, **arguments) == [TestPull.PULL]


class TestJoin:
    def hosts(self, known: Facts, *found: str, replies: object = MINTED, **data: object) -> Hosts:
        return Hosts({"cp1": known, "w1": state(*found)}, {"cp1": {"kubeadm token create --ttl 15m": replies}}, data)

    def go(self, hosts: Hosts, *workers: str) -> None:
        for worker in workers or ("w1",):
            hosts.prepare(
                worker, kubeadm.join, control_plane=hosts.speaker, node_ip="10.0.0.12", ignore_preflight=["NumCPU"]
            )
        hosts.execute()

    def test_fresh(self) -> None:
        hosts = self.hosts(nodes("cp1"))
        self.go(hosts)
        assert hosts.commands("cp1") == [kubeadm.MINT, registered("w1")]
        assert hosts.commands("w1") == [JOIN_CONFIG, JOIN_FRESH]

    def test_token_goes_over_standard_input_alone(self) -> None:
        hosts = self.hosts(nodes("cp1"))
        self.go(hosts)
        configuration, _ = hosts.told("w1")
        assert yaml.safe_load(joining(configuration)) == {
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "JoinConfiguration",
            "discovery": {
                "bootstrapToken": {
                    "apiServerEndpoint": "10.0.0.11:6443",
                    "token": TOKEN,
                    "caCertHashes": [CA_HASH],
                }
            },
            "nodeRegistration": {
                "name": "w1",
                "criSocket": "unix:///run/containerd/containerd.sock",
                "ignorePreflightErrors": ["NumCPU"],
                "kubeletExtraArgs": [{"name": "node-ip", "value": "10.0.0.12"}],
            },
        }
        assert not [command for name in ("cp1", "w1") for command in hosts.commands(name) if TOKEN in command]

    def test_token_is_in_nothing_that_pyinfra_prints(
        self, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        hosts = self.hosts(nodes("cp1"))
        hosts.state.print_input = hosts.state.print_output = True  # as with -vvv
        with caplog.at_level("DEBUG", logger="pyinfra"):
            self.go(hosts)
        printed = caplog.text + "".join(capfd.readouterr())
        assert "kubeadm join --config" in printed
        assert TOKEN not in printed

    def test_joined(self) -> None:
        hosts = self.hosts(nodes("cp1", "w1"), "kubelet_conf", "debris")
        self.go(hosts)
        assert hosts.commands("cp1") == hosts.commands("w1") == []

    def test_joined_but_its_node_was_deleted(self) -> None:
        hosts = self.hosts(nodes("cp1"), "kubelet_conf", "debris")
        self.go(hosts)
        assert hosts.commands("w1") == ["systemctl daemon-reload && systemctl restart kubelet"]
        assert hosts.commands("cp1") == [registered("w1")]

    @pytest.mark.parametrize("found", [("kubelet_conf", "debris"), (), ("debris", "running kubestage-join")])
    def test_its_node_does_not_come(self, found: tuple[str, ...], caplog: pytest.LogCaptureFixture) -> None:
        facts = {"cp1": nodes("cp1"), "w1": state(*found)}
        replies = {"kubeadm token create": MINTED, "wait --for=create": {"success": False}}
        hosts = Hosts(facts, {"cp1": replies})
        with caplog.at_level("ERROR", logger="pyinfra"), pytest.raises(AssertionError):  # it was to be a change
            self.go(hosts)
        assert "w1: the kubelet was started, and its Node was not there 60 s later" in caplog.text
        assert "Traceback" not in caplog.text

    def test_an_api_that_is_silent_is_not_one_without_nodes(self) -> None:
        hosts = Hosts({"cp1": {fact(Nodes): ["unknown connection refused"]}, "w1": state("kubelet_conf", "debris")})
        with pytest.raises(OperationError, match="cp1: for 0 s the API server gave no answer: connection refused"):
            self.go(hosts)
        assert hosts.commands("cp1") == hosts.commands("w1") == []

    def test_rebuilt(self) -> None:
        hosts = self.hosts(nodes("cp1", "w1"))
        self.go(hosts)
        delete = "kubectl --kubeconfig /etc/kubernetes/admin.conf delete node w1"
        assert hosts.commands("cp1") == [delete, kubeadm.MINT, registered("w1")]
        assert hosts.commands("w1") == [JOIN_CONFIG, JOIN_FRESH]

    def test_rebuilt_but_its_old_node_can_not_be_deleted(self, caplog: pytest.LogCaptureFixture) -> None:
        hosts = Hosts(
            {"cp1": nodes("cp1", "w1"), "w1": state()},
            {"cp1": {"delete node": {"success": False}}},
        )
        with caplog.at_level("ERROR", logger="pyinfra"), pytest.raises(AssertionError):  # it was to be a change
            self.go(hosts)
        assert "cp1: could not delete the Node w1 of the time before" in caplog.text
        assert hosts.commands("w1") == []

    def test_what_a_failed_one_left_is_reset(self) -> None:
        hosts = self.hosts(nodes("cp1"), "debris")
        self.go(hosts)
        assert hosts.commands("w1") == ["kubeadm reset --force", JOIN_CONFIG, JOIN_FRESH]

    @pytest.mark.parametrize("found", [("debris",), ("debris", "kubelet_conf")])
    def test_a_running_one_is_waited_for(self, found: tuple[str, ...]) -> None:
        hosts = self.hosts(nodes("cp1", "w1"), *found, "running kubestage-join")
        self.go(hosts)
        assert hosts.commands("cp1") == [registered("w1")]
        assert hosts.commands("w1") == [JOIN.replace("@SCRIPT@", "")]

    def test_one_token_for_all_workers(self) -> None:
        hosts = Hosts(
            {"cp1": nodes("cp1"), "w1": state(), "w2": state(), "w3": state()},
            {"cp1": {"kubeadm token create --ttl 15m": MINTED}},
        )
        self.go(hosts, "w1", "w2", "w3")
        mint, *awaited = hosts.commands("cp1")
        assert mint == kubeadm.MINT
        assert sorted(awaited) == [registered(name) for name in ("w1", "w2", "w3")]
        assert len([command for command in hosts.everything("cp1") if command == fact(Nodes)]) == 2  # and one before
        names = [
            yaml.safe_load(joining(hosts.told(name)[0]))["nodeRegistration"]["name"] for name in ("w1", "w2", "w3")
        ]
        assert names == ["w1", "w2", "w3"]

    def test_a_token_is_of_use_once_it_is_signed(self, tmp_path: Path) -> None:
        signed = f"if [ -e {tmp_path}/asked ]; then echo jws-kubeconfig-abcdef; fi; touch {tmp_path}/asked"
        result = run_with(tmp_path, kubeadm.MINT, {"kubeadm": f"echo '{MINTED[0]}'", "kubectl": signed})
        assert (result.returncode, result.stdout.split()) == (0, MINTED[0].split())
        assert [call.split()[0] for call in calls(tmp_path)] == ["kubeadm", "kubectl", "kubectl"]

    @pytest.mark.parametrize("replies", [{"success": False}, ["something else"], []])
    def test_no_token(self, replies: object) -> None:
        hosts = self.hosts(nodes("cp1"), replies=replies)
        with pytest.raises(OperationError, match="cp1: `kubeadm token create` failed"):
            self.go(hosts)
        assert hosts.commands("w1") == []

    def test_sudo_by_host_data(self) -> None:
        hosts = self.hosts(nodes("cp1"), _sudo=True)
        self.go(hosts)
        assert hosts.told("cp1") == [Told(kubeadm.MINT, sudo=True), Told(registered("w1"), sudo=True)]

    def test_sudo_by_the_command_line(self) -> None:
        hosts = self.hosts(nodes("cp1"))
        hosts.state.config.SUDO = True
        self.go(hosts)
        assert hosts.told("cp1") == [Told(kubeadm.MINT, sudo=True), Told(registered("w1"), sudo=True)]


FLAGS = {"service-node-port-range": "80-32767", "v": "2"}


class TestApiserverFlags:
    MANIFEST = "kubeadm init phase control-plane apiserver --config /etc/kubernetes/kubestage/kubeadm.yaml"
    WAIT = (
        "deadline=$(($(date +%s) + 180)); until "
        f"flags=$(for pid in $({APISERVER_PID}); do tr '\\0' '\\n' < /proc/$pid/cmdline; done 2>/dev/null); "
        'test "$(printf \'%s\\n\' "$flags" | grep -cxF -e --service-node-port-range=80-32767 -e --v=2)" = 2 && '
        'test "$(printf \'%s\\n\' "$flags" | grep -c ^--)" = '
        '"$(grep -cE "^ *- [\'\\"]?--" /etc/kubernetes/manifests/kube-apiserver.yaml)" && '
        "kubectl --kubeconfig /etc/kubernetes/admin.conf --server https://10.0.0.11:6443 --request-timeout 5s "
        "get --raw /readyz >/dev/null 2>&1; do "
        "if test $(date +%s) -gt $deadline; then "
        "echo 'after 180 s the API server is not ready with its new flags: see "
        "/var/log/pods/kube-system_kube-apiserver*' >&2; exit 1; fi; sleep 0.2; done"
    )
    UPLOAD = "kubeadm init phase upload-config kubeadm --config /etc/kubernetes/kubestage/kubeadm.yaml"

    def go(self, manifest: dict[str, str], process: dict[str, str], extra: dict[str, str] | None = None) -> list[str]:
        command = ["kube-apiserver", *(f"--{name}={value}" for name, value in manifest.items())]
        pod = yaml.safe_dump({"spec": {"containers": [{"command": command}]}})
        running = ["kube-apiserver", *(f"--{name}={value}" for name, value in process.items())] if process else []
        given = [{"name": name, "value": value} for name, value in (FLAGS if extra is None else extra).items()]
        kept = yaml.safe_dump({"apiServer": {"extraArgs": given}}).splitlines()
        facts = {fact(Apiserver): [*pod.splitlines(), "--- # process", *running, "--- # kubeadm", *kept]}
        return run(kubeadm.apiserver_flags, facts, wanted=FLAGS, address="10.0.0.11", port=6443)

    def test_as_they_should_be(self) -> None:
        flags = {**FLAGS, "advertise-address": "10.0.0.11"}
        assert self.go(flags, flags) == []

    @pytest.mark.parametrize(
        ("manifest", "process", "extra"),
        [
            ({"v": "2"}, {"v": "2"}, FLAGS),
            ({**FLAGS, "v": "3"}, {**FLAGS, "v": "3"}, FLAGS),
            ({**FLAGS, "v": "3"}, FLAGS, FLAGS),
            (FLAGS, {**FLAGS, "v": "3"}, FLAGS),
            (FLAGS, {}, FLAGS),
            ({**FLAGS, "profiling": "false"}, {**FLAGS, "profiling": "false"}, {**FLAGS, "profiling": "false"}),
            (FLAGS, FLAGS, {}),
        ],
        ids=["missing", "other value", "manifest edited", "not restarted", "not running", "left out", "no answer"],
    )
    def test_differing(self, manifest: dict[str, str], process: dict[str, str], extra: dict[str, str]) -> None:
        assert self.go(manifest, process, extra) == [self.MANIFEST, self.WAIT, self.UPLOAD]

    def test_a_value_with_a_quote(self) -> None:
        facts = {fact(Apiserver): ["spec: {containers: [{command: [kube-apiserver]}]}", "--- # process"]}
        _, wait, _ = run(kubeadm.apiserver_flags, facts, wanted={"v": "a'b"}, address="10.0.0.11", port=6443)
        assert "grep -cxF -e " + shlex.quote("--v=a'b") + ")" in wait

    @pytest.fixture
    def process(self) -> Iterator[int]:
        """A process with these flags on its command line."""
        words = [f"--{name}={value}" for name, value in FLAGS.items()]
        with subprocess.Popen(["sh", "-c", "read line", "kube-apiserver", *words], stdin=subprocess.PIPE) as child:
            yield child.pid

    def wait(self, folder: Path, programs: dict[str, str], flags: int = 2) -> subprocess.CompletedProcess[str]:
        """By a manifest with so many flags, one of them in quotes."""
        manifest = folder / "etc/kubernetes/manifests/kube-apiserver.yaml"
        manifest.parent.mkdir(parents=True)
        lines = ["    - kube-apiserver", "    - '--v=2'", *["    - --flag=x"] * (flags - 1), "    image: x"]
        manifest.write_text("\n".join(lines) + "\n")
        return run_with(folder, self.WAIT, programs, moved=("/etc/kubernetes/manifests",))

    def test_wait_ends_when_the_flags_are_there_and_it_is_ready(self, tmp_path: Path, process: int) -> None:
        """First there is none, then one that is not ready twice."""
        programs = {
            "ctr": api_server(f"$(test $(grep -c tasks {tmp_path}/calls) = 1 || echo {process})"),
            "kubectl": f"test $(grep -c kubectl {tmp_path}/calls) = 3",
            "sleep": "",
        }
        assert self.wait(tmp_path, programs).returncode == 0
        asked = [call.split()[0] for call in calls(tmp_path) if "containers list" not in call]
        assert asked == ["ctr", "sleep", "ctr", "kubectl", "sleep", "ctr", "kubectl", "sleep", "ctr", "kubectl"]

    @pytest.mark.parametrize("flags", [1, 3], ids=["one was left out", "one is new"])
    def test_wait_is_for_the_new_flags(self, tmp_path: Path, process: int, flags: int) -> None:
        """The old API server answers for a while: the wait ends by its deadline only, on a clock that leaps."""
        programs = {
            "ctr": api_server(str(process)),
            "kubectl": "",
            "sleep": "",
            "date": f"echo $((100 * $(grep -c date {tmp_path}/calls)))",
        }
        result = self.wait(tmp_path, programs, flags)
        assert result.returncode == 1
        assert "not ready with its new flags" in result.stderr
        assert not [call for call in calls(tmp_path) if call.startswith("kubectl")]


class TestKubeProxy:
    """The configuration, in which secrets may be, comes by standard input: the fact's as well."""

    PRINTED = "cat | kubeadm init phase addon kube-proxy --config /dev/stdin --print-manifest"

    def go(self, *answer: str) -> list[Told]:
        facts = {fact(ManifestsApplied, parts=[self.PRINTED]): answer}
        return told_by(kubeadm.kube_proxy, facts, configuration="kind: it's")

    def test_as_it_should_be(self) -> None:
        assert self.go("exit 0") == []

    def test_differing(self) -> None:
        apply = "kubectl --kubeconfig /etc/kubernetes/admin.conf apply --server-side --force-conflicts"
        rollout = "kubectl --kubeconfig /etc/kubernetes/admin.conf rollout"
        command = (
            f"manifests=$({self.PRINTED}) && printf '%s\\n' \"$manifests\" "
            f"| {apply} --field-manager kubestage -f - && "
            f"{rollout} restart --namespace kube-system daemonset/kube-proxy"
        )
        assert self.go() == [Told(command, stdin="kind: it's")]


class TestApiserverNames:
    def go(self, *names: str) -> list[str]:
        return run(kubeadm.apiserver_names, {fact(ApiserverNames): served(*names)}, wanted=["10.0.0.11", "api.example"])

    def test_as_they_should_be(self) -> None:
        assert self.go("kubernetes", "10.0.0.11", "api.example") == []

    @pytest.mark.parametrize("names", [["kubernetes", "10.0.0.11"], []], ids=["a new name", "no certificate"])
    def test_made_anew(self, names: list[str]) -> None:
        assert self.go(*names) == [
            "kubeadm init phase upload-config kubeadm --config /etc/kubernetes/kubestage/kubeadm.yaml && "
            "rm -f /etc/kubernetes/pki/apiserver.crt /etc/kubernetes/pki/apiserver.key && "
            "kubeadm init phase certs apiserver --config /etc/kubernetes/kubestage/kubeadm.yaml"
        ]
