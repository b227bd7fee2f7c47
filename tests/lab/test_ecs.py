"""A worker that is an ECS instance, rebuilt by one command that is killed at each of its steps, and given again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from lab.definition import CHECKOUT
from lab.host import client_key, known_hosts
from tests.lab.commands import deploy, environment, kubectl_json, on
from tests.lab.ecs_lab import CLUSTER, account
from tests.lab.test_rebuild import STEPS

pytestmark = pytest.mark.life

INVENTORY = "inventory/aliyun.py"
REBUILD = (sys.executable, "-m", "kubestage", "rebuild", INVENTORY, "w1", "--yes", "--with-registry")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of this one, as a user has it: the key file is his own, and his settings are those of the lab."""
    folder = tmp_path / "checkout"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, stdout=subprocess.PIPE, check=True).stdout
    for name in filter(None, tracked.decode().split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / name, folder / name)
    inventory = folder / INVENTORY
    written = inventory.read_text()
    assert '"~/.ssh/id_ed25519"' in written
    inventory.write_text(written.replace('"~/.ssh/id_ed25519"', repr(str(client_key()))))
    shutil.copy(folder / "group_data" / "lab.py", folder / "group_data" / "aliyun.py")
    state = folder / ".state" / CLUSTER
    state.mkdir(parents=True)
    shutil.copy(known_hosts(), state / "known_hosts")
    return folder


def ran(checkout: Path, variables: Mapping[str, str], *argv: str | Path) -> str:
    """What a command prints that is to end well."""
    done = subprocess.run(
        argv,
        cwd=checkout,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def run_again(checkout: Path, variables: Mapping[str, str]) -> str:
    return ran(checkout, variables, Path(sys.executable).with_name("pyinfra"), INVENTORY, "deploy.py", "-y")


def killed_at(step: str, checkout: Path, variables: Mapping[str, str]) -> None:
    with subprocess.Popen(
        REBUILD, cwd=checkout, env=environment(**variables), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        seen = []
        for line in process.stdout:
            seen.append(line)
            if line.startswith(f"w1: {step} ..."):
                os.kill(process.pid, signal.SIGKILL)
                return
    raise AssertionError(f"it ended before {step!r}: {''.join(seen)}")


def node() -> str:
    return str(kubectl_json("get", "node", "w1")["metadata"]["uid"])


def test_a_worker_that_is_an_instance(cluster: None, checkout: Path) -> None:
    before = node()
    on("w1", "touch /root/of-the-old-disk")
    with account() as (ecs, variables):
        run_again(checkout, variables)  # keeps what a run keeps on this machine
        assert "Nothing changed" in run_again(checkout, variables)

        for step in STEPS:
            killed_at(step, checkout, variables)
        told = ran(checkout, variables, *REBUILD)
        assert all(f"w1: {step}: done before" in told for step in STEPS[:-1]), told
        stopped = [query for action, query in ecs.called if action == "StopInstance"]
        assert {query["StoppedMode"] for query in stopped} == {"KeepCharging"}
        replaced = [query for action, query in ecs.called if action == "ReplaceSystemDisk"]
        assert {query["KeyPairName"] for query in replaced} == {"team"} and len(
            {q["ClientToken"] for q in replaced}
        ) == 1

        assert node() != before and on("w1", "ls /root") == ""
        assert "Nothing changed" in run_again(checkout, variables)
        ran(checkout, variables, sys.executable, "-m", "pytest", "-q", "tests/verify", "--inventory", INVENTORY)
    assert deploy().changed == {}
