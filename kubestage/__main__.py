"""Looks at a cluster that a run has made: `python -m kubestage status|dashboard-token|trust INVENTORY`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import pyinfra_cli  # noqa: F401  before all that opens sockets: it puts gevent underneath

from kubestage import dashboard_token, status, trust
from kubestage.inventory import TargetError

COMMANDS: dict[str, tuple[Callable[[str], int], str]] = {
    "status": (status.main, "what is where, and how it does"),
    "dashboard-token": (dashboard_token.main, "a token for the dashboard, valid for an hour"),
    "trust": (trust.main, "how to trust its CA, and how to find its sites"),
}


def main(arguments: list[str] | None = None) -> int:
    """Run a command; its exit code."""
    parser = argparse.ArgumentParser("python -m kubestage")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (_, what) in COMMANDS.items():
        command = commands.add_parser(name, help=what)
        command.add_argument("inventory", help="the inventory file, e.g. inventory/lab.py")
    chosen = parser.parse_args(arguments)
    run, _ = COMMANDS[chosen.command]
    try:
        return run(chosen.inventory)
    except TargetError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
