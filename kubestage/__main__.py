"""`python -m kubestage new NAME` makes an inventory; `status`, `dashboard-token` and `trust` look at a cluster."""

from __future__ import annotations

import argparse
import sys
from typing import Protocol

import pyinfra_cli  # noqa: F401  before all that opens sockets: it puts gevent underneath

from kubestage import dashboard_token, status, trust
from kubestage.inventory import TargetError
from kubestage.new import command as new


class Command(Protocol):
    """A module with a command in it."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def main(self, given: argparse.Namespace) -> int: ...


COMMANDS: dict[str, tuple[Command, str]] = {
    "new": (new, "an inventory for hosts of your own"),
    "status": (status, "what is where, and how it does"),
    "dashboard-token": (dashboard_token, "a token for the dashboard, valid for an hour"),
    "trust": (trust, "how to trust its CA, and how to find its sites"),
}


def main(arguments: list[str] | None = None) -> int:
    """Run a command; its exit code."""
    parser = argparse.ArgumentParser("python -m kubestage")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (command, what) in COMMANDS.items():
        command.add_arguments(commands.add_parser(name, help=what))
    chosen = parser.parse_args(arguments)
    try:
        return COMMANDS[chosen.command][0].main(chosen)
    except TargetError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
