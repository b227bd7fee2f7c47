"""What a person sees of runs on the lab's hosts, in a pipe: in few lines, without and with changes, and cut off."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest

from lab.definition import CHECKOUT
from tests.lab.commands import INVENTORY, PYINFRA, deploy, environment, on

pytestmark = pytest.mark.life


@pytest.fixture(autouse=True)
def _cluster(cluster: None) -> None:
    """Every test here has it."""


def seen(*flags: str) -> list[str]:
    """The lines of a run."""
    argv = [str(PYINFRA), INVENTORY, "deploy.py", *flags]
    done = subprocess.run(
        argv, cwd=CHECKOUT, env=environment(), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return done.stderr.splitlines()


def test_a_run_that_changes_nothing_says_so_in_few_lines() -> None:
    lines = seen()  # nobody is asked about nothing
    assert len(lines) <= 14, lines
    assert lines[-1].startswith("Nothing changed on 3 hosts in ")


def test_a_dry_run_tells_what_would_change_and_its_lines() -> None:
    assert seen("--dry")[-1] == "would change: nothing"
    on("w1", "sed -i /w2/d /etc/hosts")
    lines = seen("--dry", "--diff")
    at = lines.index("would change:")
    assert lines[at + 1 : at + 4] == ["  w1", "    Host                 /etc/hosts", "/etc/hosts on w1:"]
    assert "    +10.77.0.13 w2" in lines[at:]
    assert deploy().changed == {"Host | /etc/hosts": ["w1"]}


def test_ctrl_c_ends_a_run_at_once_and_the_next_one_goes_on() -> None:
    on("w1", "systemctl stop kubelet")
    argv = [str(PYINFRA), INVENTORY, "deploy.py", "-y"]
    process = subprocess.Popen(argv, cwd=CHECKOUT, env=environment(), stderr=subprocess.PIPE, text=True)
    assert process.stderr
    first = next(line for line in process.stderr if "the output goes to" in line)
    log = CHECKOUT / first.split()[-1]
    deadline = time.monotonic() + 120
    while "--> Starting operation: Runtime" not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - begin < 10
    assert process.returncode == 130
    assert "Ended by Ctrl-C after " in said
    assert said.splitlines()[-1].endswith("as a picture: .state/lab/last-run.svg"), said
    assert (CHECKOUT / ".state" / "lab" / "last-run.svg").stat().st_mtime > time.time() - 60
    assert deploy().changed.get("Join | kubelet") == ["w1"]
    assert deploy().changed == {}
