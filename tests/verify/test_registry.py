"""The image registry: closed without a login; what is pushed to it from outside is pulled from everywhere."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from gevent.pool import Pool

from kubestage.cluster.inventory import Target
from kubestage.commands.web import Answer, SiteError
from kubestage.facts.registry import LOGINS, USERS
from kubestage.settings import Problem
from kubestage.stacks.registry import PULL_SECRET, RegistrySettings
from tests.verify.api import Api, is_ready
from tests.verify.connection import Machines
from tests.verify.findings import fail
from tests.verify.pods import CONFINED, ended
from tests.verify.registry import REPOSITORY, Image, Login, Repository, digest, image
from tests.verify.sites import Answers, Sites, expect_status
from tests.verify.system_pods import trouble

pytestmark = pytest.mark.stack("registry")

DOCKER_WITHIN_S = 60
_LOGS = "kubectl -n registry logs deployment/registry"


@pytest.fixture(scope="module")
def login(target: Target, machines: Machines, leader: str) -> Login:
    """The first user, whose password is a setting, or was made on the control plane host."""
    given = target.cluster.common.of(RegistrySettings).users
    users = {name: password.get_secret_value() for name, password in given.items()}
    if not users:
        told = machines[leader].run(f"cat {USERS}")
        try:
            users = json.loads(told.stdout)
        except ValueError:
            why = f"it should hold the registry's users: {told.stderr.strip() or 'it is not JSON'}"
            fail(Problem(leader, why, target.deploy, USERS))
    return Login(*next(iter(users.items())))


@pytest.fixture(scope="module")
def without_login(sites: Sites) -> Answers:
    return _asked(sites, {})


@pytest.fixture(scope="module")
def with_a_wrong_password(sites: Sites, login: Login) -> Answers:
    return _asked(sites, Login(login.user, secrets.token_hex()).headers)


def _asked(sites: Sites, headers: dict[str, str]) -> Answers:
    def ask(node: str) -> Answer:
        return sites.at(node, "registry").ask("/v2/", headers=headers)

    return sites.everywhere(ask, lambda answer: answer.status == 401)


def test_refused_without_login(without_login: Answers, sites: Sites, node: str) -> None:
    why = "without a login it should be refused with 401"
    expect_status(without_login[node], [401], node, sites.at(node, "registry"), why)


def test_refused_with_a_wrong_password(with_a_wrong_password: Answers, sites: Sites, node: str) -> None:
    why = "with a wrong password it should be refused with 401"
    expect_status(with_a_wrong_password[node], [401], node, sites.at(node, "registry"), why)


@pytest.fixture(scope="module")
def pushed(
    sites: Sites, login: Login, nodes: dict[str, Any], without_login: Answers, leader: str
) -> Iterator[dict[str, Image]]:
    """Node -> an image for it, pushed from outside by the control plane's Envoy; none of them is there at the end."""
    assert without_login  # by then it has been waited for
    target, text = sites.target, secrets.token_hex()
    repository = Repository(sites.at(leader, "registry"), login)
    kinds = {name: nodes[name].status.node_info.architecture for name in target.cluster.nodes if name in nodes}
    images = {kind: image(kind, text) for kind in set(kinds.values())}
    try:
        try:
            for one in images.values():
                repository.push(one)
        except SiteError as error:
            why = f"an image can't be pushed: {error}"
            fail(Problem(leader, why, _LOGS, repository.site.url))
        yield {name: images[kind] for name, kind in kinds.items()}
    finally:
        for one in images.values():
            with suppress(SiteError):  # what does not serve has been told of, and keeps some hundred bytes
                repository.delete(one)


def _expect_pushed(pushed: dict[str, Image], node: str) -> Image:
    if node not in pushed:
        fail(Problem(node, "there is no such node to pull an image", "see test_nodes.py"))
    return pushed[node]


def test_push_and_pull(pushed: dict[str, Image], sites: Sites, login: Login, node: str) -> None:
    """By digest, by this node's Envoy: every byte comes back."""
    image = _expect_pushed(pushed, node)
    repository = Repository(sites.at(node, "registry"), login)
    try:
        manifest = repository.manifest(image.digest)
        blobs = {name: repository.blob(name) for name in image.blobs}
    except SiteError as error:
        fail(Problem(node, f"what was pushed can't be pulled: {error}", _LOGS, repository.site.url))
    if (manifest, blobs) != (image.manifest, image.blobs):
        fail(Problem(node, "it is not what was pushed", _LOGS, "the image", image.digest))


def _reference(target: Target, image: Image) -> str:
    return f"{target.cluster.common.site('registry')}/{REPOSITORY}@{image.digest}"


@pytest.fixture(scope="module")
def pulled(
    api: Api, target: Target, machines: Machines, nodes: dict[str, Any], pushed: dict[str, Image]
) -> Iterator[dict[str, Any]]:
    """Node that is Ready -> a pod there of the image pushed, in the first namespace that has the Secret to pull with.

    There is nothing to run in that image: such a pod fails once it has been pulled.
    """
    namespaces = target.cluster.common.of(RegistrySettings).pull_namespaces
    if not namespaces:
        pytest.skip("registry.pull_namespaces is empty")
    names = {node: f"{REPOSITORY}-{secrets.token_hex(3)}" for node in pushed if is_ready(nodes[node])}
    specs = {name: _pod(node, _reference(target, pushed[node])) for node, name in names.items()}
    try:
        with ended(api, namespaces[0], specs) as pods:
            yield {node: pods[name] for node, name in names.items() if name in pods}
    finally:
        _remove_images(machines, target, pushed)


def _pod(node: str, reference: str) -> dict[str, Any]:
    container = {"name": "pull", "image": reference, "command": ["/nothing"], "securityContext": CONFINED}
    return {
        "nodeName": node,
        "tolerations": [{"operator": "Exists"}],
        "imagePullSecrets": [{"name": PULL_SECRET}],
        "containers": [container],
    }


def _remove_images(machines: Machines, target: Target, pushed: dict[str, Image]) -> None:
    """Remove the images from the nodes: the kubelet would keep them until it runs out of space."""

    def remove(node: str) -> None:
        machine = machines.get(node)
        if not isinstance(machine, Problem):
            image = pushed[node]
            # containerd has it under its own name as well: the digest of its configuration.
            machine.run("ctr -n k8s.io images rm %s %s", _reference(target, image), digest(image.config))

    Pool().map(remove, pushed)


def test_pull_by_a_pod(pulled: dict[str, Any], pushed: dict[str, Image], api: Api, target: Target, node: str) -> None:
    """containerd on this node trusts the registry, finds it by its name, and has a login of the pod's Secret."""
    image = _expect_pushed(pushed, node)
    pod = pulled.get(node)
    statuses = (pod.status.container_statuses or ()) if pod else ()
    if not any(image.digest in status.image_id for status in statuses):
        why = f"a pod does not get it: {trouble(api, pod) if pod else 'the node is not Ready'}"
        remedy = f"on {node}: cat /etc/containerd/certs.d/*/hosts.toml /etc/hosts"
        fail(Problem(node, why, remedy, "image", _reference(target, image)))


def test_pull_by_docker(pushed: dict[str, Image], machines: Machines, target: Target, leader: str) -> None:
    """On the control plane host, with the login that is kept there."""
    node = leader
    reference = _reference(target, _expect_pushed(pushed, node))
    machine = machines[node]
    told = machine.run(f"timeout {DOCKER_WITHIN_S} docker --config {LOGINS} pull --quiet %s", reference)
    machine.run("docker image rm %s", reference)
    if told.failed:
        remedy = f"on {node}: ls /etc/docker/certs.d/*; systemctl status docker"
        why = f"docker pull fails: {told.stderr.strip() or f'no answer within {DOCKER_WITHIN_S} s'}"
        fail(Problem(node, why, remedy, "image", reference))
