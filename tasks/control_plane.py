"""The control plane of the cluster as it is; the hosts that are to join pull what they will run meanwhile."""

from __future__ import annotations

from pyinfra import host

from kubestage.cluster.phase import phase
from kubestage.cluster.plan import HostPlan
from kubestage.host_file import HostFile
from kubestage.kubernetes import ENCRYPTION, KUBEADM_CONFIG, STATIC_PODS
from kubestage.operations import files, kubeconfig, renewal, restore, secrets
from kubestage.operations import kubeadm as operations
from kubestage.operations import kubelet as kubelet_operations
from kubestage.operations import static_pods as static_pods_operations
from kubestage.render import kubeadm, kubelet, static_pods
from kubestage.render.encryption import Stage
from kubestage.settings import HostSettings


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
    encryption = plan.checked.encryption
    if plan.is_control_plane:
        own_files = static_pods.host_files(settings)
        first = encryption.stages[0] if encryption.stages and not plan.joins_control_plane else None
        configuration = _configuration(plan, first.path if first else encryption.path)
        files.files(
            files=[
                HostFile(KUBEADM_CONFIG, configuration, mode="600"),
                *own_files,
                *(first.files if first else encryption.last),
            ],
            name="kubeadm's configuration",
        )
    backup = plan.checked.backup
    operations.init_or_images(
        first=plan.is_leader,
        control_plane=plan.is_control_plane,
        flags=_own_flags(plan),
        images=kubeadm.worker_images(settings),
        kubernetes_version=plan.host_settings.kubernetes_version,
        before=restore.before_init(plan.name, plan.address) if backup else "",
        after=restore.after_init(backup, plan.name) if backup else "",
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
        operations.apiserver_names(wanted=plan.apiserver_names, name="Names in the API's certificate")
        _programs(plan, configuration)
        _encryption(plan)
    if plan.is_leader:
        operations.kube_proxy(configuration=configuration, name="kube-proxy")
        servers = {
            name: f"https://{plan.hosts[name].public_address or address}:{settings.api_port}"
            for name, address in plan.control_plane.items()
        }
        kubeconfig.own_copy(
            path=plan.kubeconfig, servers=servers, cluster_name=settings.cluster_name, name="Your kubeconfig"
        )


def _own_flags(plan: HostPlan) -> dict[str, list[str]]:
    """Static pod -> the words of the flags that the user gives it."""
    return {pod: static_pods.words(static_pods.own_flags(plan.settings, pod)) for pod in STATIC_PODS}


def keep_at(plan: HostPlan, version: str) -> None:
    """The programs as settings want them, of that version, as long as the host's kubeadm is of it too."""
    installed = plan.report.packages.get("kubeadm", "").partition("-")[0]
    if plan.is_control_plane and installed == version != plan.host_settings.kubernetes_version:
        own = plan.host_settings.model_copy(update={"kubernetes_version": version})
        configuration = _configuration(plan, plan.report.encrypted.used, own)
        files.files(
            files=[HostFile(KUBEADM_CONFIG, configuration, mode="600"), *static_pods.host_files(plan.settings)],
            name="kubeadm's configuration",
        )
        _programs(plan, configuration)


def _configuration(plan: HostPlan, encryption: str, own: HostSettings | None = None) -> str:
    """kubeadm's, by the host's settings or by `own`."""
    return kubeadm.init_configuration(
        plan.settings, own or plan.host_settings, plan.name, plan.address, plan.apiserver_names, encryption
    )


def _programs(plan: HostPlan, configuration: str) -> None:
    settings = plan.settings
    static_pods_operations.manifests(
        configuration=configuration,
        flags=_own_flags(plan),
        files=[file.path for file in static_pods.host_files(settings)],
        address=plan.address,
        port=settings.api_port,
        timeout_s=settings.timeout_s(180),
        name="API server, controller manager, scheduler, etcd",
        _serial=True,
    )


def _encryption(plan: HostPlan) -> None:
    """Every stage on all hosts before the next one begins anywhere."""
    encryption = plan.checked.encryption
    if not encryption.stages:
        return
    *before, last = encryption.stages
    for stage in host.loop(before[1:]):  # type: ignore[no-untyped-call]
        _stage(plan, stage)
    if encryption.rewrites_before_last and plan.is_leader:
        secrets.rewritten(name="Secrets are written anew")
    if before:
        _stage(plan, last)
    if encryption.rewrites and not encryption.rewrites_before_last and plan.is_leader:
        secrets.rewritten(name="Secrets are written anew")
    if encryption.postponed:
        return
    files.files(files=encryption.last, name="The key of Secrets")
    files.no_others(folder=ENCRYPTION, keep=[file.path for file in encryption.last], name="No other keys")


def _stage(plan: HostPlan, stage: Stage) -> None:
    configuration = _configuration(plan, stage.path)
    files.files(
        files=[HostFile(KUBEADM_CONFIG, configuration, mode="600"), *stage.files],
        name="Order of the keys of Secrets",
    )
    _programs(plan, configuration)
