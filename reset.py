"""Hosts as they were before their first run: `pyinfra INVENTORY reset.py`, all of them, or `--limit HOST`."""

from kubestage.cluster.run import run
from tasks import removal, reset

PHASES = [
    removal.drain,
    removal.leave,
    removal.forget,
    reset.leave,
    reset.no_network,
    reset.files,
    reset.packages,
    reset.no_data,
    reset.host,
]

run(PHASES, check=reset.check, end=reset.tell)
