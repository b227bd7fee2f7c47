"""What is where on a cluster and how it does, on one page: `make status`."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from kubestage.cluster.inventory import CHECKOUT, TargetError, read
from kubestage.commands.page import as_json, look, text

WATCH_S = 5.0
_CLEAR = "\033[H\033[2J"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own words."""
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--watch", action="store_true", help=f"again every {WATCH_S:.0f} s, until Ctrl-C")
    parser.add_argument("--diff", action="store_true", help="what a run would change as well, by a dry run")


def main(given: argparse.Namespace) -> int:
    """Print the page; 1 if something is not well."""
    if given.watch:
        return _watch(given)
    page = look(read(given.inventory))
    print(as_json(page) if given.json else text(page))
    if given.diff:
        return max(_differences(given), bool(page.troubles))
    return 1 if page.troubles else 0


def _watch(given: argparse.Namespace) -> int:
    while True:
        try:
            shown = text(look(read(given.inventory)))
        except TargetError as error:  # it may be back the next time
            shown = str(error)
        print(f"{_CLEAR if sys.stdout.isatty() else ''}{time.strftime('%H:%M:%S')}\n{shown}", flush=True)
        time.sleep(WATCH_S)


def _differences(given: argparse.Namespace) -> int:
    """A dry run's own words (on the error output where the page is for programs); its exit code."""
    argv = [Path(sys.executable).with_name("pyinfra"), given.inventory, "deploy.py", "--dry"]
    if not given.json:
        print("\nWhat differs from the settings, by a dry run:", flush=True)
    return subprocess.run(argv, cwd=CHECKOUT, stdout=sys.stderr if given.json else None, check=False).returncode
