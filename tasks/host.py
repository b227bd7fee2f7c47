"""The base system of every host."""

from __future__ import annotations

from kubestage.cluster.phase import SYSTEM, phase
from kubestage.cluster.plan import HostPlan
from kubestage.host_file import HostFile
from kubestage.operations import files, system, systemd
from kubestage.settings.values import SYSCTLS
from kubestage.stacks import catalogue

MODULES = ("overlay", "br_netfilter")
TIME_SYNC_UNITS = ("chrony.service", "systemd-timesyncd.service", "ntpsec.service")


@phase("Host", look_at=SYSTEM)
def prepare(plan: HostPlan) -> None:
    """Name, addresses of the others, no swap, kernel modules and settings, a clock that is kept."""
    sysctls = SYSCTLS | plan.host_settings.sysctls
    boot_files = [
        HostFile("/etc/modules-load.d/kubestage.conf", "".join(f"{name}\n" for name in MODULES)),
        # Behind 99-sysctl.conf, as which Debian reads /etc/sysctl.conf.
        HostFile(
            "/etc/sysctl.d/99-zz-kubestage.conf", "".join(f"{name} = {value}\n" for name, value in sysctls.items())
        ),
        # Where there is cloud-init, it would write both files anew at each boot.
        HostFile("/etc/cloud/cloud.cfg.d/99-kubestage.cfg", "manage_etc_hosts: false\npreserve_hostname: true\n"),
    ]
    system.first_boot(
        cloud_init=plan.report.cloud_init, timeout_s=plan.settings.timeout_s(300), name="cloud-init has ended"
    )
    system.hostname(wanted=plan.name, name="Host name")
    # Every node has an Envoy, so its own programs ask it and no other.
    sites = dict.fromkeys(catalogue.sites(plan.settings), plan.address)
    system.hosts_file(addresses={**plan.addresses, **sites}, name="/etc/hosts")
    system.no_swap(name="No swap")
    files.files(files=boot_files, name="Files for the next boot")
    system.modules(names=MODULES, name="Kernel modules")
    system.sysctls(values=sysctls, name="Kernel settings")
    systemd.first_service(units=TIME_SYNC_UNITS, name="Time synchronisation")
