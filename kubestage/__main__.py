"""`python -m kubestage new NAME` makes an inventory; `status`, `dashboard-token` and `trust` look at a cluster."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import pyinfra_cli  # noqa: F401  before all that opens sockets: it puts gevent underneath

from kubestage import dashboard_token, status, trust
from kubestage.inventory import TargetError
from kubestage.new import command as new

COMMANDS: dict[str, tuple[Callable[[str], int], str]] = {
    "status": (status.main, "what is where, and how it does"),
    "dashboard-token": (dashboard_token.main, "a token for the dashboard, valid for an hour"),
    "trust": (trust.main, "how to trust its CA, and how to find its sites"),
}


def main(arguments: list[str] | None = None) -> int:
    """Run a command; its exit code."""
    parser = argparse.ArgumentParser("python -m kubestage")
    commands = parser.add_subparsers(dest="command", required=True)
    new.add_arguments(commands.add_parser("new", help="an inventory for hosts of your own"))
    for name, (_, what) in COMMANDS.items():
        command = commands.add_parser(name, help=what)
        command.add_argument("inventory", help="the inventory file, e.g. inventory/lab.py")
    chosen = parser.parse_args(arguments)
    try:
        return new.main(chosen) if chosen.command == "new" else COMMANDS[chosen.command][0](chosen.inventory)
    except TargetError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
