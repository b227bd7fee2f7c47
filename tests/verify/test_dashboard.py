"""The dashboard at every node: nobody gets in without a login, and a token that people are given is one."""

from __future__ import annotations

import base64

import pytest
from kubernetes.client import ApiException

from kubestage.cluster.inventory import Target
from kubestage.commands.api import reason
from kubestage.commands.dashboard_token import new_token
from kubestage.commands.web import Answer
from kubestage.settings import ClusterSettings, Problem
from kubestage.stacks.dashboard import DashboardSettings
from tests.verify.api import Api
from tests.verify.findings import expect_none, fail
from tests.verify.sites import Answers, Sites, expect_status

pytestmark = pytest.mark.stack("dashboard")

# Flavour -> where it lists the nodes. Headlamp's own page is for everybody; what it shows comes from the API behind it.
_NODES = {"kube-web-view": "/clusters/_all/nodes", "headlamp": "/clusters/main/api/v1/nodes"}
# The API server says 401 to a wrong token, and 403 to nobody: to it that is a user who may do nothing.
_REFUSED = {"kube-web-view": (401,), "headlamp": (401, 403)}


def _login(settings: ClusterSettings, token: str) -> dict[str, str]:
    """The header by which a person's browser gives the token."""
    if settings.of(DashboardSettings).flavour == "headlamp":
        return {"Authorization": f"Bearer {token}"}
    return {"Authorization": "Basic " + base64.b64encode(f"anyone:{token}".encode()).decode()}


def _asked(sites: Sites, headers: dict[str, str], good: tuple[int, ...]) -> Answers:
    path = _NODES[sites.target.cluster.common.of(DashboardSettings).flavour]

    def ask(node: str) -> Answer:
        return sites.at(node, "dashboard").ask(path, headers=headers, timeout_s=20)

    return sites.everywhere(ask, lambda answer: answer.status in good)


@pytest.fixture(scope="module")
def token(api: Api, target: Target) -> str:
    try:
        return new_token(api.objects, target.cluster.common, target.cluster.common.of(DashboardSettings).flavour)
    except ApiException as error:
        why = f"`make dashboard-token` gets no token: {reason(error)}"
        fail(Problem("the cluster", why, target.deploy))


@pytest.fixture(scope="module")
def without_login(sites: Sites) -> Answers:
    return _asked(sites, {}, _REFUSED[sites.target.cluster.common.of(DashboardSettings).flavour])


@pytest.fixture(scope="module")
def with_a_wrong_token(sites: Sites, token: str) -> Answers:
    """A token whose signature is another one's."""
    settings = sites.target.cluster.common
    head, _, signature = token.rpartition(".")
    return _asked(sites, _login(settings, f"{head}.{signature[::-1]}"), (401,))


@pytest.fixture(scope="module")
def with_login(sites: Sites, token: str) -> Answers:
    return _asked(sites, _login(sites.target.cluster.common, token), (200,))


def test_refused_without_login(without_login: Answers, sites: Sites, node: str) -> None:
    refused = _REFUSED[sites.target.cluster.common.of(DashboardSettings).flavour]
    why = "without a login it should be refused with 401"
    expect_status(without_login[node], refused, node, sites.at(node, "dashboard"), why)


def test_refused_with_a_wrong_token(with_a_wrong_token: Answers, sites: Sites, node: str) -> None:
    why = "with a forged token it should be refused with 401"
    expect_status(with_a_wrong_token[node], (401,), node, sites.at(node, "dashboard"), why)


def test_served_with_a_token(with_login: Answers, sites: Sites, node: str, target: Target) -> None:
    """It shows who has a token of `make dashboard-token` the cluster's nodes."""
    site = sites.at(node, "dashboard")
    why = "with a token of `make dashboard-token` it should serve"
    page = expect_status(with_login[node], (200,), node, site, why).body.decode(errors="replace")
    remedy = "kubectl -n dashboard logs -l app --all-containers --prefix"
    expect_none(
        Problem(node, f"its list of nodes has no {name}", remedy, site.url)
        for name in target.cluster.nodes
        if name not in page
    )
