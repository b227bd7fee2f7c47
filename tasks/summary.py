"""What a person wants to know at the end of a run."""

from __future__ import annotations

from pyinfra import inventory

from kubestage.cluster.folder import STATE
from kubestage.cluster.plan import HostPlan
from kubestage.operations import overview
from kubestage.stacks.stack_type import Place


def show(plan: HostPlan) -> None:
    """What is where."""
    if plan.acts_for_all:
        server = plan.hosts[plan.leader].public_address or plan.addresses[plan.leader]
        addresses = {
            name: plan.hosts[name].public_address or inventory.get_host(name).data.get("ssh_hostname") or address
            for name, address in plan.addresses.items()
        }
        place = Place(
            inventory=f"inventory/{plan.checked.inventory}.py",
            folder=STATE / plan.checked.folder,
            control_plane=plan.leader,
            server=f"https://{server}:{plan.settings.api_port}",
            addresses=addresses,
            members=members if len(members := list(plan.control_plane)) > 1 else (),
        )
        overview.summary(
            settings=plan.settings, place=place, ca=plan.kubeconfig.with_name("ca.crt"), name="What is where"
        )
