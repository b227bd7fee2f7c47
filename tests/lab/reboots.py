"""All hosts of the lab rebooted at once."""

from __future__ import annotations

import json

from lab import host_processes
from tests.lab.commands import lab, on

# A container that heeds no SIGTERM holds a shutdown up until systemd ends it, after 90 s (DefaultTimeoutStopSec).
DOWN_WITHIN_S = 240
# By itself a timer may be a minute late (AccuracySec), by a number that each machine has of its own.
REBOOT_SOON = "systemd-run --quiet --on-active=100ms --timer-property=AccuracySec=1ms systemctl reboot"


def reboot_all() -> None:
    """Have all hosts reboot at the same time, as a power cut in good order does, and wait until they let people in."""
    before = leaders()
    for name in before:
        on(name, REBOOT_SOON)
    assert host_processes.wait_until(
        lambda: all(leaders()[name] not in (None, old) for name, old in before.items()), DOWN_WITHIN_S
    )
    lab("up")  # waits for every host's sshd


def leaders() -> dict[str, int | None]:
    """Host -> its PID 1, by its pid on the machine."""
    return {host["name"]: host["leader"] for host in json.loads(lab("status", "--json"))["hosts"]}
