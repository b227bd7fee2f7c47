"""Certificates that end soon, or have ended, on the hosts of a living cluster: a run renews them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from kubestage import pem
from kubestage.kubernetes import ADMIN_CONF, KUBECONFIGS, KUBELET_CLIENT, KUBELET_SERVER
from tests.lab.commands import INVENTORY, deploy, kubectl, kubestage, on, settle, verify

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


def aged(certificate: x509.Certificate, ca: str, days: float) -> str:
    """The same certificate, which ends in so many days; `ca`: the path of its CA's files on cp1, without an ending."""
    ends = datetime.now(UTC) + timedelta(days=days)
    builder = x509.CertificateBuilder(
        pem.first(on("cp1", f"cat {ca}.crt")).subject,
        certificate.subject,
        certificate.public_key(),
        x509.random_serial_number(),
        ends - timedelta(days=365),
        ends,
    )
    for extension in certificate.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(pem.private_key(on("cp1", f"cat {ca}.key")), SHA256()).public_bytes(Encoding.PEM).decode()


def age(host: str, path: str, ca: str, days: float) -> None:
    """Have the first certificate of a file end in so many days; its key, if it is in there, stays."""
    text = on(host, f"cat {path}")
    new = aged(pem.first(text), ca, days) + "".join(pem.private_keys(text))
    on(host, f"cat > {path}", given=new)


def age_kubeconfig(path: str, days: float) -> None:
    line = f"sed -n 's/^ *client-certificate-data: //p' {path}"
    new = aged(pem.first(on("cp1", f"{line} | base64 -d")), f"{PKI}/ca", days)
    script = f'data=$(base64 -w 0) && sed -i "s|\\(client-certificate-data: \\).*|\\1$data|" {path}'
    on("cp1", script, given=new)


def served(host: str, address: str) -> int:
    """The serial number of the certificate with which somebody serves."""
    asked = f"openssl s_client -connect {address} </dev/null 2>/dev/null | openssl x509 -noout -serial"
    return int(on(host, asked).removeprefix("serial="), 16)


def on_disk(host: str, path: str) -> int:
    return pem.first(on(host, f"cat {path}")).serial_number


def pids() -> dict[str, str]:
    return {name: on("cp1", f"pidof {name}") for name in ("etcd", "kube-apiserver", "kube-scheduler")}


def test_what_ends_soon_is_renewed_and_what_reads_it_starts_anew(cluster: None) -> None:
    age("cp1", f"{PKI}/etcd/server.crt", LEAVES[f"{PKI}/etcd/server.crt"], 59)
    age_kubeconfig(ADMIN_CONF, 20)
    age("w1", KUBELET_SERVER, f"{PKI}/ca", 59)
    before = pids()
    told = kubestage("status")
    assert told.returncode == 1 and f"cp1: {ADMIN_CONF} and 1 more of the control plane ends on" in told.stdout

    changed = deploy().changed
    assert changed[RENEWED] == ["cp1"] and changed[SERVING] == ["w1"] and OWN not in changed
    assert not set(before.values()) & set(pids().values())
    for address, path in (("127.0.0.1:6443", f"{PKI}/apiserver.crt"), ("127.0.0.1:2379", f"{PKI}/etcd/server.crt")):
        assert served("cp1", address) == on_disk("cp1", path)
    assert served("w1", "127.0.0.1:10250") == on_disk("w1", KUBELET_SERVER)
    again = deploy().changed
    assert not {RENEWED, SERVING, OWN} & set(again)
    assert kubestage("status").returncode == 0
    assert verify("test_certificates.py") == set()


def test_a_cluster_that_was_off_for_too_long(cluster: None) -> None:
    """All has ended: no API, and no kubelet that starts. One run has it back; the user's kubeconfig as well."""
    for path, ca in LEAVES.items():
        age("cp1", path, ca, -1)
    for path in KUBECONFIGS:
        age_kubeconfig(path, -1)
    for host in ("cp1", "w1"):
        for path in (KUBELET_CLIENT, KUBELET_SERVER):
            age(host, path, f"{PKI}/ca", -1)
        on(host, "systemctl restart kubelet || true")
    # As after a boot: what runs has read what is there.
    on("cp1", "kill $(pidof etcd kube-apiserver kube-controller-manager kube-scheduler)")

    changed = deploy().changed
    assert changed[RENEWED] == ["cp1"] and changed[OWN] == ["w1"]
    assert len(json.loads(kubectl("get", "nodes", "--output", "json"))["items"]) == 3
    settle()
    assert not {RENEWED, SERVING, OWN} & set(deploy().changed)
    assert kubestage("status").returncode == 0, INVENTORY
