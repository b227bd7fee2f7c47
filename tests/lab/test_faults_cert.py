"""Certificates that end soon, or have ended, on the hosts of a living cluster: a run renews them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from kubestage.certificates import pem
from kubestage.kubernetes import ADMIN_CONF, KUBECONFIGS, KUBELET_CLIENT, KUBELET_SERVER
from tests.lab.commands import INVENTORY, deploy, kubectl, kubestage, on, settle, verify

pytestmark = pytest.mark.life

PKI = "/etc/kubernetes/pki"
LEAVES = {
    f"{PKI}/apiserver.crt": f"{PKI}/ca",
    f"{PKI}/apiserver-kubelet-client.crt": f"{PKI}/ca",
    f"{PKI}/front-proxy-client.crt": f"{PKI}/front-proxy-ca",
    f"{PKI}/apiserver-etcd-client.crt": f"{PKI}/etcd/ca",
    f"{PKI}/etcd/server.crt": f"{PKI}/etcd/ca",
    f"{PKI}/etcd/peer.crt": f"{PKI}/etcd/ca",
    f"{PKI}/etcd/healthcheck-client.crt": f"{PKI}/etcd/ca",
}
RENEWED = "Control plane | Certificates of the control plane"
SERVING = "Join | The kubelet's serving certificate"
OWN = "Join | The kubelet's own certificate"


def contents(host: str, paths: Iterable[str]) -> dict[str, bytes]:
    """The files of a host, by one command."""
    printed = on(host, f"for file in {' '.join(paths)}; do echo $file $(base64 -w 0 $file); done")
    return {path: base64.b64decode(data) for path, data in (line.split() for line in printed.splitlines())}


def aged(certificate: x509.Certificate, ca: tuple[bytes, bytes], days: float) -> str:
    """The same certificate (PEM), which ends in so many days; `ca`: its CA's certificate and key."""
    ends = datetime.now(UTC) + timedelta(days=days)
    builder = x509.CertificateBuilder(
        pem.first(pem.text(ca[0])).subject,
        certificate.subject,
        certificate.public_key(),
        x509.random_serial_number(),
        ends - timedelta(days=365),
        ends,
    )
    for extension in certificate.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return pem.normalised([builder.sign(pem.private_key(pem.text(ca[1])), SHA256())])


def age(host: str, days: dict[str, float]) -> None:
    """Have the certificates in these files of a host end in so many days. Keys that are in there stay."""
    names = {LEAVES.get(path, f"{PKI}/ca") for path in days}
    authorities = contents("cp1", [f"{name}.{kind}" for name in names for kind in ("crt", "key")])
    written = []
    for path, content in contents(host, days).items():
        name = LEAVES.get(path, f"{PKI}/ca")
        ca, text = (authorities[f"{name}.crt"], authorities[f"{name}.key"]), content.decode()
        if path in KUBECONFIGS:
            (data,) = re.findall(r"client-certificate-data: (\S+)", text)
            new = aged(pem.first(base64.b64decode(data).decode()), ca, days[path])
            text = text.replace(data, base64.b64encode(new.encode()).decode())
        else:
            text = aged(pem.first(text), ca, days[path]) + "".join(pem.private_keys(text))
        written.append(f"{path} {base64.b64encode(text.encode()).decode()}\n")
    on(host, "while read file data; do echo $data | base64 -d > $file; done", given="".join(written))


def served(host: str, address: str) -> int:
    """The serial number of the certificate with which somebody serves."""
    asked = f"openssl s_client -connect {address} </dev/null 2>/dev/null | openssl x509 -noout -serial"
    return int(on(host, asked).removeprefix("serial="), 16)


def on_disk(host: str, path: str) -> int:
    return pem.first(on(host, f"cat {path}")).serial_number


def pids() -> set[str]:
    return set(on("cp1", "pidof etcd kube-apiserver kube-controller-manager kube-scheduler").split())


def test_what_ends_soon_is_renewed_and_what_reads_it_starts_anew(cluster: None) -> None:
    age("cp1", {f"{PKI}/etcd/server.crt": 59, ADMIN_CONF: 20})
    age("w1", {KUBELET_SERVER: 59})
    before = pids()
    told = kubestage("status")
    assert told.returncode == 1 and f"cp1: {ADMIN_CONF} and 1 more of the control plane ends on" in told.stdout

    changed = deploy().changed
    assert changed[RENEWED] == ["cp1"] and changed[SERVING] == ["w1"] and OWN not in changed
    assert len(before) == 4 and not before & pids()
    for address, path in (("127.0.0.1:6443", f"{PKI}/apiserver.crt"), ("127.0.0.1:2379", f"{PKI}/etcd/server.crt")):
        assert served("cp1", address) == on_disk("cp1", path)
    assert served("w1", "127.0.0.1:10250") == on_disk("w1", KUBELET_SERVER)
    again = deploy().changed
    assert not {RENEWED, SERVING, OWN} & set(again)
    assert kubestage("status").returncode == 0
    assert verify("test_certificates.py") == set()


def test_a_cluster_that_was_off_for_too_long(cluster: None) -> None:
    """All has ended: no API, and no kubelet that starts. One run has it back; the user's kubeconfig as well."""
    kubelet = dict.fromkeys((KUBELET_CLIENT, KUBELET_SERVER), -1.0)
    age("cp1", dict.fromkeys((*LEAVES, *KUBECONFIGS), -1.0) | kubelet)
    age("w1", kubelet)
    for host in ("cp1", "w1"):
        on(host, "systemctl restart kubelet || true")
    # As after a boot: what runs has read what is there.
    on("cp1", "kill $(pidof etcd kube-apiserver kube-controller-manager kube-scheduler)")

    changed = deploy().changed
    assert changed[RENEWED] == ["cp1"] and changed[OWN] == ["w1"]
    assert len(json.loads(kubectl("get", "nodes", "--output", "json"))["items"]) == 3
    settle()
    assert not {RENEWED, SERVING, OWN} & set(deploy().changed)
    assert kubestage("status").returncode == 0, INVENTORY
