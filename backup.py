"""A backup of a cluster, encrypted, on your machine: `pyinfra INVENTORY backup.py`."""

from kubestage.cluster.run import run
from tasks import backup

PHASES = [backup.install, backup.make, backup.bring]

run(PHASES, check=backup.check, end=backup.tell)
