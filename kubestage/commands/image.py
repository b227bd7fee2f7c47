"""An image of a host that has all that a node needs, and is in no cluster; `make image`.

A host that is rebuilt of it finds packages and images on its disk, and is a node sooner.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from pyinfra.api.exceptions import PyinfraError

from kubestage.cluster.inventory import Target, TargetError, read
from kubestage.commands.rebuild import STEP_S, Rebuild, confirm
from kubestage.commands.remote import deploy, shell
from kubestage.facts.kubernetes import Kubeadm
from kubestage.kubernetes import CERTS_D, OURS, RESET, UNTOUCHED
from kubestage.providers import ProviderError
from kubestage.providers.machines import machine
from kubestage.render import kubelet, runtime

# The last of them pulls, on a worker, the images that it will run.
PHASES = ("Host", "Runtime", "Kubernetes packages", "API endpoint", "Control plane")

# What makes a host this one, and no other: whoever boots from the image makes it anew, as cloud-init does. And what
# settings have written, which may hold passwords: the next run writes it again.
_WRITTEN = (OURS, UNTOUCHED, CERTS_D, runtime.CONTAINERD_CONFIG, runtime.DOCKER_CONFIG, kubelet.FOLDER)
_FORGET = f"""
set -e
systemctl stop kubelet.service docker.service docker.socket containerd.service
rm -rf {" ".join(_WRITTEN)}
rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub
rm -f /var/lib/dbus/machine-id /var/lib/systemd/random-seed /var/lib/docker/engine-id
: > /etc/machine-id
if command -v cloud-init >/dev/null; then cloud-init clean --logs; fi
sync
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own words."""
    parser.add_argument("host", metavar="HOST", help="by its name in the inventory; in no cluster")
    parser.add_argument("--name", default="", help="of the image; else of the Kubernetes version and the time")
    parser.add_argument("--yes", action="store_true", help="ask nothing")


def main(given: argparse.Namespace) -> int:
    """Make the image, and print what `rebuild` calls it."""
    target = read(given.inventory, made=False)
    try:
        return _make(target, given)
    except (ProviderError, PyinfraError) as error:
        raise TargetError(str(error)) from None


def _make(target: Target, given: argparse.Namespace) -> int:
    name, cluster = given.host, target.cluster
    if name not in cluster.hosts:
        raise TargetError(
            f"{target.inventory}: there is no host {name!r}\n    -> name one of: {', '.join(cluster.nodes)}"
        )
    if name in cluster.control_plane:
        raise TargetError(f"{name}: it is a control plane host, and images are made of workers\n    -> name a worker")
    progress = Rebuild.begun(target.folder, name, [])  # ended anywhere, it goes on there when it is given again
    if not progress.done:
        _refuse_member(target, name)
    own = cluster.hosts[name]
    whose = machine(name, own.provider, cluster.common.timeout_s(STEP_S))
    image = given.name or f"kubestage-{own.kubernetes_version}-{datetime.now(UTC):%Y%m%d-%H%M}"
    print(f"{name}: {whose.describe().what}")
    print("  It will be prepared; forget who it is (SSH host keys, machine id, cloud-init's state) and what settings")
    print(f"  have written; and be stopped. Its image: {image}")
    confirm(given.yes, "it may be stopped")
    made: list[str] = []
    progress.step("prepare", lambda: _prepare(target, name))
    progress.step("forget who it is", lambda: _forget(target, name))
    progress.step("stop for the image", whose.stop)
    progress.step("make the image", lambda: made.append(whose.image(image)))
    progress.end()
    (called,) = made
    print(
        f"{called}: python -m kubestage rebuild {target.inventory} HOST --image {called}; or the setting rebuild_image"
    )
    return 0


def _prepare(target: Target, name: str) -> None:
    if code := deploy(target, name, "--limit", name, "--data", f"only={','.join(PHASES)}"):
        raise TargetError(
            f"{name}: the run that prepares it ended with {code}\n    -> mend that, and give the command again"
        )


def _refuse_member(target: Target, name: str) -> None:
    """An image of a node would be that node, with its certificates, wherever it boots."""
    succeeded, output = shell(target, name, Kubeadm().ask())
    state = Kubeadm().parse(output.splitlines())
    if not succeeded:
        raise TargetError(f"{name}: it does not answer\n    -> look at its console")
    if state.kubelet_conf or state.admin_conf or state.debris or state.running:
        raise TargetError(
            f"{name}: it is in a cluster, or was\n    -> take a new host; or give up this one, there: {RESET}"
        )


def _forget(target: Target, name: str) -> None:
    succeeded, output = shell(target, name, _FORGET)
    if not succeeded:
        last = (output.splitlines() or ["no answer"])[-1]
        raise TargetError(
            f"{name}: it can't be made ready: {last}\n    -> look there at the units of containerd and Docker"
        )
