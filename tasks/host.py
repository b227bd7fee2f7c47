"""The base system of every host."""

from __future__ import annotations

from kubestage.cluster import traces
from kubestage.cluster.phase import SYSTEM, phase
from kubestage.cluster.plan import HostPlan
from kubestage.host_file import HostFile
from kubestage.operations import files, system, systemd, untouched
from kubestage.settings.values import SYSCTLS
from kubestage.stacks import catalogue


@phase("Host", look_at=SYSTEM)
def prepare(plan: HostPlan) -> None:
    """What it was is written down; then name, addresses of the others, no swap, kernel settings, a clock."""
    sysctls = SYSCTLS | plan.host_settings.sysctls
    boot_files = [
        HostFile(traces.MODULES_FILE, "".join(f"{name}\n" for name in traces.MODULES)),
        HostFile(traces.SYSCTLS_FILE, "".join(f"{name} = {value}\n" for name, value in sysctls.items())),
        # Where there is cloud-init, it would write both files anew at each boot.
        HostFile(traces.CLOUD_FILE, "manage_etc_hosts: false\npreserve_hostname: true\n"),
    ]
    system.first_boot(
        cloud_init=plan.report.cloud_init, timeout_s=plan.settings.timeout_s(300), name="cloud-init has ended"
    )
    untouched.record(
        joined=plan.report.ours or plan.report.kubelet_conf,
        files=traces.REPLACED_FILES,
        folders=traces.folders(plan.settings, plan.host_settings),
        name="What the host was",
    )
    system.hostname(wanted=plan.name, name="Host name")
    # Every node has an Envoy, so its own programs ask it and no other.
    sites = dict.fromkeys(catalogue.sites(plan.settings), plan.address)
    system.hosts_file(addresses={**plan.addresses, **sites}, name="/etc/hosts")
    system.no_swap(name="No swap")
    files.files(files=boot_files, name="Files for the next boot")
    system.modules(names=traces.MODULES, name="Kernel modules")
    system.sysctls(values=sysctls, name="Kernel settings")
    systemd.first_service(units=traces.TIME_SYNC_UNITS, name="Time synchronisation")
