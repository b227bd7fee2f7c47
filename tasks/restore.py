"""A cluster made of a backup, on blank hosts: as deploy.py makes one, with what the backup holds put in between."""

from __future__ import annotations

from pathlib import Path

from pyinfra import state

from kubestage.checks import backup
from kubestage.checks.preflight import IDENTITY
from kubestage.cluster.phase import PODS, SYSTEM, phase
from kubestage.cluster.plan import HostPlan
from kubestage.operations import apt, storage
from kubestage.operations import backup as backup_operations
from kubestage.operations import restore as operations
from tasks.preflight import planned


def check() -> HostPlan:
    """This host's plan; raises with all that is in the way."""
    return planned(backup.check_restore(state))


@phase("Backup's data", look_at=SYSTEM)
def data(plan: HostPlan) -> None:
    """What it holds, on the host that is initialised; on all, the folders of their volumes, empty."""
    backup = plan.checked.backup
    if not backup:
        return
    if plan.is_leader:
        apt.packages(packages=backup_operations.PACKAGES, timeout_s=plan.settings.timeout_s(300), name="age")
        identity = Path(str(state.inventory.override_data[IDENTITY]))
        operations.data(archive=backup, identity=identity, name="Data of the backup")
    own = {each.claim: each.path for each in backup.volumes if each.node == plan.name}
    if own and not plan.report.kubelet_conf:  # a kubelet would make them for root alone
        storage.folders(volumes=own, name="Folders of the volumes")


@phase("Lost volumes", look_at=PODS)
def forget(plan: HostPlan) -> None:
    """Those of hosts that are not there any more go, with their claims."""
    if plan.is_leader and plan.checked.backup:
        for node in [each for each in plan.checked.backup.nodes if each not in plan.hosts]:
            storage.no_volumes(control_plane=plan.speaker, node=node, name=f"No volumes of {node}")


@phase("Restored images", look_at=PODS)
def images(plan: HostPlan) -> None:
    """Into the registry as it serves already."""
    if plan.is_leader and plan.checked.backup:
        operations.images(image=plan.settings.busybox_image, name="Images of the registry")
