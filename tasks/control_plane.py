"""The control plane; the workers pull what they will run meanwhile."""

from __future__ import annotations

from kubestage import kubeadm
from kubestage.host_file import HostFile
from kubestage.kubernetes import KUBEADM_CONFIG
from kubestage.operations import files, kubeconfig
from kubestage.operations import kubeadm as operations
from kubestage.phase import phase
from kubestage.plan import HostPlan


@phase("Control plane")
def bring_up(plan: HostPlan) -> None:
    """kubeadm init from rendered configuration; later runs keep the API server's flags and the kubelet running."""
    settings = plan.settings
    if plan.is_control_plane:
        configuration = kubeadm.init_configuration(settings, plan.name, plan.address)
        files.write(files=[HostFile(KUBEADM_CONFIG, configuration, mode="600")], name="kubeadm's configuration")
    operations.init_or_pull(
        control_plane=plan.is_control_plane,
        images=kubeadm.worker_images(settings),
        kubernetes_version=settings.kubernetes_version,
        name="kubeadm init; images on the workers",
    )
    if plan.is_control_plane:
        # Before the names, which put all of the configuration into the cluster: no flag left out could be told by it.
        operations.apiserver_flags(
            wanted=kubeadm.apiserver_flags(settings),
            address=plan.address,
            port=settings.api_port,
            name="The API server's flags",
        )
        operations.apiserver_names(
            wanted=kubeadm.apiserver_names(settings, plan.name, plan.address), name="Names in the API's certificate"
        )
        operations.kube_proxy(configuration=configuration, name="kube-proxy")
        server = f"https://{settings.public_address or plan.address}:{settings.api_port}"
        kubeconfig.fetched(
            path=plan.kubeconfig, server=server, cluster_name=settings.cluster_name, name="Your kubeconfig"
        )
