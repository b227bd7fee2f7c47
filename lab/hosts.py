"""All hosts of the lab together: up, down, one of them anew, and what is left of them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lab import artifacts, cgroups, disk, host_delay, host_kernel, host_processes, lock, mirror, network, rootfs
from lab.cache import remove_tree
from lab.definition import BRIDGE, builds, hosts, keep_mirror, state_dir
from lab.host import Host, client_key, hosts_dir, known_hosts, mounts
from lab.progress import StepFailed, resume_command, step

COMMAND_LINE_WIDTH = 160  # of a process that is left


def wanted() -> list[Host]:
    """The hosts that inventory/lab.py names."""
    return [Host(host.name, host.address) for host in hosts()]


def wanted_host(name: str) -> Host:
    """One of them; StepFailed with the names there are."""
    found = {host.name: host for host in wanted()}
    if name not in found:
        raise StepFailed(f"The lab has no host {name!r}. inventory/lab.py names: {', '.join(found)}")
    return found[name]


def existing() -> list[Host]:
    """The hosts that have a folder or control groups, whatever the inventory names now."""
    names = {path.name for path in hosts_dir().glob("*")}
    names |= {group.name.removeprefix(cgroups.PREFIX).removesuffix(".scope") for group in cgroups.groups()}
    return [Host(name, _recorded_address(name)) for name in sorted(names)]


def _recorded_address(name: str) -> str:
    """Where a host was when it started; else an address that is no host's."""
    path = hosts_dir() / name / "address"
    return path.read_text().strip() if path.exists() else f"{BRIDGE}.none"


def up() -> None:
    """Make everything of the lab that is missing, and wait until each host's sshd answers."""
    lock.claim()
    disk.require(blank_hosts=any(not (hosts_dir() / host.name).exists() for host in wanted()))
    if builds():
        artifacts.prepare()
    rootfs.tree()
    hosts_dir().mkdir(parents=True, exist_ok=True)
    keep_mirror()
    client_key()
    host_kernel.prepare()
    network.up()
    if builds() and len(mirror.running(state_dir())) != 2:
        mirror.start(state_dir())
    now = wanted()
    gone = [host for host in existing() if host.name not in {wish.name for wish in now}]
    if gone:
        with step(f"remove {_names(gone)}: not in inventory/lab.py"):
            _each(Host.erase, gone)
    for host in now:  # a host whose address the inventory has changed
        recorded = _recorded_address(host.name)
        if recorded not in (host.address, f"{BRIDGE}.none"):
            Host(host.name, recorded).stop()
    missing = [host for host in now if host.state() != "running"]
    if missing:
        with step(f"boot {_names(missing)}"):
            _each(Host.stop, missing)  # what a crash may have left of them
            _each(Host.start, missing)
            write_known_hosts()
            _each(Host.wait_for_ssh, missing)
    write_known_hosts()


def rebuild(name: str) -> None:
    """Give a host a blank disk and a new host key: the machine that was thrown away and rented anew."""
    host = wanted_host(name)
    _require_up()
    with step(f"rebuild {name}"):
        host.erase()
        host.start()
        write_known_hosts()
        host.wait_for_ssh()


def machine(verb: str, name: str, image: str = "") -> str:
    """One of the steps of kubestage/providers/command.py, and what it prints."""
    host = wanted_host(name)
    _require_up()
    match verb:
        case "describe":
            return f"the lab's host at {host.address}: its disk\n"
        case "stop":
            host.power_off()
        case "replace":
            host.erase()
            host.want_image(image)
        case "image":
            host.keep_image(image)
            return f"{image}\n"
        case "start":
            if host.state() != "running":
                host.start()
            write_known_hosts()
        case "host-key":
            return f"{host.public_key()}\n"
    return ""


def power_off(name: str) -> None:
    """Shut a host down in good order, and keep its disk; `up` or `reboot` starts it again."""
    host = wanted_host(name)
    with step(f"power off {name}"):
        host.power_off()


def reboot(name: str) -> None:
    """Restart a host in good order, with the disk it has; start it if it is off."""
    host = wanted_host(name)
    _require_up()
    with step(f"reboot {name}"):
        host.reboot()


def delay(delay_ms: float) -> dict[str, float]:
    """Make every round trip to a host longer by `delay_ms`, 0: not any more; the measured ms by host."""
    _require_up()
    host_delay.start(delay_ms)
    return {host.name: host_delay.round_trip_ms(host.address) for host in wanted() if host.state() == "running"}


def _require_up() -> None:
    if BRIDGE not in network.links():
        raise StepFailed("The lab is down. Bring it up: python -m lab up")


def down() -> None:
    """Remove everything of the lab but the cache; StepFailed with a list if something stays."""
    lock.check_owner()
    errors = []
    with step("end the lab"):
        for part in (
            host_delay.stop,
            lambda: _each(Host.stop, existing()),
            _stop_mirror,
            network.down,
            host_kernel.restore,
            lambda: remove_tree(state_dir()),
            _remove_groups,
        ):
            try:
                part()
            except (StepFailed, OSError, subprocess.CalledProcessError) as error:  # the other parts still can go
                errors.append(str(error))
    remains = leftovers()
    if errors or remains:
        raise StepFailed(
            "The lab could not be removed whole.\n"
            + "".join(f"{error}\n" for error in errors)
            + "Left on the machine:\n"
            + "".join(f"  {item}\n" for item in remains)
            + f"To try again once that is mended: {resume_command()}"
        )
    lock.release()


def _stop_mirror() -> None:
    mirror.stop(state_dir())
    for pid in host_processes.with_argument(f"{state_dir()}/mirror/"):  # whose pid file a crash has lost
        host_processes.end(pid)


def _remove_groups() -> None:
    for machine in {group.name for group in cgroups.groups()}:
        cgroups.remove(machine)


def leftovers() -> list[str]:
    """Everything on the machine, beside the cache, that is the lab's: one line each, empty when it is down."""
    state = str(state_dir())
    processes = cgroups.processes() | set(host_processes.with_argument(f"{state}/mirror/", f"{state}/delay"))
    found_mounts = [
        point for point, source in mounts() if point.is_relative_to(state) or source.startswith(cgroups.PREFIX)
    ]
    return [
        *(f"process {pid}: {_command_line(pid)}" for pid in sorted(processes)),
        *(f"mount {point}" for point in found_mounts),
        *(f"link {name}" for name in network.links()),
        *(f"firewall rule {rule}" for rule in network.firewall_rules()),
        *(f"routing rule {rule}" for rule in host_delay.present_rules()),
        *(f"cgroup {group}" for group in cgroups.groups()),
        *([f"folder {state}"] if state_dir().exists() else []),
    ]


def _command_line(pid: int) -> str:
    try:
        return " ".join(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").split())[:COMMAND_LINE_WIDTH]
    except (FileNotFoundError, ProcessLookupError):
        return "(gone meanwhile)"


def status() -> dict[str, Any]:
    """What of the lab is there: {"bridge": bool, "mirror": [pid], "delay_ms": float, "hosts": [{"name", …}]}."""
    named = wanted()
    others = [host for host in existing() if host.name not in {wish.name for wish in named}]
    return {
        "bridge": BRIDGE in network.links(),
        "mirror": mirror.running(state_dir()),
        "delay_ms": host_delay.current_ms(),
        "hosts": [
            {
                "name": host.name,
                "address": host.address,
                "state": host.state(),
                "leader": host.leader(),
                "ssh": host.answers(),
                "host_key": host.public_key(),
                "in_inventory": host in named,
            }
            for host in [*named, *others]
        ],
    }


def write_known_hosts() -> None:
    """The known_hosts file of the lab (sshd(8)): each host's key under its address and its name."""
    lines = []
    for host in wanted():
        if host.public_key():
            lines.append(f"{host.address},{host.name} {host.public_key()}\n")
    partial = known_hosts().with_suffix(".partial")
    partial.write_text("".join(lines))
    partial.rename(known_hosts())


def write_status(report: dict[str, Any], as_json: bool) -> str:
    """The status for a person, or as JSON."""
    if as_json:
        return json.dumps(report, indent=2)
    lines = [f"bridge {BRIDGE}: {'up' if report['bridge'] else 'down'}"]
    lines.append(f"mirror: {'up' if len(report['mirror']) == 2 else 'down'}")
    lines += [f"delay: {report['delay_ms']:g} ms a round trip"] if report["delay_ms"] else []
    for host in report["hosts"]:
        note = "" if host["in_inventory"] else "  (not in inventory/lab.py)"
        answer = "ssh answers" if host["ssh"] else "no ssh"
        lines.append(f"{host['name']:<12} {host['address']:<15} {host['state']:<8} {answer}{note}")
    return "\n".join(lines)


def _each(action: Callable[[Host], None], which: Iterable[Host]) -> None:
    """Do it for all hosts at once, all to the end; then raise the first error."""
    chosen = list(which)
    with ThreadPoolExecutor(max_workers=max(1, len(chosen))) as pool:
        for future in [pool.submit(action, host) for host in chosen]:
            future.result()


def _names(which: Iterable[Host]) -> str:
    return ", ".join(host.name for host in which)
