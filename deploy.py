"""From bare hosts to a cluster, and back to it whenever something has drifted: `pyinfra INVENTORY deploy.py`."""

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
    preflight,
    runtime,
    stacks,
    summary,
    volumes,
)

PHASES = [
    host.prepare,
    runtime.install,
    kubernetes_packages.install,
    endpoint.install,
    control_plane.bring_up,
    volumes.keep,
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
]

# Every setting and every host is checked before anything is touched.
run(PHASES, check=preflight.check, end=summary.show)
