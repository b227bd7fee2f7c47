"""The health that `make status` tells of: nodes, workloads, sites asked over real TLS, certificates; the commands."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException
from sample_cluster import GROUPS, hosts_data

from kubestage.certificates import platform
from kubestage.checks.load import load
from kubestage.commands.api import Api
from kubestage.commands.health import (
    Answer,
    Health,
    ask_site,
    ask_sites,
    backup_health,
    etcd_health,
    platform_health,
    readiness,
    shortages,
    summaries,
)
from kubestage.facts.kubernetes import Workload
from kubestage.settings import ClusterSettings
from kubestage.stacks.catalogue import STACKS, chosen
from kubestage.stacks.stack import recorded

NOW = datetime(2026, 6, 1, tzinfo=UTC)
NAMES = ["cp1", "w1"]
FINE = Answer(status=200, valid_until=NOW + timedelta(days=200))


def settings(**changed: Any) -> ClusterSettings:
    return load(hosts_data({"domain": "shop.example", **changed}), GROUPS).common


def node(name: str, ready: str = "True") -> Any:
    return {"metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": ready}]}}


def health(
    settings: ClusterSettings,
    nodes: list[Any] | None = None,
    short: Sequence[str] = (),
    ready: Mapping[Workload, tuple[int, int]] | None = None,
    records: Mapping[str, str] | None = None,
    **answers: dict[str, Answer],
) -> dict[str, Health]:
    """As of a cluster where all is well but for what is given."""
    stacks = chosen(settings)
    all_ready = {workload: (2, 2) for stack in stacks.values() for workload in stack.workloads}
    all_answer = {
        stack: dict.fromkeys(NAMES, Answer(kind.site.statuses[0], FINE.valid_until))
        for stack, kind in STACKS.items()
        if stack in stacks and kind.site
    }
    return platform_health(
        settings,
        NAMES,
        [node("cp1"), node("w1")] if nodes is None else nodes,
        short,
        {**all_ready, **(ready or {})},
        {**{stack.name: stack.digest for stack in stacks.values()}, **(records or {})},
        {**all_answer, **answers},
        NOW,
    )


class FakeApi(Api):
    """As much of a cluster's API as is asked: a path -> its answer."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers

    def get(self, path: str, **query: str) -> Any:
        if path not in self.answers:
            raise ApiException(status=503, reason="Service Unavailable")
        return self.answers[path]


class TestHealth:
    def test_all_is_well(self) -> None:
        found = health(settings())
        assert not any(each.troubles for each in found.values())
        assert found["API"].well == "2 of 2 nodes Ready"
        assert found["certificate"].well == "until 2026-12-18"
        assert found["dashboard"].well == found["ingress"].well == "serves on every node"
        assert found["storage"].well == "ready"

    def test_no_platform(self) -> None:
        assert set(health(settings(stacks=[]))) == {"API"}

    def test_nodes(self) -> None:
        found = health(settings(), nodes=[node("w1", "Unknown"), node("other")])
        assert found["API"].troubles == ("node cp1 is not Ready", "node w1 is not Ready")

    def test_what_a_node_is_short_of(self) -> None:
        short = node("w1")
        short["status"]["conditions"].insert(0, {"type": "DiskPressure", "status": "True"})
        disk = {"availableBytes": 14 * 2**30, "capacityBytes": 200 * 2**30}
        summary = {"node": {"fs": disk, "runtime": {"imageFs": disk}}}
        found = summaries(FakeApi({"/api/v1/nodes/w1/proxy/stats/summary": summary}), ["cp1", "w1"])
        assert set(found) == {"w1"}  # cp1's does not answer
        assert health(settings(), short=shortages([node("cp1"), short], found))["API"].troubles == (
            "node w1: DiskPressure: 7 % of the images' disk free (14.0 of 200.0 GiB)",
        )
        assert shortages([short], {}) == ["w1: DiskPressure"]

    def test_workloads(self) -> None:
        contour = Workload("projectcontour", "Deployment", "contour")
        assert health(settings(), ready={contour: (1, 2)})["ingress"].troubles == (
            "Deployment projectcontour/contour: 1 of 2 ready",
        )
        without = platform_health(settings(stacks=["storage"]), NAMES, [], [], {}, {}, {}, NOW)
        assert without["storage"].troubles == ("no Deployment local-path-storage/local-path-provisioner",)

    def test_a_stack_of_other_settings(self) -> None:
        known = settings()
        assert health(known, records={"registry": "0" * 64})["registry"].troubles == (
            "it was applied by other settings than these",
        )
        assert health(known, records=recorded([]))["registry"].troubles == ()

    def test_a_login_that_is_asked_for_is_an_answer(self) -> None:
        asked = dict.fromkeys(NAMES, Answer(status=401, valid_until=FINE.valid_until))
        assert health(settings(), dashboard=asked)["dashboard"].troubles == ()

    def test_sites(self) -> None:
        refused = dict.fromkeys(NAMES, Answer(error="Connection refused"))
        found = health(settings(), dashboard=refused, registry={"cp1": FINE, "w1": Answer(status=503)})
        assert found["dashboard"].troubles == ("at cp1, w1: Connection refused",)
        assert found["registry"].troubles == ("at w1: HTTP 503",)

    def test_the_default_backend_in_the_place_of_a_site(self) -> None:
        found = health(settings(), dashboard=dict.fromkeys(NAMES, Answer(404, FINE.valid_until)))
        assert found["dashboard"].troubles == ("at cp1, w1: HTTP 404",)

    def test_a_certificate_that_a_run_should_have_renewed(self) -> None:
        late = Answer(status=200, valid_until=NOW + timedelta(days=20))
        found = health(settings(), dashboard={"cp1": late, "w1": FINE})
        assert found["certificate"].troubles == ("it ends on 2026-06-21",)


def test_readiness() -> None:
    def workload(name: str, spec: dict[str, int], **counts: int) -> Any:
        return {"metadata": {"namespace": "projectcontour", "name": name}, "spec": spec, "status": counts}

    deployments = [
        workload("contour", {"replicas": 2}, updatedReplicas=1, readyReplicas=2),
        workload("fresh", {"replicas": 1}),
    ]
    envoy = workload("envoy", {}, updatedNumberScheduled=3, numberReady=2, desiredNumberScheduled=3)
    answers = {"/apis/apps/v1/deployments": {"items": deployments}, "/apis/apps/v1/daemonsets": {"items": [envoy]}}
    assert readiness(FakeApi(answers)) == {
        Workload("projectcontour", "Deployment", "contour"): (1, 2),
        Workload("projectcontour", "Deployment", "fresh"): (0, 1),
        Workload("projectcontour", "DaemonSet", "envoy"): (2, 3),
    }


# --- Sites over TLS --------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.crt, and site.pem for *.shop.example."""
    folder = tmp_path_factory.mktemp("pki")
    now = datetime.now(UTC)
    ca = platform.new_ca("test", now)
    site = platform.issued(ca, platform.wildcard_names("shop.example"), now)
    (folder / "ca.crt").write_text(ca.certificate)
    (folder / "site.pem").write_text(site.certificate + site.key)
    return folder


@pytest.fixture
def site(pki: Path) -> Iterator[tuple[int, list[str]]]:
    """A site on the loopback: its port, and the hosts that it was asked as."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["Host"])
            self.send_error(401)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing to read for a test."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "site.pem")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_port, asked
        server.shutdown()
        thread.join()


class TestSites:
    def test_every_site_is_asked_at_every_node_by_its_name(self, site: tuple[int, list[str]], pki: Path) -> None:
        port, asked = site
        chosen = settings(https_port=port, http_redirect=False, node_port_range="80-65535")
        answers = ask_sites(chosen, {"cp1": "127.0.0.1", "w1": "127.0.0.1"}, pki / "ca.crt")
        assert {stack: list(found) for stack, found in answers.items()} == dict.fromkeys(
            ("ingress", "registry", "dashboard"), NAMES
        )
        for found in answers.values():
            for answer in found.values():
                assert (answer.status, answer.error) == (401, "")
                assert answer.valid_until and answer.valid_until > datetime.now(UTC) + timedelta(days=300)
        hosts = [f"{name}.shop.example:{port}" for name in ("dashboard", "no-such-site", "registry")]
        assert sorted(asked) == sorted(hosts * 2)

    def test_only_sites_that_are_on(self, pki: Path) -> None:
        assert ask_sites(settings(stacks=["metrics"]), {"cp1": "127.0.0.1"}, pki / "ca.crt") == {}

    def test_a_certificate_of_another_ca(self, site: tuple[int, list[str]], tmp_path: Path) -> None:
        other = tmp_path / "ca.crt"
        other.write_text(platform.new_ca("other", datetime.now(UTC)).certificate)
        answer = self.ask(site[0], other)
        assert answer.error.startswith("its certificate is not trusted: ")
        assert answer.status == 0 and not site[1]

    def test_a_certificate_for_another_name(self, site: tuple[int, list[str]], pki: Path) -> None:
        answer = self.ask(site[0], pki / "ca.crt", host="dashboard.else.example")
        assert "not trusted: Hostname mismatch" in answer.error

    def test_nobody_listens(self, pki: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        assert self.ask(port, pki / "ca.crt").error == "Connection refused"

    def ask(self, port: int, ca: Path, host: str = "dashboard.shop.example") -> Answer:
        return ask_site("127.0.0.1", port, host, ssl.create_default_context(cafile=ca))


@pytest.mark.parametrize(
    ("ready", "troubles"),
    [
        ("cp1 cp2 cp3", ()),
        ("cp1 cp3", ("its member on cp2 is not ready",)),
        ("cp3", ("its member on cp1 is not ready", "its member on cp2 is not ready", "nobody can write")),
    ],
)
def test_members_of_etcd(ready: str, troubles: tuple[str, ...]) -> None:
    pods = [
        {"spec": {"nodeName": name}, "status": {"conditions": [{"type": "Ready", "status": str(name in ready)}]}}
        for name in ("cp1", "cp2", "cp3")
    ]
    assert etcd_health(["cp1", "cp2", "cp3"], pods) == Health("3 of 3 members ready", troubles)


@pytest.mark.parametrize(
    ("annotations", "said"),
    [({"kubestage/backed-up": "20261127T120105Z"}, "of 2026-11-27 12:01 UTC"), ({}, "none yet")],
)
def test_the_last_backup(annotations: dict[str, str], said: str) -> None:
    assert backup_health([{"metadata": {"annotations": annotations}}]) == Health(said)
    assert backup_health([]) == Health("none yet")
