"""The commands that a person gives, as tests give them: the lab, a deploy, the verification."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import build
from lab.definition import CHECKOUT
from lab.host_processes import wait_until

INVENTORY = "inventory/lab.py"
KUBECONFIG = CHECKOUT / ".state" / "lab" / "kubeconfig"
WITHIN_S = 240  # for what comes back by itself
ADMIN = {"KUBESTAGE_LAB_USER": "admin"}  # who has sudo, and is not root
PYINFRA = Path(sys.executable).with_name("pyinfra")


_lab_of: dict[str, str] = {}


@contextmanager
def control_planes(number: int, **values: str) -> Iterator[None]:
    """A time in which the lab has so many hosts of the control plane, and `values` in its environment."""
    _lab_of.update(KUBESTAGE_LAB_CONTROL_PLANES=str(number), **values)
    try:
        yield
    finally:
        _lab_of.clear()


def environment(**values: str) -> dict[str, str]:
    """This process's environment without the lab's own variables, and with `values`."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("KUBESTAGE_LAB_")}
    return {**plain, **_lab_of, "PYINFRA_PROGRESS": "off", **values}


def _lab(words: Sequence[str], values: Mapping[str, str], given: str | None = None) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "lab", *words]
    return subprocess.run(
        argv, cwd=CHECKOUT, env=environment(**values), input=given, capture_output=True, text=True, check=False
    )


def lab(*words: str, given: str | None = None, **values: str) -> str:
    """What `python -m lab` prints; `values` are put into its environment, `given` is its input."""
    result = _lab(words, values, given)
    assert result.returncode == 0, f"{words}: exit code {result.returncode}\n{result.stdout}{result.stderr}"
    return result.stdout


def lab_refuses(*words: str, **values: str) -> str:
    """The message of a `python -m lab` that is to fail."""
    result = _lab(words, values)
    assert result.returncode == 1, f"{words}: exit code {result.returncode}\n{result.stdout}{result.stderr}"
    return result.stderr


def on(host: str, command: str, *, given: str | None = None, **values: str) -> str:
    """What a shell command prints on a lab host; `given` is its input."""
    return lab("ssh", host, "--", command, given=given, **values).strip()


@dataclass(frozen=True)
class Run:
    """A deploy that has ended. changed: operation -> the hosts on which it changed something. printed: to a person."""

    changed: dict[str, list[str]]
    totals: dict[str, int]
    printed: str


def deploy_command(*flags: str, inventory: str = INVENTORY, script: str = "deploy.py") -> list[str]:
    return [str(PYINFRA), inventory, script, "-y", *flags]


def deploy(*flags: str, inventory: str = INVENTORY, script: str = "deploy.py", **values: str) -> Run:
    """Run the deploy, or another script, to its good end."""
    argv = deploy_command("--json", *flags, inventory=inventory, script=script)
    result = subprocess.run(argv, cwd=CHECKOUT, env=environment(**values), capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{argv}: exit code {result.returncode}\n{result.stdout}{result.stderr}"
    results = json.loads(result.stdout)["results"]
    assert not results["failed_hosts"], results["failed_hosts"]
    assert results["totals"]["error"] == 0, results["totals"]
    assert results["totals"]["no_change"] > 0, results["totals"]
    changed = {one["name"]: sorted(one["success"]) for one in results["operations"] if one["success"]}
    return Run(changed, results["totals"], result.stderr)


def killed_once(reached: Callable[[], bool], *flags: str, script: str) -> None:
    """Run a script, and kill it (SIGKILL) as soon as what it does has `reached` that; it has to be at work then."""
    argv, silent = deploy_command(*flags, script=script), subprocess.DEVNULL
    run = subprocess.Popen(argv, cwd=CHECKOUT, env=environment(), stdout=silent, stderr=silent)
    try:
        assert wait_until(lambda: run.poll() is not None or reached(), WITHIN_S, 0.2)
        assert run.poll() is None
    finally:
        run.kill()
        run.wait()


def round_trips(folder: Path) -> dict[str, int]:
    """How often a run asks or tells each host; it has to go well."""
    counts = folder / "counts.json"
    argv = [sys.executable, "bench/count_round_trips.py", str(counts), INVENTORY, "deploy.py", "-y"]
    result = subprocess.run(argv, cwd=CHECKOUT, env=environment(), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    counted: dict[str, int] = json.loads(counts.read_text())
    return counted


def deploy_refused(*flags: str, inventory: str = INVENTORY, script: str = "deploy.py") -> str:
    """Run a deploy, or another script, that is to be refused before anything is touched; its message."""
    result = subprocess.run(
        deploy_command(*flags, inventory=inventory, script=script),
        cwd=CHECKOUT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1, result.stdout + result.stderr
    assert "Nothing was changed" in result.stderr, result.stderr
    return result.stderr


def verify(*checks: str, inventory: str = INVENTORY) -> set[str]:
    """Run the verification, or only `checks` of it; those that failed, such as "test_hosts.py::test_no_swap[w1]"."""
    argv = [sys.executable, "-m", "pytest", "--inventory", inventory, "-q", "--tb=short"]
    argv += [f"tests/verify/{check}" for check in checks] or ["tests/verify"]
    result = subprocess.run(argv, cwd=CHECKOUT, env=environment(), capture_output=True, text=True, check=False)
    assert result.returncode in (0, 1), result.stdout + result.stderr
    failed = {
        line.split(" ")[1].removeprefix("tests/verify/")
        for line in result.stdout.splitlines()
        if line.startswith(("FAILED ", "ERROR "))
    }
    assert bool(failed) == bool(result.returncode), result.stdout
    print(result.stdout)  # pytest shows it where the test fails
    return failed


def kubectl(*words: str, given: str | None = None) -> str:
    """What kubectl prints, as the lab cluster's user; the version that the lab has built."""
    argv = [str(build.RELEASES[0].kubernetes.build() / "kubectl"), *words]
    values = {"KUBECONFIG": str(KUBECONFIG)}
    result = subprocess.run(argv, env=environment(**values), input=given, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"kubectl {words}: {result.stderr}"
    return result.stdout


def kubectl_json(*words: str) -> Any:
    return json.loads(kubectl(*words, "--output", "json"))


def settle() -> None:
    """Wait until all is back that something's absence has ended, and whoever is to know it does."""
    what = ("get", "pods,deployments,apiservices", "--all-namespaces")

    def is_well(thing: Any) -> bool:
        conditions = {one["type"]: one["status"] for one in thing["status"].get("conditions", ())}
        ended = thing["status"].get("phase") in ("Succeeded", "Failed")
        return ended or conditions.get("Ready" if thing["kind"] == "Pod" else "Available") == "True"

    assert wait_until(lambda: all(map(is_well, kubectl_json(*what)["items"])), WITHIN_S, 1.0), kubectl(*what)


def dry_run(manifest: str) -> str:
    """What the API server would make of a manifest (YAML); nothing is made. Its namespaces have to be there."""
    return kubectl("apply", "--server-side", "--dry-run=server", "--force-conflicts", "--filename=-", given=manifest)


def kubestage(word: str, *more: str, inventory: str = INVENTORY) -> subprocess.CompletedProcess[str]:
    """A command about an inventory, at its end, with nobody to ask: `make status` is kubestage("status")."""
    return subprocess.run(
        [sys.executable, "-m", "kubestage", word, inventory, *more],
        cwd=CHECKOUT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
