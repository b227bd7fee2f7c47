"""Check everything before anything is touched: the settings of the whole inventory, then its hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary

from gevent.lock import BoundedSemaphore
from gevent.pool import Pool
from pyinfra import logger
from pyinfra.api.exceptions import ConnectError, PyinfraError
from pyinfra.api.facts import get_fact
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import State
from pyinfra.context import ctx_config, ctx_host

from kubestage.checks import (
    addresses,
    disks,
    endings,
    logins,
    made,
    mirrors,
    ports,
    reach,
    runtimes,
    single,
    together,
    volumes,
    warnings,
)
from kubestage.checks.cluster_hosts import ClusterHosts, leader
from kubestage.checks.load import load
from kubestage.checks.wanted import wanted
from kubestage.cluster import connections
from kubestage.cluster.encryption import PLAINLY, Encryption, planned
from kubestage.cluster.folder import FOLDER
from kubestage.facts.host_report import HostReport, HostReportFact
from kubestage.facts.mirror_images import MirrorImages
from kubestage.facts.reach import Reach, Reached
from kubestage.facts.untouched import Untouched
from kubestage.providers import firewalls
from kubestage.settings import Cluster, Problem, SettingsError
from kubestage.settings.cluster import CONTROL_PLANE, WORKERS
from kubestage.settings.problems import render

if TYPE_CHECKING:  # every command that reads an inventory comes by here, and few have to do with backups
    from kubestage.backups.archive import Archive

T = TypeVar("T")

# What `--data` takes beside settings: titles of phases, with commas between them (kubestage.cluster.run).
ONLY, SKIP = "only", "skip"
# And what it asks for this once: a new key for Secrets in etcd; that the registry's volume may go with its host.
ROTATE, WITH_REGISTRY = "rotate_key", "with_registry"
# Of a reset: that the cluster, which is silent, is not told; that what is in Docker goes as well.
FORCE, WITH_DOCKER = "force", "with_docker"
# And which backup is restored, a folder here, with the file of whose key it opens.
BACKUP, IDENTITY = "backup", "identity"

RULES: tuple[Callable[[ClusterHosts], Iterator[Problem]], ...] = (
    single.root,
    single.system,
    single.size,
    disks.room,
    disks.inodes,
    disks.volumes,
    disks.executable,
    addresses.private,
    addresses.moved,
    addresses.networks,
    addresses.nameservers,
    addresses.operator,
    single.membership,
    ports.needed,
    single.packages,
    single.registries,
    runtimes.in_use,
    made.endpoint,
    made.version,
    made.fixed,
    made.kubelets,
    addresses.unique,
    together.clocks,
    together.operators_clock,
    together.node_names,
    ports.node_port_range,
    ports.node_port_reservation,
    ports.of_sites,
    volumes.storage_in_use,
    volumes.registry,
)

# What a person should know, and no reason not to run.
WARNINGS: tuple[Callable[[ClusterHosts], Iterator[str]], ...] = (
    warnings.silent_api,
    warnings.unknown_stack_objects,
    warnings.nodes_of_no_host,
    warnings.volumes_out_of_reach,
    warnings.even_control_plane,
    warnings.pressure,
    warnings.volumes_without_programs,
    warnings.private_address_of_a_tunnel,
    mirrors.silent,
    together.operators_clock_is_off,
    runtimes.taken_over,
    logins.printing,
    endings.of_hosts,
    endings.of_the_user,
)


class PreflightError(PyinfraError):
    """Something has to be mended first; `problems` holds all of it. pyinfra prints the message and exits with 1."""

    def __init__(self, title: str, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__(render(title, problems))


@dataclass(frozen=True)
class Checked:
    """A cluster that may be worked on.

    `reports`: of the hosts that this run is for, and of the control plane. `members`: those of them that are in the
    cluster. `addresses`: private addresses by host name;
    with --limit, one of a host that was not asked and has no private_address comes from its Node object, or is missing.
    `reserved_ports`: the ports of the NodePort range that no Service may get, sorted. `inventory`: the inventory file's
    name without its ending, "inventory" where there is no file; `folder`: that of the folder in which the cluster's own
    files are kept. `encryption`: that of Secrets in etcd. `backup`: of which the cluster is made, if it is of one.
    `untouched`: of a reset, what its hosts were before any run. `tells`: whether hosts that leave tell their cluster.
    """

    cluster: Cluster
    reports: dict[str, HostReport]
    addresses: dict[str, str]
    reserved_ports: tuple[int, ...]
    members: frozenset[str]
    inventory: str
    folder: str = ""
    encryption: Encryption = PLAINLY
    backup: Archive | None = None
    untouched: Mapping[str, Untouched] = field(default_factory=dict)
    tells: bool = True

    @property
    def leader(self) -> str:
        """The name of the control plane host that speaks for the cluster: see cluster_hosts.leader()."""
        return leader(self.cluster, self.reports)

    @property
    def speakers(self) -> list[str]:
        """The leader, then the other control plane hosts that are in the cluster."""
        ready = [name for name in self.cluster.control_plane if name in self.members]
        return list(dict.fromkeys([self.leader, *ready]))


class _Once:
    """The outcome for one inventory: found by the first host whose deploy code asks, and the same for all others."""

    def __init__(self) -> None:
        self._lock = BoundedSemaphore()
        self._outcome: Checked | PyinfraError | None = None

    def get(self, state: State, check: Callable[[State], Checked]) -> Checked:
        with self._lock:
            if self._outcome is None:
                try:
                    self._outcome = check(state)
                except PyinfraError as error:
                    self._outcome = error
        if isinstance(self._outcome, PyinfraError):
            raise self._outcome
        return self._outcome


_runs: WeakKeyDictionary[Inventory, _Once] = WeakKeyDictionary()


def once(state: State, check: Callable[[State], Checked]) -> Checked:
    """What `check` finds, or raises: by the first host of a run that asks, the same for all others."""
    return _runs.setdefault(state.inventory, _Once()).get(state, check)


def check(state: State) -> Checked:
    """Settings of all hosts, and the state of those that this run is for, checked once a run.

    Raises PreflightError with all problems of all hosts: first those of the settings, as hosts can't be judged by
    settings that are wrong, then those of the hosts.
    """
    return once(state, _check)


def gather(state: State) -> tuple[ClusterHosts, list[Problem]]:
    """The settings and the hosts' reports, and a problem for each host that gave none though it is needed.

    PreflightError where settings are wrong.
    """
    inventory = state.inventory
    of_the_run = {ONLY, SKIP, ROTATE, WITH_REGISTRY, FORCE, WITH_DOCKER, BACKUP, IDENTITY} & set(
        inventory.override_data
    )
    data = {
        host.name: {name: value for name, value in host.data.dict().items() if name not in of_the_run}  # type: ignore[no-untyped-call]
        for host in inventory
    }
    groups = {name: [host.name for host in hosts] for name, hosts in inventory.groups.items()}
    try:
        cluster = load(data, groups)
    except SettingsError as error:
        raise PreflightError("Settings", error.problems) from None

    connections.keep(state, cluster.common)
    targeted = {host.name for host in inventory.get_active_hosts()}
    asked = [name for name in cluster.nodes if name in targeted or name in cluster.control_plane]
    reports, problems = _ask(state, cluster, asked)
    hosts = ClusterHosts(cluster, reports)
    if hosts.ca:  # else nobody could tell whether there is a cluster already: one that is silent may be of it
        for away in [problem for problem in problems if problem.where not in targeted]:
            logger.warning(f"{away.where} is of the control plane, and is left out: {away.reason}")
            problems.remove(away)
    return hosts, problems


def checked(state: State, hosts: ClusterHosts) -> Checked:
    """What a run goes by, once nothing is wrong."""
    members = frozenset(filter(hosts.is_member, hosts.reports))
    return Checked(
        hosts.cluster,
        dict(hosts.reports),
        hosts.addresses(),
        hosts.reserved_ports(),
        members,
        *_names(state.inventory),
    )


def _check(state: State) -> Checked:
    hosts, problems = gather(state)
    cluster, reports = hosts.cluster, hosts.reports
    for rule in RULES:
        problems += rule(hosts)
    if problems:
        raise PreflightError("Preflight", problems)
    if not all(hosts.is_member(name) for name in reports):  # it says why, where a trial says what
        for line in firewalls.closed(cluster):
            logger.warning(line)
    if problems := [*_try_each_other(state, hosts), *_ask_mirrors(state, hosts)]:
        raise PreflightError("Preflight", problems)
    for warning in WARNINGS:
        for line in warning(hosts):
            logger.warning(line)
    if first := endings.first_to_end(hosts):
        logger.info(f"    {first}")
    rotates = bool(state.inventory.override_data.get(ROTATE))
    return replace(checked(state, hosts), encryption=planned(state, hosts, rotates))


def _names(inventory: Inventory) -> tuple[str, str]:
    """The inventory's name, and that of its cluster's folder.

    pyinfra 3.10 puts all hosts of an inventory file in a last group of its name (pyinfra_cli/inventory.py).
    """
    host = next(iter(inventory))
    own = [name for name in host.groups if len(inventory.groups[name]) == len(inventory)]
    name = next((name for name in reversed(own) if name not in (CONTROL_PLANE, WORKERS)), "inventory")
    return name, host.data.get(FOLDER) or name


def _ask(state: State, cluster: Cluster, names: list[str]) -> tuple[dict[str, HostReport], list[Problem]]:
    """Every host's report, asked for at the same time, and a problem for each host that has given none."""
    answers = of_each(state, names, state.config.PARALLEL, lambda host: _report(state, cluster, host))
    reports = {name: answer for name, answer in answers.items() if isinstance(answer, HostReport)}
    return reports, [answer for answer in answers.values() if isinstance(answer, Problem)]


def of_each(state: State, names: Iterable[str], at_once: int, ask: Callable[[Host], T]) -> dict[str, T]:
    """What each host answers to `ask`, so many of them asked at the same time."""
    config = ctx_config.get()  # type: ignore[no-untyped-call]

    def asked(name: str) -> T:
        host = state.inventory.get_host(name)
        with ctx_config.use(config), ctx_host.use(host):
            return ask(host)

    # A pool of our own: pyinfra's is full of the hosts' deploy code, which waits for us.
    return dict(zip(names, Pool(at_once).map(asked, names), strict=True))


def _try_each_other(state: State, hosts: ClusterHosts) -> list[Problem]:
    """What is in the way between hosts of which one has not joined; nothing is asked where all have."""
    trials = reach.trials(hosts)
    seconds = hosts.common.timeout_s(reach.SECONDS)

    def tried(host: Host) -> Reached:
        kwargs = {**vars(trials[host.name]), "seconds": seconds}
        answer = get_fact(state, host, Reach, kwargs=kwargs, apply_failed_hosts=False)
        return answer if isinstance(answer, Reached) else Reach.default()

    # All at once, however many: they wait for each other.
    answers = of_each(state, trials, max(1, len(trials)), tried)
    for name, answer in answers.items():
        if answer.unable:
            logger.warning(f"{name}: it was not tried what it can reach of the other hosts: {answer.unable}")
    return list(reach.blocked(hosts, answers))


def _ask_mirrors(state: State, hosts: ClusterHosts) -> list[Problem]:
    """What mirrors refuse of the images that are to come; nothing is asked where none is new."""
    asked = mirrors.asked(hosts)

    def told(host: Host) -> Mapping[str, Mapping[str, str]]:
        kwargs = {"images": asked[host.name].images}
        answer = get_fact(state, host, MirrorImages, kwargs=kwargs, apply_failed_hosts=False)
        return answer if isinstance(answer, Mapping) else {}

    return list(mirrors.refused(hosts, of_each(state, asked, max(1, len(asked)), told)))


def _report(state: State, cluster: Cluster, host: Host) -> HostReport | Problem:
    kwargs = {"wanted": wanted(cluster.common, cluster.hosts[host.name])}
    try:
        report = get_fact(state, host, HostReportFact, kwargs=kwargs, apply_failed_hosts=False)
    except ConnectError as error:
        return Problem(
            host.name,
            f"it can't be reached: {error}",
            "check that it is up, and its ssh_hostname, ssh_user and ssh_key"
            + ("" if host in state.active_hosts else " (a run asks the control plane, whatever --limit says)"),
        )
    if not isinstance(report, HostReport):
        if lost := connections.lost(host):
            return Problem(host.name, lost, "check that it is up and can be reached, then run again")
        return Problem(
            host.name,
            "it was asked what it is, and gave no answer that makes sense (its own words are above)",
            'a user other than root needs sudo: set "_sudo": True, and start the run in a terminal if it asks for a '
            "password; then run again",
        )
    return report
