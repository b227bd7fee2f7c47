"""A living cluster brought to the version of the settings: the control plane first, then the workers."""

from __future__ import annotations

from typing import Any

from pyinfra import state

from kubestage.checks import upgrade
from kubestage.cluster.phase import SYSTEM, phase
from kubestage.cluster.plan import HostPlan
from kubestage.kubernetes import UPGRADE_UNIT
from kubestage.operations import apt
from kubestage.operations import upgrade as operations
from kubestage.render import apt_sources, kubeadm
from tasks import control_plane
from tasks.preflight import planned

_LOG = (
    f"`/var/log/{UPGRADE_UNIT}.log` on the host: of a program that did not come up, kubeadm has put back the manifest "
    "before. What kept a node from being drained is in the output. Give the same command again: it goes on there"
)
_GOES_ON = f"`kubeadm upgrade` goes on by itself, in the unit {UPGRADE_UNIT}; the next run waits for it"


def check() -> HostPlan:
    """This host's plan; raises with all that is in the way of an upgrade."""
    return planned(upgrade.check(state))


@phase("Configuration", look_at=SYSTEM)
def configuration(plan: HostPlan) -> None:
    """What the cluster keeps says what settings say, of the version before: kubeadm makes manifests by that alone."""
    control_plane.keep_at(plan, plan.version_now)


@phase("kubeadm", look_at=SYSTEM)
def package(plan: HostPlan) -> None:
    """kubeadm alone: a kubelet that is restarted has drained its node before."""
    apt.sources(entries=apt_sources.sources(plan), name="apt sources")
    apt.pinned_packages(
        packages={"kubeadm": plan.host_settings.kubernetes_package_version},
        entries=apt_sources.sources(plan),
        timeout_s=plan.settings.timeout_s(300),
        name="kubeadm",
    )


@phase("Images", look_at=SYSTEM)
def images(plan: HostPlan) -> None:
    """Everywhere before anything is away: a slow registry makes the upgrade longer, and no gap."""
    operations.images(version=plan.host_settings.kubernetes_version, control_plane=plan.is_control_plane, name="Images")


@phase("Snapshot", look_at=SYSTEM)
def snapshot(plan: HostPlan) -> None:
    """etcd's data of before, on the host that is upgraded first."""
    if plan.is_leader:
        operations.snapshot(version=plan.host_settings.kubernetes_version, name="Snapshot of etcd")


@phase("Upgrade of the control plane", look_at=_LOG, goes_on=_GOES_ON)
def programs(plan: HostPlan) -> None:
    """The first one takes the cluster with it; then the others, one after the other."""
    if plan.is_leader:
        operations.node(**_how(plan, "apply"), name="First of the control plane")
    elif plan.is_control_plane:
        operations.node(**_how(plan, "node"), name="Others of the control plane", _serial=True)


@phase("Upgrade of the workers", look_at=_LOG, goes_on=_GOES_ON)
def workers(plan: HostPlan) -> None:
    """As many at a time as `upgrade_at_once` says."""
    if not plan.is_control_plane:
        operations.node(**_how(plan, "node"), name="Workers", _parallel=plan.settings.upgrade_at_once)


def _how(plan: HostPlan, kubeadm_upgrade: str) -> dict[str, Any]:
    own, settings = plan.host_settings, plan.settings
    packages = apt_sources.kubernetes_packages(plan)
    return {
        "control_plane": plan.speaker,
        "kubeadm": kubeadm_upgrade,
        "configuration": kubeadm.upgrade_configuration(settings, own),
        "version": own.kubernetes_version,
        "packages": {name: version for name, version in packages.items() if name != "kubeadm"},
        "entries": apt_sources.sources(plan),
        "timeout_s": settings.timeout_s(300),
    }
