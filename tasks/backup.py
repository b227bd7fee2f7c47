"""A backup of the cluster, on the machine that the run is started from."""

from __future__ import annotations

import os

from pyinfra import logger, state

from kubestage.checks import backup
from kubestage.cluster.phase import SYSTEM, phase
from kubestage.cluster.plan import HostPlan
from kubestage.kubernetes import BACKUP_UNIT
from kubestage.operations import apt, files, systemd
from kubestage.operations import backup as operations
from kubestage.render import backup as backup_render
from kubestage.render.backup import TIMER
from tasks.preflight import planned

LOG = f"`/var/log/{BACKUP_UNIT}.log` on the host"


def check() -> HostPlan:
    """This host's plan; raises with all that is in the way."""
    return planned(backup.check(state))


@phase("age", look_at=SYSTEM)
def install(plan: HostPlan) -> None:
    """What encrypts it, before it leaves the host."""
    if plan.is_leader:
        apt.packages(packages=operations.PACKAGES, timeout_s=plan.settings.timeout_s(300), name="age")


@phase("Backup", look_at=LOG)
def make(plan: HostPlan) -> None:
    """On the host that leads, where etcd's snapshot is taken."""
    settings = plan.settings
    if plan.is_leader:
        operations.made(script=backup_render.script(settings), name="Backup")


@phase("Your copy", look_at="the message names the file")
def bring(plan: HostPlan) -> None:
    """To where the runs are started from; the host may be lost."""
    if plan.is_leader:
        settings = plan.settings
        operations.brought(
            folder=plan.backups, keep=settings.backup_keep, stays=bool(settings.backup_schedule), name="Your copy"
        )


@phase("Backup before", look_at=LOG)
def before_upgrade(plan: HostPlan) -> None:
    """Where somebody is named who can read it, of a cluster that is to be of another version."""
    if plan.settings.backup_recipients and plan.version_now != plan.host_settings.kubernetes_version:
        for each in (install, make, bring):
            each.task(plan)


@phase("Backup timer", look_at=f"`systemctl status {TIMER}` and {LOG}")
def keep(plan: HostPlan) -> None:
    """Backups that a host makes by itself: on the one that leads alone, where a schedule is set."""
    if not plan.is_control_plane:
        return
    if plan.is_leader and plan.settings.backup_schedule:
        apt.packages(packages=operations.PACKAGES, timeout_s=plan.settings.timeout_s(300), name="age")
        files.files(files=backup_render.timer(plan.settings), name="Files of the timer")
        systemd.services(units={TIMER: []}, name="Timer of backups")
    else:
        systemd.no_unit(unit=TIMER, files=backup_render.TIMER_FILES, name="No timer of backups")


def tell(plan: HostPlan) -> None:
    """How to go back to it."""
    if plan.acts_for_all:
        logger.info(
            f"    To go back to it: pyinfra inventory/{plan.checked.inventory}.py restore.py "
            f"--data backup={os.path.relpath(plan.backups)}/TIME --data identity=KEY_FILE"
        )
