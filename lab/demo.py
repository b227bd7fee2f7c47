"""The whole of it on this machine: lab, deploy, verification, and how to use the cluster; `make demo`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lab import build
from lab.definition import CHECKOUT
from lab.progress import StepFailed

INVENTORY = "inventory/lab.py"
KUBECONFIG = CHECKOUT / ".state" / "lab" / "kubeconfig"
TOOLS = Path(sys.executable).parent  # the virtual environment's


def kubectl() -> Path:
    """The kubectl that the lab has built for the pinned version."""
    version = build.product()["kubernetes_version"]
    release = next(release for release in build.RELEASES if release.version == version)
    return release.kubernetes.build() / "kubectl"


def link_kubectl() -> Path:
    """A link to it beside the virtual environment's own commands."""
    link = TOOLS / "kubectl"
    if not (link.is_symlink() and link.readlink() == kubectl()):
        link.unlink(missing_ok=True)
        link.symlink_to(kubectl())
    return link


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
    if subprocess.run([kubectl(), *words], env=environment, check=False).returncode:
        raise StepFailed(f"kubectl {' '.join(words)} failed; to go on: make demo")


def demo() -> None:
    """All steps, then the cluster as kubectl shows it and the time of each."""
    begin = time.monotonic()
    times = {"lab up": step("lab up", [sys.executable, "-m", "lab", "up"], "make demo")}
    pyinfra: list[str | Path] = [TOOLS / "pyinfra", INVENTORY, "deploy.py", "-y"]
    times["deploy"] = step("deploy", pyinfra, "make demo")
    link_kubectl()
    verify = [sys.executable, "-m", "pytest", "tests/verify", "--inventory", INVENTORY]
    times["verify"] = step("verify", verify, f"make verify INVENTORY={INVENTORY}")
    times["all"] = time.monotonic() - begin
    show("get", "nodes", "--output=wide")
    show("get", "pods", "--all-namespaces", "--output=wide")
    print("\nElapsed (the phases of the deploy stand at its end, above):")
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
