"""Certificates: none ends soon, and programs serve with those that are on the disk."""

from __future__ import annotations

import base64
import shlex
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from testinfra.host import Host as Machine

from kubestage.certificates.ending import Found, said
from kubestage.cluster.inventory import Target
from kubestage.facts.answers import Answers
from kubestage.facts.host_report import certificates
from kubestage.kubernetes import KUBEADM_CERTIFICATES, KUBELET_SERVER
from kubestage.settings import Problem
from tests.verify.certificates import DAYS_LEFT
from tests.verify.findings import expect_none


@pytest.fixture
def found(machine: Machine) -> Found:
    """The certificates on the host."""
    asked = machine.run(f"sh -c {shlex.quote(certificates.script())}")
    return certificates.read(Answers(asked.stdout.splitlines())).certificates


def test_none_ends_soon(found: Found, node: str, target: Target, pytestconfig: pytest.Config) -> None:
    now, renew_days = datetime.now(UTC), target.cluster.common.certificate_renew_days
    pytestconfig.stash[DAYS_LEFT][node] = found
    problems = [Problem(node, sentence, target.deploy) for sentence in said(found, now, renew_days)]
    if KUBELET_SERVER not in found:
        problems.append(Problem(node, "the kubelet has no serving certificate", target.deploy, "file", KUBELET_SERVER))
    expect_none(problems)


def test_programs_serve_with_those_on_the_disk(found: Found, machine: Machine, node: str, target: Target) -> None:
    ports = {10250: KUBELET_SERVER}
    if node in target.cluster.control_plane:
        ports[target.cluster.common.api_port] = f"{KUBEADM_CERTIFICATES}/apiserver.crt"
        ports[2379] = f"{KUBEADM_CERTIFICATES}/etcd/server.crt"
    problems = []
    for port, path in ports.items():
        served = f"openssl s_client -connect 127.0.0.1:{port} </dev/null 2>/dev/null"
        shown = base64.b64decode(machine.run(f"{served} | openssl x509 -outform DER | base64 -w 0").stdout)
        known = found.get(path)
        if known is None or shown != known.public_bytes(Encoding.DER):
            serial = f"{x509.load_der_x509_certificate(shown).serial_number:x}" if shown else "none"
            why = f"the program on it does not serve with {path}, but with the certificate {serial}"
            remedy = "start it anew: it reads them when it starts"
            problems.append(Problem(node, why, remedy, "port", port))
    expect_none(problems)
