"""Certificates on lab hosts, made anew so that they end soon, or have ended."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from kubestage.certificates import pem
from kubestage.kubernetes import KUBECONFIGS
from tests.lab.commands import on

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
