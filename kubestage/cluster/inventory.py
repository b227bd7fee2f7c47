"""An inventory outside a run: its hosts and their group data, read and merged by pyinfra as for a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyinfra.api import Config, Host, State
from pyinfra.api.exceptions import PyinfraError
from pyinfra.context import ctx_state

from kubestage.checks.load import load
from kubestage.cluster.folder import STATE, folder_name
from kubestage.settings import Cluster, SettingsError

CHECKOUT = Path(__file__).parents[2]


class TargetError(ValueError):
    """There is no cluster to look at; the message says why, and what to do."""


@dataclass(frozen=True)
class Target:
    """An inventory's cluster.

    `inventory` is as it was given; `folder` is where a run keeps its kubeconfig and the platform's CA on this machine;
    `state` is pyinfra's, for its connections.
    """

    inventory: str
    cluster: Cluster
    folder: Path
    state: State

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    @property
    def ca(self) -> Path:
        """The CA of the platform's sites; not there where the sites' certificate is the user's own."""
        return self.folder / "ca.crt"

    @property
    def deploy(self) -> str:
        """The command that makes the cluster as the settings say."""
        return f"pyinfra {self.inventory} deploy.py"

    @property
    def first(self) -> str:
        """The name of the control plane host that is looked at where one has to be."""
        return self.cluster.first

    def host(self, name: str) -> Host:
        return self.state.inventory.get_host(name)

    def data(self, name: str, key: str) -> Any:
        """A host's connection data, such as ssh_hostname; None where it has none."""
        return self.host(name).data.get(key)

    def outside_address(self, name: str) -> str:
        """Where people reach a host: its public address, else where SSH does."""
        return str(self.cluster.hosts[name].public_address or self.data(name, "ssh_hostname") or name)


def read(inventory: str, checkout: Path = CHECKOUT, *, made: bool = True) -> Target:
    """The Target of an inventory file; TargetError where it is missing, or its settings are wrong.

    `made`: the cluster has to be there already, so a missing kubeconfig is an error too.
    """
    if not Path(inventory).is_file():
        raise TargetError(f"{inventory}: there is no such file\n    -> name one: INVENTORY=inventory/NAME.py")
    # Here, as it puts gevent underneath all that opens sockets: a program imports pyinfra_cli first, or not at all.
    from pyinfra_cli.exceptions import CliError
    from pyinfra_cli.inventory import make_inventory

    state = State()
    state.cwd = str(checkout)  # group_data lies there, as in a run
    try:
        with ctx_state.use(state):
            hosts = make_inventory(inventory, cwd=state.cwd)
        state.init(hosts, Config())  # type: ignore[no-untyped-call]
        data = {host.name: host.data.dict() for host in hosts}
        cluster = load(data, {name: [host.name for host in group] for name, group in hosts.groups.items()})
    except (PyinfraError, CliError, SettingsError) as error:
        raise TargetError(f"{inventory}: {error}") from None
    except Exception as error:  # it is a program, and pyinfra takes it and its data as they are
        cause = getattr(error, "exception", error)
        raise TargetError(
            f"{inventory}: it can't be read: {type(cause).__name__}: {cause}\n"
            "    -> correct it, or what lies in group_data; inventory/static.example.py shows how"
        ) from None
    target = Target(inventory, cluster, checkout / STATE / folder_name(inventory), state)
    if made and not target.kubeconfig.is_file():
        raise TargetError(f"{target.kubeconfig}: a run makes it, and has not yet\n    -> {target.deploy}")
    return target
