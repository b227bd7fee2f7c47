"""The workers."""

from __future__ import annotations

from kubestage.cluster.phase import phase
from kubestage.cluster.plan import HostPlan
from kubestage.operations import kubeadm, renewal
from kubestage.operations import kubelet as operations
from kubestage.render import kubelet
from kubestage.render.kubeadm import timeouts


@phase(
    "Join",
    look_at="`/var/log/kubestage-join.log` on the worker; `journalctl -u kubelet` on the host",
    goes_on="`kubeadm join` goes on by itself, in the unit kubestage-join; the next run waits for it",
)
def workers(plan: HostPlan) -> None:
    """All workers at once; then their kubelets are seen to."""
    if not plan.is_control_plane:
        kubeadm.join(
            control_plane=plan.speaker,
            node_ip=plan.address,
            ignore_preflight=plan.host_settings.kubeadm_ignore_preflight,
            waits=timeouts(plan.settings),
            timeout_s=plan.settings.timeout_s(60),
            name="kubeadm join",
        )
        renewal.kubelet_client(
            over=plan.due.kubelet_client,
            control_plane=plan.speaker,
            timeout_s=plan.settings.timeout_s(60),
            name="The kubelet's own certificate",
        )
        operations.service(configuration=kubelet.CONFIGURATION, timeout_s=plan.settings.timeout_s(60), name="kubelet")
    renewal.kubelet_server(due=plan.due.kubelet_server, name="The kubelet's serving certificate")
