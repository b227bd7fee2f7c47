"""Certificates that end are renewed: which host is told what, and the control plane's script by its doing."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from fake_hosts import Hosts, Told, told_by
from sample_certificates import DAY, NOW, new_key, signed
from stub_programs import calls, run_with

from kubestage.certificates import pem
from kubestage.kubernetes import KUBEADM_CERTIFICATES, KUBELET_CLIENT, KUBELET_CONF, RENEWING
from kubestage.operations import renewal

KEY = new_key()
PODS = {"kube-apiserver": "apiserver", "etcd": "etcd/server", "kube-controller-manager": "", "kube-scheduler": ""}

# A program's "process" is a sleep; one that has ended is started anew, as the kubelet does, and serves with what is on
# the disk then.
CTR = """\
for pod; do :; done
pod=${pod##*==}
case "$*" in
    *"containers list"*) echo "$pod" > @/asked; echo "$pod" ;;
    *"tasks list")
        pod=$(cat @/asked)
        if ! [ -e @/down/$pod ] && ! kill -0 $(cat @/pids/$pod) 2>/dev/null; then
            sleep 600 >/dev/null 2>&1 & echo $! > @/pids/$pod
            echo "started $pod" >> @/calls
            case $pod in
                etcd) cp @/etc/kubernetes/pki/etcd/server.crt @/served/2379 ;;
                kube-apiserver) cp @/etc/kubernetes/pki/apiserver.crt @/served/6443 ;;
            esac
        fi
        if kill -0 $(cat @/pids/$pod) 2>/dev/null; then echo "$pod $(cat @/pids/$pod) RUNNING"; fi ;;
esac"""
OPENSSL = 'if [ $1 = s_client ]; then cat @/served/${3##*:}; else exec /usr/bin/openssl "$@"; fi'
KUBECTL = 'case "$*" in *"$(cat @/unwell)"*) exit 1 ;; esac'
KUBEADM = """\
case "$*" in
    "certs renew all"*) for name in apiserver etcd/server; do cp @/new/$name.crt @/etc/kubernetes/pki/$name.crt; done ;;
    *"kubeconfig kubelet"*) echo "client-certificate-data: x" > @/etc/kubernetes/kubelet.conf ;;
    *"kubelet-finalize all"*) echo "client-certificate: @/var/lib/kubelet/pki/kubelet-client-current.pem" \\
        > @/etc/kubernetes/kubelet.conf ;;
esac"""
SYSTEMCTL = """\
case "$*" in "restart kubelet")
    [ -e @/var/lib/kubelet/pki/kubelet-client-current.pem ] ||
        cp @/new/client.pem @/var/lib/kubelet/pki/kubelet-client-current.pem ;;
esac"""


@dataclass
class ControlPlane:
    """A host with certificates that end in ten days, whose programs run."""

    folder: Path

    def __post_init__(self) -> None:
        for name in ("served", "pids", "down", "new/etcd", "etc/kubernetes/pki/etcd", "var/lib/kubelet/pki"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "etc/kubernetes/kubestage").mkdir()
        for pod, certificate in PODS.items():
            with subprocess.Popen(["true"]) as ended:  # an id that is free again
                (self.folder / "pids" / pod).write_text(str(ended.pid))
            if certificate:
                self.put(f"etc/kubernetes/pki/{certificate}.crt", 10)
                self.put(f"new/{certificate}.crt", 365)
        self.put("new/client.pem", 365)
        self.put("var/lib/kubelet/pki/kubelet-client-current.pem", 100)
        (self.folder / "etc/kubernetes/kubelet.conf").write_text(f"client-certificate: {self.folder}{KUBELET_CLIENT}\n")
        (self.folder / "unwell").write_text("nothing is")
        self.started = self._start()

    def _start(self) -> dict[str, str]:
        for pod in PODS:
            run_with(self.folder, f"ctr -n k8s.io containers list name=={pod}; ctr tasks list", self._stubs())
        return {pod: (self.folder / "pids" / pod).read_text() for pod in PODS}

    def _stubs(self) -> dict[str, str]:
        stubs = {"ctr": CTR, "openssl": OPENSSL, "kubectl": KUBECTL, "kubeadm": KUBEADM, "systemctl": SYSTEMCTL}
        return {name: text.replace("@/", f"{self.folder}/") for name, text in stubs.items()}

    def put(self, path: str, days: float) -> None:
        content = signed(KEY, path, None, begin=NOW - 300 * DAY, end=NOW + days * DAY)
        (self.folder / path).write_text(content)

    def renew(self, timeout_s: int = 20) -> subprocess.CompletedProcess[str]:
        script = renewal.renew("10.0.0.11", 6443, timeout_s)
        return run_with(self.folder, script, self._stubs(), moved=("/etc/kubernetes", "/var/lib/kubelet"))

    def there(self, path: str) -> bool:
        return (self.folder / path.lstrip("/")).exists()

    def done(self) -> list[str]:
        """What was started, and what kubeadm and systemctl were told, in their order."""
        words = ("started ", "kubeadm ", "systemctl ")
        return [
            call.replace(str(self.folder), "").partition(" --config")[0]
            for call in calls(self.folder)
            if call.startswith(words)
        ]

    def end(self) -> None:
        for pod in PODS:
            pid = (self.folder / "pids" / pod).read_text().strip()
            subprocess.run(["kill", pid], capture_output=True, check=False)


@pytest.fixture
def cp1(tmp_path: Path) -> Iterator[ControlPlane]:
    control_plane = ControlPlane(tmp_path)
    yield control_plane
    control_plane.end()


IN_ORDER = [f"started {pod}" for pod in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd")]


class TestControlPlane:
    def test_renewed_and_started_anew_one_after_the_other(self, cp1: ControlPlane) -> None:
        ran = cp1.renew()
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert cp1.done() == ["kubeadm certs renew all", "systemctl start kubelet", *IN_ORDER]
        for port, name in ((6443, "apiserver"), (2379, "etcd/server")):
            served = (cp1.folder / f"served/{port}").read_text()
            assert served == (cp1.folder / f"new/{name}.crt").read_text()
        assert not cp1.there(RENEWING)

    @pytest.mark.parametrize("unwell", ["/readyz", "10259"])
    def test_what_does_not_come_back_is_told_and_begun_again(self, cp1: ControlPlane, unwell: str) -> None:
        (cp1.folder / "unwell").write_text(unwell)
        ran = cp1.renew(timeout_s=5)
        pod = {"/readyz": "kube-apiserver", "10259": "kube-scheduler"}[unwell]
        assert ran.returncode == 1
        assert f"After 5 s {pod} does not serve with its new certificate" in ran.stdout
        assert cp1.there(RENEWING)
        assert "started etcd" not in cp1.done()
        (cp1.folder / "unwell").write_text("nothing is")
        assert cp1.renew().returncode == 0
        assert not cp1.there(RENEWING)

    def test_a_program_that_does_not_run_is_waited_for(self, cp1: ControlPlane) -> None:
        (cp1.folder / "down/kube-scheduler").touch()
        (cp1.folder / "pids/kube-scheduler").write_text("0x")
        ran = cp1.renew(timeout_s=5)
        assert ran.returncode == 1 and "kube-scheduler does not serve" in ran.stdout

    def test_a_kubelet_whose_certificate_has_ended(self, cp1: ControlPlane) -> None:
        cp1.put(KUBELET_CLIENT.lstrip("/"), -1)
        ran = cp1.renew()
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert cp1.done() == [
            "kubeadm certs renew all",
            "kubeadm init phase kubeconfig kubelet",
            "systemctl restart kubelet",
            "systemctl start kubelet",
            *IN_ORDER,
            "kubeadm init phase kubelet-finalize all",
            "systemctl restart kubelet",
        ]
        assert KUBELET_CLIENT in (cp1.folder / KUBELET_CONF.lstrip("/")).read_text()

    def test_a_power_cut_before_the_kubelet_s_new_kubeconfig(self, cp1: ControlPlane) -> None:
        for path in (KUBELET_CONF, KUBELET_CLIENT):
            (cp1.folder / path.lstrip("/")).unlink()
        assert cp1.renew().returncode == 0
        assert cp1.there(KUBELET_CONF) and cp1.there(KUBELET_CLIENT)

    def test_without_openssl_nothing_is_begun(self, cp1: ControlPlane) -> None:
        script = renewal.renew("10.0.0.11", 6443, 1)
        ran = run_with(cp1.folder, script, {**cp1._stubs(), "openssl": "exit 127"}, moved=("/etc/kubernetes",))
        assert ran.returncode == 1 and "openssl" in ran.stdout
        assert cp1.done() == [] and not cp1.there(RENEWING)

    def test_operation(self) -> None:
        arguments = {"address": "10.0.0.11", "port": 6443, "timeout_s": 180}
        (told,) = told_by(renewal.control_plane, {}, due=True, **arguments)
        assert "systemd-run --quiet --wait --collect --unit kubestage-renew" in told.command
        assert told.stdin == renewal.renew("10.0.0.11", 6443, 180)
        assert told_by(renewal.control_plane, {}, due=False, **arguments) == []


def test_kubelet_server() -> None:
    restart = "rm -f /var/lib/kubelet/pki/kubelet-server-current.pem && systemctl restart kubelet"
    assert told_by(renewal.kubelet_server, {}, due=True) == [Told(restart)]
    assert told_by(renewal.kubelet_server, {}, due=False) == []


MINTED = ["abcdef.0123456789abcdef", "-----BEGIN CERTIFICATE-----", "AAAA", "-----END CERTIFICATE-----"]


class TestKubeletClient:
    def told(self, *, over: bool) -> list[Told]:
        hosts = Hosts({"cp1": {}, "w1": {}}, {"cp1": {"kubeadm token create": MINTED}})
        hosts.prepare("w1", renewal.kubelet_client, over=over, control_plane=hosts.speaker, timeout_s=5)
        hosts.execute()
        return hosts.told("w1")

    def test_a_worker_s(self, tmp_path: Path) -> None:
        (told,) = self.told(over=True)
        assert "abcdef" not in told.command
        document = yaml.safe_load(told.stdin)
        assert document["clusters"][0]["cluster"] == {
            "server": "https://127.0.0.1:7443",
            "certificate-authority": f"{KUBEADM_CERTIFICATES}/ca.crt",
        }
        assert document["users"][0]["user"] == {"token": "abcdef.0123456789abcdef"}
        assert self.told(over=False) == []

    @pytest.mark.parametrize("answered", [True, False])
    def test_its_command(self, answered: bool, tmp_path: Path) -> None:
        (told,) = self.told(over=True)
        client = tmp_path / KUBELET_CLIENT.lstrip("/")
        client.parent.mkdir(parents=True)
        client.write_text(signed(KEY, "old", None, begin=NOW - 300 * DAY, end=NOW - DAY))
        (tmp_path / "new.pem").write_text(signed(KEY, "new"))
        bootstrap = tmp_path / "etc/kubernetes/bootstrap-kubelet.conf"
        systemctl = f"test -e {bootstrap} && " + (f"cp {tmp_path}/new.pem {client}" if answered else "true")
        command = told.command.replace("timeout 5", "timeout 1")
        programs = {"systemctl": systemctl, "journalctl": "echo its log"}
        ran = run_with(tmp_path, command, programs, moved=("/etc/kubernetes", "/var/lib/kubelet"))
        assert ran.returncode == (0 if answered else 1)
        assert ("got no certificate" in ran.stderr) == ("its log" in ran.stderr) == (not answered)
        assert not bootstrap.exists()
        assert (pem.first(client.read_text()).not_valid_after_utc > NOW) == answered
