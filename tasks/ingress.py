"""The ingress."""

from __future__ import annotations

from kubestage.cluster.phase import PODS, phase
from kubestage.cluster.plan import HostPlan
from kubestage.operations import certificates, files, stacks
from kubestage.stacks import ingress


@phase("Ingress", look_at=PODS)
def install(plan: HostPlan) -> None:
    """Contour and its Envoys, what they need on the control plane host's disk first; or nothing of it."""
    if not plan.is_leader:
        return
    settings = plan.settings
    on = "ingress" in settings.stacks
    if on:
        files.downloaded(
            address=plan.host_settings.profile.file(settings.contour_crds_url),
            path=ingress.DEFINITIONS,
            sha256=settings.contour_crds_sha256,
            name="Contour's definitions",
        )
        certificates.mutual(
            folder=ingress.XDS,
            uses=ingress.XDS_USES,
            renew_days=settings.certificate_renew_days,
            name="Certificates of Contour and its Envoys",
        )
    stacks.switched(
        stack=ingress.ingress(settings),
        on=on,
        seen=plan.stack_objects,
        timeout_s=plan.settings.timeout_s(180),
        name="ingress",
    )
    if not on:
        files.folder_absent(path=ingress.XDS, name="No certificates of Contour and its Envoys")
