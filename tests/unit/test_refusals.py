"""Following a remedy: that a bad one is found, and that all which it quotes is tried."""

from __future__ import annotations

from typing import Any

import pytest
from refusals import follow
from sample_cluster import hosts_data

from kubestage.settings import Problem


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"domain": "Lab.Test"}, Problem("all hosts", "no name", 'write it as e.g. "Lab.test"', "domain")),
        ({"domain": "Lab.Test"}, Problem("all hosts", "no name", 'write "lab.test" or "lab"', "domain")),
        ({"api_port": 0}, Problem("all hosts", "no port", "set it to 70000", "api_port")),
        ({"stacks": ["x"]}, Problem("all hosts", "no stack", "use one of: ingress, ingres", "stacks.0")),
        ({"sysctls": {"x": 1}}, Problem("all hosts", '"x" is none', 'call it e.g. "net.ipv4.ip_forward"', "sysctls")),
        ({"kubelet_config": {"kind": 1}}, Problem("all hosts", "fixed", 'remove "kin"', "kubelet_config")),
        ({"http_port": 8080}, Problem("all hosts", "no redirect", "https_port to 443", "http_redirect")),
    ],
    ids=lambda value: value.remedy if isinstance(value, Problem) else "",
)
def test_a_remedy_that_is_refused_itself(settings: dict[str, Any], problem: Problem) -> None:
    with pytest.raises(AssertionError, match="and then, with"):
        follow(problem, hosts_data(settings))


def test_a_quote_of_which_nobody_knows_what_to_do_with_it() -> None:
    with pytest.raises(AssertionError, match="nobody knows what to do"):
        follow(Problem("all hosts", "no name", 'try "lab.test"', "domain"), hosts_data({"domain": "Lab.Test"}))
