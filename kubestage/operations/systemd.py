"""Services that run, come back at boot, and run with the configuration that is on disk."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence

from pyinfra import host
from pyinfra.api import OperationError, StringCommand

from kubestage.cluster.answers import ask
from kubestage.cluster.operation import operation
from kubestage.cluster.turns import turn
from kubestage.facts.files import Missing
from kubestage.facts.units import UnitStates


@operation()
def services(
    units: Mapping[str, Sequence[str]], proof: str = "", reloads: bool = False
) -> Generator[StringCommand, None, None]:
    """Make each unit (-> its configuration files) be enabled and active, and started with what is in the files now.

    The units record by themselves what they were started with (kubestage.started), so a restart that a killed run owed
    is made up for. `proof`: a command that ends well once those that were started work.
    `reloads`: they take a new configuration, and record it, without a restart.

    What runs is restarted on one host after the other: containers of Docker's stop with it, and a configuration that it
    can't run with is met on the first host alone. What does not run is started on all hosts at once.
    """
    states = ask(UnitStates, units=units)
    missing = [unit for unit in units if unit not in states]
    if missing and host.state.is_executing:
        raise OperationError(
            f"{host.name}: systemd has no usable unit {', '.join(missing)} (not installed, or masked). "
            f"See `systemctl status {missing[0]}` there."
        )
    stale = [unit for unit in units if unit in missing or states[unit].stale or states[unit].needs_reload]
    started = [unit for unit in units if unit in stale or not states[unit].active]
    enable = [unit for unit in units if unit in missing or not states[unit].enabled]
    if enable:
        yield StringCommand("systemctl enable --quiet", *enable)
    if started:
        # systemd 252 does not tell of a new folder of drop-ins that it has to reload.
        anew = any(unit in missing or states[unit].needs_reload for unit in started)
        verb = "reload-or-restart" if reloads and not anew else "restart"
        words = [f"systemctl daemon-reload && systemctl {verb}", *started, *(["&&", proof] if proof else [])]
        start = StringCommand(*words)
        if host.state.is_executing and verb == "restart" and any(states[unit].active for unit in started):
            with turn(host, "restarted"):
                yield start
        else:
            yield start
    if not (enable or started):
        host.noop(f"running with their configuration: {', '.join(units)}")


@operation()
def no_unit(unit: str, files: Sequence[str]) -> Generator[StringCommand, None, None]:
    """Make the unit, and the `files` that are its own, be gone."""
    missing: list[str] = ask(Missing, paths=list(files))
    there = sorted(set(files) - set(missing))
    if not there:
        host.noop(f"there is no {unit}")
        return
    yield StringCommand(
        f"{{ ! systemctl --quiet is-enabled {unit} 2>/dev/null || systemctl disable --quiet --now {unit}; }} &&",
        "rm -f",
        *there,
        "&& systemctl daemon-reload",
    )


@operation()
def stopped(units: Sequence[str]) -> Generator[StringCommand, None, None]:
    """Make none of `units` be at work."""
    states = ask(UnitStates, units={unit: () for unit in units})
    active = [unit for unit, state in states.items() if state.active]
    if active:
        yield StringCommand("systemctl stop", *active)
    else:
        host.noop(f"not at work: {', '.join(units)}")


@operation()
def first_service(units: Sequence[str]) -> Generator[StringCommand, None, None]:
    """Enable and start the first of `units` that the host has; a host with none of them is left alone."""
    states = ask(UnitStates, units={unit: () for unit in units})
    for unit in units:
        if (state := states.get(unit)) is None:
            continue
        if state.enabled and state.active:
            host.noop(f"{unit} is running")
        else:
            yield StringCommand("systemctl enable --quiet --now", unit)
        return
    host.noop(f"none of {', '.join(units)} is here")
