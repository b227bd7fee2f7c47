"""Certificates of the cluster that end: kubeadm's on the control plane, and the kubelets'."""

from __future__ import annotations

import json
from collections.abc import Generator

from pyinfra import host
from pyinfra.api import StringCommand

from kubestage.cluster.control_plane import ControlPlane
from kubestage.cluster.operation import operation
from kubestage.kubernetes import (
    BOOTSTRAP_CONF,
    CLUSTER_CA,
    ENDPOINT,
    KUBEADM_CERTIFICATES,
    KUBEADM_CONFIG,
    KUBECTL,
    KUBELET_CLIENT,
    KUBELET_CONF,
    KUBELET_SERVER,
    RENEWING,
    RENEWING_UNIT,
    static_pod_pid,
)
from kubestage.operations.kubeadm import invitation
from kubestage.operations.transient import in_unit

# The programs read most of their certificates only when they start. Each is told to end, and the kubelet starts it
# anew: a manifest that is moved away and back, as kubeadm's documents have it, would be lost by a power cut in between.
# One after the other, so that each finds those that it needs. The mark stays until the last one serves: what a run
# leaves when it is killed, or the power goes, the next one begins again.
_CONTROL_PLANE = r"""
pid_of() {
    @PID@
}
serial() { openssl x509 -noout -serial 2>/dev/null; }
shows() {  # HOST:PORT CERTIFICATE: whether it serves with that one, whoever is let in
    shown=$(openssl s_client -connect $1 </dev/null 2>/dev/null | serial)
    [ -n "$shown" ] && [ "$shown" = "$(serial < @PKI@/$2)" ]
}
healthy() {  # URL [OPTION]
    url=$1
    shift
    timeout 10 @KUBECTL@ --server ${url%%/[a-z]*} "$@" get --raw /${url##*/} >/dev/null 2>&1
}
api_serves() { shows @ADDRESS@:@PORT@ apiserver.crt && healthy https://@ADDRESS@:@PORT@/readyz; }
serves() {  # POD: whether it is well, and has its new certificate
    case $1 in
        etcd) shows 127.0.0.1:2379 etcd/server.crt && api_serves ;;
        kube-apiserver) api_serves ;;
        # They serve with certificates of their own making.
        kube-controller-manager) healthy https://127.0.0.1:10257/healthz --insecure-skip-tls-verify ;;
        kube-scheduler) healthy https://127.0.0.1:10259/healthz --insecure-skip-tls-verify ;;
    esac
}
await() {  # WHAT COMMAND...: until it succeeds
    what=$1 deadline=$(($(date +%s) + @TIMEOUT@))
    shift
    until "$@"; do
        if [ $(date +%s) -gt $deadline ]; then
            echo "After @TIMEOUT@ s $what. See /var/log/pods/kube-system_*/*/*.log and journalctl -u kubelet."
            exit 1
        fi
        sleep 0.2
    done
}
started_anew() {
    new=$(pid_of $1)
    [ -n "$new" ] && [ "$new" != "$old" ] && serves $1
}

openssl version >/dev/null 2>&1 || { echo 'openssl, by which certificates are compared, does not run here'; exit 1; }
touch @RENEWING@ && sync @RENEWING@ || exit
kubeadm certs renew all --config @CONFIG@ || exit
has_ended() { ! openssl x509 -in $1 -noout -checkend 0 >/dev/null; }
# One that has ended gets the kubelet no other one, and it does not start with it.
if ! [ -e @KUBELET_CONF@ ] || { [ -e @KUBELET_CLIENT@ ] && has_ended @KUBELET_CLIENT@; }; then
    rm -f @KUBELET_CONF@ @KUBELET_CLIENT@
    kubeadm init phase kubeconfig kubelet --config @CONFIG@ && systemctl restart kubelet || exit
fi
systemctl start kubelet || exit
for pod in kube-apiserver kube-controller-manager kube-scheduler etcd; do
    old=$(pid_of $pod)
    if [ -n "$old" ]; then kill -TERM $old; fi
    await "$pod does not serve with its new certificate" started_anew $pod
done
for pod in kube-apiserver kube-controller-manager kube-scheduler; do
    await "$pod does not serve any more, since etcd was started anew" serves $pod
done
if ! grep -q @KUBELET_CLIENT@ @KUBELET_CONF@; then
    await "the kubelet has no certificate of its own yet" test -e @KUBELET_CLIENT@
    kubeadm init phase kubelet-finalize all --config @CONFIG@ && systemctl restart kubelet || exit
fi
rm -f @RENEWING@
"""


def _filled(script: str, **words: object) -> str:
    values = {
        "PID": static_pod_pid("'\"$1\"'"),
        "PKI": KUBEADM_CERTIFICATES,
        "KUBECTL": KUBECTL,
        "RENEWING": RENEWING,
        "CONFIG": KUBEADM_CONFIG,
        "KUBELET_CONF": KUBELET_CONF,
        "KUBELET_CLIENT": KUBELET_CLIENT,
        **words,
    }
    for name, value in values.items():
        script = script.replace(f"@{name}@", str(value))
    return script


def renew(address: str, port: int, timeout_s: int) -> str:
    """The script that renews what is kubeadm's, and starts anew what reads it; each wait is of `timeout_s` at most."""
    return _filled(_CONTROL_PLANE, ADDRESS=address, PORT=port, TIMEOUT=timeout_s)


@operation()
def control_plane(due: bool, address: str, port: int, timeout_s: int) -> Generator[StringCommand, None, None]:
    """Renew kubeadm's certificates on this host where they are `due`; its API server is asked at `address` and `port`.

    What is due is what preflight has found: nothing that comes before this makes a difference.
    """
    if due:
        yield in_unit(RENEWING_UNIT, renew(address, port, timeout_s))
    else:
        host.noop("no certificate of the control plane ends soon")


@operation()
def kubelet_server(due: bool) -> Generator[StringCommand, None, None]:
    """Have the kubelet request a serving certificate where its own is `due`: it does when it starts without one.

    It is approved with those of the hosts that have joined, and until then nobody can ask for logs of this host.
    """
    if due:
        yield StringCommand(f"rm -f {KUBELET_SERVER} && systemctl restart kubelet")
    else:
        host.noop("the kubelet's serving certificate does not end soon")


@operation()
def kubelet_client(over: bool, control_plane: ControlPlane, timeout_s: int) -> Generator[StringCommand, None, None]:
    """Give the kubelet of a worker a new certificate where its own is `over`: by a token, as when it joined."""
    if not over:
        host.noop("the kubelet has a certificate")
        return
    if not host.state.is_executing:
        yield StringCommand("request a certificate by a token")  # which is minted only when it is used
        return
    token = invitation(control_plane).token
    yield StringCommand(
        f"umask 077 && cat > {BOOTSTRAP_CONF} && systemctl restart kubelet &&",
        f"timeout {timeout_s} sh -c 'until openssl x509 -in {KUBELET_CLIENT} -noout -checkend 0; do sleep 0.2; done'",
        f">/dev/null 2>&1; got=$?; rm -f {BOOTSTRAP_CONF}; test $got = 0 ||",
        "{ journalctl --unit kubelet --lines 15 --no-pager >&2;",
        f"echo 'the kubelet got no certificate within {timeout_s} s' >&2; exit 1; }}",
        _stdin=bootstrap_kubeconfig(token),
    )


def bootstrap_kubeconfig(token: str) -> str:
    """With which a kubelet asks for its certificate, by a bootstrap `token`."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "kubernetes",
                "cluster": {"server": f"https://{ENDPOINT}", "certificate-authority": CLUSTER_CA},
            }
        ],
        "users": [{"name": "bootstrap", "user": {"token": token}}],
        "contexts": [{"name": "bootstrap", "context": {"cluster": "kubernetes", "user": "bootstrap"}}],
        "current-context": "bootstrap",
    }
    return json.dumps(document, indent=1) + "\n"  # JSON is YAML
