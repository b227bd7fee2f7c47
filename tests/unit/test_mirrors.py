"""Mirrors that are dead, and that refuse an image: asked for real on loopback, and what is told of it."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sample_cluster import GROUPS, hosts_data
from sample_reports import bare, control_plane, member

from kubestage.checks import mirrors
from kubestage.checks.cluster_hosts import ClusterHosts
from kubestage.checks.load import load
from kubestage.facts.host_report import HostReport, parse
from kubestage.facts.mirror_images import MirrorImages


# --- The question itself, in the shell that hosts have ---------------------------------------------------------------
class _Mirror(BaseHTTPRequestHandler):
    """Answers with the status that the path begins with: /403/..."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        self.send_response(int(self.path.split("/")[1]))
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def mirror() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Mirror)
    server.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def ask(folder: Path, images: Mapping[str, list[str]], **environment: str) -> Mapping[str, Mapping[str, str]]:
    """What this machine is told; it must leave nothing behind."""
    temporary = folder / "tmp"
    temporary.mkdir()
    own = {"PATH": "/usr/bin:/bin", "TMPDIR": str(temporary), "HOME": str(folder), **environment}
    command = ["sh", "-c", MirrorImages().ask(images)]
    done = subprocess.run(command, capture_output=True, text=True, env=own, check=True)
    assert list(temporary.iterdir()) == []
    return MirrorImages().parse(done.stdout.splitlines())


def test_mirrors_are_asked_in_their_order_until_one_does_not_refuse(
    mirror: ThreadingHTTPServer, tmp_path: Path
) -> None:
    """As a proxy of apt's is none of containerd's, it is not asked."""
    (tmp_path / "apt.conf").write_text('Acquire::http::Proxy "http://127.0.0.1:1/";')
    with socket.create_server(("127.0.0.1", 0)) as closed:
        dead = f"http://127.0.0.1:{closed.getsockname()[1]}/v2/x"
    at = f"http://127.0.0.1:{mirror.server_port}"
    said = ask(
        tmp_path,
        {
            "docker.io/a:1": [f"{at}/403/a", dead, f"{at}/200/a", f"{at}/403/never"],
            "docker.io/b:1": [f"{at}/401/b", f"{at}/403/never"],
            "ghcr.io/c@sha256:ab": [f"{at}/404/c", f"{at}/403/never"],
            "quay.io/d:1": [f"{at}/403/d", f"{at}/403/e"],
        },
        APT_CONFIG=str(tmp_path / "apt.conf"),
        http_proxy="http://127.0.0.1:1/",
    )
    forbidden = f"403  Forbidden [IP: 127.0.0.1 {mirror.server_port}]"
    assert said["docker.io/a:1"][dead].startswith("Could not connect to 127.0.0.1:")
    assert list(said["docker.io/a:1"].items()) == [
        (f"{at}/403/a", forbidden),
        (dead, said["docker.io/a:1"][dead]),
        (f"{at}/200/a", ""),
    ]
    assert [why[:3] for why in said["docker.io/b:1"].values()] == ["401"]
    assert [why[:3] for why in said["ghcr.io/c@sha256:ab"].values()] == ["404"]
    assert said["quay.io/d:1"] == {f"{at}/403/d": forbidden, f"{at}/403/e": forbidden}
    assert not any("never" in path for path in mirror.asked)  # type: ignore[attr-defined]


def test_a_host_that_can_ask_nothing(tmp_path: Path) -> None:
    script = MirrorImages().ask({"docker.io/a:1": ["http://127.0.0.1:1/a"]}).replace("/usr/lib/apt/apt-helper", "/no")
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert MirrorImages().parse(done.stdout.splitlines()) == MirrorImages.default() == {}


# --- Who asks what, and what is told of it ---------------------------------------------------------------------------
VIEW = "docker.io/hjacobs/kube-web-view:21.2.0"
VIEW_AT = [
    "https://docker.m.daocloud.io/v2/hjacobs/kube-web-view/manifests/21.2.0",
    "https://docker.1ms.run/v2/hjacobs/kube-web-view/manifests/21.2.0",
    "https://registry-1.docker.io/v2/hjacobs/kube-web-view/manifests/21.2.0",
]
ALIYUN: dict[str, Any] = {"mirror": "aliyun", "dashboard": {"flavour": "kube-web-view"}}
REFUSED, AWAY = "403  Forbidden [IP: 1.2.3.4 443]", "Connection timed out"


def report(text: str, **changed: Any) -> HostReport:
    return replace(parse(text.splitlines(), 1000.0, 1001.0), **changed)


def hosts(reports: dict[str, str], settings: dict[str, Any], **single: dict[str, Any]) -> ClusterHosts:
    found = {name: report(text) for name, text in reports.items()}
    return ClusterHosts(load(hosts_data(settings, **single), GROUPS), found)


NEW = {"cp1": bare(11), "w1": bare(12), "w2": bare(13)}


def running(*stacks: str) -> dict[str, str]:
    """The hosts of a cluster that has these stacks."""
    objects = [f"{stack}|apps/v1|Deployment|{stack}|{stack}" for stack in stacks]
    return {"cp1": control_plane(stack_objects=objects), "w1": member(12, "w1"), "w2": member(13, "w2")}


def test_one_host_asks_for_all_with_the_same_mirrors() -> None:
    asked = mirrors.asked(hosts(NEW, ALIYUN))
    assert {name: each.hosts for name, each in asked.items()} == {"cp1": ("cp1", "w1", "w2")}
    images = asked["cp1"].images
    assert list(images[VIEW]) == VIEW_AT
    assert {"registry.k8s.io/pause:3.10.2", "ghcr.io/flannel-io/flannel:v0.28.4"} < set(images)
    assert not any("headlamp" in image for image in images)
    own = {"registry_mirrors": {"docker.io": ["https://mine.example"]}}
    asked = mirrors.asked(hosts(NEW, ALIYUN, w2=own))
    assert {name: each.hosts for name, each in asked.items()} == {"cp1": ("cp1", "w1"), "w2": ("w2",)}
    assert asked["w2"].images[VIEW][0] == "https://mine.example/v2/hjacobs/kube-web-view/manifests/21.2.0"


def test_nobody_asks_where_there_are_no_mirrors_or_no_new_stacks() -> None:
    everything = ("flannel", "ingress", "kube-web-view", "registry", "storage", "metrics")
    assert mirrors.asked(hosts(NEW, {})) == {}
    assert mirrors.asked(hosts(running(*everything), ALIYUN)) == {}
    silent = control_plane().replace("cluster known", "cluster unknown no answer")
    assert mirrors.asked(hosts({**running(), "cp1": silent}, ALIYUN)) == {}


def test_another_dashboard_on_a_living_cluster_is_asked_for() -> None:
    living = running("flannel", "ingress", "headlamp", "registry", "storage", "metrics")
    assert list(mirrors.asked(hosts(living, ALIYUN))["cp1"].images) == [
        "docker.io/envoyproxy/envoy:distroless-v1.38.3",
        VIEW,
    ]


def told(said: Mapping[str, str], settings: dict[str, Any] | None = None) -> list[str]:
    return list(map(str, mirrors.refused(hosts(NEW, settings or ALIYUN), {"cp1": {VIEW: said}})))


@pytest.mark.parametrize("registry_says", [AWAY, REFUSED, None])
def test_a_dashboard_whose_image_is_refused(registry_says: str | None) -> None:
    said = dict(zip(VIEW_AT, [REFUSED, REFUSED, registry_says], strict=True))
    settings = ALIYUN
    if registry_says is None:
        del said[VIEW_AT[2]]
        profile = hosts_data()["cp1"]["mirrors"]["aliyun"]
        settings = {**ALIYUN, "mirrors": {"aliyun": {**profile, "registry_fallback": False}}}
    (problem,) = told({url: why or "" for url, why in said.items()}, settings)
    assert problem.startswith(
        f"cp1, w1, w2: dashboard.kube_web_view_image = {VIEW!r}: no mirror serves this image: "
        f"docker.m.daocloud.io: {REFUSED}; docker.1ms.run: {REFUSED}"
    )
    assert 'set dashboard.flavour = "headlamp", or name a mirror' in problem
    assert 'registry_mirrors = {"docker.io": ["https://..."]}' in problem


@pytest.mark.parametrize(
    "answers",
    [
        [REFUSED, ""],  # the second one serves it
        [REFUSED, "404  Not Found"],
        [REFUSED, REFUSED, "401  Unauthorized"],  # the registry itself answers
        [AWAY, REFUSED, AWAY],  # the first may have it
        [AWAY, AWAY, AWAY],
    ],
)
def test_an_image_that_may_be_had(answers: list[str]) -> None:
    assert told(dict(zip(VIEW_AT, answers, strict=False))) == []


def test_other_images_are_no_matter_of_dashboards() -> None:
    image = "ghcr.io/flannel-io/flannel:v0.28.4"
    cluster = hosts(NEW, ALIYUN)
    urls = mirrors.asked(cluster)["cp1"].images[image]
    (problem,) = mirrors.refused(cluster, {"cp1": {image: dict.fromkeys(urls, REFUSED)}})
    assert (problem.setting, problem.value) == ("flannel_image", image)
    assert problem.remedy.startswith('name a mirror that has it: registry_mirrors = {"ghcr.io"')


def test_the_first_dead_mirror_is_named() -> None:
    first, second, itself = "https://docker.m.daocloud.io", "https://docker.1ms.run", "https://registry-1.docker.io"

    def lines(**errors: dict[str, str]) -> list[str]:
        cluster = hosts(NEW, ALIYUN)
        for name, found in errors.items():
            reports = {**cluster.reports, name: replace(cluster.reports[name], registries={"docker.io": found})}
            cluster = ClusterHosts(cluster.cluster, reports)
        return list(mirrors.silent(cluster))

    refused = "connect: Connection refused"
    dead = {first: refused, second: "", itself: "no answer within 5 s"}
    (line,) = lines(w1=dead, w2=dead)
    assert line.startswith(
        f"w1, w2: the mirror {first} for images of docker.io can't be reached: {refused}; "
        f"each pull waits for it, until {second} is asked"
    )
    (line,) = lines(w1={first: "", second: refused, itself: refused})
    assert line.startswith(f"w1: the mirror {second} for images of docker.io can't be reached: {refused}; the next one")
    assert lines(w1={first: "", second: "", itself: refused}) == []
    assert lines(w1=dict.fromkeys((first, second, itself), refused)) == []  # of which a rule tells
