"""What runs containers on a host and is not of our making, as preflight asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kubestage.facts.answers import Answers, filled
from kubestage.facts.apt import SOURCES
from kubestage.facts.packages import REPLACED
from kubestage.kubernetes import KUBELET_CONF

# Nothing is asked that would start by being asked, as Docker does by its socket.
_SCRIPT = r"""
containers() {  # NAME UNIT COMMAND...: those that run, as COMMAND lists them; "?" where it can't
    name=$1 unit=$2
    shift 2
    if ! command -v "$1" >/dev/null || ! { [ -z "$unit" ] || systemctl --quiet is-active "$unit"; }; then return; fi
    if running=$(timeout 10 "$@" 2>/dev/null); then
        echo "$running" | sed -n "s|^[^ ].*|container $name &|p"
    else
        echo "container $name ?"
    fi
}
packages() {
    dpkg-query -W -f='${Package} ${Version} ${db:Status-Status}\n' "$@" 2>/dev/null | sed -n 's/ installed$//p'
}
theirs=$(packages @REPLACED@)
# podman goes with its runc.
case $theirs in *"runc "*) theirs=$(packages @REPLACED@ podman) ;; esac
# On a host that no run has seen yet Docker's own packages are somebody else's as well.
if [ ! -e @SOURCES@ ] && [ ! -e @KUBELET_CONF@ ]; then theirs="$theirs
$(packages docker-ce containerd.io)"; fi
if [ -n "$(echo $theirs)" ]; then
    echo "$theirs" | sed -n 's/^[^ ]/runtime &/p'
    case $theirs in
        *podman-docker*) ;;  # there "docker" is podman
        *) containers docker docker docker ps --format '{{.Names}}' ;;
    esac
    containers podman '' podman ps --format '{{.Names}}'
    for namespace in $(systemctl --quiet is-active containerd && timeout 10 ctr namespaces list --quiet 2>/dev/null); do
        if [ "$namespace" != moby ]; then  # Docker's
            containers containerd containerd ctr --namespace "$namespace" tasks list --quiet
        fi
    done
fi
"""


@dataclass(frozen=True, kw_only=True)
class Runtimes:
    """`runtimes`: packages that are not of our making, and whose place ours take -> their versions.

    `containers`: what runs by them, as "docker NAME"; "docker ?" where that could not be asked.
    """

    runtimes: Mapping[str, str]
    containers: tuple[str, ...]


def script() -> str:
    return filled(_SCRIPT, {"REPLACED": " ".join(REPLACED), "SOURCES": SOURCES, "KUBELET_CONF": KUBELET_CONF})


def read(said: Answers) -> Runtimes:
    return Runtimes(runtimes=said.pairs("runtime"), containers=tuple(said.all("container")))
