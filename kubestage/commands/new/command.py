"""The command `new`: what it is told, what it asks, what it tries, what it writes."""

from __future__ import annotations

import argparse
import re
import shlex
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from paramiko import SSHConfig, SSHException
from pyinfra.connectors.sshuserclient import SSHClient

from kubestage.checks.preflight import Checked, PreflightError
from kubestage.cluster.inventory import CHECKOUT, TargetError
from kubestage.commands.new import files, host_keys, sources, trial
from kubestage.commands.new.files import Place
from kubestage.commands.new.hosts import Hosts, NewHost, parse, ssh_aliases
from kubestage.local_file import save
from kubestage.output.table import table

SSH_CONFIG = Path("~/.ssh/config")
_RESERVED = ("all", "lab")  # files of ours are called so


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own words."""
    parser.add_argument("name", help="of the cluster: inventory/NAME.py")
    host = "[NAME=][USER@]ADDRESS[:PORT], or an alias of ~/.ssh/config"
    parser.add_argument(
        "--control-plane", metavar="HOST", action="append", help=f"{host}; once for each of one or three"
    )
    parser.add_argument("--worker", metavar="HOST", action="append", help="the same; once for each")
    parser.add_argument("--from", dest="source", metavar="FILE", help="take the hosts from Ansible or Terraform")
    parser.add_argument("--user", help="who logs in where a host names nobody; default: root")
    parser.add_argument("--key", help="a private key; default: those of ssh-agent and ~/.ssh")
    parser.add_argument("--port", type=int, default=0, help="of SSH where a host names none; default: 22")
    parser.add_argument("--jump", metavar="[USER@]HOST[:PORT]", help="a host through which all are reached")
    parser.add_argument("--domain", help="the sites are https://NAME.domain")
    parser.add_argument("--mirror", help="a profile of group_data/all.py: upstream, aliyun, aliyun-vpc")
    parser.add_argument("--yes", action="store_true", help="ask nothing: take the host keys that are shown")


def main(given: argparse.Namespace) -> int:
    """Write the files of a new inventory; TargetError where something is in the way, and nothing is written then."""
    place = Place(CHECKOUT, given.name)
    _check_name(place)
    ask = _ask if sys.stdin.isatty() and not given.yes else _take_default
    aliases = ssh_aliases(SSH_CONFIG.expanduser())
    hosts = _hosts(given, aliases, ask)
    settings = _settings(given, place, ask)
    _meet(place, hosts, given.yes)
    checked = _try(place, hosts, settings, given)
    found = {name: checked.addresses[name] for name in checked.cluster.nodes}
    for path, content in (
        (place.inventory, files.inventory(place, hosts, found)),
        (place.group_data, files.group_data(place, settings)),
        *([(place.ssh_config, files.ssh_config(place, hosts))] if any(host.jump for host in hosts.all) else []),
    ):
        save(path, content)
    _tell(place, checked)
    return 0


def _check_name(place: Place) -> None:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", place.name) or place.name in _RESERVED:
        raise TargetError(
            f"{place.name!r} can't be an inventory's name\n"
            f"    -> use lower-case letters, digits and hyphens, e.g. staging; not {' or '.join(_RESERVED)}"
        )
    if place.existing():
        raise TargetError(
            f"{', '.join(place.existing())}: there already, and never written over\n"
            f"    -> edit it, choose another name, or remove it first"
        )


# --- What the user says ----------------------------------------------------------------------------------------------
Ask = Callable[[str, str], str]


def _ask(question: str, default: str) -> str:
    try:
        return input(f"{question}{f' [{default}]' if default else ''}: ").strip() or default
    except EOFError:
        raise TargetError("\nthe input ended\n    -> answer, or give the flags: --help shows them") from None


def _take_default(question: str, default: str) -> str:
    return default


def _hosts(given: argparse.Namespace, aliases: SSHConfig, ask: Ask) -> Hosts:
    if given.source:
        hosts = sources.read(Path(given.source))
    else:
        question = "Control plane (one or three, apart by blanks: an address, user@address:port, or an alias of SSH)"
        control_plane = given.control_plane or ask(question, "").split()
        if not control_plane:
            raise TargetError("no host is named\n    -> name one: --control-plane ADDRESS, or --from FILE")
        workers = given.worker or ask("Workers, apart by blanks (none: the control plane runs all pods)", "").split()
        hosts = Hosts(*(tuple(parse(words, aliases) for words in group) for group in (control_plane, workers)))
    user = given.user
    if not user and any(not host.user for host in hosts.all):
        user = ask("User", "root")
    key, jump = given.key or "", given.jump or ""
    if not (given.source or given.control_plane):  # who gives flags has given all of them
        key = key or ask("Private key, if not one of SSH's own", "")
        jump = jump or ask("Jump host, if any", "")
    return hosts.named().by_default(user=user or "root", port=given.port, key=key, jump=jump)


def _settings(given: argparse.Namespace, place: Place, ask: Ask) -> dict[str, Any]:
    domain = f"{place.name.replace('_', '-')}.test"
    return {
        "cluster_name": place.name.replace("_", "-"),
        "domain": given.domain or ask("Domain of the sites", domain),
        "mirror": given.mirror
        or ask("Mirror profile: upstream, aliyun behind the Great Firewall, or aliyun-vpc on ECS", "upstream"),
    }


# --- The hosts -------------------------------------------------------------------------------------------------------
def _meet(place: Place, hosts: Hosts, yes: bool) -> None:
    """Show each machine's host key, and keep all of them if they are the right ones."""
    jumps = {host.jump: host.key for host in hosts.all if host.jump}
    for jump, key in jumps.items():
        hop = replace(parse(jump, SSHConfig()), name=f"jump host {jump}", key=key)
        _keep_keys(place, [hop], yes, host_keys.directly)
        with _client(place, hop) as client:
            behind = [host for host in hosts.all if host.jump == jump]
            _keep_keys(place, behind, yes, _through(client))
    _keep_keys(place, [host for host in hosts.all if not host.jump], yes, host_keys.directly)


def _keep_keys(place: Place, hosts: Sequence[NewHost], yes: bool, connect: host_keys.Connect) -> None:
    if not hosts:
        return
    keys, failed = host_keys.fetch_all(hosts, connect)
    if failed:
        told = "\n".join(f"  {name} at {_address(hosts, name)}: {why}" for name, why in failed.items())
        raise TargetError(
            f"no SSH server answers; nothing was written:\n{told}\n"
            "    -> see that the machine is up, and that its address, its port and the firewall are right"
        )
    known = place.known_hosts.read_text() if place.known_hosts.exists() else ""
    new = {name: key for name, key in keys.items() if key.line not in known}
    if not new:
        return
    print("Host keys, as `ssh-keygen -lf` prints them on the machine (for f in /etc/ssh/ssh_host_*_key.pub):")
    width = max(map(len, new))
    for name, key in new.items():
        print(f"  {name:<{width}}  {_address(hosts, name)}  {key.kind}  {key.fingerprint}")
    if not yes and _confirmed("Are these the right machines?") is False:
        raise TargetError("nothing was written\n    -> compare the keys on the machines' consoles, then try again")
    host_keys.keep(place.known_hosts, new)


def _confirmed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise TargetError("nobody can be asked whether the host keys are right\n    -> give --yes if they are")
    return _ask(f"{question} yes or no", "no").lower() in ("y", "yes")


def _address(hosts: Sequence[NewHost], name: str) -> str:
    host = next(host for host in hosts if host.name == name)
    return f"{host.address}:{host.port}" if host.port else host.address


def _client(place: Place, hop: NewHost) -> SSHClient:
    client = SSHClient()
    try:
        client.connect(  # type: ignore[no-untyped-call]
            hop.address,
            username=hop.user or None,
            port=hop.port or host_keys.SSH_PORT,
            timeout=host_keys.WITHIN_S,
            **({"key_filename": str(Path(hop.key).expanduser())} if hop.key else {}),
            _pyinfra_ssh_known_hosts_file=str(place.known_hosts),
            _pyinfra_ssh_strict_host_key_checking="yes",
        )
    except (OSError, SSHException) as error:
        raise TargetError(f"{hop.name}: {error}\n    -> see that the user and the key are right there") from None
    return client


def _through(client: SSHClient) -> host_keys.Connect:
    def connect(address: str, port: int) -> socket.socket:
        channel: socket.socket = client.gateway(  # type: ignore[no-untyped-call]
            address, port, address, port, timeout=host_keys.WITHIN_S
        )
        return channel

    return connect


def _try(place: Place, hosts: Hosts, settings: Mapping[str, Any], given: argparse.Namespace) -> Checked:
    if any(host.jump for host in hosts.all):
        save(place.ssh_config, files.ssh_config(place, hosts))
    print("Trying each host ...", flush=True)
    try:
        return trial.check(place, hosts, settings)
    except PreflightError as error:
        words = shlex.join(_words(given, hosts, settings))
        raise TargetError(f"{error}\nNothing was written. Once that is mended:\n    {words}") from None
    finally:
        place.ssh_config.unlink(missing_ok=True)


def _words(given: argparse.Namespace, hosts: Hosts, settings: Mapping[str, Any]) -> list[str]:
    """The command that says all that was said."""
    words = ["python", "-m", "kubestage", "new", given.name]
    if given.source:
        words += ["--from", given.source]
    else:
        flags = [*(["--control-plane"] * len(hosts.control_plane)), *(["--worker"] * len(hosts.workers))]
        for flag, host in zip(flags, hosts.all, strict=True):
            port = f":{host.port}" if host.port else ""
            words += [flag, f"{host.name}={host.user}@{host.address}{port}"]
        for flag, value in (("--key", hosts.all[0].key), ("--jump", hosts.all[0].jump)):
            words += [flag, value] if value else []
    return [*words, "--domain", settings["domain"], "--mirror", settings["mirror"]]


def _tell(place: Place, checked: Checked) -> None:
    titles = ("HOST", "PRIVATE ADDRESS", "SYSTEM", "CPUS", "MEMORY", "CLOCK")
    rows = [
        (
            name,
            checked.addresses[name],
            f"{report.os_id} {report.os_version}",
            str(report.cpus),
            f"{report.memory_mib} MiB",
            f"{sum(report.clock) / 2:+.1f} s",
        )
        for name, report in checked.reports.items()
    ]
    print("", *table(titles, rows), sep="\n  ")
    written = [place.inventory, place.group_data, *([place.ssh_config] if place.ssh_config.exists() else [])]
    inventory = place.inventory.relative_to(place.checkout)
    print(f"\nWritten: {', '.join(str(path.relative_to(place.checkout)) for path in written)}")
    print(f"Now:     pyinfra {inventory} deploy.py")
    print(f"         make verify INVENTORY={inventory}")
