"""The control plane's static pods: their manifests beside those that kubeadm would write now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kubestage.facts.framed import Fact
from kubestage.kubernetes import ADMIN_CONF, KUBECTL, STATIC_PODS, STATIC_PODS_FILES, STATIC_PODS_WORKED

MANIFESTS = "/etc/kubernetes/manifests"

# Shell functions. kubeadm puts the proxies of its environment into manifests, so it is given none: neither `kubeadm
# init` in its systemd unit nor this may depend on who logs in. What etcd is told of its cluster's beginning it reads
# only while it has no data, and kubeadm writes it once, by the members of that time.
RENDER = """\
kubeadm_renders() {  # CONFIGURATION FOLDER PHASE...
    configuration=$1 folder=$2
    shift 2
    env -i PATH="$PATH" KUBEADM_INIT_DRYRUN_DIR="$folder" \\
        kubeadm init phase "$@" --dry-run --config "$configuration"
}
same() {  # MANIFEST MANIFEST
    test -f "$1" && test -f "$2" &&
        test "$(grep -av -e '- --initial-cluster' "$1")" = "$(grep -av -e '- --initial-cluster' "$2")"
}
"""


@dataclass(frozen=True)
class StaticPodsState:
    """The static pods of a control plane host.

    `differing`: those whose manifest is not what kubeadm makes of the configuration, or can't be read. `pending`: a
    change of manifests has not come to its end. `files`: the paths of the user's files for them that are on the host.
    `stored`: the ClusterConfiguration that the cluster keeps, as it is written there, be it YAML or not; None where the
    API server gives no answer.
    """

    differing: tuple[str, ...] = STATIC_PODS
    pending: bool = False
    files: tuple[str, ...] = ()
    stored: str | None = None


class StaticPods(Fact[StaticPodsState]):
    """The control plane host's StaticPodsState, by kubeadm's configuration, whose text comes by standard input."""

    @staticmethod
    def default() -> StaticPodsState:
        return StaticPodsState()

    def ask(self) -> str:
        return f"""\
{RENDER}
work=$(mktemp -d) && cat > $work/kubeadm.yaml || exit
kubeadm_renders $work/kubeadm.yaml $work control-plane all >/dev/null 2>&1 &
kubeadm_renders $work/kubeadm.yaml $work etcd local >/dev/null 2>&1 &
if test -f {ADMIN_CONF} && {KUBECTL} --request-timeout 10s --namespace kube-system get configmap kubeadm-config \\
    --ignore-not-found -o jsonpath='{{.data.ClusterConfiguration}}' > $work/stored 2>/dev/null
then echo answers; sed 's/^/stored /' $work/stored; fi
wait
for pod in {" ".join(STATIC_PODS)}; do
    if same $work/$pod.yaml {MANIFESTS}/$pod.yaml; then echo "same $pod"; fi
done
rm -rf $work
if test -d {STATIC_PODS_WORKED}; then echo pending; fi
for file in {STATIC_PODS_FILES}/*; do if test -e "$file"; then echo "file $file"; fi; done
"""

    def parse(self, output: Sequence[str]) -> StaticPodsState:
        said: dict[str, list[str]] = {}
        for line in output:
            kind, _, rest = line.partition(" ")
            said.setdefault(kind, []).append(rest)
        return StaticPodsState(
            differing=tuple(pod for pod in STATIC_PODS if pod not in said.get("same", ())),
            pending="pending" in said,
            files=tuple(said.get("file", ())),
            stored="\n".join(said.get("stored", ())) if "answers" in said else None,
        )
