"""The whole of it on this machine: lab, deploy, verification, and how to use the cluster; `make demo`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lab.__main__ import ssh_command
from lab.definition import CHECKOUT, builds, cache_dir, hosts, is_built, mirror
from lab.progress import StepFailed

INVENTORY = "inventory/lab.py"
KUBECONFIG = CHECKOUT / ".state" / "lab" / "kubeconfig"
TOOLS = Path(sys.executable).parent  # the virtual environment's


KUBECTL = TOOLS / "kubectl"  # beside the virtual environment's own commands


def announcement() -> str:
    """What will be done, and about how long it takes on 2 cores."""
    number = len(hosts())
    run = f"then a cluster of {number} hosts, deployed and verified"
    if not builds():
        return f"Nothing is built: the hosts install from the mirror profile {mirror()!r}, as fast as that is; {run}."
    if is_built():
        return f"Everything is built; {run}: about 2 minutes."
    return (
        f"All that the hosts install is built from source, once: about 25 minutes, kept in {cache_dir()}; "
        f"{run}: about 2 minutes."
    )


def fetch_kubectl() -> None:
    """The hosts' own, as KUBECTL."""
    partial = KUBECTL.with_suffix(".partial")
    with partial.open("wb") as file:
        subprocess.run([*ssh_command(hosts()[0].name), "cat", "/usr/bin/kubectl"], stdout=file, check=True)
    partial.chmod(0o755)
    partial.rename(KUBECTL)


def step(title: str, argv: Sequence[str | Path], resume: str) -> float:
    """Run a step with its output shown; the seconds it took; StepFailed with the command to go on if it fails."""
    print(f"\n=== {title}: {' '.join(Path(word).name if index == 0 else str(word) for index, word in enumerate(argv))}")
    begin = time.monotonic()
    code = subprocess.run([str(word) for word in argv], cwd=CHECKOUT, check=False).returncode
    if code:
        raise StepFailed(
            f"\n{title} failed with exit code {code}; the reason stands above.\nTo go on once that is mended: {resume}"
        )
    return time.monotonic() - begin


def show(*words: str) -> None:
    """Run kubectl against the lab's cluster and show what it says."""
    environment = {**os.environ, "KUBECONFIG": str(KUBECONFIG)}
    print(f"\n$ kubectl {' '.join(words)}", flush=True)
    if subprocess.run([KUBECTL, *words], env=environment, check=False).returncode:
        raise StepFailed(f"kubectl {' '.join(words)} failed; to go on: make demo")


def demo() -> None:
    """All steps, then the cluster as kubectl shows it and the time of each."""
    print(announcement())
    begin = time.monotonic()
    times = {"lab up": step("lab up", [sys.executable, "-m", "lab", "up"], "make demo")}
    pyinfra: list[str | Path] = [TOOLS / "pyinfra", INVENTORY, "deploy.py", "-y"]
    times["deploy"] = step("deploy", pyinfra, "make demo")
    fetch_kubectl()
    verify = [sys.executable, "-m", "pytest", "tests/verify", "--inventory", INVENTORY]
    times["verify"] = step("verify", verify, f"make verify INVENTORY={INVENTORY}")
    times["all"] = time.monotonic() - begin
    show("get", "nodes", "--output=wide")
    show("get", "pods", "--all-namespaces", "--output=wide")
    print("\nElapsed (make status tells the phases of the deploy, make picture shows them):")
    for title, seconds in times.items():
        print(f"  {title:<10}{seconds:8.1f} s")
    print(
        f"""
Your cluster:
  export KUBECONFIG={KUBECONFIG}
  export PATH={TOOLS}:$PATH
  kubectl get nodes

  python -m lab ssh cp1      a shell on a host
  make status                what is where on it, and how it does
  make dashboard-token       let yourself into the dashboard
  make trust                 how to trust its CA, and to find its sites by name
  make verify                look at all of it again, from outside
  make lab-down              remove the hosts; the cache stays, so the next demo is quick"""
    )


def main() -> int:
    try:
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        demo()
    except StepFailed as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        with suppress(BrokenPipeError):
            print("\ninterrupted; to go on: make demo", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
