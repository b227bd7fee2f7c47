"""What commands have hosts do: by a run of pyinfra's, or in a shell of theirs."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from pyinfra.api import Config
from pyinfra.context import ctx_config, ctx_host, ctx_state

from kubestage.cluster.inventory import CHECKOUT, Target, TargetError
from kubestage.cluster.shell import run_on

PYINFRA = Path(sys.executable).with_name("pyinfra")


def deploy(target: Target, what: str, *flags: str) -> int:
    """Run the deploy, for all to see; its exit code. `what`: it is for, in the line with its time."""
    begin = time.monotonic()
    argv: list[str | Path] = [PYINFRA, target.inventory, "deploy.py", "-y", *flags]
    code = subprocess.run(argv, cwd=CHECKOUT, check=False).returncode
    print(f"{what}: run: {time.monotonic() - begin:.1f} s, exit code {code}", flush=True)
    return code


def shell(target: Target, name: str, command: str, stdin: str = "") -> tuple[bool, str]:
    """Whether a command succeeded on a host, as root, and its standard output."""
    host, config = target.host(name), Config()  # type: ignore[no-untyped-call]
    with ctx_state.use(target.state), ctx_config.use(config), ctx_host.use(host):
        return run_on(host, command, stdin)


def on(target: Target, name: str, what: str, command: str, remedy: str, stdin: str = "") -> str:
    """What a command prints on a host; TargetError that calls it `what`, with what to do, where it fails."""
    succeeded, output = shell(target, name, command, stdin)
    if not succeeded:
        last = "\n    ".join(output.splitlines()[-5:]) or "no answer"
        raise TargetError(f"{name}: {what}: {last}\n    -> {remedy}")
    return output
