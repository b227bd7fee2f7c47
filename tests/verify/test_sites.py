"""HTTP and HTTPS by host name at every node, from outside: what no site is for, the platform's own, a user's own."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

import pytest
from cryptography import x509

from kubestage.certificates import pem
from kubestage.certificates.platform import is_late, wildcard_names
from kubestage.cluster.inventory import Target
from kubestage.commands.web import Answer, Site
from kubestage.settings import Problem
from kubestage.stacks import catalogue
from kubestage.stacks import sites as own_sites
from kubestage.stacks.ingress import IngressSettings
from tests.verify.api import REQUEST_TIMEOUT_S, Api
from tests.verify.findings import expect_none, fail
from tests.verify.probe import NAME, Probe
from tests.verify.sites import Answers, Sites, expect_status, shown

pytestmark = pytest.mark.stack("ingress")

UNKNOWN = "kubestage-verify-nobody"  # no site has this name
_PAGE_OF_CLIENT = "/cgi-bin/client"
_SERVE_CLIENT = (
    "mkdir -p /tmp/www/cgi-bin && cd /tmp/www/cgi-bin && "
    'printf \'#!/bin/sh\\nprintf "\\\\n%%s" "$HTTP_X_FORWARDED_FOR"\\n\' >client.new && chmod +x client.new && '
    "mv client.new client"
)


@pytest.fixture(scope="module")
def https(sites: Sites) -> Answers:
    return sites.everywhere(lambda node: sites.at(node, UNKNOWN).ask(), lambda answer: answer.status == 404)


@pytest.fixture(scope="module")
def http(sites: Sites, target: Target) -> Answers:
    if not target.cluster.common.http_port:
        pytest.skip("http_port is 0")
    return sites.everywhere(lambda node: sites.plain(node, UNKNOWN).ask(), lambda answer: answer.status == 404)


def _expect_default_backend(told: Answer | str, sites: Sites, node: str, *, tls: bool) -> None:
    site = sites.at(node, UNKNOWN) if tls else sites.plain(node, UNKNOWN)
    answer = expect_status(
        told, [404], node, site, "the default backend does not answer for a host that no site is for"
    )
    if site.host not in shown(answer):
        remedy = "kubectl -n projectcontour rollout restart deployment default-backend"
        fail(Problem(node, "the page does not say what host was asked for", remedy, site.url, shown(answer)))


def test_https(https: Answers, sites: Sites, node: str) -> None:
    _expect_default_backend(https[node], sites, node, tls=True)


def test_http(http: Answers, sites: Sites, node: str) -> None:
    _expect_default_backend(http[node], sites, node, tls=False)


def test_certificate(https: Answers, sites: Sites, node: str, target: Target) -> None:
    """That it is of the CA and for the host, every connection has verified; and that it is so for a while to come."""
    told = https[node]
    if isinstance(told, str):
        fail(Problem(node, f"no certificate is seen: {told}", "see test_https", sites.at(node, UNKNOWN).url))
    certificate = x509.load_der_x509_certificate(told.certificate)
    names, ends = pem.dns_names(certificate), certificate.not_valid_after_utc
    problems = [
        Problem(node, f"the sites' certificate is not for {name}", target.deploy, "its names", names)
        for name in wildcard_names(target.cluster.common.domain)
        if name.startswith("*") and name not in names
    ]
    if is_late(certificate, datetime.now(UTC), target.cluster.common.certificate_renew_days):
        why = f"that is in {(ends - datetime.now(UTC)).days} days, and a run renews it (your own is yours to renew)"
        problems.append(Problem(node, why, target.deploy, "the sites' certificate ends", f"{ends:%Y-%m-%d}"))
    expect_none(problems)


@pytest.fixture(scope="module")
def redirects(sites: Sites, target: Target) -> dict[str, Answers]:
    """Each of the platform's own sites that is on -> what it answers to HTTP."""
    settings = target.cluster.common
    if not (settings.http_port and settings.http_redirect):
        pytest.skip("http_redirect is off")

    def ask(name: str, node: str) -> Answer:
        return sites.plain(node, name).ask()

    names = [name for name in catalogue.site_names() if name in settings.stacks]
    return {name: sites.everywhere(partial(ask, name), lambda answer: answer.status == 301) for name in names}


def test_redirect(redirects: dict[str, Answers], sites: Sites, node: str) -> None:
    """The platform's own sites send people from HTTP to HTTPS."""
    for name, told in redirects.items():
        site = sites.plain(node, name)
        answer = expect_status(told[node], [301], node, site, "it does not send people on to HTTPS")
        wanted = f"{sites.at(node, name).url}/"
        if answer.headers.get("location") != wanted:
            why, remedy = f"it should send people to {wanted}", f"kubectl -n {name} get ingress {name} -o yaml"
            fail(Problem(node, why, remedy, f"{site.url} sends to", answer.headers.get("location")))


@pytest.fixture(scope="module")
def users_site(api: Api, probe: Probe) -> Iterator[str]:
    """The name of a user's own site: an Ingress before the probe's pods, of the default class, with HTTPS."""
    name, wildcard = probe.namespace, own_sites.WILDCARD
    settings = probe.target.cluster.common
    backend = {"service": {"name": NAME, "port": {"number": 80}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    host = f"{name}.{settings.domain}"
    ingress = {
        "metadata": {"name": NAME, "annotations": {"projectcontour.io/tls-cert-namespace": wildcard.namespace}},
        "spec": {
            "rules": [{"host": host, "http": {"paths": paths}}],
            "tls": [{"hosts": [host], "secretName": wildcard.name}],
        },
    }
    api.networking.create_namespaced_ingress(probe.namespace, ingress, _request_timeout=REQUEST_TIMEOUT_S)
    try:
        yield name
    finally:
        api.networking.delete_namespaced_ingress(NAME, probe.namespace, _request_timeout=REQUEST_TIMEOUT_S)


@pytest.fixture(scope="module")
def pages(sites: Sites, probe: Probe, users_site: str) -> Answers:
    """The page of the user's site, which is the name of the node whose pod has served it."""
    return sites.everywhere(
        lambda node: sites.at(node, users_site).ask(), lambda answer: answer.status == 200, new=True
    )


def test_a_users_site(pages: Answers, sites: Sites, users_site: str, probe: Probe, node: str) -> None:
    if not probe.pods:
        fail(probe.without_pod(node))
    site = sites.at(node, users_site)
    answer = expect_status(pages[node], [200], node, site, "an Ingress is not served here")
    if answer.body.decode(errors="replace").strip() not in probe.pods:
        remedy = "kubectl -n projectcontour logs -l app=contour"
        fail(Problem(node, "it is not the page of the pods behind it", remedy, site.url, shown(answer)))


@pytest.fixture(scope="module")
def clients(sites: Sites, probe: Probe, users_site: str, pages: Answers, target: Target) -> Answers:
    """As whom the pods behind the user's site see this machine."""
    if target.cluster.common.of(IngressSettings).traffic_policy != "Local":
        pytest.skip("ingress.traffic_policy is not Local")
    assert pages
    probe.in_pods(_SERVE_CLIENT)
    return sites.everywhere(
        lambda node: sites.at(node, users_site).ask(_PAGE_OF_CLIENT), lambda answer: answer.status == 200
    )


def test_a_clients_address(
    clients: Answers, sites: Sites, users_site: str, node: str, target: Target, addresses: dict[str, str]
) -> None:
    """A site sees its clients' own addresses, and not a node's or a pod's in their place."""
    site = sites.at(node, users_site)
    answer = expect_status(clients[node], [200], node, site, "a site here can't be asked who its client is")
    told = answer.body.decode(errors="replace").strip()
    if told != _own_address(site) and (told in addresses.values() or not _is_outside(told, target)):
        remedy = "kubectl -n projectcontour get service envoy -o yaml: externalTrafficPolicy"
        why = "it is the cluster's own, not this machine's"
        fail(Problem(node, why, remedy, "the client's address as a site sees it", told))


def _own_address(site: Site) -> str:
    """This machine's address on its way to a site; another one may be seen there where there is NAT between them."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unsent:
        unsent.connect((site.address, site.port))
        return str(unsent.getsockname()[0])


def _is_outside(address: str, target: Target) -> bool:
    """Whether it is an address at all, and no pod's."""
    try:
        return ipaddress.ip_address(address) not in ipaddress.ip_network(target.cluster.common.pod_cidr)
    except ValueError:
        return False
