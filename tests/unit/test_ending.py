"""Certificates that end: which, who renews them, and what preflight says of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from sample_certificates import DAY, NOW, file, key_pem, new_key, signed
from sample_cluster import GROUPS, hosts_data
from sample_reports import control_plane, member

from kubestage.certificates import ending, pem
from kubestage.checks import endings
from kubestage.checks.cluster_hosts import ClusterHosts
from kubestage.checks.load import load
from kubestage.facts.host_report import parse
from kubestage.kubernetes import ADMIN_CONF, KUBELET_CLIENT, KUBELET_SERVER

KEY = new_key()
IS_CA = x509.BasicConstraints(ca=True, path_length=None)
PKI, OURS = "/etc/kubernetes/pki", "/etc/kubernetes/kubestage/pki"
DAYS = 60


def leaf(days: float, ca: str = "kubernetes") -> x509.Certificate:
    """One that lives a year and ends in so many days."""
    return pem.first(signed(KEY, "leaf", (KEY, ca), begin=NOW + (days - 365) * DAY, end=NOW + days * DAY))


def authority(days: float, name: str = "kubernetes") -> x509.Certificate:
    return pem.first(signed(KEY, name, None, IS_CA, begin=NOW + (days - 3650) * DAY, end=NOW + days * DAY))


def healthy() -> dict[str, x509.Certificate | None]:
    return {
        f"{PKI}/ca.crt": authority(3000),
        f"{PKI}/apiserver.crt": leaf(300),
        f"{PKI}/etcd/server.crt": leaf(300, "etcd-ca"),
        ADMIN_CONF: leaf(300),
        KUBELET_CLIENT: leaf(61),
        KUBELET_SERVER: leaf(61),
        f"{OURS}/ca.crt": authority(3000, "lab CA"),
        f"{OURS}/wildcard.crt": leaf(300, "lab CA"),
    }


class TestWhoRenews:
    def test_nobody_has_to(self) -> None:
        assert ending.kubeadm_due(healthy(), NOW, DAYS) == ()
        assert not ending.kubelet_server_due(healthy(), NOW, DAYS)
        assert not ending.kubelet_client_over(healthy(), NOW)
        assert list(ending.said(healthy(), NOW, DAYS)) == []

    @pytest.mark.parametrize("path", [f"{PKI}/apiserver.crt", f"{PKI}/etcd/server.crt", ADMIN_CONF])
    @pytest.mark.parametrize("days", [59, 0.1, -1])
    def test_kubeadm_s(self, path: str, days: float) -> None:
        found = {**healthy(), path: leaf(days)}
        assert ending.kubeadm_due(found, NOW, DAYS) == (path,)
        (sentence,) = ending.said(found, NOW, DAYS)
        assert sentence.startswith(f"{path} {'ended' if days < 0 else 'ends'} on {NOW + days * DAY:%Y-%m-%d}")
        assert sentence.endswith(": a run for this host renews what is kubeadm's")

    def test_all_of_kubeadm_s_in_one_sentence(self) -> None:
        found = {
            **healthy(),
            ADMIN_CONF: leaf(40),
            f"{PKI}/apiserver.crt": leaf(20),
            f"{PKI}/etcd/server.crt": leaf(30),
        }
        assert ending.kubeadm_due(found, NOW, DAYS) == (f"{PKI}/apiserver.crt", f"{PKI}/etcd/server.crt", ADMIN_CONF)
        (sentence,) = ending.said(found, NOW, DAYS)
        assert sentence.startswith(f"{PKI}/apiserver.crt and 2 more of the control plane ends on")

    def test_a_ca_of_the_cluster_is_the_user_s(self) -> None:
        """What ends with it is not renewed again and again: it would end as early."""
        found = {
            **healthy(),
            f"{PKI}/ca.crt": authority(30),
            f"{PKI}/apiserver.crt": leaf(30),
            KUBELET_SERVER: leaf(30),
        }
        assert ending.kubeadm_due(found, NOW, DAYS) == ()
        assert not ending.kubelet_server_due(found, NOW, DAYS)
        (sentence, *_) = ending.said(found, NOW, DAYS)
        assert f"{PKI}/ca.crt, a CA of the cluster, ends on" in sentence and ending.CA_MANUAL in sentence

    @pytest.mark.parametrize("days", [59, -1])
    def test_a_kubelet_s_serving_certificate(self, days: float) -> None:
        found = {**healthy(), KUBELET_SERVER: leaf(days)}
        assert ending.kubelet_server_due(found, NOW, DAYS)
        (sentence,) = ending.said(found, NOW, DAYS)
        assert "has the kubelet request a new one" in sentence

    def test_a_kubelet_s_own_is_its_own_to_renew(self) -> None:
        """At 10 % of its life it should have; of one that is over it can't."""
        assert list(ending.said({**healthy(), KUBELET_CLIENT: leaf(40)}, NOW, DAYS)) == []
        (late,) = ending.said({**healthy(), KUBELET_CLIENT: leaf(36)}, NOW, DAYS)
        assert "should have renewed it by now" in late
        over = {**healthy(), KUBELET_CLIENT: leaf(-1)}
        (sentence,) = ending.said(over, NOW, DAYS)
        assert ending.kubelet_client_over(over, NOW) and "by a token" in sentence

    def test_the_platform_s(self) -> None:
        found = {**healthy(), f"{OURS}/wildcard.crt": leaf(10, "lab CA"), f"{OURS}/ca.crt": authority(20, "lab CA")}
        wildcard, ca = ending.said(found, NOW, DAYS)
        assert wildcard.startswith(f"{OURS}/wildcard.crt ends on") and ca.startswith(f"{OURS}/ca.crt ends on")

    def test_unknown_is_said(self) -> None:
        (sentence,) = ending.said({**healthy(), f"{PKI}/apiserver.crt": None}, NOW, DAYS)
        assert sentence == f"{PKI}/apiserver.crt is there, and holds no certificate that can be read"
        assert ending.kubeadm_due({f"{PKI}/apiserver.crt": None}, NOW, DAYS) == ()


def hosts(certificates: dict[str, Any], **settings: Any) -> ClusterHosts:
    """A running cluster: cp1 has these certificates, w1 has been off for long."""
    reports = {
        "cp1": replace(parse(control_plane().splitlines(), 0, 0), certificates=certificates),
        "w1": replace(parse(member(12, "w1").splitlines(), 0, 0), certificates={KUBELET_CLIENT: leaf(-9)}),
    }
    return ClusterHosts(load(hosts_data({"domain": "lab.test", **settings}), GROUPS), reports)


class TestPreflight:
    def test_of_hosts(self) -> None:
        cp1, w1 = endings.of_hosts(hosts({**healthy(), ADMIN_CONF: leaf(10)}))
        assert cp1.startswith(f"cp1: {ADMIN_CONF} ends on") and w1.startswith(f"w1: {KUBELET_CLIENT} ended on")

    def test_of_the_user(self, tmp_path: Path) -> None:
        names = x509.SubjectAlternativeName([x509.DNSName("*.lab.test")])
        for days, told in ((59, 1), (61, 0)):
            path = file(
                tmp_path, "own.crt", signed(KEY, "own", None, names, begin=NOW - 300 * DAY, end=NOW + days * DAY)
            )
            own = {"wildcard_certificate": path, "wildcard_key": file(tmp_path, "own.key", key_pem(KEY))}
            found = list(endings.of_the_user(hosts({}, **own)))
            assert len(found) == told
            assert all(
                f"wildcard_certificate = {path!r}: 'CN=own' ends on {NOW + 59 * DAY:%Y-%m-%d}" in one for one in found
            )

    def test_the_first_to_end(self) -> None:
        assert endings.first_to_end(hosts(healthy())).startswith(
            f"Of 9 certificates on the hosts, {KUBELET_CLIENT} on w1 ends first: {NOW - 9 * DAY:%Y-%m-%d}, in -"
        )
        nothing = hosts({})
        assert endings.first_to_end(ClusterHosts(nothing.cluster, {"cp1": nothing.reports["cp1"]})) == ""
