"""The stacks are those of the settings: what the cluster keeps a record of is what these would apply."""

from __future__ import annotations

from kubestage.cluster.inventory import Target
from kubestage.commands.page import records
from kubestage.settings import Problem
from kubestage.stacks.catalogue import chosen
from kubestage.stacks.network import flannel
from tests.verify.api import Api
from tests.verify.findings import expect_none


def test_applied_by_these_settings(target: Target, api: Api) -> None:
    settings = target.cluster.common
    known = records(api.objects)
    expect_none(
        Problem(
            "the cluster",
            f"{stack.name} was applied by other settings than these" if stack.name in known else "it was not applied",
            target.deploy,
            "stack",
            stack.name,
        )
        for stack in (flannel(settings), *chosen(settings).values())
        if known.get(stack.name) != stack.digest
    )
