"""From addresses to an inventory by which a run works: `python -m kubestage new`, for the hosts of the cluster."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lab.definition import CHECKOUT, state_dir
from tests.lab.commands import PYINFRA, environment
from tests.lab.sites import ADDRESSES, DOMAIN

NAME = "kubestage"  # what the lab's cluster is called: a run would refuse to call it otherwise
KEY = state_dir() / "ssh" / "id_ed25519"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of ours whose defaults are the lab's settings: an inventory of another name than lab.py has no others."""
    left_out = shutil.ignore_patterns(".git", ".venv", ".state", ".*_cache", "__pycache__")
    copy = Path(shutil.copytree(CHECKOUT, tmp_path / "kubestage", ignore=left_out))
    with (copy / "group_data" / "all.py").open("a") as defaults:
        for name, value in runpy.run_path(str(CHECKOUT / "group_data" / "lab.py")).items():
            defaults.write("" if name.startswith("_") else f"{name} = {value!r}\n")
    return copy


def run(checkout: Path, *argv: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=checkout, env=environment(), capture_output=True, text=True, check=False)


@pytest.mark.parametrize("way", [[], ["--jump", f"root@{ADDRESSES['w1']}"]], ids=["directly", "through a jump host"])
def test_a_run_works_by_the_inventory_that_was_made(cluster: None, checkout: Path, way: list[str]) -> None:
    first, *others = (f"{name}={address}" for name, address in ADDRESSES.items())
    hosts = ["--control-plane", first, *(word for host in others for word in ("--worker", host))]
    settings = ["--key", str(KEY), "--domain", DOMAIN, "--mirror", "lab"]
    new = [sys.executable, "-m", "kubestage", "new", NAME, *hosts, *settings, *way]

    refused = run(checkout, *new)
    assert (refused.returncode, refused.stdout.count("SHA256:")) == (1, 1 if way else len(ADDRESSES))
    assert "nobody can be asked whether the host keys are right" in refused.stderr

    made = run(checkout, *new, "--yes")
    assert made.returncode == 0, made.stdout + made.stderr
    assert f"pyinfra inventory/{NAME}.py deploy.py" in made.stdout
    rows = made.stdout.partition("PRIVATE ADDRESS")[2].splitlines()
    assert {name: row.split()[1] for row in rows for name in ADDRESSES if row.split()[:1] == [name]} == ADDRESSES

    for _ in range(2):
        deployed = run(checkout, PYINFRA, f"inventory/{NAME}.py", "deploy.py", "-y")
        assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    assert (checkout / ".state" / NAME / "kubeconfig").is_file()

    again = run(checkout, *new, "--yes")
    assert again.returncode == 1
    assert f"inventory/{NAME}.py, group_data/{NAME}.py" in again.stderr and "never written over" in again.stderr
