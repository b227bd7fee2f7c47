"""Whether a run could work with an inventory to be: by the very checks of a run, before anything is written."""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from typing import Any

from pyinfra.api import Config, Inventory, State
from pyinfra.context import ctx_state

from kubestage.checks import preflight
from kubestage.checks.preflight import Checked
from kubestage.cluster.inventory import CHECKOUT
from kubestage.commands.new.files import Place, connection
from kubestage.commands.new.hosts import Hosts


def check(place: Place, hosts: Hosts, settings: Mapping[str, Any]) -> Checked:
    """What the hosts are; PreflightError with all that keeps a run from working, of settings and hosts."""
    defaults = runpy.run_path(str(CHECKOUT / "group_data" / "all.py"))
    shared = {key: value for key, value in defaults.items() if not key.startswith("_")} | dict(settings)

    def data(name: str) -> dict[str, Any]:
        host = next(host for host in hosts.all if host.name == name)
        own = {"private_address": host.private_address} if host.private_address else {}
        return connection(place, host) | own

    names = [host.name for host in hosts.all]
    groups: dict[str, tuple[list[str], dict[str, Any]]] = {
        "control_plane": ([host.name for host in hosts.control_plane], {}),
        "workers": ([host.name for host in hosts.workers], {}),
        place.name: (names, {}),
    }
    inventory = Inventory(([(name, data(name)) for name in names], shared), **groups)  # type: ignore[no-untyped-call]
    state = State(inventory, Config())  # type: ignore[no-untyped-call]
    for host in inventory:
        state.activate_host(host)  # those that a run is for; preflight connects to them
    with ctx_state.use(state):
        return preflight.check(state)
