"""The control plane of the cluster as it is; the hosts that are to join pull what they will run meanwhile."""

from __future__ import annotations

from kubestage.cluster.phase import phase
from kubestage.cluster.plan import HostPlan
from kubestage.host_file import HostFile
from kubestage.kubernetes import KUBEADM_CONFIG, STATIC_PODS
from kubestage.operations import files, kubeconfig, renewal
from kubestage.operations import kubeadm as operations
from kubestage.operations import kubelet as kubelet_operations
from kubestage.operations import static_pods as static_pods_operations
from kubestage.render import kubeadm, kubelet, static_pods


@phase(
    "Control plane",
    look_at="`/var/log/kubestage-init.log`, `/var/log/kubestage-static-pods.log` on the control plane; an init that "
    "did not end well is told from a finished one, and the exact command to begin anew is in the message",
    goes_on="`kubeadm init` goes on by itself, in the unit kubestage-init; the next run waits for it",
)
def bring_up(plan: HostPlan) -> None:
    """kubeadm init from rendered configuration; later runs keep its programs as it makes them.

    What starts them comes before what waits for them: first the kubelet, then the certificate without which the API
    server ends at once, then its manifest. Certificates that have ended come before all: nothing runs with them.
    """
    settings = plan.settings
    own_flags = {pod: static_pods.words(static_pods.own_flags(settings, pod)) for pod in STATIC_PODS}
    own_files = static_pods.host_files(settings) if plan.is_control_plane else []
    if plan.is_control_plane:
        configuration = kubeadm.init_configuration(
            settings, plan.host_settings, plan.name, plan.address, plan.apiserver_names
        )
        files.files(
            files=[HostFile(KUBEADM_CONFIG, configuration, mode="600"), *own_files], name="kubeadm's configuration"
        )
    operations.init_or_images(
        first=plan.is_leader,
        control_plane=plan.is_control_plane,
        flags=own_flags,
        images=kubeadm.worker_images(settings),
        kubernetes_version=plan.host_settings.kubernetes_version,
        name="kubeadm init; images on the others",
    )
    if plan.is_control_plane and not plan.joins_control_plane:
        renewal.control_plane(
            due=plan.due.control_plane,
            address=plan.address,
            port=settings.api_port,
            timeout_s=settings.timeout_s(180),
            name="Certificates of the control plane",
            _serial=True,  # the others serve meanwhile
        )
        kubelet_operations.service(
            configuration=kubelet.CONFIGURATION, timeout_s=settings.timeout_s(60), name="kubelet"
        )
        operations.apiserver_names(
            wanted=plan.apiserver_names,
            name="Names in the API's certificate",
        )
        static_pods_operations.manifests(
            configuration=configuration,
            flags=own_flags,
            files=[file.path for file in own_files],
            address=plan.address,
            port=settings.api_port,
            timeout_s=settings.timeout_s(180),
            name="API server, controller manager, scheduler, etcd",
            _serial=True,
        )
    if plan.is_leader:
        operations.kube_proxy(configuration=configuration, name="kube-proxy")
        servers = {
            name: f"https://{plan.hosts[name].public_address or address}:{settings.api_port}"
            for name, address in plan.control_plane.items()
        }
        kubeconfig.own_copy(
            path=plan.kubeconfig, servers=servers, cluster_name=settings.cluster_name, name="Your kubeconfig"
        )
