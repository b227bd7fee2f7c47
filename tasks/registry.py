"""The image registry."""

from __future__ import annotations

from kubestage.cluster.phase import PODS, phase
from kubestage.cluster.plan import HostPlan
from kubestage.facts.registry import LOGINS
from kubestage.operations import files, platform_secrets, registry, stacks
from kubestage.stacks.platform_secrets import LOGINS as KEPT
from kubestage.stacks.registry import registry as registry_stack


@phase("Registry", look_at=PODS)
def install(plan: HostPlan) -> None:
    """Its users first, whose hashes it serves by; or nothing of it."""
    if not plan.is_leader:
        return
    settings = plan.settings
    on = "registry" in settings.stacks
    if on:
        platform_secrets.restored(control_plane=plan.speaker, secret=KEPT, name="Users that the cluster keeps")
        registry.logins(
            site=settings.site("registry"),
            users=registry.Users(settings.registry_users),
            name="The registry's users",
        )
        platform_secrets.kept(control_plane=plan.speaker, secret=KEPT, name="Users are kept in the cluster")
    stacks.switched(
        stack=registry_stack(settings),
        on=on,
        seen=plan.stack_objects,
        timeout_s=plan.settings.timeout_s(180),
        name="registry",
    )
    if not on:
        files.folder_absent(path=LOGINS, name="No users of the registry")
        platform_secrets.kept(control_plane=plan.speaker, secret=KEPT, name="No users in the cluster")
