"""The page of `make status`, from what was looked at."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from kubestage.commands.inside import NodeRow, VolumeRow
from kubestage.commands.page import Page, as_json, text
from kubestage.output.kept import LastRun
from kubestage.output.overview import Overview
from kubestage.stacks.stack_type import Row

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
GOOD: dict[str, Any] = {
    "when": NOW,
    "deploy": "pyinfra inventory/x.py deploy.py",
    "overview": Overview((Row("API", "https://cp1:6443", "admin", ".state/x/kubeconfig", "1 of 1 nodes Ready"),)),
    "nodes": [NodeRow("cp1", "Ready", "v1.36.3", "containerd 2.4.2", "Debian 12", "30 % of 200 GiB free")],
    "volumes": [VolumeRow("registry/registry", "20Gi", "local-path", "cp1", "Bound")],
    "certificates": {"cp1": "no answer"},
    "leftovers": [],
    "last_run": None,
    "troubles": [],
}
RUN = LastRun(
    "inventory/x.py",
    datetime(2026, 6, 1, 9, 30),
    "1 change on 2 hosts in 7.0 s",
    {"Host": 1.31, "Runtime": 15.4},
    {"Host | /etc/hosts": ["cp1", "w1"]},
)


def test_for_people() -> None:
    assert text(Page(**GOOD)) == (
        "WHAT  HEALTH              WHERE             USER   HOW\n"
        "API   1 of 1 nodes Ready  https://cp1:6443  admin  .state/x/kubeconfig\n"
        "\n"
        "NODE  STATE  KUBELET  RUNTIME           SYSTEM     DISK\n"
        "cp1   Ready  v1.36.3  containerd 2.4.2  Debian 12  30 % of 200 GiB free\n"
        "\n"
        "CLAIM              SIZE  STORAGE CLASS  NODE  STATE\n"
        "registry/registry  20Gi  local-path     cp1   Bound\n"
        "\n"
        "   DAYS  ENDS        WHERE         CERTIFICATES\n"
        "      ?  not known     cp1           no answer"
    )


def test_what_a_person_has_to_see_comes_last() -> None:
    bad = Page(**{**GOOD, "leftovers": ["registry/cleanup-1: Evicted"], "troubles": ["API: node w1 is not Ready"]})
    assert text(bad).endswith(
        "\n\nLeft over, and to be deleted once you have seen why:\n  registry/cleanup-1: Evicted"
        "\n\nNot well:\n  API: node w1 is not Ready\n  What a run can mend, it does: pyinfra inventory/x.py deploy.py"
    )


def test_the_last_run() -> None:
    assert text(Page(**{**GOOD, "last_run": RUN})).endswith(
        "\n\nThe last run from here, 2026-06-01 09:30: 1 change on 2 hosts in 7.0 s\n"
        "  Host | /etc/hosts (cp1, w1)\n"
        "  Host                        1.3 s\n  Runtime                    15.4 s"
    )


@pytest.mark.parametrize(("troubles", "well"), [([], True), (["API: away"], False)])
def test_for_programs(troubles: list[str], well: bool) -> None:
    shown = json.loads(as_json(Page(**{**GOOD, "last_run": RUN, "troubles": troubles})))
    assert (shown["well"], shown["troubles"], shown["when"]) == (well, troubles, "2026-06-01T12:00:00+00:00")
    assert shown["platform"][0]["what"] == "API"
    assert shown["nodes"][0]["disk"] == "30 % of 200 GiB free"
    assert shown["volumes"][0]["claim"] == "registry/registry"
    assert (shown["certificates"], shown["leftovers"]) == ([], [])
    assert shown["last_run"]["changes"] == {"Host | /etc/hosts": ["cp1", "w1"]}
