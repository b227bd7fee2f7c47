"""Docker beside the cluster: it runs containers, and they have a network."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

import pytest
from gevent.pool import Pool

from kubestage.cluster.inventory import Target
from kubestage.settings import Problem
from tests.verify.connection import Machines
from tests.verify.findings import expect_none

WITHIN_S = 120  # with the pull of the image


@dataclass(frozen=True)
class Container:
    """What a container said, and what Docker (or the way to it) said of it."""

    said: list[str]
    error: str


@pytest.fixture(scope="module")
def containers(machines: Machines, target: Target, addresses: dict[str, str], leader: str) -> dict[str, Container]:
    """node -> a container that says that it runs, then whether it reaches the API server; on all hosts at once.

    The image is removed again where it was not there before.
    """
    nodes, common = target.cluster.nodes, target.cluster.common
    address = addresses.get(leader, leader)
    script = f"echo runs; timeout 10 nc -w 5 {address} {common.api_port} </dev/null >/dev/null && echo reaches"
    image = shlex.quote(common.busybox_image)
    command = (
        # docker.socket would start a Docker that was stopped, and nobody would hear of it.
        "systemctl is-active --quiet docker || { echo 'docker.service does not run' >&2; exit 1; }; "
        f"had=$(docker image ls --quiet {image}); "
        f"timeout {WITHIN_S} docker run --rm {image} sh -c {shlex.quote(script)}; "
        f'test -n "$had" || docker image rm {image} >/dev/null'
    )

    def run(node: str) -> Container:
        machine = machines.get(node)
        if isinstance(machine, Problem):
            return Container([], str(machine))
        result = machine.run(command)
        return Container(result.stdout.split(), result.stderr.strip() or f"no answer within {WITHIN_S} s")

    return dict(zip(nodes, Pool().map(run, nodes), strict=True))


def test_docker_run(containers: dict[str, Container], node: str, target: Target) -> None:
    if "runs" not in containers[node].said:
        image = target.cluster.common.busybox_image
        remedy = f"on {node}: systemctl status docker containerd; docker pull {image}"
        expect_none([Problem(node, f"it fails: {containers[node].error}", remedy, "docker run", image)])


def test_docker_network(containers: dict[str, Container], node: str, leader: str) -> None:
    if "reaches" not in containers[node].said:
        reason = f"a container of Docker's does not reach the API server of {leader}"
        if "runs" not in containers[node].said:
            reason = "there was no container to try its network from: see test_docker_run"
        remedy = f"on {node}: iptables -S FORWARD; sysctl net.ipv4.ip_forward; systemctl restart docker"
        expect_none([Problem(node, reason, remedy)])
