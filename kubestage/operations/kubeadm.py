"""kubeadm: a control plane made, workers joined, the names in the API server's certificate kept.

`kubeadm init` and `kubeadm join` run in a transient systemd unit of their own: they come to their end even when the run
that started them is killed, and the next run waits for them instead of starting a second one.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyinfra import host
from pyinfra.api import FunctionCommand, OperationError, StringCommand

from kubestage.cluster.answers import ask
from kubestage.cluster.control_plane import ControlPlane
from kubestage.cluster.operation import operation
from kubestage.cluster.shell import call
from kubestage.facts.files import Missing
from kubestage.facts.kubernetes import ApiserverNames, ImagesPresent, Kubeadm, ManifestsApplied, Nodes
from kubestage.facts.static_pods import MANIFESTS
from kubestage.facts.unknown import Unknown
from kubestage.hidden import Hidden
from kubestage.host_file import HostFile
from kubestage.kubernetes import (
    APISERVER_CERTIFICATE,
    APISERVER_KEY,
    APPLY,
    CLUSTER_CA,
    CLUSTER_CA_KEY,
    DISCOVERY,
    ENDPOINT_CA,
    ENDPOINT_UNIT,
    FORGET_CLUSTER,
    FORGET_POD_NETWORK,
    INIT_UNIT,
    INITIALIZED,
    JOIN_CONFIG,
    JOIN_UNIT,
    KUBEADM_CONFIG,
    KUBECTL,
    KUBELET_CONF,
    LEAVE_UNIT,
    OURS,
    PULL,
    RESET,
    STATIC_PODS_WORKED,
    static_pod_pid,
)
from kubestage.operations import etcd
from kubestage.operations.files import put
from kubestage.operations.static_pods import checked
from kubestage.operations.transient import in_unit
from kubestage.render.kubeadm import (
    certificates_upload,
    control_plane_join_configuration,
    discovery,
    join_configuration,
)
from kubestage.settings import ClusterSettings, HostSettings

TOKEN_TTL = "15m"


@operation()
def init(flags: Mapping[str, Sequence[str]], before: str = "", after: str = "") -> Generator[StringCommand, None, None]:
    """Make a control plane of this host, once, from the configuration at KUBEADM_CONFIG.

    `flags`: static pod -> the words of those that the user gives it; one that its program does not take ends it before
    anything was made. `before`, `after` (sh): what puts etcd's data and keys there that kubeadm is to keep, and what
    ends that, before the host counts as initialised. A host where an earlier init did not end well is not touched: what
    is half done there can't be told from outside.
    """
    state = ask(Kubeadm)
    if state.initialized and state.admin_conf:
        host.noop("control plane is initialised")
        return
    if (state.debris or state.admin_conf) and state.running != INIT_UNIT:
        raise OperationError(
            f"{host.name}: an earlier `kubeadm init` did not come to its end (there is no {INITIALIZED}); its log is "
            f"/var/log/{INIT_UNIT}.log. Nothing of this cluster can be in use yet. Give on {host.name}:\n"
            f"    {RESET}\n"
            "and run the deploy again."
        )
    script = checked(flags)
    script += f"rm -rf {INITIALIZED} {STATIC_PODS_WORKED}\n"  # a `kubeadm reset` by hand leaves the last cluster's
    if any(flags.values()):
        script += f"kubeadm config images pull --config {KUBEADM_CONFIG} && render && know_all || exit\n"
    keep = "--ignore-preflight-errors DirAvailable--var-lib-etcd" if before else ""
    script += before + (
        # kubeadm asks the API by its endpoint, which begins with the CA.
        f"{FORGET_POD_NETWORK} && kubeadm init phase certs ca --config {KUBEADM_CONFIG} && "
        f"systemctl restart {ENDPOINT_UNIT} && "
        f"kubeadm init --config {KUBEADM_CONFIG} --skip-token-print {keep} || "
        "{ last_lines kube-apiserver; exit 1; }\n"
        f"{after}touch {INITIALIZED}\n"
    )
    yield in_unit(INIT_UNIT, script, INITIALIZED)


@operation()
def pull(images: Sequence[str], kubernetes_version: str, control_plane: bool) -> Generator[StringCommand, None, None]:
    """Pull ahead of need `images` and those of kubeadm's own that the host will run; not where it has joined.

    `control_plane`: whether it will be of that, or a worker.
    """
    if ask(Kubeadm).kubelet_conf:
        host.noop("has joined")
        return
    present = ask(ImagesPresent)
    if all(image in present for image in images):
        host.noop("images are there")
        return
    yield StringCommand(
        f"for image in $(kubeadm config images list --kubernetes-version {kubernetes_version}",
        f"| grep -E '{'.' if control_plane else 'kube-proxy|coredns'}')",
        *images,
        f"; do {PULL} $image >/dev/null || exit; done",
    )


@operation()
def init_or_images(
    first: bool,
    control_plane: bool,
    flags: Mapping[str, Sequence[str]],
    images: Sequence[str],
    kubernetes_version: str,
    before: str = "",
    after: str = "",
) -> Generator[StringCommand, None, None]:
    """Initialise the `first` host while the others pull: hosts work at the same time only within one operation."""
    if first:
        yield from init._inner(flags, before, after)
    else:
        yield from pull._inner(images, kubernetes_version, control_plane)


MINT = f"kubeadm token create --ttl {TOKEN_TTL} && cat {CLUSTER_CA}"


@dataclass(frozen=True)
class Invitation:
    """With which a host joins: a bootstrap token, which is never printed or logged, and the cluster's CA (PEM)."""

    token: str = field(repr=False)
    ca: str


def invitation(control_plane: ControlPlane, anew: bool = False) -> Invitation:
    """One a run, minted when the first worker needs it; or one that is `anew`."""
    minted, output = control_plane.run(MINT) if anew else control_plane.run_once(MINT)
    token = re.search(r"^[a-z0-9]{6}\.[a-z0-9]{16}$", output, re.MULTILINE)
    ca = re.search(r"^-----BEGIN CERTIFICATE-----$.*?^-----END CERTIFICATE-----$", output, re.MULTILINE | re.DOTALL)
    if not (minted and token and ca):
        raise OperationError(f"{control_plane.name}: `kubeadm token create` failed. Is its API server up?")
    return Invitation(token[0], f"{ca[0]}\n")


@operation()
def join(
    control_plane: ControlPlane,
    node_ip: str,
    ignore_preflight: Sequence[str],
    waits: Mapping[str, str],
    timeout_s: int = 60,
) -> Generator[StringCommand | FunctionCommand, None, None]:
    """Make this host a worker under its own name, and wait until its Node object is there, for at most `timeout_s`.

    `waits`: kubeadm's own timeouts.
    A rebuilt host's old Node object is deleted first. What a failed join left is reset. Where the host has joined but
    its Node object is gone, or another one than its pod network was made for, the kubelet and all pods start anew.
    """
    state = ask(Kubeadm)
    nodes = control_plane.ask(Nodes)
    joined = state.kubelet_conf and state.running != JOIN_UNIT
    if joined and (isinstance(nodes, Unknown) or _is_in_pod_network(nodes.get(host.name, {}))):
        host.noop("has joined")
        return
    registered = call(_await_node, control_plane, host.name, timeout_s)
    if joined:
        yield StringCommand(RESTART_PODS)
        yield registered
        return
    if not host.state.is_executing or isinstance(nodes, Unknown):
        yield StringCommand("kubeadm join")  # the token is minted only when it is used
        return
    if state.running == JOIN_UNIT:
        yield in_unit(JOIN_UNIT, "", KUBELET_CONF)
        yield registered
        return
    if host.name in nodes:
        yield call(_delete_node, control_plane, host.name)
    if state.debris:
        yield StringCommand("kubeadm reset --force")
    given = invitation(control_plane)
    yield _invited(given, join_configuration(given.token, host.name, node_ip, ignore_preflight, waits))
    yield in_unit(JOIN_UNIT, _JOIN, KUBELET_CONF)
    yield registered


def _invited(given: Invitation, configuration: str) -> StringCommand:
    """What a join goes by, on the host."""
    return put(
        [
            HostFile(JOIN_CONFIG, configuration, mode="600"),
            HostFile(DISCOVERY, discovery(given.ca)),
            HostFile(ENDPOINT_CA, given.ca),
        ]
    )


_JOIN = (
    f"{FORGET_POD_NETWORK} && systemctl restart {ENDPOINT_UNIT} && kubeadm join --config {JOIN_CONFIG}; "
    f"result=$?; rm -f {JOIN_CONFIG} {DISCOVERY}; exit $result"
)


@operation()
def join_control_plane(
    control_plane: ControlPlane, settings: ClusterSettings, own: HostSettings, address: str, timeout_s: int
) -> Generator[StringCommand | FunctionCommand, None, None]:
    """Make this host one more of the control plane, under its own name; its private address is `address`.

    One after the other: etcd takes one new member at a time. What is left of an earlier time goes first: of a join that
    was ended, or of the host before it was rebuilt, its Node object and its dead member of etcd. A host whose Node
    object is gone was taken out of the cluster: whatever it has is reset.
    """
    state = ask(Kubeadm)
    nodes = control_plane.ask(Nodes)
    joined = state.initialized and state.admin_conf and state.running != JOIN_UNIT
    if joined and (isinstance(nodes, Unknown) or host.name in nodes):
        host.noop("is of the control plane")
        return
    if not host.state.is_executing or isinstance(nodes, Unknown):
        yield StringCommand("kubeadm join --control-plane")
        return
    registered = call(_await_node, control_plane, host.name, timeout_s)
    if state.running == JOIN_UNIT:
        yield in_unit(JOIN_UNIT, "", INITIALIZED)
        yield registered
        return
    if state.debris or state.admin_conf or state.kubelet_conf:
        yield StringCommand(f"rm -rf {INITIALIZED} {STATIC_PODS_WORKED} && kubeadm reset --force")
    yield call(_remove_members, control_plane, address)
    if host.name in nodes:
        yield call(_delete_node, control_plane, host.name)
    key = secrets.token_hex(32)
    try:
        given = invitation(control_plane, anew=True)
        _upload_certificates(control_plane, key, own.kubernetes_version)
        yield _invited(given, control_plane_join_configuration(settings, own, host.name, address, given.token, key))
        yield in_unit(
            JOIN_UNIT, _JOIN.replace("; exit", f"; test $result != 0 || touch {INITIALIZED}; exit"), INITIALIZED
        )
    finally:  # also when it failed: pyinfra closes an operation that has
        control_plane.run(_FORGET_CERTIFICATES)
    yield registered


def _remove_members(control_plane: ControlPlane, address: str) -> None:
    """The members of etcd that nobody is: of a host that is about to join, and of joins that came to no end.

    kubeadm leaves them there (1.36, cmd/phases/reset/removeetcdmember.go), and etcd takes one at a time that has no
    vote yet.
    """
    for member in etcd.members(control_plane):
        if member.address == address or (member.is_learner and not member.name):
            etcd.remove(control_plane, member)


def _upload_certificates(control_plane: ControlPlane, key: str, kubernetes_version: str) -> None:
    """The CAs and their keys into the cluster, encrypted by `key`, for a host that joins with it."""
    uploaded, _ = control_plane.run(
        # kubeadm could not open one that is a socket, as sshd's are.
        "cat | kubeadm init phase upload-certs --upload-certs --skip-certificate-key-print --config /dev/stdin",
        stdin=certificates_upload(key, kubernetes_version),
    )
    if not uploaded:
        raise OperationError(
            f"{control_plane.name}: the certificates for a host that joins could not be put into the cluster. "
            "See there: kubeadm init phase upload-certs --upload-certs --skip-certificate-key-print"
        )


# The Secret belongs to a token, which would have it deleted two hours later.
_FORGET_CERTIFICATES = (
    f"certificates='--namespace kube-system secret --ignore-not-found kubeadm-certs'; "
    f"owner=$({KUBECTL} get $certificates --output jsonpath='{{.metadata.ownerReferences[*].name}}'); "
    f"{KUBECTL} delete $certificates $owner"
)


# A Node object that was deleted and has registered again may have other pod addresses: those of the pods that ran
# through it, and of cni0, lead nowhere, and a flannel that does not start anew never tells the other nodes of this one.
RESTART_PODS = (
    "systemctl stop kubelet && "
    "( for task in $(ctr --namespace k8s.io tasks list --quiet); do "
    'said=$(ctr --namespace k8s.io tasks kill --signal SIGKILL "$task" 2>&1) || '
    # One that has ended by itself since it was listed is as dead as the others.
    "case $said in *'not found'*) ;; *) printf '%s\\n' \"$said\" >&2; exit 1 ;; esac; done ) && "
    f"{FORGET_POD_NETWORK} && systemctl daemon-reload && systemctl start kubelet"
)


def _is_in_pod_network(node: Mapping[str, Any]) -> bool:
    """Whether flannel has put down on a Node object by which way its pods are reached (flannel 0.28)."""
    return "flannel.alpha.coreos.com/backend-data" in node.get("metadata", {}).get("annotations", {})


def _delete_node(control_plane: ControlPlane, name: str) -> None:
    deleted, _ = control_plane.run(f"{KUBECTL} delete node {name}")
    if not deleted:
        raise OperationError(
            f"{control_plane.name}: could not delete the Node {name} of the time before it was rebuilt. "
            f"See `kubectl describe node {name}`."
        )


def _await_node(control_plane: ControlPlane, name: str, timeout_s: int) -> None:
    """What comes next labels the node, and does not wait for one that does not exist yet."""
    registered, _ = control_plane.run(f"{KUBECTL} wait --for=create --timeout={timeout_s}s node/{name}")
    if not registered:
        raise OperationError(
            f"{name}: the kubelet was started, and its Node was not there {timeout_s} s later. "
            f"See there: journalctl -u kubelet"
        )


_API_SERVER = f"{MANIFESTS}/kube-apiserver.yaml"
# While its member of etcd leaves, an API server accepts requests that it can't answer. One that has ended, as it does
# without a manifest, has answered all it had accepted.
_RETIRE = f"""\
rm -f {_API_SERVER} && (
    began=$(date '+%F %T')
    for second in $(seq 90); do [ -n "$({static_pod_pid("kube-apiserver")})" ] || break; sleep 1; done
    if [ -n "$({static_pod_pid("kube-apiserver")})" ]; then
        echo 'The API server still runs 90 s after its manifest has gone: journalctl -u kubelet' >&2
        exit 1
    fi
    # Balancers notice within two checks, this host's as well as the others'. Until then they may try it; if they knew
    # of two such, a request could meet one after the other.
    for second in $(seq 15); do
        journalctl --unit {ENDPOINT_UNIT} --since "$began" --output cat | grep -qF '/@SERVER@ is DOWN' && break
        sleep 1
    done
)"""


def retire_api_server(server: str) -> str:
    """The command that ends a host's own API server (ADDRESS:PORT), once the balancers know."""
    return _RETIRE.replace("@SERVER@", server)


@operation()
def no_api_server(server: str) -> Generator[StringCommand, None, None]:
    """Make this host, which leaves the control plane, serve the API (at ADDRESS:PORT) no more; the others do."""
    if ask(Kubeadm).admin_conf and not ask(Missing, paths=[_API_SERVER]):
        yield StringCommand(retire_api_server(server))
    else:
        host.noop("serves no API")


@operation()
def no_membership(alone: bool = False) -> Generator[StringCommand, None, None]:
    """Make this host be of no cluster: what kubeadm has made here goes.

    Its member of etcd has to be gone: kubeadm leaves it where no API server is here (1.36, removeetcdmember.go). Or
    this is done `alone`, and no other member is told.
    """
    state = ask(Kubeadm)
    if state.admin_conf or state.kubelet_conf or state.debris or state.running == LEAVE_UNIT:
        reset = f"kubeadm reset --force --skip-phases remove-etcd-member && {FORGET_CLUSTER}" if alone else RESET
        yield in_unit(LEAVE_UNIT, f"{reset} && {FORGET_POD_NETWORK}")
    else:
        host.noop("is of no cluster")


@operation()
def apiserver_names(wanted: Sequence[str]) -> Generator[StringCommand, None, None]:
    """Make the API server's certificate hold the names `wanted`, from the configuration at KUBEADM_CONFIG.

    No API server is needed for it, and one that runs reads a new certificate by itself. It is made aside with its key,
    then both are renamed; two that don't belong together, after a power cut between them, are made anew.
    """
    if set(wanted) <= ask(ApiserverNames):
        host.noop("the API server's certificate has its names")
        return
    new = f"{OURS}/new-pki"
    yield StringCommand(
        f"rm -rf {new} && mkdir -p -m 700 {new} && ln -s {CLUSTER_CA} {CLUSTER_CA_KEY} {new}/ &&",
        f"sed 's|^kind: ClusterConfiguration$|&\\ncertificatesDir: {new}|' {KUBEADM_CONFIG} > {new}/kubeadm.yaml &&",
        f"kubeadm init phase certs apiserver --config {new}/kubeadm.yaml &&",
        f"sync {new}/apiserver.key {new}/apiserver.crt &&",
        f"mv {new}/apiserver.key {APISERVER_KEY} && mv {new}/apiserver.crt {APISERVER_CERTIFICATE} && rm -r {new}",
    )


@operation()
def kube_proxy(configuration: str) -> Generator[StringCommand, None, None]:
    """Keep kube-proxy in the cluster as kubeadm makes it from its `configuration`; a change restarts its pods."""
    # Secrets may be in it, so it comes by standard input; kubeadm could not open one that is a socket, as sshd's are.
    printed = "cat | kubeadm init phase addon kube-proxy --config /dev/stdin --print-manifest"
    if ask(ManifestsApplied, parts=[printed], _stdin=Hidden(configuration)).same:
        host.noop("kube-proxy is as it should be")
        return
    daemon_set = "--namespace kube-system daemonset/kube-proxy"
    yield StringCommand(
        f"manifests=$({printed}) && printf '%s\\n' \"$manifests\" | {APPLY} -f - &&",
        f"{KUBECTL} rollout restart {daemon_set}",
        _stdin=configuration,
    )
