"""What a run prints of an operation that takes long: by pyinfra's own command line, on fake hosts."""

from __future__ import annotations

import re
from pathlib import Path

from fake_runs import printed_by_run

# w1 is quick, w2 takes its time for every command, w3 has nothing to do.
INVENTORY = """\
hosts = [
    (f"@fake/{name}", {"fake_delay": delay, "fake_delay_jitter": 0})
    for name, delay in (("w1", 0), ("w2", 0.7), ("w3", 0))
]
"""
DEPLOY = """\
from pyinfra import host, state
from pyinfra.operations import server
from kubestage import progress

progress.EVERY_S = 0.2
progress.show(state)
if host.name != "@fake/w3":
    server.shell("sleep", name="Long")
"""


def test_long_operations_show_their_time_and_who_is_at_work(tmp_path: Path) -> None:
    printed = printed_by_run(tmp_path, INVENTORY, DEPLOY)
    _, _, during = printed.partition("--> Starting operation: Long")
    shown = re.findall(r"^ +Long \.\.\. \d s \((.*)\)$", during, re.MULTILINE)
    assert set(shown) == {"@fake/w2"}, printed
    assert len(shown) <= 4, printed  # one host's, not once more for each that asked for it
