"""Look at a living cluster from outside: `make verify INVENTORY=inventory/NAME.py`.

Nothing that was there before is changed. Pods and Services of the checks live in a namespace of their own, which is
gone at the end.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyinfra_cli  # noqa: F401  before all that opens sockets: it puts gevent underneath
import pytest
from kubernetes.client import ApiException
from testinfra.host import Host as Machine
from urllib3.exceptions import HTTPError

from kubestage.cluster.inventory import Target, TargetError, read
from kubestage.commands import days_left
from kubestage.kubernetes import MANIFESTS
from kubestage.settings import HostSettings, Problem
from tests.verify import probe as probes
from tests.verify import system_pods
from tests.verify.api import REQUEST_TIMEOUT_S, Api, reason
from tests.verify.certificates import DAYS_LEFT
from tests.verify.connection import Machines
from tests.verify.findings import expect_none
from tests.verify.probe import Probe
from tests.verify.sites import Sites, trusting

TARGET = pytest.StashKey[Target]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--inventory", default="inventory/lab.py", metavar="FILE", help="the inventory whose cluster is verified"
    )


def pytest_configure(config: pytest.Config) -> None:
    try:
        config.stash[TARGET] = read(config.getoption("--inventory"), Path(config.rootpath))
    except TargetError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[DAYS_LEFT] = {}
    config.addinivalue_line("markers", "stack(name): a check of a stack, skipped where settings.stacks has it not")
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it warns of each try; what comes of it is the finding
    # A verification that is told to end cleans up as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_report_header(config: pytest.Config) -> str:
    target = config.stash[TARGET]
    return f"inventory: {target.inventory} ({', '.join(target.cluster.nodes)}); kubeconfig: {target.kubeconfig}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """How long certificates live yet, where that was looked at."""
    if found := config.stash[DAYS_LEFT]:
        terminalreporter.section("certificates")
        terminalreporter.line(days_left.table(found, datetime.now(UTC)))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `node` runs once for each host of the inventory: test_ready[w1].

    One that asks for `system_namespace` does so for each namespace of the cluster's own and of the stacks that are on.
    """
    cluster = metafunc.config.stash[TARGET].cluster
    if "node" in metafunc.fixturenames:
        metafunc.parametrize("node", cluster.nodes)
    if "system_namespace" in metafunc.fixturenames:
        metafunc.parametrize("system_namespace", system_pods.namespaces(cluster.common))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A stack that is off is not looked for; pytest's summary says so."""
    target = config.stash[TARGET]
    for item in items:
        for marker in item.iter_markers("stack"):
            (name,) = marker.args
            if name not in target.cluster.common.stacks:
                item.add_marker(pytest.mark.skip(reason=f"stacks has no {name} in {target.inventory}"))


@pytest.fixture(scope="session")
def target(pytestconfig: pytest.Config) -> Target:
    return pytestconfig.stash[TARGET]


@pytest.fixture(scope="session")
def api(target: Target) -> Api:
    """The API; where it does not answer, every check that needs it fails with the reason."""
    api = Api(target.kubeconfig)
    if why := _silence(api):
        leader = target.first
        remedy = f"on {leader}: systemctl status kubelet; ls -t /var/log/pods/kube-system_kube-apiserver*/*/*"
        silent = f"the API server does not answer to {target.kubeconfig}: {why}"
        expect_none([Problem(leader, silent, remedy, "server", api.server)])
    return api


def _silence(api: Api) -> str:
    """Why the API does not answer; "" if it does."""
    try:
        api.version.get_code(_request_timeout=REQUEST_TIMEOUT_S)
    except ApiException as error:
        return reason(error)
    except HTTPError as error:
        return str(error)
    return ""


@pytest.fixture(scope="session")
def machines(target: Target) -> Machines:
    return Machines(target)


@pytest.fixture(scope="session")
def leader(target: Target, machines: Machines) -> str:
    """The control plane host that runs go through: what the platform keeps on a disk is on its."""
    for name in target.cluster.control_plane:
        machine = machines.get(name)
        if isinstance(machine, Machine) and machine.file(MANIFESTS).exists:
            return name
    return target.first


@pytest.fixture
def machine(machines: Machines, node: str) -> Machine:
    """The host that the test is about."""
    return machines[node]


@pytest.fixture
def own(target: Target, node: str) -> HostSettings:
    """The own settings of the host that the test is about."""
    return target.cluster.hosts[node]


@pytest.fixture(scope="session")
def nodes(api: Api) -> dict[str, Any]:
    """name -> Node, as the API has them now."""
    return api.nodes()


@pytest.fixture(scope="session")
def addresses(nodes: dict[str, Any]) -> dict[str, str]:
    """name -> the node's private address, by which the other nodes know it."""
    found = ((name, one) for name, node in nodes.items() for one in node.status.addresses or ())
    return {name: one.address for name, one in found if one.type == "InternalIP"}


@pytest.fixture
def node_object(nodes: dict[str, Any], node: str, target: Target) -> Any:
    """The Node of the host that the test is about."""
    if node not in nodes:
        remedy = f"{target.deploy} joins it; if it does not: journalctl -u kubelet on {node}"
        expect_none([Problem(node, "the cluster has no Node of this name", remedy)])
    return nodes[node]


@pytest.fixture(scope="session")
def settled(api: Api, target: Target) -> dict[str, list[Any]]:
    """The system's pods by namespace, once all of them are Ready or none of them is about to be."""
    return system_pods.settled(api, system_pods.namespaces(target.cluster.common))


@pytest.fixture(scope="session")
def sites(target: Target, settled: dict[str, list[Any]]) -> Sites:
    """The platform's sites, once what serves them has come up."""
    assert settled
    return Sites(target, trusting(target))


@pytest.fixture(scope="session")
def namespace(api: Api) -> Iterator[str]:
    """A namespace of this verification's own; gone at the end, whatever happens."""
    with probes.own_namespace(api) as name:
        yield name


@pytest.fixture(scope="session")
def probe(api: Api, target: Target, namespace: str, settled: dict[str, list[Any]]) -> Iterator[Probe]:
    """A pod on every node, and a Service before them; gone at the end, whatever happens."""
    assert settled
    with probes.running(api, target, namespace) as probe:
        yield probe
