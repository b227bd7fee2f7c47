"""From bare hosts to a cluster, and back to it whenever something has drifted: `pyinfra INVENTORY deploy.py`."""

from kubestage.cluster.run import run
from tasks import (
    certificates,
    control_plane,
    dashboard,
    endpoint,
    host,
    ingress,
    join,
    kubernetes_packages,
    manifests,
    metrics,
    network,
    platform,
    preflight,
    registry,
    runtime,
    storage,
    summary,
)

PHASES = [
    host.prepare,
    runtime.install,
    kubernetes_packages.install,
    endpoint.install,
    control_plane.bring_up,
    storage.volumes,
    join.workers,
    network.install,
    certificates.keep,
    certificates.trust,
    storage.install,
    ingress.install,
    registry.install,
    dashboard.install,
    metrics.install,
    manifests.keep,
    platform.serve,
]

# Every setting and every host is checked before anything is touched.
run(PHASES, check=preflight.check, end=summary.show)
