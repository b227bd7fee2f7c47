"""The stacks are those of the settings: what the cluster keeps a record of is what these would apply."""

from __future__ import annotations

from kubestage.cluster.inventory import Target
from kubestage.kubernetes import PLATFORM_NAMESPACE
from kubestage.settings import Problem
from kubestage.stacks.catalogue import chosen
from kubestage.stacks.network import flannel
from kubestage.stacks.stack import recorded
from tests.verify.api import Api
from tests.verify.findings import expect_none


def test_applied_by_these_settings(target: Target, api: Api) -> None:
    settings = target.cluster.common
    records = recorded(api.objects.items(f"/api/v1/namespaces/{PLATFORM_NAMESPACE}/secrets"))
    expect_none(
        Problem(
            "the cluster",
            f"{stack.name} was applied by other settings than these" if stack.name in records else "it was not applied",
            target.deploy,
            "stack",
            stack.name,
        )
        for stack in (flannel(settings), *chosen(settings).values())
        if records.get(stack.name) != stack.digest
    )
