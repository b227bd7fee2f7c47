"""kubeadm: a control plane made, workers joined, the API server's flags kept.

`kubeadm init` and `kubeadm join` run in a transient systemd unit of their own: they come to their end even when the run
that started them is killed, and the next run waits for them instead of starting a second one.
"""

from __future__ import annotations

import shlex
from collections.abc import Generator, Mapping, Sequence

from pyinfra import host
from pyinfra.api import FunctionCommand, OperationError, StringCommand
from pyinfra.api.operation import operation

from kubestage.control_plane import ControlPlane
from kubestage.facts.kubernetes import Apiserver, ApiserverNames, ImagesPresent, Kubeadm, ManifestsApplied, Nodes
from kubestage.facts.unknown import Unknown
from kubestage.hidden import Hidden
from kubestage.host_file import HostFile
from kubestage.kubeadm import join_configuration
from kubestage.kubernetes import (
    APISERVER_CERTIFICATE,
    APISERVER_KEY,
    APISERVER_MANIFEST,
    APISERVER_PID,
    APPLY,
    FORGET_POD_NETWORK,
    INIT_UNIT,
    INITIALIZED,
    JOIN_CONFIG,
    JOIN_UNIT,
    KUBEADM_CONFIG,
    KUBECTL,
    KUBELET_CONF,
    RESET,
)
from kubestage.operations.files import put
from kubestage.shell import call

TOKEN_TTL = "15m"


def _in_unit(unit: str, script: str, done: str) -> StringCommand:
    """Run `script` in `unit`, or wait for the one that runs. If the file `done` is missing then, fail with its log."""
    log = f"/var/log/{unit}.log"
    return StringCommand(
        f"if systemctl --quiet is-active {unit}; then",
        f"while systemctl --quiet is-active {unit}; do sleep 0.2; done; else",
        f"systemd-run --quiet --wait --collect --unit {unit} --service-type exec --setenv PATH=$PATH",
        f"-p StandardOutput=truncate:{log} -p StandardError=append:{log} sh -c '{script}'; fi;",
        f"test -f {done} || {{ tail -n 25 {log} >&2; echo '{unit} failed; all of its output: {log}' >&2; exit 1; }}",
    )


@operation()
def init() -> Generator[StringCommand, None, None]:
    """Make a control plane of this host, once, from the configuration at KUBEADM_CONFIG.

    A host where an earlier init did not end well is not touched: what is half done there can't be told from outside.
    """
    state = host.get_fact(Kubeadm)
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
    # A `kubeadm reset` by hand leaves the marker of the cluster before.
    script = f"rm -f {INITIALIZED} && kubeadm init --config {KUBEADM_CONFIG} --skip-token-print && touch {INITIALIZED}"
    yield _in_unit(INIT_UNIT, f"{FORGET_POD_NETWORK} && {script}", INITIALIZED)


@operation()
def pull(images: Sequence[str], kubernetes_version: str) -> Generator[StringCommand, None, None]:
    """Pull ahead of need `images` and those of kubeadm's own that a worker runs; not where it has joined."""
    if host.get_fact(Kubeadm).kubelet_conf:
        host.noop("has joined")
        return
    present = host.get_fact(ImagesPresent)
    if all(image in present for image in images):
        host.noop("images are there")
        return
    yield StringCommand(
        f"for image in $(kubeadm config images list --kubernetes-version {kubernetes_version}",
        "| grep -E 'kube-proxy|coredns')",
        *images,
        "; do ctr --namespace k8s.io images pull --hosts-dir /etc/containerd/certs.d $image >/dev/null || exit; done",
    )


@operation()
def init_or_pull(
    control_plane: bool, images: Sequence[str], kubernetes_version: str
) -> Generator[StringCommand, None, None]:
    """Initialise the control plane while the workers pull: hosts work at the same time only within one operation."""
    if control_plane:
        yield from init._inner()
    else:
        yield from pull._inner(images, kubernetes_version)


# A controller signs the cluster-info that joining hosts read for each token, a moment after it was made. A host that is
# quicker would try again only after 5 s (kubeadm's DiscoveryRetryInterval).
MINT = (
    f"line=$(kubeadm token create --ttl {TOKEN_TTL} --print-join-command) && "
    "id=$(echo \"$line\" | sed 's/.*--token \\([^.]*\\)[.].*/\\1/') && deadline=$(($(date +%s) + 30)) && "
    f"until {KUBECTL} -n kube-public get configmap cluster-info -o yaml | grep -q jws-kubeconfig-$id; do "
    'test $(date +%s) -lt $deadline || exit; sleep 0.1; done; echo "$line"'
)


def _token(control_plane: ControlPlane) -> list[str]:
    """`kubeadm join HOST:PORT --token T --discovery-token-ca-cert-hash H` as its words; never printed or logged.

    One token a run, minted when the first worker needs it.
    """
    minted, output = control_plane.run_once(MINT)
    line = next((line for line in output.splitlines() if line.startswith("kubeadm join")), None)
    if not minted or line is None:
        raise OperationError(f"{control_plane.name}: `kubeadm token create` failed. Is its API server up?")
    return line.split()


@operation()
def join(
    control_plane: ControlPlane, node_ip: str, ignore_preflight: Sequence[str], timeout_s: int = 60
) -> Generator[StringCommand | FunctionCommand, None, None]:
    """Make this host a worker under its own name, and wait until its Node object is there, for at most `timeout_s`.

    A rebuilt host's old Node object is deleted first. What a failed join left is reset. Where the host has joined but
    its Node object is gone, the kubelet is restarted: it registers anew.
    """
    state = host.get_fact(Kubeadm)
    nodes = control_plane.ask(Nodes)
    joined = state.kubelet_conf and state.running != JOIN_UNIT
    if joined and (isinstance(nodes, Unknown) or host.name in nodes):
        host.noop("has joined")
        return
    registered = call(_await_node, control_plane, host.name, timeout_s)
    if joined:
        yield StringCommand("systemctl daemon-reload && systemctl restart kubelet")
        yield registered
        return
    if not host.state.is_executing or isinstance(nodes, Unknown):
        yield StringCommand("kubeadm join")  # the token is minted only when it is used
        return
    if state.running == JOIN_UNIT:
        yield _in_unit(JOIN_UNIT, "", KUBELET_CONF)
        yield registered
        return
    if host.name in nodes:
        yield call(_delete_node, control_plane, host.name)
    if state.debris:
        yield StringCommand("kubeadm reset --force")
    config = join_configuration(_token(control_plane), host.name, node_ip, ignore_preflight)
    yield put([HostFile(JOIN_CONFIG, config, mode="600")])
    script = (
        f"{FORGET_POD_NETWORK} && kubeadm join --config {JOIN_CONFIG}; result=$?; rm -f {JOIN_CONFIG}; exit $result"
    )
    yield _in_unit(JOIN_UNIT, script, KUBELET_CONF)
    yield registered


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


@operation()
def apiserver_names(wanted: Sequence[str]) -> Generator[StringCommand, None, None]:
    """Make the API server's certificate hold the names `wanted`, from the configuration at KUBEADM_CONFIG.

    The API server reads a new certificate by itself.
    """
    if set(wanted) <= host.get_fact(ApiserverNames):
        host.noop("the API server's certificate has its names")
        return
    yield StringCommand(
        f"kubeadm init phase upload-config kubeadm --config {KUBEADM_CONFIG} &&",
        f"rm -f {APISERVER_CERTIFICATE} {APISERVER_KEY} &&",
        f"kubeadm init phase certs apiserver --config {KUBEADM_CONFIG}",
    )


@operation()
def apiserver_flags(wanted: Mapping[str, str], address: str, port: int) -> Generator[StringCommand, None, None]:
    """Make the living API server run with the flags `wanted` (name -> value), from the configuration at KUBEADM_CONFIG.

    Waits until the API server that answers /readyz is one that runs with them and with none besides: the old one
    answers for a while. The configuration in the cluster, by which `kubeadm upgrade` goes, comes last: nobody could
    change it while an API server does not start with its flags, and it tells the next run of flags that were left out.
    """
    flags = host.get_fact(Apiserver)
    runs = all(flags.manifest.get(name) == flags.process.get(name) == value for name, value in wanted.items())
    if runs and flags.extra == wanted:
        host.noop("the API server runs with its flags")
        return
    yield StringCommand(f"kubeadm init phase control-plane apiserver --config {KUBEADM_CONFIG}")
    arguments = " ".join(f"-e {shlex.quote(f'--{name}={value}')}" for name, value in wanted.items())
    yield StringCommand(
        "deadline=$(($(date +%s) + 180)); until",
        f"flags=$(for pid in $({APISERVER_PID}); do tr '\\0' '\\n' < /proc/$pid/cmdline; done 2>/dev/null);",
        f'test "$(printf \'%s\\n\' "$flags" | grep -cxF {arguments})" = {len(wanted)} &&',
        # The manifest may have a flag in quotes, as YAML wants it.
        'test "$(printf \'%s\\n\' "$flags" | grep -c ^--)" =',
        f'"$(grep -cE "^ *- [\'\\"]?--" {APISERVER_MANIFEST})" &&',
        f"{KUBECTL} --server https://{address}:{port} --request-timeout 5s get --raw /readyz >/dev/null 2>&1; do",
        "if test $(date +%s) -gt $deadline; then",
        "echo 'after 180 s the API server is not ready with its new flags: see",
        "/var/log/pods/kube-system_kube-apiserver*' >&2; exit 1; fi; sleep 0.2; done",
    )
    yield StringCommand(f"kubeadm init phase upload-config kubeadm --config {KUBEADM_CONFIG}")


@operation()
def kube_proxy(configuration: str) -> Generator[StringCommand, None, None]:
    """Keep kube-proxy in the cluster as kubeadm makes it from its `configuration`; a change restarts its pods."""
    # Secrets may be in it, so it comes by standard input; kubeadm could not open one that is a socket, as sshd's are.
    printed = "cat | kubeadm init phase addon kube-proxy --config /dev/stdin --print-manifest"
    if host.get_fact(ManifestsApplied, parts=[printed], _stdin=Hidden(configuration)).same:
        host.noop("kube-proxy is as it should be")
        return
    daemon_set = "--namespace kube-system daemonset/kube-proxy"
    yield StringCommand(
        f"manifests=$({printed}) && printf '%s\\n' \"$manifests\" | {APPLY} -f - &&",
        f"{KUBECTL} rollout restart {daemon_set}",
        _stdin=configuration,
    )
