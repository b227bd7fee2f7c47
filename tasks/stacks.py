"""The stacks: those that are left out go first, what needs another before it; then the others come."""

from __future__ import annotations

from kubestage.cluster.phase import PODS, Phase, phase
from kubestage.cluster.plan import HostPlan
from kubestage.operations import certificates, files, platform_secrets, registry, stacks, storage
from kubestage.stacks import catalogue
from kubestage.stacks.stack import DOWNLOADED, Stack
from kubestage.stacks.stack_type import StackType


@phase("Removal", look_at=PODS)
def remove(plan: HostPlan) -> None:
    """Nothing stays of a stack that the settings do not have."""
    for stack in catalogue.left_out(plan.settings):
        if plan.is_leader:
            _remove(plan, stack)
        if stack.node_folder:
            storage.no_empty_folder(path=stack.node_folder, name=f"{stack.name}: no folder of volumes")


def _remove(plan: HostPlan, stack: Stack) -> None:
    stacks.no_stack(
        stack=stack, seen=plan.stack_objects, timeout_s=plan.settings.timeout_s(180), name=f"{stack.name}: not there"
    )
    if stack.certificates:
        files.no_folder(path=stack.certificates.folder, name=f"{stack.name}: no certificates")
        platform_secrets.secret(
            control_plane=plan.speaker,
            secret=stack.certificates.kept,
            name=f"{stack.name}: no certificates in the cluster",
        )
    if stack.logins:
        files.no_folder(path=stack.logins.folder, name=f"{stack.name}: no users")
        platform_secrets.secret(
            control_plane=plan.speaker, secret=stack.logins.kept, name=f"{stack.name}: no users in the cluster"
        )


def _phase(kind: StackType) -> Phase:
    @phase(kind.name.capitalize(), look_at=PODS)
    def install(plan: HostPlan) -> None:
        if plan.is_leader and kind.name in plan.settings.stacks:
            _install(plan, kind.make(plan.settings))

    return install


def _install(plan: HostPlan, stack: Stack) -> None:
    """What it needs on the control plane host's disk first."""
    settings = plan.settings
    for number, theirs in enumerate(stack.upstream):
        files.download(
            address=plan.host_settings.profile.file(theirs.url),
            path=f"{stack.upstream_folder(number)}/{DOWNLOADED}",
            sha256=theirs.sha256,
            name=theirs.url.rpartition("/")[2],
        )
    if stack.certificates:
        kept = stack.certificates.kept
        platform_secrets.files(control_plane=plan.speaker, secret=kept, name="Certificates that the cluster keeps")
        certificates.mutual_certificates(
            folder=stack.certificates.folder,
            uses=stack.certificates.uses,
            renew_days=settings.certificate_renew_days,
            name="Certificates",
        )
        platform_secrets.secret(control_plane=plan.speaker, secret=kept, name="Certificates are kept in the cluster")
    if stack.logins:
        kept = stack.logins.kept
        platform_secrets.files(control_plane=plan.speaker, secret=kept, name="Users that the cluster keeps")
        registry.logins(site=stack.logins.site, users=stack.logins.passwords, name="Users")
        platform_secrets.secret(control_plane=plan.speaker, secret=kept, name="Users are kept in the cluster")
    stacks.stacks(stacks=[stack], seen=plan.stack_objects, timeout_s=settings.timeout_s(180), name=stack.name)


INSTALL = [_phase(kind) for kind in catalogue.STACKS.values()]
