"""A stack of manifests that others have written: it comes, is kept and looked at, and goes without a trace."""

from __future__ import annotations

import pytest

from kubestage.kubernetes import STACK_LABEL
from tests.lab.commands import deploy, kubectl, verify

pytestmark = pytest.mark.life

INVENTORY = "tests/lab/third_party/lab.py"
OURS = ("get", "all,configmaps,secrets,serviceaccounts,clusterroles,clusterrolebindings,roles,rolebindings")


def test_descheduler(cluster: None) -> None:
    try:
        assert "Descheduler | descheduler" in deploy(inventory=INVENTORY).changed
        assert verify(inventory=INVENTORY) == set()
        assert deploy(inventory=INVENTORY).changed == {}

        kubectl("delete", "clusterrole", "descheduler-cluster-role")
        assert deploy(inventory=INVENTORY).changed == {"Descheduler | descheduler": ["cp1"]}
    finally:
        deploy()
    found = kubectl(*OURS, "--all-namespaces", "--selector", f"{STACK_LABEL}=descheduler", "--output", "name")
    assert found == ""
    assert deploy().changed == {}
