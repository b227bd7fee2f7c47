"""The descheduler looks at nodes and pods, and may do so."""

from __future__ import annotations

import pytest

from kubestage.settings import Problem
from kubestage.stacks.descheduler import WORKLOAD
from tests.verify.api import REQUEST_TIMEOUT_S, Api, until
from tests.verify.findings import fail

pytestmark = pytest.mark.stack("descheduler")

LOOKS_WITHIN_S = 60.0
_LOOKED = "Number of evictions/requests"  # at the end of each of its rounds


def test_it_looks(api: Api, settled: dict[str, list[object]]) -> None:
    assert settled
    said = ""

    def it_has_looked() -> bool:
        nonlocal said
        for pod in api.pods(WORKLOAD.namespace):
            if pod.metadata.name.startswith(f"{WORKLOAD.name}-"):
                said = api.core.read_namespaced_pod_log(
                    pod.metadata.name, WORKLOAD.namespace, _request_timeout=REQUEST_TIMEOUT_S
                )
        return _LOOKED in said

    if not until(it_has_looked, LOOKS_WITHIN_S):
        last = said.splitlines()[-1:] or ["nothing"]
        remedy = f"kubectl -n {WORKLOAD.namespace} logs deployment/{WORKLOAD.name}"
        fail(Problem("the cluster", "it has not come to the end of a round", remedy, "last said", last[0]))
