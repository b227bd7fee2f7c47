"""Hosts out of their cluster, living or dead: `pyinfra INVENTORY remove.py --limit HOST`."""

from kubestage.cluster.run import run
from tasks import removal

PHASES = [removal.drain, removal.leave, removal.forget]

run(PHASES, check=removal.check, end=removal.tell)
