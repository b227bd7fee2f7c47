"""The hosts that are not in the cluster yet."""

from __future__ import annotations

from kubestage.cluster.phase import phase
from kubestage.cluster.plan import HostPlan
from kubestage.operations import kubeadm, renewal
from kubestage.operations import kubelet as operations
from kubestage.render import kubelet
from kubestage.render.kubeadm import timeouts


@phase(
    "Join",
    look_at="`/var/log/kubestage-join.log` on the host; `journalctl -u kubelet` there",
    goes_on="`kubeadm join` goes on by itself, in the unit kubestage-join; the next run waits for it",
)
def hosts(plan: HostPlan) -> None:
    """One after the other of the control plane, all workers at once; then their kubelets are seen to."""
    if plan.is_control_plane and not plan.is_leader:
        kubeadm.join_control_plane(
            control_plane=plan.speaker,
            settings=plan.settings,
            own=plan.host_settings,
            address=plan.address,
            timeout_s=plan.settings.timeout_s(60),
            name="kubeadm join of the control plane",
            _serial=True,
        )
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
    if plan.joins_control_plane or not plan.is_control_plane:
        operations.service(configuration=kubelet.CONFIGURATION, timeout_s=plan.settings.timeout_s(60), name="kubelet")
    renewal.kubelet_server(due=plan.due.kubelet_server, name="The kubelet's serving certificate")
