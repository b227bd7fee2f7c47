"""The hosts trust the platform's CA: their programs, containerd and Docker; and they find the sites by their names."""

from __future__ import annotations

import pytest
from testinfra.host import Host as Machine

from kubestage.cluster.inventory import Target
from kubestage.facts.certificates import TRUSTED
from kubestage.render.runtime import registry_trust
from kubestage.settings import Problem
from kubestage.stacks import catalogue
from tests.verify.findings import expect_none
from tests.verify.sites import ca_of

_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"  # what curl, git and most programs of Debian go by


@pytest.fixture(scope="module")
def ca(target: Target) -> str:
    """PEM."""
    if not target.cluster.common.has_ca:
        pytest.skip("wildcard_certificate is of a CA that the platform does not know")
    return ca_of(target).read_text()


def test_ca_is_trusted(machine: Machine, node: str, target: Target, ca: str) -> None:
    problems = []
    if ca.strip() not in machine.run(f"cat {_BUNDLE}").stdout:
        problems.append(Problem(node, "the platform's CA is not in it", target.deploy, _BUNDLE))
    found = machine.run(f"cat {TRUSTED}")
    if found.stdout != ca:
        why = f"it is not the platform's CA; the next update-ca-certificates goes by it {found.stderr.strip()}".strip()
        problems.append(Problem(node, why, target.deploy, TRUSTED))
    expect_none(problems)


@pytest.mark.stack("registry")
def test_registry_is_trusted(machine: Machine, node: str, target: Target, ca: str) -> None:
    """By containerd and by Docker."""
    wanted = {file.path: file for file in registry_trust(target.cluster.common.site("registry"), ca, TRUSTED)}
    told = machine.run("sha256sum " + " ".join(wanted))
    found = {path: digest for digest, path in (line.split("  ", 1) for line in told.stdout.splitlines())}
    expect_none(
        Problem(node, "it should be there as a run writes it", target.deploy, path, found.get(path, "not there"))
        for path, file in wanted.items()
        if found.get(path) != file.sha256
    )


@pytest.mark.stack("ingress")
@pytest.mark.usefixtures("sites")  # by then what serves them has come up
def test_sites_from_the_host(machine: Machine, node: str, target: Target) -> None:
    """By name, as the host's own programs find them and trust them."""
    settings = target.cluster.common
    problems = []
    for host in catalogue.sites(settings):
        told = machine.run(
            "timeout 10 openssl s_client -connect %s -servername %s -verify_hostname %s -verify_return_error -brief"
            " </dev/null",
            f"{host}:{settings.https_port}",
            host,
            host,
        )
        if told.failed:
            said = (told.stderr.strip() or "no answer within 10 s").splitlines()
            remedy = f"on {node}: grep {host} /etc/hosts; update-ca-certificates; {target.deploy}"
            problems.append(Problem(node, "its programs can't ask it, or don't trust it", remedy, host, said[-1]))
    expect_none(problems)
