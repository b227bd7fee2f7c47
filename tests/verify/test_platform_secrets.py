"""What the platform keeps in the cluster: it is there, as it is on the host, and for administrators alone."""

from __future__ import annotations

import base64
import hashlib
import shlex

import pytest
from kubernetes.client import AuthorizationV1Api

from kubestage.cluster.inventory import Target
from kubestage.kubernetes import PLATFORM_NAMESPACE
from kubestage.settings import Problem
from kubestage.stacks.ingress import NAMESPACE as INGRESS
from kubestage.stacks.platform_secrets import CERTIFICATES, LOGINS
from tests.verify.api import REQUEST_TIMEOUT_S, Api
from tests.verify.connection import Machines
from tests.verify.findings import expect_none, fail

# Controllers of Kubernetes itself have to see all that there is; Contour looks for sites' certificates everywhere.
_MAY = {f"{INGRESS}/contour"}
_OF_KUBERNETES = "kube-system"


@pytest.mark.parametrize("name", [CERTIFICATES.name, pytest.param(LOGINS.name, marks=pytest.mark.stack("registry"))])
def test_platform_secret(name: str, target: Target, api: Api, machines: Machines, leader: str) -> None:
    (secret,) = (each for each in (CERTIFICATES, LOGINS) if each.name == name)
    found = api.core.list_namespaced_secret(PLATFORM_NAMESPACE, _request_timeout=REQUEST_TIMEOUT_S).items
    values = next((each.data or {} for each in found if each.metadata.name == name), None)
    if values is None:
        fail(Problem(leader, "the cluster does not keep it", target.deploy, f"{PLATFORM_NAMESPACE}/{name}"))
    paths = " ".join(map(shlex.quote, secret.files.values()))
    said = machines[leader].run(f"sha256sum {paths} 2>/dev/null").stdout
    files = {path: digest for digest, path in (line.split("  ", 1) for line in said.splitlines())}
    stored = {key: hashlib.sha256(base64.b64decode(value)).hexdigest() for key, value in values.items()}
    expect_none(
        Problem(leader, f"it is not what {PLATFORM_NAMESPACE}/{name} keeps as {key}", target.deploy, path)
        for key, path in secret.files.items()
        if files.get(path) != stored.get(key)
    )


def test_platform_secrets_are_the_administrators_alone(api: Api) -> None:
    """Of those whom a pod can be: who can read them has to be able to do everything."""
    authorization = AuthorizationV1Api(api.core.api_client)

    def may(user: str, groups: list[str], **what: str) -> bool:
        asked = {"spec": {"user": user, "groups": groups, "resourceAttributes": what}}
        answer = authorization.create_subject_access_review(asked, _request_timeout=REQUEST_TIMEOUT_S)
        return bool(answer.status.allowed)

    problems = []
    for account in api.core.list_service_account_for_all_namespaces(_request_timeout=REQUEST_TIMEOUT_S).items:
        namespace, name = account.metadata.namespace, account.metadata.name
        if namespace == _OF_KUBERNETES or f"{namespace}/{name}" in _MAY:
            continue
        user = f"system:serviceaccount:{namespace}:{name}"
        groups = ["system:authenticated", "system:serviceaccounts", f"system:serviceaccounts:{namespace}"]
        reads = may(user, groups, namespace=PLATFORM_NAMESPACE, verb="get", resource="secrets", group="")
        if reads and not may(user, groups, verb="*", resource="*", group="*"):
            remedy = f"kubectl auth can-i --list --as {user} -n {PLATFORM_NAMESPACE}; take the role from it"
            problems.append(Problem("the cluster", "it reads the platform's CA and passwords", remedy, "user", user))
    expect_none(problems)
