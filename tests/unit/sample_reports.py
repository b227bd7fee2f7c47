"""What hosts answer to preflight's one question, as the script prints it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

# Recorded on a bare Debian 12 virtual machine, with addresses and clock readings replaced.
BARE = """\
begin 1000.25
uid 0
os debian|12|bookworm
architecture amd64
cpus 2
memory_mib 24105
memory_free_mib 20000
tasks 312 4194304
folder packages 82434380 67049472 5242880 5100000 (rw,relatime) /
folder kubelet 82434380 67049472 5242880 5100000 (rw,relatime) /
folder images 82434380 67049472 5242880 5100000 (rw,relatime) /
folder docker 82434380 67049472 5242880 5100000 (rw,relatime) /
folder cni 82434380 67049472 5242880 5100000 (rw,relatime) /
folder volumes 82434380 67049472 5242880 5100000 (rw,relatime) /
tool apt-get
tool ip
tool systemctl
resolv_conf /etc/resolv.conf
route default via 10.0.0.1 dev eth0
address 1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever
address 4: eth0    inet 10.0.0.@N@/24 brd 10.0.0.255 scope global eth0\\       valid_lft forever preferred_lft forever
tcp 0016
udp 0044
ephemeral 32768	60999

asked kubernetes
available kubernetes kubelet 1.36.2-1.1
available kubernetes kubelet 1.36.3-1.1
available kubernetes kubeadm 1.36.3-1.1
available kubernetes kubectl 1.36.3-1.1
asked docker
available docker docker-ce 5:29.9.3-1~debian.12~bookworm
available docker docker-ce-cli 5:29.9.3-1~debian.12~bookworm
available docker containerd.io 2.4.2-1~debian.12~bookworm
end 1000.75
"""


def bare(number: int) -> str:
    """A fresh host with the address 10.0.0.NUMBER."""
    return BARE.replace("@N@", str(number))


def certificate(name: str) -> x509.Certificate:
    """A certificate whose subject's common name is `name`."""
    key = generate_private_key(SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    return builder.not_valid_before(now).not_valid_after(now + timedelta(days=1)).sign(key, SHA256())


def served(*names: str) -> list[str]:
    """The lines of a certificate in PEM for `names`, addresses or DNS names; none for no name."""
    if not names:
        return []
    key = generate_private_key(SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")])
    now = datetime.now(UTC)
    kinds: list[x509.GeneralName] = [
        x509.IPAddress(ip_address(name)) if name.replace(".", "").isdigit() else x509.DNSName(name) for name in names
    ]
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    certificate = builder.add_extension(x509.SubjectAlternativeName(kinds), critical=False).sign(key, SHA256())
    return certificate.public_bytes(Encoding.PEM).decode().splitlines()


OUR_CA, OTHER_CA = certificate("kubernetes"), certificate("kubernetes")


def inline(ca: x509.Certificate) -> str:
    """A certificate as certificate-authority-data holds it."""
    return base64.b64encode(ca.public_bytes(Encoding.PEM)).decode()


def kubelet_certificate(node: str) -> str:
    return base64.b64encode(certificate(f"system:node:{node}").public_bytes(Encoding.DER)).decode()


def _installed(report: str) -> str:
    """The report of a host that has its packages, so that it asks no mirror."""
    lines = [line for line in report.splitlines() if not line.startswith(("asked", "available", "end"))]
    packages = ["kubelet 1.36.3-1.1", "docker-ce 5:29.9.3-1~debian.12~bookworm", "containerd.io 2.4.2-1~debian.12~x"]
    return "\n".join([*lines, *(f"package {package}" for package in packages), "end 1000.75", ""])


def member(number: int, name: str, ca: x509.Certificate = OUR_CA) -> str:
    """A worker of the cluster with this CA."""
    return _installed(bare(number)) + "\n".join(
        [
            "tcp 280A",
            "tcp 2810",
            "udp 2118",
            "file kubelet_conf",
            "file debris",
            "file ours",
            "kubelet_server https://10.0.0.11:6443",
            f"kubelet_ca {inline(ca)}",
            f"kubelet_certificate {kubelet_certificate(name)}",
            "",
        ]
    )


def _volume(words: list[str]) -> str:
    return "volume " + "|".join([*words, *("Delete Bound", "", "")[len(words) - 3 :]])


def control_plane(
    number: int = 11,
    name: str = "cp1",
    services: str = "",
    nodes: str = "",
    volumes: Sequence[str] = (),
    stack_objects: Sequence[str] = (),
) -> str:
    """A finished control plane; `services` and `nodes` are more objects of its API, a line each.

    `volumes`: its PersistentVolumes, as "NAMESPACE/CLAIM|CLASS|SIZE"; with "|POLICY PHASE" where they are not in use,
    and after that with "|NODE|FOLDER" where they lie on a node. `stack_objects`: "STACK|VERSION|KIND|NAMESPACE|NAME".
    """
    return member(number, name) + "\n".join(
        [
            *(f"tcp {port:04X}" for port in (2379, 2380, 2381, 6443, 10257, 10259)),
            "file admin_conf",
            "file initialized",
            f"admin_ca {inline(OUR_CA)}",
            "cluster known",
            "object Service|default/kubernetes||||",
            "object Service|kube-system/kubestage-reserved-node-ports||6443 10250||",
            f"object Node|/{name}|||10.0.0.{number}|True",
            *(f"object {line}" for line in (services + "\n" + nodes).split("\n") if line),
            *(_volume(volume.split("|")) for volume in volumes),
            *(f"stack_object {one}|Apply|1|7|{{}}" for one in stack_objects),
            "stack_objects ",
            "",
        ]
    )
