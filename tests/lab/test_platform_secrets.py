"""The platform's truth is the cluster's: files of the control plane host are made of it, and it of them.

The tests share one cluster; each leaves it as the deploy wants it.
"""

from __future__ import annotations

from kubestage.certificates.platform import CA_CERTIFICATE, PKI
from kubestage.facts.registry import LOGINS, USERS
from kubestage.kubernetes import KUBECTL, PLATFORM_NAMESPACE
from kubestage.operations.certificates import FORGET
from tests.lab.commands import deploy, on, verify

CERTIFICATES_BACK = "Certificates | Certificates that the cluster keeps"
CERTIFICATES_KEPT = "Certificates | Certificates are kept in the cluster"
USERS_BACK = "Registry | Users that the cluster keeps"
USERS_KEPT = "Registry | Users are kept in the cluster"
# Of each there is a record in the same namespace.
RECORDED = (
    "Ingress | Certificates are kept in the cluster",
    "Metrics | Certificates are kept in the cluster",
    "Network | flannel, reserved NodePorts",
    "Storage | storage",
    "Ingress | ingress",
    "Registry | registry",
    "Dashboard | kube-web-view",
    "Metrics | metrics",
)
_SECRETS = f"{KUBECTL} --namespace {PLATFORM_NAMESPACE}"
_FILES = f"sha256sum {PKI}/*.crt {PKI}/*.key {LOGINS}/* | sort; stat -c '%a %n' {PKI}/*.* {LOGINS}/*"


def test_files_that_were_lost(cluster: None) -> None:
    before = on("cp1", _FILES)
    on("cp1", f"rm -r {PKI}/ca.* {PKI}/wildcard.* {LOGINS}")
    assert deploy().changed == {CERTIFICATES_BACK: ["cp1"], USERS_BACK: ["cp1"]}
    assert on("cp1", _FILES) == before
    assert deploy().changed == {}
    assert verify("test_platform_secrets.py", "test_registry.py", "test_trust.py") == set()


def test_files_that_were_edited(cluster: None) -> None:
    before = on("cp1", _FILES)
    on("cp1", f"echo >>{CA_CERTIFICATE}; sed -i 's/: \"/: \"x/' {USERS}")
    assert verify("test_platform_secrets.py") == {
        "test_platform_secrets.py::test_platform_secret[certificates]",
        "test_platform_secrets.py::test_platform_secret[registry-logins]",
    }
    assert deploy().changed == {CERTIFICATES_BACK: ["cp1"], USERS_BACK: ["cp1"]}
    assert on("cp1", _FILES) == before


def test_a_cluster_that_lost_them(cluster: None) -> None:
    before = on("cp1", _FILES)
    on("cp1", f"{KUBECTL} delete namespace {PLATFORM_NAMESPACE}")
    assert deploy().changed == {name: ["cp1"] for name in (CERTIFICATES_KEPT, USERS_KEPT, *RECORDED)}
    assert on("cp1", _FILES) == before
    assert deploy().changed == {}
    assert verify("test_platform_secrets.py") == set()


def test_who_may_read_them(cluster: None) -> None:
    view = f"{KUBECTL} create clusterrolebinding test-reads --clusterrole {{}} --serviceaccount default:default"
    on("cp1", f"{KUBECTL} create clusterrole test-reads --verb get --resource secrets && {view.format('test-reads')}")
    try:
        assert verify("test_platform_secrets.py") == {
            "test_platform_secrets.py::test_platform_secrets_are_the_administrators_alone"
        }
    finally:
        on("cp1", f"{KUBECTL} delete clusterrolebinding,clusterrole test-reads")
    assert verify("test_platform_secrets.py") == set()


def test_a_new_ca_by_the_advice_of_our_message(cluster: None) -> None:
    old = on("cp1", f"cat {CA_CERTIFICATE}")
    on("cp1", f"{FORGET} && rm -f {PKI}/ca.crt {PKI}/ca.key")
    assert {"Certificates | CA and wildcard certificate", CERTIFICATES_KEPT} <= set(deploy().changed)
    assert on("cp1", f"cat {CA_CERTIFICATE}") != old
    assert on("cp1", f"{_SECRETS} get secret certificates -o jsonpath='{{.data.ca\\.crt}}' | base64 -d") != old
    assert deploy().changed == {}
    assert verify("test_platform_secrets.py", "test_trust.py", "test_sites.py") == set()
