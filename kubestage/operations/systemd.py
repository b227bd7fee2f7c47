"""Services that run, come back at boot, and run with the configuration that is on disk."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence

from pyinfra import host
from pyinfra.api import OperationError, StringCommand
from pyinfra.api.operation import operation

from kubestage.facts.units import UnitStates


@operation()
def services(units: Mapping[str, Sequence[str]]) -> Generator[StringCommand, None, None]:
    """Make each unit (-> its configuration files) be enabled and active, restarted when a file is newer than its start.

    Going by the files' times rather than by what this run wrote, a restart that a killed run owed is made up for.
    """
    states = host.get_fact(UnitStates, units=units)
    missing = [unit for unit in units if unit not in states]
    if missing and host.state.is_executing:
        raise OperationError(
            f"{host.name}: systemd has no usable unit {', '.join(missing)} (not installed, or masked). "
            f"See `systemctl status {missing[0]}` there."
        )
    restart = [unit for unit in units if unit in missing or states[unit].stale or states[unit].needs_reload]
    start = [unit for unit in units if unit not in restart and not states[unit].active]
    enable = [unit for unit in units if unit in missing or not states[unit].enabled]
    if any(state.needs_reload for state in states.values()):
        yield StringCommand("systemctl daemon-reload")
    if enable:
        yield StringCommand("systemctl enable --quiet", *enable)
    if restart or start:
        yield StringCommand("systemctl restart", *restart, *start)
    if not (enable or restart or start):
        host.noop(f"running with their configuration: {', '.join(units)}")


@operation()
def first_present(units: Sequence[str]) -> Generator[StringCommand, None, None]:
    """Enable and start the first of `units` that the host has; a host with none of them is left alone."""
    states = host.get_fact(UnitStates, units={unit: () for unit in units})
    for unit in units:
        if (state := states.get(unit)) is None:
            continue
        if state.enabled and state.active:
            host.noop(f"{unit} is running")
        else:
            yield StringCommand("systemctl enable --quiet --now", unit)
        return
    host.noop(f"none of {', '.join(units)} is here")
