"""kubeadm's operations: what a host is told in each state that it may be in."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from fake_hosts import Facts, Hosts, Replies, Told, fact, run, told_by, unpacked, writes
from pyinfra.api import OperationError
from sample_certificates import key_pem, new_key, signed
from sample_cluster import GROUPS, hosts_data
from small_kubelet import PODS, manifest, programs
from stub_programs import calls, run_with

from kubestage.checks.load import load
from kubestage.facts.etcd import EtcdMembers
from kubestage.facts.framed import unframed
from kubestage.facts.kubernetes import ApiserverNames, ImagesPresent, Kubeadm, ManifestsApplied, Nodes
from kubestage.kubernetes import FORGET_POD_NETWORK, OURS, RESET
from kubestage.operations import kubeadm
from kubestage.operations.transient import in_unit

INIT = in_unit("kubestage-init", "", done="/etc/kubernetes/kubestage/initialized").get_raw_value()
JOIN = in_unit("kubestage-join", "", done="/etc/kubernetes/kubelet.conf").get_raw_value()
JOIN_SCRIPT = (
    f"{FORGET_POD_NETWORK} && systemctl restart kubestage-endpoint.service && "
    f"kubeadm join --config {OURS}/join.yaml; result=$?; rm -f {OURS}/join.yaml {OURS}/discovery.conf; exit $result"
)
JOIN_FILES = writes(f"{OURS}/join.yaml", f"{OURS}/discovery.conf", f"{OURS}/endpoint/ca.crt")


def joining(told: Told) -> str:
    """The JoinConfiguration that a worker was sent."""
    content, mode = unpacked(told)[f"{OURS}/join.yaml"]
    assert mode == "600"
    return content


TOKEN = "abcdef.0123456789abcdef"
CA = ["-----BEGIN CERTIFICATE-----", "MIIBCAxA", "-----END CERTIFICATE-----"]
MINTED = [TOKEN, *CA]


def state(*found: str) -> Facts:
    return {fact(Kubeadm): found}


def nodes(*names: str, outside: Sequence[str] = ()) -> Facts:
    """`outside`: nodes that are there, and of which flannel has told the others nothing."""
    reached = {"flannel.alpha.coreos.com/backend-data": "{}"}
    items = [{"metadata": {"name": name, "annotations": reached}} for name in names]
    return {fact(Nodes): [json.dumps({"items": [*items, *({"metadata": {"name": name}} for name in outside)]})]}


def registered(name: str) -> str:
    return f"kubectl --kubeconfig /etc/kubernetes/admin.conf wait --for=create --timeout=60s node/{name}"


def scripts(facts: Facts, *flags: str) -> list[str]:
    """What runs in the unit of kubeadm init, for an API server that gets these flags of the user's."""
    told = told_by(kubeadm.init, facts, flags={"kube-apiserver": flags, "etcd": ()})
    assert [each.command for each in told] == [INIT] * len(told)
    return [each.stdin for each in told]


class TestInit:
    def test_fresh(self) -> None:
        (script,) = scripts(state())
        assert "kubeadm init --config /etc/kubernetes/kubestage/kubeadm.yaml --skip-token-print" in script

    def test_initialised(self) -> None:
        assert scripts(state("admin_conf", "initialized", "kubelet_conf", "debris")) == []

    def test_a_running_one_is_waited_for(self) -> None:
        assert len(scripts(state("admin_conf", "debris", "running kubestage-init"))) == 1

    @pytest.mark.parametrize("found", [["debris"], ["admin_conf"], ["admin_conf", "kubelet_conf", "debris"]])
    def test_a_half_finished_one_is_refused(self, found: list[str]) -> None:
        with pytest.raises(OperationError) as error:
            scripts(state(*found))
        assert str(error.value).splitlines() == [
            "h1: an earlier `kubeadm init` did not come to its end "
            "(there is no /etc/kubernetes/kubestage/initialized); its log is "
            "/var/log/kubestage-init.log. Nothing of this cluster can be in use yet. Give on h1:",
            f"    {RESET}",
            "and run the deploy again.",
        ]


class TestInitScript:
    """What runs in the unit, with programs that stand in for the host's."""

    # The endpoint by which kubeadm asks the API needs the CA.
    MADE = ("kubeadm init phase certs", "systemctl restart kubestage-endpoint.service", "kubeadm init")
    MOVED = ("/etc/kubernetes/", "/etc/cni/", "/sys/class/net/", "/run/flannel", "/var/log/pods/")

    def go(self, folder: Path, *flags: str, init: str = "", ip: str = "exit 1") -> subprocess.CompletedProcess[str]:
        (script,) = scripts(state(), *flags)
        for name in ("rendered", "etc/kubernetes/kubestage"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for pod in PODS:
            (folder / f"rendered/{pod}.yaml").write_text(manifest(pod))
        renders = programs(folder)["kubeadm"]
        kubeadm_does = (
            f'case "$*" in "init phase certs ca "* | "config images pull "*) ;; "init --config "*) {init or ":"} ;; '
            f"*) {renders} ;; esac"
        )
        stand_ins = {**programs(folder), "kubeadm": kubeadm_does, "ip": ip, "systemctl": ":"}
        return run_with(folder, script, stand_ins, self.MOVED)

    def done(self, folder: Path) -> list[str]:
        """What was done, in its order."""
        words = (" ".join(call.split(" --")[0].split()[:4]) for call in calls(folder))
        return [each for each in words if not each.startswith("ctr")]

    def test_success(self, tmp_path: Path) -> None:
        assert self.go(tmp_path).returncode == 0
        assert (tmp_path / "etc/kubernetes/kubestage/initialized").exists()
        assert self.done(tmp_path) == [*self.MADE]

    def test_failure_shows_the_api_servers_own_lines(self, tmp_path: Path) -> None:
        log = tmp_path / "var/log/pods/kube-system_kube-apiserver-h1_1/kube-apiserver/2.log"
        log.parent.mkdir(parents=True)
        log.write_text("2026-01-01T00:00:00Z stderr F F: no such file\n")
        result = self.go(tmp_path, init="echo 'time-out' ; exit 1")
        assert result.returncode == 1
        assert result.stdout.splitlines() == ["time-out", "The last lines of kube-apiserver:", "F: no such file"]
        assert not (tmp_path / "etc/kubernetes/kubestage/initialized").exists()

    def test_flags_are_checked_first(self, tmp_path: Path) -> None:
        assert self.go(tmp_path, "--profiling=it's").returncode == 0
        order = [
            "kubeadm config images pull",
            "kubeadm init phase control-plane",
            "kubeadm init phase etcd",
            *self.MADE,
        ]
        assert self.done(tmp_path) == order
        asked = "run --rm registry.k8s.io/kube-apiserver:v1 kubestage-flags kube-apiserver --profiling=it's --help"
        assert f"ctr --namespace k8s.io {asked}" in calls(tmp_path)

    def test_a_flag_that_is_not_known_ends_it_before_anything_was_made(self, tmp_path: Path) -> None:
        result = self.go(tmp_path, "--unknown=1")
        assert result.returncode == 1
        assert "does not take its flags: Error: unknown flag: --unknown" in result.stdout
        assert "kubeadm init" not in self.done(tmp_path)

    def test_the_pod_network_of_a_cluster_that_was_reset_goes(self, tmp_path: Path) -> None:
        """`kubeadm reset` leaves cni0 with its address, with which no pod of the new cluster could start."""
        for left in ("sys/class/net/cni0", "sys/class/net/eth0", "run/flannel/subnet.env", "etc/cni/net.d/87-podman"):
            (tmp_path / left).mkdir(parents=True)
        assert self.go(tmp_path, ip="true").returncode == 0
        assert self.done(tmp_path) == ["ip link delete cni0", *self.MADE]
        assert not (tmp_path / "run/flannel").exists()
        assert (tmp_path / "etc/cni/net.d/87-podman").exists()

    def test_what_a_cluster_that_was_reset_has_left_is_no_success(self, tmp_path: Path) -> None:
        left = tmp_path / "etc/kubernetes/kubestage"
        (left / "static-pods/worked").mkdir(parents=True)
        (left / "initialized").touch()
        assert self.go(tmp_path, init="exit 1").returncode == 1
        assert not (left / "initialized").exists()
        assert not (left / "static-pods/worked").exists()


class TestPull:
    IMAGES = ("registry.k8s.io/pause:3.10.2", "ghcr.io/flannel-io/flannel:v0.28.4")
    PULL = (
        "for image in $(kubeadm config images list --kubernetes-version 1.36.3 | grep -E 'kube-proxy|coredns') "
        "registry.k8s.io/pause:3.10.2 ghcr.io/flannel-io/flannel:v0.28.4 ; "
        "do ctr --namespace k8s.io images pull --hosts-dir /etc/containerd/certs.d $image >/dev/null || exit; done"
    )

    def go(self, *found: str, images: tuple[str, ...] = (), control_plane: bool = False) -> list[str]:
        facts = {**state(*found), fact(ImagesPresent): images}
        return run(kubeadm.pull, facts, images=self.IMAGES, kubernetes_version="1.36.3", control_plane=control_plane)

    def test_fresh(self) -> None:
        assert self.go() == [self.PULL]

    def test_all_of_kubeadms_own_for_the_control_plane(self) -> None:
        assert self.go(control_plane=True) == [self.PULL.replace("kube-proxy|coredns", ".")]

    def test_some_are_missing(self) -> None:
        assert self.go(images=self.IMAGES[:1]) == [self.PULL]

    def test_all_are_there(self) -> None:
        assert self.go(images=(*self.IMAGES, "docker.io/library/busybox:1.35.0")) == []

    def test_a_host_that_has_joined_has_what_it_needs(self) -> None:
        assert self.go("kubelet_conf") == []


def test_init_or_pull() -> None:
    both = {**state(), fact(ImagesPresent): ()}
    arguments = {"flags": {}, "images": TestPull.IMAGES, "kubernetes_version": "1.36.3"}
    first = told_by(kubeadm.init_or_images, both, first=True, control_plane=True, **arguments)
    assert [told.command for told in first] == [INIT]
    assert run(kubeadm.init_or_images, both, first=False, control_plane=False, **arguments) == [TestPull.PULL]


class TestJoin:
    def hosts(self, known: Facts, *found: str, replies: object = MINTED, **data: object) -> Hosts:
        return Hosts({"cp1": known, "w1": state(*found)}, {"cp1": {"kubeadm token create --ttl 15m": replies}}, data)

    def go(self, hosts: Hosts, *workers: str) -> None:
        for worker in workers or ("w1",):
            hosts.prepare(
                worker,
                kubeadm.join,
                control_plane=hosts.speaker,
                node_ip="10.0.0.12",
                ignore_preflight=["NumCPU"],
                waits={"discovery": "300s"},
            )
        hosts.execute()

    def test_fresh(self) -> None:
        hosts = self.hosts(nodes("cp1"))
        self.go(hosts)
        assert hosts.commands("cp1") == [kubeadm.MINT, registered("w1")]
        assert hosts.commands("w1") == [JOIN_FILES, JOIN]
        assert hosts.told("w1")[-1].stdin == JOIN_SCRIPT

    def test_token_goes_over_standard_input_alone(self) -> None:
        hosts = self.hosts(nodes("cp1"))
        self.go(hosts)
        configuration, _ = hosts.told("w1")
        assert yaml.safe_load(joining(configuration)) == {
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "JoinConfiguration",
            "discovery": {"file": {"kubeConfigPath": f"{OURS}/discovery.conf"}, "tlsBootstrapToken": TOKEN},
            "nodeRegistration": {
                "name": "w1",
                "criSocket": "unix:///run/containerd/containerd.sock",
                "ignorePreflightErrors": ["NumCPU"],
                "kubeletExtraArgs": [{"name": "node-ip", "value": "10.0.0.12"}],
            },
            "timeouts": {"discovery": "300s"},
        }
        assert not [command for name in ("cp1", "w1") for command in hosts.commands(name) if TOKEN in command]

    def test_it_joins_by_its_own_endpoint_which_knows_the_clusters_ca(self) -> None:
        hosts = self.hosts(nodes("cp1"))
        self.go(hosts)
        files = {path: content for path, (content, _) in unpacked(hosts.told("w1")[0]).items()}
        ca = "\n".join(CA) + "\n"
        assert files[f"{OURS}/endpoint/ca.crt"] == ca
        discovery = yaml.safe_load(files[f"{OURS}/discovery.conf"])
        (cluster,) = discovery["clusters"]
        assert cluster["cluster"] == {
            "server": "https://127.0.0.1:7443",
            "certificate-authority-data": base64.b64encode(ca.encode()).decode(),
        }
        assert discovery["users"] == [{"name": "nobody", "user": {}}] and TOKEN not in files[f"{OURS}/discovery.conf"]

    def test_token_is_in_nothing_that_pyinfra_prints(
        self, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        hosts = self.hosts(nodes("cp1"))
        hosts.state.print_input = hosts.state.print_output = True  # as with -vvv
        with caplog.at_level("DEBUG", logger="pyinfra"):
            self.go(hosts)
        printed = caplog.text + "".join(capfd.readouterr())
        assert "kubestage-join" in printed
        assert TOKEN not in printed

    def test_joined(self) -> None:
        hosts = self.hosts(nodes("cp1", "w1"), "kubelet_conf", "debris")
        self.go(hosts)
        assert hosts.commands("cp1") == hosts.commands("w1") == []

    def test_joined_but_its_node_was_deleted(self) -> None:
        hosts = self.hosts(nodes("cp1"), "kubelet_conf", "debris")
        self.go(hosts)
        assert hosts.commands("w1") == [kubeadm.RESTART_PODS]
        assert hosts.commands("cp1") == [registered("w1")]

    def test_joined_and_its_node_is_another_one_than_its_pod_network_was_made_for(self) -> None:
        hosts = self.hosts(nodes("cp1", outside=["w1"]), "kubelet_conf", "debris")
        self.go(hosts)
        assert hosts.commands("w1") == [kubeadm.RESTART_PODS]
        assert hosts.commands("cp1") == [registered("w1")]

    @pytest.mark.parametrize(
        ("answer", "starts_again"),
        [
            ("no running task found: task b not found", True),
            ("process already finished: not found", True),
            ("connection refused", False),
        ],
    )
    def test_a_container_that_ends_while_pods_are_restarted(
        self, answer: str, starts_again: bool, tmp_path: Path
    ) -> None:
        ctr = f"""\
case "$*" in
    *"tasks list --quiet") echo a; echo b; echo c ;;
    *" b") echo 'ctr: {answer}' >&2; exit 1 ;;
esac"""
        moved = ("/sys/class/net", "/run/flannel", "/etc/cni")
        result = run_with(tmp_path, kubeadm.RESTART_PODS, {"ctr": ctr, "systemctl": ""}, moved)
        assert (result.returncode == 0) == starts_again
        assert ("systemctl start kubelet" in calls(tmp_path)) == starts_again
        assert (answer in result.stderr) != starts_again
        assert ("ctr --namespace k8s.io tasks kill --signal SIGKILL c" in calls(tmp_path)) == starts_again

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
        assert hosts.commands("w1") == [JOIN_FILES, JOIN]

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
        assert hosts.commands("w1") == ["kubeadm reset --force", JOIN_FILES, JOIN]

    @pytest.mark.parametrize("found", [("debris",), ("debris", "kubelet_conf")])
    def test_a_running_one_is_waited_for(self, found: tuple[str, ...]) -> None:
        hosts = self.hosts(nodes("cp1", "w1"), *found, "running kubestage-join")
        self.go(hosts)
        assert hosts.commands("cp1") == [registered("w1")]
        assert hosts.commands("w1") == [JOIN]

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

    @pytest.mark.parametrize("replies", [{"success": False}, ["something else"], [], [TOKEN], CA])
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


def members(*known: str) -> Facts:
    """What etcd says of its members: "NUMBER NAME ADDRESS", with "-" for no name, and " learner" behind it."""
    found = []
    for each in known:
        number, name, address, *learner = each.split()
        found.append(
            {
                "ID": int(number, 16),
                "name": name.removeprefix("-"),
                "peerURLs": [f"https://{address}:2380"],
                "isLearner": bool(learner),
            }
        )
    return {fact(EtcdMembers): [json.dumps({"members": found})]}


class TestJoinControlPlane:
    CERTIFICATES = "cat | kubeadm init phase upload-certs --upload-certs --skip-certificate-key-print"
    RESET = f"rm -rf {OURS}/initialized {OURS}/static-pods/worked && kubeadm reset --force"
    JOIN = in_unit("kubestage-join", "", done=f"{OURS}/initialized").get_raw_value()

    def hosts(self, *found: str, known: Facts | None = None, replies: Replies | None = None) -> Hosts:
        facts = {**nodes("cp1"), **members("a cp1 10.0.0.11"), **(known or {})}
        return Hosts(
            {"cp1": facts, "cp2": state(*found)},
            {"cp1": {"kubeadm token create --ttl 15m": MINTED, **(replies or {})}},
        )

    def go(self, hosts: Hosts) -> None:
        cluster = load(hosts_data(), GROUPS)
        hosts.prepare(
            "cp2",
            kubeadm.join_control_plane,
            control_plane=hosts.speaker,
            settings=cluster.common,
            own=cluster.hosts["cp1"],
            address="10.0.0.21",
            timeout_s=60,
        )
        hosts.execute()

    def said(self, hosts: Hosts) -> list[str]:
        """What cp1 was told, each command by its first words that tell it from others."""
        words = {
            kubeadm.MINT: "token",
            registered("cp2"): "node awaited",
            kubeadm._FORGET_CERTIFICATES: "certificates forgotten",
        }
        known = [words.get(each, each) for each in hosts.commands("cp1")]
        known = ["certificates" if each.startswith(self.CERTIFICATES) else each for each in known]
        return [
            f"member removed {each.partition('member remove ')[2].split()[0]}" if "member remove" in each else each
            for each in known
        ]

    def test_fresh(self) -> None:
        hosts = self.hosts()
        self.go(hosts)
        assert self.said(hosts) == ["token", "certificates", "certificates forgotten", "node awaited"]
        assert hosts.commands("cp2") == [JOIN_FILES, self.JOIN]
        assert f"|| touch {OURS}/initialized; exit $result" in hosts.told("cp2")[-1].stdin

    def test_the_key_of_the_certificates_is_on_no_command_line_and_a_new_one_each_time(self) -> None:
        keys = set()
        for _ in range(2):
            hosts = self.hosts()
            self.go(hosts)
            configuration = yaml.safe_load(unpacked(hosts.told("cp2")[0])[f"{OURS}/join.yaml"][0])
            key = configuration["controlPlane"]["certificateKey"]
            assert configuration["controlPlane"]["localAPIEndpoint"] == {
                "advertiseAddress": "10.0.0.21",
                "bindPort": 6443,
            }
            (uploaded,) = (each.stdin for each in hosts.told("cp1") if each.command.startswith(self.CERTIFICATES))
            assert next(yaml.safe_load_all("".join(uploaded)))["certificateKey"] == key and len(key) == 64
            assert not [command for name in ("cp1", "cp2") for command in hosts.commands(name) if key in command]
            keys.add(key)
        assert len(keys) == 2

    def test_joined(self) -> None:
        hosts = self.hosts("admin_conf", "initialized", "kubelet_conf", "debris", known=nodes("cp1", "cp2"))
        self.go(hosts)
        assert hosts.commands("cp1") == hosts.commands("cp2") == []

    def test_one_that_was_taken_out_of_the_cluster_begins_anew(self) -> None:
        hosts = self.hosts("admin_conf", "initialized", "kubelet_conf", "debris")
        self.go(hosts)
        assert hosts.commands("cp2") == [self.RESET, JOIN_FILES, self.JOIN]

    @pytest.mark.parametrize("found", [("debris",), ("admin_conf", "debris"), ("admin_conf", "kubelet_conf", "debris")])
    def test_what_a_failed_one_left_is_reset(self, found: tuple[str, ...]) -> None:
        hosts = self.hosts(*found, known=members("a cp1 10.0.0.11", "b - 10.0.0.21 learner"))
        self.go(hosts)
        assert hosts.commands("cp2") == [self.RESET, JOIN_FILES, self.JOIN]
        assert self.said(hosts)[:2] == ["member removed b", "token"]

    def test_a_running_one_is_waited_for(self) -> None:
        hosts = self.hosts("debris", "admin_conf", "running kubestage-join")
        self.go(hosts)
        assert hosts.commands("cp2") == [self.JOIN]
        assert self.said(hosts) == ["node awaited"]

    def test_rebuilt(self) -> None:
        dead = members("a cp1 10.0.0.11", "f00d cp2 10.0.0.21", "c cp3 10.0.0.22")
        hosts = self.hosts(known={**nodes("cp1", "cp2", "cp3"), **dead})
        self.go(hosts)
        assert self.said(hosts)[:3] == [
            "member removed f00d",
            "kubectl --kubeconfig /etc/kubernetes/admin.conf delete node cp2",
            "token",
        ]

    def test_anothers_member_that_never_started_would_be_in_the_way(self) -> None:
        hosts = self.hosts(known=members("a cp1 10.0.0.11", "b - 10.0.0.22 learner", "c cp4 10.0.0.23 learner"))
        self.go(hosts)
        assert self.said(hosts)[:2] == ["member removed b", "token"]

    def test_the_certificates_are_forgotten_when_it_fails(self, caplog: pytest.LogCaptureFixture) -> None:
        hosts = self.hosts(replies={"upload-certs": {"success": False}})
        with pytest.raises(OperationError, match="cp1: the certificates for a host that joins could not be put"):
            self.go(hosts)
        assert self.said(hosts) == ["token", "certificates", "certificates forgotten"]
        assert hosts.commands("cp2") == []

    def test_a_member_that_does_not_go(self, caplog: pytest.LogCaptureFixture) -> None:
        hosts = self.hosts(
            known=members("a cp1 10.0.0.11", "b - 10.0.0.21 learner"),
            replies={"member remove": {"success": False}},
        )
        with caplog.at_level("ERROR", logger="pyinfra"), pytest.raises(AssertionError):  # it was to be a change
            self.go(hosts)
        assert "cp1: etcd did not give up its member without a name at 10.0.0.21" in caplog.text
        assert hosts.commands("cp2") == []


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
    """The fact, and what it leads to, by real certificates and openssl; kubeadm is stood in for."""

    # The endpoint by which kubeadm asks the API needs the CA.
    MADE = ("kubeadm init phase certs", "systemctl restart kubestage-endpoint.service", "kubeadm init")
    MOVED = ("/etc/kubernetes/",)

    def pki(self, folder: Path, *names: str) -> Path:
        """The folder with a CA, and an API server's certificate for these names and the address 10.0.0.11."""
        pki = folder / "etc/kubernetes/pki"
        pki.mkdir(parents=True, exist_ok=True)
        ca_key, key = new_key(), new_key()
        sans: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
        sans.append(x509.IPAddress(ip_address("10.0.0.11")))
        certificate = signed(key, "kube-apiserver", (ca_key, "kubernetes"), x509.SubjectAlternativeName(sans))
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        (pki / "ca.crt").write_text(signed(ca_key, "kubernetes", None, constraints))
        (pki / "ca.key").write_text(key_pem(ca_key))
        (pki / "apiserver.crt").write_text(certificate)
        (pki / "apiserver.key").write_text(key_pem(key))
        return pki

    def go(self, folder: Path) -> list[str]:
        """What is done about the certificate in that folder, when it is to be for 10.0.0.11 and api.example."""
        asked = run_with(folder, fact(ApiserverNames), {}, self.MOVED)
        assert (asked.returncode, asked.stderr) == (0, "")
        facts = {fact(ApiserverNames): unframed(asked.stdout.splitlines())}
        return run(kubeadm.apiserver_names, facts, wanted=["10.0.0.11", "api.example"])

    def test_as_they_should_be(self, tmp_path: Path) -> None:
        self.pki(tmp_path, "api.example", "kubernetes")
        assert self.go(tmp_path) == []

    def test_a_new_name(self, tmp_path: Path) -> None:
        self.pki(tmp_path, "kubernetes")
        assert len(self.go(tmp_path)) == 1

    @pytest.mark.parametrize("name", ["apiserver.crt", "apiserver.key"])
    @pytest.mark.parametrize("content", [None, "", "\0\xff garbage", "another"])
    def test_a_pair_that_can_not_serve(self, tmp_path: Path, name: str, content: str | None) -> None:
        """One is missing, empty, no PEM, or of another pair: what a power cut, or a hand, leaves."""
        another = (self.pki(tmp_path / "other", "api.example") / name).read_text()
        file = self.pki(tmp_path, "api.example") / name
        if content is None:
            file.unlink()
        else:
            file.write_text(another if content == "another" else content)
        assert len(self.go(tmp_path)) == 1

    def test_of_another_ca(self, tmp_path: Path) -> None:
        other = self.pki(tmp_path / "other", "api.example")
        shutil.copy(other / "ca.crt", self.pki(tmp_path, "api.example") / "ca.crt")
        assert len(self.go(tmp_path)) == 1

    @pytest.mark.parametrize("lines", [["-----BEGIN CERTIFICATE-----", "AAAA"], ["garbage"]])
    def test_what_can_not_be_read_is_made_anew(self, lines: list[str]) -> None:
        assert ApiserverNames().parse(lines) == frozenset()

    def test_a_certificate_without_names(self) -> None:
        assert ApiserverNames().parse(signed(new_key(), "x").splitlines()) == frozenset()

    MAKES = """
folder=$(sed -n 's/^certificatesDir: //p' "${6}")
test "$(sed -n 's/^kind: //p' "${6}")" = ClusterConfiguration && openssl pkey -in $folder/ca.key -noout || exit 9
echo new > $folder/apiserver.key; echo new > $folder/apiserver.crt"""

    def repair(self, folder: Path, kubeadm_does: str, mv: str = 'exec /bin/mv "$@"') -> int:
        pki = self.pki(folder, "kubernetes")
        (command,) = self.go(folder)
        ours = folder / "etc/kubernetes/kubestage"
        ours.mkdir(exist_ok=True)
        (ours / "kubeadm.yaml").write_text("kind: ClusterConfiguration\nclusterName: c\n")
        result = run_with(folder, command, {"kubeadm": kubeadm_does, "mv": mv}, self.MOVED)
        assert pki.exists()
        return result.returncode

    def test_made_aside_and_renamed(self, tmp_path: Path) -> None:
        assert self.repair(tmp_path, self.MAKES) == 0
        pki = tmp_path / "etc/kubernetes/pki"
        assert [(pki / name).read_text() for name in ("apiserver.crt", "apiserver.key")] == ["new\n", "new\n"]
        assert [path.name for path in (tmp_path / "etc/kubernetes/kubestage").iterdir()] == ["kubeadm.yaml"]

    def test_the_old_one_stays_where_kubeadm_fails(self, tmp_path: Path) -> None:
        assert self.repair(tmp_path, "exit 1") == 1
        assert "BEGIN CERTIFICATE" in (tmp_path / "etc/kubernetes/pki/apiserver.crt").read_text()

    def test_a_power_cut_between_the_two_is_mended(self, tmp_path: Path) -> None:
        only_once = f'test $(grep -c ^mv {tmp_path}/calls) = 1 && exec /bin/mv "$@"; exit 1'
        assert self.repair(tmp_path, self.MAKES, only_once) == 1
        assert len(self.go(tmp_path)) == 1
