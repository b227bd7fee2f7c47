"""From bare hosts to a cluster, and back to it whenever something has drifted: `pyinfra INVENTORY deploy.py`."""

from tasks import (
    certificates,
    control_plane,
    dashboard,
    host,
    ingress,
    join,
    kubernetes_packages,
    metrics,
    network,
    platform,
    preflight,
    registry,
    runtime,
    storage,
    summary,
)

plan = preflight.check()  # every setting and every host, before anything is touched
host.prepare(plan)
runtime.install(plan)
kubernetes_packages.install(plan)
control_plane.bring_up(plan)
storage.volumes(plan)
join.workers(plan)
network.install(plan)
certificates.keep(plan)
certificates.trust(plan)
storage.install(plan)
ingress.install(plan)
registry.install(plan)
dashboard.install(plan)
metrics.install(plan)
platform.serve(plan)
summary.show(plan)
