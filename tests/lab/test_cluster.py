"""The real run on the lab's hosts: killed and mended, repeated, drifted and repaired, changed while it lives.

The tests share one cluster, in this order; each leaves it as the deploy wants it.
"""

from __future__ import annotations

import base64
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import yaml

from kubestage.kubernetes import KUBECTL
from lab.definition import CHECKOUT
from lab.host_processes import wait_until
from tests.lab.commands import (
    ADMIN,
    KUBECONFIG,
    deploy,
    deploy_command,
    deploy_refused,
    environment,
    kubectl,
    kubectl_json,
    lab,
    on,
    round_trips,
    settle,
    verify,
)
from tests.lab.notes import notes_on
from tests.lab.polling import SLOW_S, Polling, answers


@dataclass(frozen=True)
class Moment:
    """When a run is killed: in an operation, once `condition` (a shell command) holds on a host, and stays so."""

    operation: str
    host: str = "cp1"
    condition: str = "true"


KILLED_AT = (
    Moment("Host | No swap"),
    Moment("Runtime | containerd and Docker", "w1", "test -e /usr/bin/containerd"),
    Moment("Runtime | Services of containerd and Docker"),
    Moment("Kubernetes packages | kubelet, kubeadm, kubectl", "w2", "test -e /usr/bin/kubelet"),
    Moment("Control plane | kubeadm init; images on the others", "cp1", "test -e /etc/kubernetes/pki/ca.crt"),
    Moment("Control plane | kubeadm init; images on the others", "cp1", "pidof kube-apiserver"),
    Moment("Join | kubeadm join", "w1", "test -e /etc/kubernetes/pki/ca.crt"),
    Moment("Network | flannel, reserved NodePorts"),
    Moment("Platform", "cp1"),
)


def kill_at(moment: Moment) -> None:
    """Start a run, and kill pyinfra, and nothing else, at that moment."""
    process = subprocess.Popen(
        deploy_command("-v"),
        cwd=CHECKOUT,
        env=environment(**ADMIN),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    seen = []
    for line in process.stdout:
        seen.append(line)
        if line.startswith(f"--> Starting operation: {moment.operation}"):
            break
    else:
        raise AssertionError(f"the run ended before {moment}:\n{''.join(seen)}")
    # What it prints from now on is not needed, but a full pipe would stop it.
    drain = threading.Thread(target=process.stdout.read, daemon=True)
    drain.start()
    script = f"timeout 120 sh -c 'until {moment.condition} >/dev/null 2>&1; do sleep 0.02; done'"
    on(moment.host, script)
    assert process.poll() is None, f"the run ended before {moment}"
    process.kill()
    process.wait()
    drain.join()


def test_a_run_killed_anywhere_is_mended_by_the_next(blank_hosts: None) -> None:
    """As a user who is not root."""
    for moment in KILLED_AT:
        kill_at(moment)
    deploy(**ADMIN)
    assert verify() == set()


def test_a_second_run_changes_nothing(cluster: None) -> None:
    assert deploy().changed == {}
    assert deploy(**ADMIN).changed == {}


def test_a_run_that_changes_nothing_asks_a_few_times(cluster: None, tmp_path: Path) -> None:
    counted = round_trips(tmp_path)
    assert counted.pop("cp1") <= 10 and max(counted.values()) <= 5 and set(counted) == {"w1", "w2"}


@dataclass(frozen=True)
class Drift:
    """Something that was broken by hand: where and how, the checks that see it, the operation that repairs it."""

    host: str
    break_it: str
    checks: tuple[str, ...]
    operation: str


DRIFTS = (
    Drift(
        "w1",
        "apt-mark unhold kubelet && dpkg --force-all --remove docker-ce-cli",
        (
            "test_hosts.py::test_packages[w1]",
            "test_docker.py::test_docker_network[w1]",
            "test_docker.py::test_docker_run[w1]",
        ),
        "Runtime | containerd and Docker",
    ),
    Drift("w1", "true", (), "Kubernetes packages | kubelet, kubeadm, kubectl"),
    Drift(
        "w2",
        "echo 'maxPods: 50' >>/etc/kubernetes/kubelet.conf.d/kubestage.conf && systemctl restart kubelet",
        ("test_hosts.py::test_kubelet_settings[w2]",),
        "Kubernetes packages | The kubelet's settings",
    ),
    Drift("w2", "true", (), "Join | kubelet"),
    Drift(
        "cp1",
        f"{KUBECTL} -n kube-system get configmap kube-proxy -o yaml | sed 's/maxPerCore: 0/maxPerCore: 9/' "
        f"| {KUBECTL} replace -f -",
        (),
        "Control plane | kube-proxy",
    ),
    Drift(
        "w2",
        "systemctl disable --now docker.service docker.socket",
        (
            "test_hosts.py::test_service[w2-docker]",
            "test_docker.py::test_docker_network[w2]",
            "test_docker.py::test_docker_run[w2]",
        ),
        "Runtime | Services of containerd and Docker",
    ),
    Drift(
        "cp1",
        "sysctl -w net.bridge.bridge-nf-call-iptables=0",
        ("test_hosts.py::test_kernel_settings[cp1]",),
        "Host | Kernel settings",
    ),
    Drift("w2", "echo w1 >/etc/hostname && hostname w1", ("test_hosts.py::test_hostname[w2]",), "Host | Host name"),
    Drift(
        "cp1",
        "sed -i /w2/d /etc/hosts",
        ("test_hosts.py::test_names_of_the_others[cp1]",),
        "Host | /etc/hosts",
    ),
    Drift(
        "w1",
        "echo '/swapfile none swap sw 0 0' >>/etc/fstab",
        ("test_hosts.py::test_no_swap[w1]",),
        "Host | No swap",
    ),
    Drift(
        "w2",
        "sed -i s/leastconn/roundrobin/ /etc/kubernetes/kubestage/endpoint/haproxy.cfg",
        ("test_hosts.py::test_api_endpoint[w2]",),
        "API endpoint | Configuration of the endpoint",
    ),
    Drift(
        "w1",
        "systemctl disable --quiet kubestage-endpoint",
        ("test_hosts.py::test_service[w1-kubestage-endpoint]",),
        "API endpoint | Endpoint of the API",
    ),
    Drift("w2", "rm /etc/apt/sources.list.d/kubestage.list", (), "Runtime | apt sources"),
    Drift(
        "w1",
        "sed -i s/5000/5001/ /etc/containerd/certs.d/ghcr.io/hosts.toml",
        (),
        "Runtime | Configuration of containerd and Docker",
    ),
    Drift(
        "cp1",
        f"{KUBECTL} -n kube-flannel patch daemonset kube-flannel-ds --type json "
        '-p \'[{"op": "replace", "path": "/spec/template/spec/nodeSelector/kubernetes.io~1os", "value": "none"}]\'',
        ("test_system_pods.py::test_daemon_on_every_node[kube-flannel-ds]",),
        "Network | flannel, reserved NodePorts",
    ),
    Drift(
        "cp1",
        f"{KUBECTL} taint node cp1 node-role.kubernetes.io/control-plane-",
        ("test_nodes.py::test_taints[cp1]",),
        "Network | Labels and taints",
    ),
)


def test_drift_is_seen_by_the_checks_and_repaired_by_a_run(cluster: None) -> None:
    for drift in DRIFTS:
        on(drift.host, drift.break_it)
    seen = verify("test_hosts.py", "test_nodes.py", "test_docker.py", "test_system_pods.py")
    assert seen == {check for drift in DRIFTS for check in drift.checks}

    repaired = deploy().changed
    wanted: dict[str, list[str]] = {}
    for drift in DRIFTS:
        wanted.setdefault(drift.operation, []).append(drift.host)
    assert {name: hosts for name, hosts in repaired.items() if not name.startswith("Platform")} == {
        name: sorted(hosts) for name, hosts in wanted.items()
    }
    assert verify() == set()
    assert deploy().changed == {}


NOTES = notes_on("w1", "notes")
NOTE = "/var/lib/kubestage/volumes/*_default_notes/note"
NOTED = f"timeout 120 sh -c 'until test -s {NOTE}; do sleep 0.2; done'"


@pytest.fixture
def notes(cluster: None) -> Iterator[None]:
    kubectl("apply", "-f", "-", given=NOTES)
    yield
    kubectl("delete", "-f", "-", given=NOTES)


def test_a_rebuilt_worker_joins_under_its_name(notes: None) -> None:
    """Its volumes are empty, and work; the registry's was never there."""
    on("w1", NOTED)
    before = kubectl_json("get", "node", "w1")["metadata"]["uid"]
    (registry,) = kubectl_json("-n", "registry", "get", "pods", "-l", "app=registry")["items"]
    lab("rebuild", "w1")
    changed = deploy("--limit", "w1").changed
    assert changed["Volumes | Folders of the volumes"] == ["w1"]
    assert changed["Join | kubeadm join"] == ["w1"]
    assert {host for names in changed.values() for host in names} <= {"w1", "cp1"}
    assert kubectl_json("get", "node", "w1")["metadata"]["uid"] != before
    on("w1", NOTED)
    assert on("w1", "stat -c %a /var/lib/kubestage/volumes") == "700"
    (still,) = kubectl_json("-n", "registry", "get", "pods", "-l", "app=registry")["items"]
    assert still["metadata"]["uid"] == registry["metadata"]["uid"]
    assert deploy().changed == {}
    assert verify() == set()


def test_the_node_port_range_changes_on_a_living_cluster(cluster: None) -> None:
    """The API is asked all the time: it is away for one restart of the API server, and no longer."""
    service = '{"apiVersion":"v1","kind":"Service","metadata":{"name":"low"},"spec":{"type":"NodePort",'
    service += '"ports":[{"port":80,"nodePort":90}]}}'
    kubectl("apply", "-f", "-", given=service)
    try:
        refused = deploy_refused("--data", "node_port_range=100-32000", "--data", "stacks=[]")
        assert "default/low has NodePort 90" in refused
    finally:
        kubectl("delete", "service", "low")

    other = ("--data", "node_port_range=70-32000", "--data", 'apiserver_extra_args={"profiling": "false"}')
    with Polling(api_answers()) as polling:
        changed = deploy(*other).changed
    assert "Control plane | API server, controller manager, scheduler, etcd" in changed
    assert len(polling.outages_s) <= 1, polling.outages_s
    assert wait_until(api_answers(), SLOW_S)
    flags = "tr '\\0' '\\n' </proc/$(pidof kube-apiserver)/cmdline | grep -e node-port -e profiling | sort"
    assert on("cp1", flags).split() == ["--profiling=false", "--service-node-port-range=70-32000"]
    assert deploy(*other).changed == {}
    configuration = kubectl("-n", "kube-system", "get", "configmap", "kubeadm-config", "-o", "yaml")
    assert "70-32000" in configuration
    deploy()
    assert on("cp1", flags) == "--service-node-port-range=80-32767"
    settle()
    assert verify("test_apiserver.py") == set()


def test_an_unfinished_init_is_told_from_a_finished_one(cluster: None) -> None:
    on("cp1", "mv /etc/kubernetes/kubestage/initialized /root/")
    try:
        refused = deploy_refused()
    finally:
        on("cp1", "mv /root/initialized /etc/kubernetes/kubestage/")
    assert "did not come to its end" in refused
    assert "kubeadm reset --force && rm -rf /etc/cni/net.d /etc/kubernetes/kubestage" in refused
    assert deploy().changed == {}


def api_answers() -> Callable[[], bool]:
    """Whether the API server says at its public address that it is ready, its certificate verified."""
    cluster = yaml.safe_load(KUBECONFIG.read_text())["clusters"][0]["cluster"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    return partial(answers, f"{cluster['server']}/readyz", context)
