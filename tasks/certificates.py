"""The CA, the certificate of the platform's sites, and the trust of every host in them."""

from __future__ import annotations

from kubestage.certificates.platform import given
from kubestage.cluster.phase import FILES, phase
from kubestage.cluster.plan import HostPlan
from kubestage.operations import certificates, platform_secrets
from kubestage.stacks.platform_secrets import CERTIFICATES


@phase("Certificates", look_at=FILES)
def keep(plan: HostPlan) -> None:
    """The user's own certificates, or a CA made once and what it issues; the cluster keeps them."""
    settings = plan.settings
    if plan.is_leader:
        platform_secrets.files(
            control_plane=plan.speaker, secret=CERTIFICATES, name="Certificates that the cluster keeps"
        )
        certificates.authority(
            cluster_name=settings.cluster_name,
            domain=settings.domain,
            ca=given(settings.ca_certificate, settings.ca_key),
            wildcard=given(settings.wildcard_certificate, settings.wildcard_key),
            renew_days=settings.certificate_renew_days,
            name="CA and wildcard certificate",
        )
        platform_secrets.secret(
            control_plane=plan.speaker, secret=CERTIFICATES, name="Certificates are kept in the cluster"
        )


@phase("Trust", look_at=FILES)
def trust(plan: HostPlan) -> None:
    """The CA trusted by every host's programs, by containerd and Docker for the registry; a copy for the user."""
    settings = plan.settings
    certificates.trusted_authority(
        control_plane=plan.speaker,
        registry=settings.site("registry") if "registry" in settings.stacks else "",
        wanted=settings.has_ca,
        name="The CA is trusted",
    )
    if plan.is_leader:
        certificates.authority_copy(
            control_plane=plan.speaker,
            path=plan.kubeconfig.with_name("ca.crt"),
            wanted=settings.has_ca,
            name="Copy of the CA's certificate",
        )
