"""The lab's command line: `python -m lab COMMAND`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from lab import artifacts, hosts, lock
from lab.definition import state_dir
from lab.host import client_key, known_hosts
from lab.progress import StepFailed

LOG_LINES = 200


def parser() -> argparse.ArgumentParser:
    """Every command with its arguments."""
    top = argparse.ArgumentParser(prog="python -m lab", description="Hosts and a mirror on this machine.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("up", help="make all that is missing: artifacts, network, mirror, hosts")
    commands.add_parser("down", help="remove all of it but the cache")
    commands.add_parser("build", help="build the artifacts alone, without a running lab")
    status = commands.add_parser("status", help="what of the lab is there")
    status.add_argument("--json", action="store_true")
    for name, text in (
        ("rebuild", "a blank disk and a new host key"),
        ("reboot", "restart in good order, with its disk; or start it if it is off"),
        ("poweroff", "shut down in good order, and keep the disk"),
        ("logs", "the host's journal and console"),
    ):
        commands.add_parser(name, help=text).add_argument("host", metavar="HOST")
    machine = commands.add_parser("machine", help="a host as its owner has it, a step at a time: kubestage's rebuild")
    machine.add_argument("verb", choices=["describe", "stop", "replace", "start", "image", "host-key"])
    machine.add_argument("host", metavar="HOST")
    machine.add_argument("image", metavar="IMAGE", nargs="?", default="", help="of replace, and of image")
    ssh = commands.add_parser("ssh", help="a shell or a command on a host")
    ssh.add_argument("host", metavar="HOST")
    ssh.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    delay = commands.add_parser("delay", help="make each round trip to the hosts longer; 0: not any more")
    delay.add_argument("ms", type=float, metavar="MS")
    return top


def main(argv: list[str] | None = None) -> int:
    """Run one command; its exit code."""
    arguments = parser().parse_args(argv)
    try:
        if os.geteuid() != 0:
            raise StepFailed("The lab needs root: it makes mounts, links and hosts. Give the command as root.")
        return run(arguments)
    except StepFailed as error:
        print(error, file=sys.stderr)
        return 1


def run(arguments: argparse.Namespace) -> int:
    match arguments.command:
        case "status":
            report = hosts.status()
            print(hosts.write_status(report, arguments.json))
        case "ssh":
            words = arguments.words
            return ssh(arguments.host, words[1:] if words[:1] == ["--"] else words)
        case "logs":
            return logs(arguments.host)
        case "build":
            artifacts.prepare()
        case _:
            with lock.held(waits=arguments.command == "machine"):  # several hosts are rebuilt at a time
                change(arguments)
    return 0


def change(arguments: argparse.Namespace) -> None:
    """The commands that change the lab; the caller holds its lock."""
    match arguments.command:
        case "up":
            hosts.up()
        case "down":
            hosts.down()
        case "rebuild":
            hosts.rebuild(arguments.host)
        case "machine":
            print(hosts.machine(arguments.verb, arguments.host, arguments.image), end="")
        case "reboot":
            hosts.reboot(arguments.host)
        case "poweroff":
            hosts.power_off(arguments.host)
        case "delay":
            for name, measured in hosts.delay(arguments.ms).items():
                print(f"{name}: {measured:.1f} ms to connect")


def ssh_command(host: str) -> list[str]:
    """The `ssh` words that reach a host, with the lab's key and strict checking; KUBESTAGE_LAB_USER names the user."""
    address = hosts.wanted_host(host).address
    user = os.environ.get("KUBESTAGE_LAB_USER", "root")
    options = ["BatchMode=yes", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={known_hosts()}"]
    words = [word for option in options for word in ("-o", option)]
    return ["ssh", "-F", "none", "-i", str(client_key()), "-o", "IdentitiesOnly=yes", *words, f"{user}@{address}"]


def ssh(host: str, words: list[str]) -> int:
    if not state_dir().exists():
        raise StepFailed("The lab is down. Bring it up: python -m lab up")
    return subprocess.run([*ssh_command(host), *words], check=False).returncode


def logs(host: str) -> int:
    """Print the last lines of the host's console, and of its journal while it runs."""
    found = hosts.wanted_host(host)
    if found.console.exists():
        print("\n".join(found.console.read_text(errors="replace").splitlines()[-LOG_LINES:]), flush=True)
    leader = found.leader()
    if leader is None:
        return 0
    enter = ["nsenter", f"--target={leader}", "--mount", "--pid", "--", "journalctl", "--no-pager"]
    return subprocess.run([*enter, f"--lines={LOG_LINES}"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
