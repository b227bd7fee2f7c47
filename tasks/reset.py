"""Hosts made what they were before any run: the cluster's go first, then what the host itself has."""

from __future__ import annotations

from pyinfra import logger, state

from kubestage.checks import reset
from kubestage.cluster import traces
from kubestage.cluster.phase import FILES, SYSTEM, phase
from kubestage.cluster.plan import HostPlan
from kubestage.facts.packages import REPLACED
from kubestage.facts.untouched import Untouched
from kubestage.kubernetes import ENDPOINT_UNIT, LEAVE_UNIT
from kubestage.operations import apt, kubeadm, systemd, untouched
from kubestage.operations import reset as operations
from kubestage.render import endpoint
from kubestage.render.backup import TIMER, TIMER_FILES
from tasks.preflight import planned, targeted


def check() -> HostPlan:
    """This host's plan; raises with all that is in the way."""
    checked = reset.check(state)
    return planned(checked, leaving=targeted() if checked.tells else ())


def _was(plan: HostPlan) -> Untouched | None:
    """What the host was; None for one that no run has touched, of which nothing is taken."""
    return plan.checked.untouched.get(plan.name)


def _goes(was: Untouched) -> tuple[list[str], list[str]]:
    """(units, containerd's namespaces) that go: of containerd and Docker only where they came by a run."""
    units, namespaces = list(traces.CLUSTER_UNITS), ["k8s.io"]
    if not was.had_docker:
        units += operations.DOCKER_UNITS
        namespaces += ["moby"]
    if not was.had_containerd:
        units += [operations.CONTAINERD_UNIT]
    return units, namespaces


def _data(plan: HostPlan, was: Untouched) -> list[str]:
    return traces.data(plan.settings, plan.host_settings, was)


@phase(
    "No cluster",
    look_at=f"`/var/log/{LEAVE_UNIT}.log` on the host",
    goes_on=f"`kubeadm reset`, in the unit {LEAVE_UNIT}",
)
def leave(plan: HostPlan) -> None:
    """What kubeadm has made, and all that is at work."""
    was = _was(plan)
    if was:
        systemd.stopped(units=traces.WORKING_UNITS, name="Nothing of a run's is at work")
        kubeadm.no_membership(alone=True, name="Of no cluster")
        if not was.had_docker:
            operations.no_docker_containers(name="No containers of Docker's")
        units, namespaces = _goes(was)
        operations.nothing_at_work(
            units=units,
            namespaces=namespaces,
            folders=_data(plan, was),
            name="Nothing of the cluster's is at work",
        )
        if was.had_containerd:
            operations.no_images(namespace="k8s.io", name="No images of the cluster's")


@phase("No pod network", look_at="the iptables-restore or ip error in the output")
def no_network(plan: HostPlan) -> None:
    """Rules and links, each by its name: others' stay."""
    if was := _was(plan):
        operations.no_rules(was=was, docker=not was.had_docker, name="No rules")
        operations.no_links(docker=not was.had_docker, name="No links")


@phase("Files as before", look_at=FILES)
def files(plan: HostPlan) -> None:
    """What runs have written; the apt sources among it, before packages go by them."""
    if was := _was(plan):
        systemd.no_unit(unit=ENDPOINT_UNIT, files=[endpoint.UNIT_FILE], name="No endpoint of the API")
        systemd.no_unit(unit=TIMER, files=TIMER_FILES, name="No timer of backups")
        untouched.files(
            was=was,
            own=traces.FILES,
            replaced=traces.REPLACED_FILES,
            marked=traces.MARKED_FILES,
            name="Files of runs",
        )
        untouched.commented_lines(paths=traces.COMMENTED_FILES, name="Lines that runs have switched off")


@phase("Packages as before", look_at=SYSTEM)
def packages(plan: HostPlan) -> None:
    """Those that came go, with what only they need; those that went, or have another version, come back."""
    if was := _was(plan):
        apt.packages_as_they_were(
            was=was,
            ours=traces.packages(plan.host_settings),
            replaced=REPLACED,
            timeout_s=plan.settings.timeout_s(300),
            name="Packages",
        )


@phase("No data", look_at="the message names the folder")
def no_data(plan: HostPlan) -> None:
    """Images, volumes, etcd: nothing uses them any more."""
    if was := _was(plan):
        untouched.no_data(was=was, paths=_data(plan, was), name="Data")


@phase("Host as before", look_at=SYSTEM)
def host(plan: HostPlan) -> None:
    """Its name, swap, kernel settings; last the record of them."""
    if was := _was(plan):
        untouched.hostname(was=was, name="Host name")
        untouched.hosts_file(names=plan.addresses, name="/etc/hosts")
        untouched.units(was=was, names=traces.OWN_UNITS, name="Units")
        untouched.swap(was=was, name="Swap")
        untouched.sysctls(was=was, names=traces.sysctls(plan.host_settings), name="Kernel settings")
        untouched.modules(was=was, names=traces.MODULES, name="Kernel modules")
        untouched.accounts(was=was, users=traces.USERS, groups=traces.GROUPS, name="Users and groups")
        untouched.forgotten(was=was, logs=traces.LOGS, name="What the host was")


def tell(plan: HostPlan) -> None:
    """What is left to do, and can't be done by a run."""
    if plan.acts_for_all and plan.checked.tells:
        inventory = f"inventory/{plan.checked.inventory}.py"
        logger.info(
            f"Then take {', '.join(plan.targeted)} out of {inventory}, and give: pyinfra {inventory} deploy.py"
            " -- while a host is in the inventory, that has it join again"
        )
