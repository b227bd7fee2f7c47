"""A living cluster to the version of Kubernetes that the settings name: `pyinfra INVENTORY upgrade.py`."""

from kubestage.cluster.run import run
from tasks import backup, control_plane, manifests, network, platform, stacks, summary, upgrade

PHASES = [
    backup.before_upgrade,
    upgrade.configuration,
    upgrade.package,
    upgrade.images,
    upgrade.snapshot,
    upgrade.programs,
    upgrade.workers,
    control_plane.bring_up,
    network.install,
    stacks.remove,
    *stacks.INSTALL,
    manifests.keep,
    platform.serve,
]

run(PHASES, check=upgrade.check, end=summary.show)
