"""`python -m kubestage new NAME` makes an inventory, `ports` reads one; the other commands look at its cluster."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

import pyinfra_cli  # noqa: F401  before all that opens sockets: it puts gevent underneath

from kubestage.cluster.inventory import TargetError

# A command's name -> its module, and what it is for. Only the one that is given is imported: it is to answer soon.
COMMANDS = {
    "new": ("kubestage.commands.new.command", "an inventory for hosts of your own"),
    "ports": ("kubestage.commands.ports", "what firewalls have to let pass, from the settings alone"),
    "status": ("kubestage.commands.status", "what is where, and how it does"),
    "dashboard-token": ("kubestage.commands.dashboard_token", "a token for the dashboard, valid for an hour"),
    "rebuild": ("kubestage.commands.rebuild", "hosts with a blank disk, back in the cluster"),
    "registry-copy": ("kubestage.commands.registry_copy", "the registry's images, on the disk of another node"),
    "image": ("kubestage.commands.image", "an image of a prepared host, of which hosts are rebuilt sooner"),
    "trust": ("kubestage.commands.trust", "how to trust its CA, and how to find its sites"),
}


def main(arguments: list[str] | None = None) -> int:
    """Run a command; its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser("python -m kubestage")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (module, what) in COMMANDS.items():
        command = commands.add_parser(name, help=what)
        if name != "new":  # all others are about an inventory that is there
            command.add_argument("inventory", help="the inventory file, e.g. inventory/lab.py")
        if words[:1] == [name] and (own := getattr(import_module(module), "add_arguments", None)):
            own(command)
    chosen = parser.parse_args(words)
    try:
        return int(import_module(COMMANDS[chosen.command][0]).main(chosen))
    except TargetError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
