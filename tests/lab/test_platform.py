"""The platform on the lab's cluster: released to, drifted and repaired, switched off and on, and what it outlives.

The tests share one cluster, in this order; each leaves it as the deploy wants it.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import runpy
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import websocket
import yaml

from kubestage.certificates.platform import new_ca
from kubestage.checks.load import load
from kubestage.facts.registry import USERS
from kubestage.kubernetes import FIELD_MANAGER, KUBEADM_CONFIG, KUBECTL, MANIFESTS, PLATFORM_NAMESPACE
from kubestage.settings import ClusterSettings
from kubestage.stacks import dashboard
from kubestage.stacks.catalogue import STACKS
from kubestage.stacks.dashboard import DashboardSettings
from kubestage.stacks.storage import StorageSettings
from lab import build, host_processes
from lab.definition import CHECKOUT, host_data
from lab.host_processes import wait_until
from tests.lab import browser
from tests.lab.commands import WITHIN_S, deploy, dry_run, environment, kubectl, kubectl_json, kubestage, lab, on, settle
from tests.lab.load import Load
from tests.lab.polling import SLOW_S, Polling
from tests.lab.reboots import leaders, reboot_all
from tests.lab.sites import ADDRESSES, AWAY, CA, DOMAIN, page, site

REGISTRY = f"registry.{DOMAIN}"
OUTPUT = CHECKOUT / ".state" / "test-output"


def settings() -> ClusterSettings:
    """The lab's."""
    values = {
        key: value
        for name in ("all", "lab")
        for key, value in runpy.run_path(str(CHECKOUT / "group_data" / f"{name}.py")).items()
        if not key.startswith("_")
    }
    hosts = {name: {**values, **host_data(number)} for number, name in enumerate(ADDRESSES)}
    first, *others = hosts
    return load(hosts, {"control_plane": [first], "workers": others}).common


# --- The sample ------------------------------------------------------------------------------------------------------
def release(version: str) -> None:
    """As a person does it; the script asks for the page at its end."""
    argv = [str(CHECKOUT / "examples" / "hello" / "release.sh"), version]
    values = environment(PATH=f"{build.RELEASES[0].kubernetes.build()}:{os.environ['PATH']}")
    result = subprocess.run(argv, env=values, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"exit code {result.returncode}\n{result.stdout}{result.stderr}"
    assert result.stdout.splitlines()[-1].startswith(greeting(""))
    # A pod of the old version that is about to end may still answer.
    assert wait_until(lambda: all(page("hello", node) == greeting(version) for node in ADDRESSES), WITHIN_S, 0.2)


def greeting(version: str) -> str:
    return f"hello, version {version}"


def hello_pods() -> list[Any]:
    """Those that end are among them until they are gone."""
    pods: list[Any] = kubectl_json("get", "pods", "--selector", "app=hello")["items"]
    return pods


@pytest.fixture(scope="module")
def hello(cluster: None) -> Iterator[None]:
    """The sample serves."""
    release("1")
    yield
    kubectl("delete", "deployment/hello", "service/hello", "ingress/hello")


# --- What serves -----------------------------------------------------------------------------------------------------
def troubles() -> str:
    """What `make status` finds, or where the sample does not serve; "" where all is well."""
    pages = {node: page("hello", node) for node in ADDRESSES}
    if not all(text.startswith("hello, ") for text in pages.values()):
        return f"the sample: {pages}"
    status = kubestage("status")
    return status.stdout + status.stderr if status.returncode else ""


def everything_serves_again() -> None:
    """Wait for it: by itself it comes back."""
    assert wait_until(lambda: not troubles(), WITHIN_S, 0.5), troubles()
    settle()


def pull_on_every_node() -> None:
    """A pod on every node gets the sample's image from the registry, as the registry knows it now."""
    container = kubectl_json("get", "deployment", "hello")["spec"]["template"]["spec"]["containers"][0]
    pods = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"pull-{node}", "labels": {"app": "pull"}},
            "spec": {
                "nodeName": node,
                "restartPolicy": "Never",
                "imagePullSecrets": [{"name": "registry-pull"}],
                "containers": [
                    {"name": "pull", "image": container["image"], "imagePullPolicy": "Always", "command": ["true"]}
                ],
            },
        }
        for node in ADDRESSES
    ]
    kubectl("apply", "--filename=-", given=yaml.safe_dump_all(pods))
    try:
        ended = "--for=jsonpath={.status.phase}=Succeeded"
        kubectl("wait", ended, "pods", "--selector=app=pull", "--timeout=120s")
    finally:
        kubectl("delete", "pods", "--selector=app=pull")


def dashboard_token() -> str:
    result = kubestage("dashboard-token")
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def login(user: str, password: str) -> dict[str, str]:
    """The header of HTTP Basic."""
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


# --- The run ---------------------------------------------------------------------------------------------------------
def test_a_second_run_changes_nothing_with_all_stacks_on(cluster: None) -> None:
    assert set(settings().stacks) == set(STACKS) - {"descheduler"}
    assert deploy().changed == {}


def test_the_sample_is_released_and_rolled_back_under_load(hello: None) -> None:
    assert {node: page("hello", node) for node in ADDRESSES} == dict.fromkeys(ADDRESSES, greeting("1"))
    nodes = itertools.cycle(ADDRESSES)
    with Load(lambda: page("hello", next(nodes)), per_second=50, at_most=18000) as load:
        release("2")
        assert wait_until(lambda: len(hello_pods()) == 2, WITHIN_S, 0.2)
        kubectl("rollout", "undo", "deployment/hello")
        kubectl("rollout", "status", "deployment/hello", "--timeout=120s")
        assert wait_until(lambda: len(hello_pods()) == 2, WITHIN_S, 0.2)
        assert load.running
    assert set(load.answers) == {greeting("1"), greeting("2")}, load.answers
    assert {node: page("hello", node) for node in ADDRESSES} == dict.fromkeys(ADDRESSES, greeting("1"))


@dataclass(frozen=True)
class Drift:
    """Something that was broken by hand: where and how, and the operations that repair it on that host."""

    host: str
    break_it: str
    operations: tuple[str, ...]


def _patch(what: str, path: str, value: str) -> str:
    return f'{KUBECTL} patch {what} --type json -p \'[{{"op":"replace","path":"{path}","value":{value}}}]\''


DRIFTS = (
    Drift("w2", f"sed -i /{REGISTRY}/d /etc/hosts", ("Host | /etc/hosts",)),
    Drift(
        "cp1",
        "chmod 644 /etc/kubernetes/kubestage/pki/wildcard.key",
        ("Certificates | CA and wildcard certificate",),
    ),
    Drift(
        "w1",
        "rm /usr/local/share/ca-certificates/kubestage.crt && update-ca-certificates",
        ("Trust | The CA is trusted",),
    ),
    Drift("w2", f"rm -r /etc/docker/certs.d/{REGISTRY}", ("Trust | The CA is trusted",)),
    Drift("cp1", f"{KUBECTL} delete storageclass local-path", ("Storage | storage",)),
    Drift("cp1", _patch("-n projectcontour service envoy", "/spec/ports/1/nodePort", "444"), ("Ingress | ingress",)),
    Drift("cp1", f"{KUBECTL} -n projectcontour delete secret wildcard", ("Ingress | ingress",)),
    Drift(
        "cp1",
        _patch("-n registry configmap registry", "/data/config.yml", '"version: 0.1"'),
        ("Registry | registry",),
    ),
    Drift(
        "cp1",
        "rm /etc/kubernetes/kubestage/registry/htpasswd",
        ("Registry | Users that the cluster keeps",),
    ),
    Drift("cp1", f"{KUBECTL} -n default delete secret registry-pull", ("Registry | registry",)),
    Drift("cp1", f"{KUBECTL} -n dashboard delete ingress dashboard", ("Dashboard | kube-web-view",)),
    Drift(
        "cp1",
        _patch(
            "-n kube-system deployment metrics-server",
            "/spec/template/spec/containers/0/args",
            '["--secure-port=10250","--kubelet-insecure-tls"]',
        ),
        ("Metrics | metrics",),
    ),
)


def test_drift_of_every_stack_is_repaired_by_a_run(hello: None) -> None:
    for drift in DRIFTS:
        on(drift.host, drift.break_it)
    assert troubles()

    repaired = deploy().changed
    wanted: dict[str, set[str]] = {}
    for drift in DRIFTS:
        for operation in drift.operations:
            wanted.setdefault(operation, set()).add(drift.host)
    # What was repaired starts anew, which the run waits for.
    repaired.pop("Platform | Every stack serves", None)
    assert repaired == {name: sorted(hosts) for name, hosts in wanted.items()}
    everything_serves_again()
    pull_on_every_node()
    assert deploy().changed == {}


# --- Switched off ----------------------------------------------------------------------------------------------------
def ours() -> set[str]:
    """Everything in the cluster that a run has put there: "Kind namespace/name"."""
    kinds = kubectl("api-resources", "--verbs=list,delete", "--output=name").split()
    found = kubectl_json("get", ",".join(kinds), "--all-namespaces", "--show-managed-fields")["items"]
    return {
        _name(one)
        for one in found
        if any(field["manager"] == FIELD_MANAGER for field in one["metadata"].get("managedFields", ()))
    }


def in_manifests() -> set[str]:
    """Everything that the manifests on the control plane host name, and kube-proxy's, which kubeadm prints."""
    kube_proxy = f"kubeadm init phase addon kube-proxy --config {KUBEADM_CONFIG} --print-manifest"
    content = on("cp1", f"{{ for file in {MANIFESTS}/*/*.yaml; do cat $file; echo ---; done; {kube_proxy}; }}")
    return {_name(one) for one in yaml.safe_load_all(content) if one}


def _name(one: dict[str, Any]) -> str:
    metadata = one["metadata"]
    return f"{one['kind']} {metadata.get('namespace', '')}/{metadata['name']}"


def names_of(kind: str) -> set[str]:
    return set(kubectl("get", kind, "--output=name").split())


# The CA stays, as it does on the host.
WITH_THE_CLUSTER = {f"Namespace /{PLATFORM_NAMESPACE}", f"Secret {PLATFORM_NAMESPACE}/certificates"}


def traces(host: str) -> list[str]:
    """What of the platform is on a host, its CA aside: that goes with the cluster."""
    files = (
        f"/etc/containerd/certs.d/{REGISTRY}",
        f"/etc/docker/certs.d/{REGISTRY}",
        "/etc/kubernetes/kubestage/registry",
        "/etc/kubernetes/kubestage/pki/xds",
        "/etc/kubernetes/kubestage/pki/metrics",
        settings().of(StorageSettings).path,
    )
    return on(host, f"ls -d {' '.join(files)} 2>/dev/null; grep -F .{DOMAIN} /etc/hosts; true").splitlines()


def test_stacks_are_switched_off_without_a_trace_and_on_again(hello: None) -> None:
    try:
        some_stay()
        none_stays()
    finally:
        deploy()
    release("3")  # to a registry that is new
    everything_serves_again()
    pull_on_every_node()
    assert deploy().changed == {}


def some_stay() -> None:
    """Nobody else's site is touched meanwhile."""
    before = page("hello", "w1")
    with Polling(lambda: page("hello", "w1", SLOW_S) == before) as polling:
        deploy("--data", 'stacks=["ingress", "storage"]')
    assert polling.good
    assert not polling.outages_s
    assert page("dashboard", "w1") == f"404 There is no site dashboard.{DOMAIN} here."
    assert not {"namespace/dashboard", "namespace/registry"} & names_of("namespaces")
    assert names_of("persistentvolumes") == set()
    assert "apiservice.apiregistration.k8s.io/v1beta1.metrics.k8s.io" not in names_of("apiservices")


def none_stays() -> None:
    none = ("--data", "stacks=[]")
    before = ours()
    deploy(*none)
    assert before > ours()
    assert ours() - WITH_THE_CLUSTER <= in_manifests()
    assert on("cp1", f"ls {MANIFESTS}").split() == ["flannel", "kubestage-reserved-node-ports"]
    assert names_of("namespaces") == {
        f"namespace/{name}"
        for name in ("default", "kube-flannel", "kube-node-lease", "kube-public", "kube-system", PLATFORM_NAMESPACE)
    }
    for kind in (
        "customresourcedefinitions",
        "ingressclasses",
        "mutatingwebhookconfigurations",
        "persistentvolumes",
        "storageclasses",
        "validatingwebhookconfigurations",
    ):
        assert names_of(kind) == set(), kind
    assert [one for one in kubectl_json("get", "apiservices")["items"] if "service" in one["spec"]] == []
    assert {host: traces(host) for host in ADDRESSES} == {host: [] for host in ADDRESSES}
    assert deploy(*none).changed == {}


# --- What it outlives ------------------------------------------------------------------------------------------------
def test_a_site_answers_through_the_other_nodes_while_one_is_off(hello: None) -> None:
    def asked_at(node: str) -> Polling:
        return Polling(lambda: page("hello", node, SLOW_S).startswith("hello, "))

    def good_again(polling: Polling) -> bool:
        return len(polling.good) >= 20 and all(good for _, good in polling.good[-20:])

    assert "w2" in hello_nodes()
    with asked_at("cp1") as cp1, asked_at("w1") as w1:
        w2 = leaders()["w2"]
        assert w2 is not None
        host_processes.end(w2)  # as a power cut: it takes leave of nobody
        try:
            assert wait_until(lambda: hello_nodes() == {"w1"}, WITHIN_S, 0.5)
            assert wait_until(lambda: good_again(cp1) and good_again(w1), WITHIN_S)
            again = {polling: len(polling.good) for polling in (cp1, w1)}
            assert wait_until(lambda: all(len(one.good) >= number + 50 for one, number in again.items()), WITHIN_S)
            for polling, number in again.items():
                assert all(good for _, good in polling.good[number:])
        finally:
            lab("up")
    everything_serves_again()
    assert deploy().changed == {}


def hello_nodes() -> set[str]:
    """The nodes whose pods of the sample get requests."""
    slices = kubectl_json("get", "endpointslices", "--selector=kubernetes.io/service-name=hello")["items"]
    return {
        endpoint["nodeName"] for one in slices for endpoint in one["endpoints"] or () if endpoint["conditions"]["ready"]
    }


def test_all_hosts_rebooted_at_once_serve_again_without_a_run(hello: None) -> None:
    reboot_all()
    everything_serves_again()
    pull_on_every_node()
    bearer = {"Authorization": f"Bearer {dashboard_token()}"}
    for node in ADDRESSES:
        assert site("dashboard", node).ask("/clusters/local", headers=bearer, timeout_s=20).status == 200
    assert deploy().changed == {}


# --- Each stack ------------------------------------------------------------------------------------------------------
def test_the_registry_lets_nobody_in_without_a_login(cluster: None) -> None:
    ((user, password),) = json.loads(on("cp1", f"cat {USERS}")).items()
    for node in ADDRESSES:
        registry = site("registry", node)
        assert registry.ask("/v2/").status == 401
        assert registry.ask("/v2/", headers=login(user, f"{password}x")).status == 401
        assert registry.ask("/v2/", headers=login(user, password)).status == 200
    refused = on("w1", f"! docker login --username {user} --password-stdin {REGISTRY} 2>&1", given=f"{password}x")
    assert "unauthorized" in refused.lower()
    image, ours = settings().busybox_image, f"{REGISTRY}/anonymous:1"
    pushed = on("w1", f"docker pull {image} >&2 && docker tag {image} {ours} && ! docker push {ours} 2>&1")
    on("w1", f"docker image rm {ours}")
    assert "no basic auth credentials" in pushed


@pytest.fixture
def docker(cluster: None) -> Iterator[str]:
    """Docker on w1 and w2, logged in to the registry, with a configuration that is gone at the end."""
    ((user, password),) = json.loads(on("cp1", f"cat {USERS}")).items()
    docker = "docker --config /root/kubestage-test"
    try:
        for host in ("w1", "w2"):
            on(host, f"{docker} login --username {user} --password-stdin {REGISTRY}", given=password)
        yield docker
    finally:
        for host in ("w1", "w2"):
            on(host, "rm -rf /root/kubestage-test")


def test_a_large_layer_outlives_the_registrys_pod_until_it_is_deleted(docker: str) -> None:
    image = f"{REGISTRY}/large:1"
    script = (CHECKOUT / "tests" / "lab" / "large_image.sh").read_text()
    on("w1", f"bash -s {image} 1G", given=script)
    pushed = on("w1", f"{docker} push {image} && docker image rm {image}")
    digest = pushed.partition("digest: ")[2].split()[0]

    kubectl("-n", "registry", "delete", "pods", "--selector=app=registry")
    kubectl("-n", "registry", "rollout", "status", "deployment/registry", "--timeout=120s")
    assert wait_until(lambda: not page("registry", "w2").startswith(AWAY), WITHIN_S, 0.2)
    on("w2", f"{docker} pull {REGISTRY}/large@{digest} && docker image rm {REGISTRY}/large@{digest}")

    ((user, password),) = json.loads(on("cp1", f"cat {USERS}")).items()
    registry, headers = site("registry", "w1"), login(user, password)
    manifest = json.loads(registry.ask(f"/v2/large/manifests/{digest}", headers={**headers, **OCI}).body)
    (layer,) = manifest["layers"]
    assert layer["size"] > 1 << 30
    blob = f"/v2/large/blobs/{layer['digest']}"
    assert registry.ask(blob, method="HEAD", headers=headers).status == 200
    assert registry.ask(f"/v2/large/manifests/{digest}", method="DELETE", headers=headers).status == 202
    kubectl("-n", "registry", "create", "job", "--from=cronjob/registry-cleanup", "cleanup-now")
    try:
        kubectl("-n", "registry", "wait", "--for=condition=Complete", "job/cleanup-now", "--timeout=120s")
    finally:
        kubectl("-n", "registry", "delete", "job", "cleanup-now")
    assert registry.ask(blob, method="HEAD", headers=headers).status == 404


OCI = {"Accept": "application/vnd.oci.image.manifest.v1+json"}


def test_kubectl_top_shows_every_node(cluster: None) -> None:
    lines = kubectl("top", "nodes", "--no-headers").splitlines()
    assert {line.split()[0] for line in lines} == set(ADDRESSES)
    for line in lines:
        assert int(line.split()[1].removesuffix("m")) > 0, line


def test_a_websocket_passes_the_ingress(cluster: None) -> None:
    image = DashboardSettings().kube_web_view_image
    manifest = (CHECKOUT / "tests" / "lab" / "websocket.yaml").read_text().replace("@IMAGE@", image)
    kubectl("apply", "--filename=-", given=manifest)
    try:
        kubectl("-n", "websocket", "rollout", "status", "deployment/websocket", "--timeout=120s")
        name = f"websocket.{DOMAIN}"
        for node in ADDRESSES:
            # Until its Envoy has heard of it, the default backend answers; until it has heard of its pod, Envoy.
            assert wait_until(lambda node=node: not page("websocket", node).startswith(AWAY), WITHIN_S, 0.2)  # type: ignore[misc]
            trust = {"ca_certs": str(CA), "server_hostname": name}
            talk = websocket.create_connection(f"wss://{ADDRESSES[node]}/", host=name, sslopt=trust, timeout=10)
            assert talk.recv() == "welcome"
            talk.send(f"hello by {node}")
            assert talk.recv() == f"HELLO BY {node.upper()}"
            talk.close()
    finally:
        kubectl("delete", "--filename=-", given=manifest)


@pytest.mark.parametrize("flavour", ["headlamp", "kube-web-view"])
def test_the_api_server_takes_the_dashboards_manifest(cluster: None, flavour: str) -> None:
    stack = dashboard.flavours(settings())[flavour]
    content = stack.filled({name: on("cp1", command) for name, command in stack.asked.items()}).content
    assert f"deployment.apps/{flavour} serverside-applied" in dry_run(content)


def test_the_dashboard_in_a_browser(cluster: None, tmp_path: Path) -> None:
    pods = f"https://dashboard.{DOMAIN}/clusters/local/namespaces/kube-system/pods"
    with browser.page(CA, ADDRESSES["w1"]) as page:
        shown = page.open(pods)
    assert (shown.status, "kube-apiserver-cp1" in shown.text) == (401, False)

    with browser.page(CA, ADDRESSES["w1"], user="somebody", password=dashboard_token()) as page:
        shown = page.open(pods)
    assert (shown.status, "kube-apiserver-cp1" in shown.text) == (200, True)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / "dashboard.png").write_bytes(shown.picture)

    stranger = tmp_path / "ca.crt"
    stranger.write_text(new_ca("a stranger", datetime.now(UTC)).certificate)
    with (
        browser.page(stranger, ADDRESSES["w1"]) as page,
        pytest.raises(AssertionError, match="ERR_CERT_AUTHORITY_INVALID"),
    ):
        page.open(pods)
