"""A cluster of its backup, on blank hosts: `pyinfra INVENTORY restore.py --data backup=PATH --data identity=PATH`."""

from kubestage.cluster.run import run
from tasks import (
    backup,
    certificates,
    control_plane,
    endpoint,
    host,
    join,
    kubernetes_packages,
    manifests,
    network,
    platform,
    restore,
    runtime,
    stacks,
    summary,
)

PHASES = [
    host.prepare,
    runtime.install,
    kubernetes_packages.install,
    endpoint.install,
    restore.data,
    control_plane.bring_up,
    restore.forget,
    join.hosts,
    endpoint.extend,
    network.install,
    certificates.keep,
    certificates.trust,
    stacks.remove,
    *stacks.INSTALL,
    manifests.keep,
    backup.keep,
    platform.serve,
    restore.images,
]

run(PHASES, check=restore.check, end=summary.show)
