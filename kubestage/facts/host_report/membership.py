"""What a host is in a cluster, by the files that kubeadm and a run have left there, as preflight asks for them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from kubestage.facts.answers import Answers, filled
from kubestage.kubernetes import (
    ADMIN_CONF,
    APISERVER_MANIFEST,
    CONTROLLER_MANAGER_MANIFEST,
    ENDPOINT_UNIT,
    INITIALIZED,
    KUBELET_CONF,
    MANIFESTS,
    OURS,
)

_SCRIPT = r"""
if [ -e @ADMIN_CONF@ ]; then echo "file admin_conf"; fi
if [ -e @KUBELET_CONF@ ]; then echo "file kubelet_conf"; fi
if [ -e @INITIALIZED@ ]; then echo "file initialized"; fi
if [ -e @OURS@ ]; then echo "file ours"; fi
if [ -d @MANIFESTS@ ]; then echo "file manifests"; fi
for f in pki/ca.crt bootstrap-kubelet.conf manifests/kube-apiserver.yaml; do
    if [ -e /etc/kubernetes/$f ]; then echo "file debris"; fi
done
for unit in kubestage-init kubestage-join; do
    if systemctl --quiet is-active $unit 2>/dev/null; then echo "running $unit"; fi
done
if systemctl --quiet is-active @ENDPOINT_UNIT@ 2>/dev/null; then echo "file endpoint"; fi
sed -n 's/^ *server: */kubelet_server /p; s/^ *certificate-authority-data: */kubelet_ca /p' @KUBELET_CONF@ 2>/dev/null
if [ -e @KUBELET_CONF@ ] && ! grep -q certificate-authority-data @KUBELET_CONF@; then
    echo "kubelet_ca $(base64 -w 0 /etc/kubernetes/pki/ca.crt 2>/dev/null)"
fi
sed -n 's/^ *certificate-authority-data: */admin_ca /p; s|^ *server: https://|made endpoint |p' @ADMIN_CONF@ 2>/dev/null
# The first certificate alone: the file holds the kubelet's key as well.
sed -n '/END CERTIFICATE/q; /BEGIN CERTIFICATE/,$ { /-----/!p; }' \
    /var/lib/kubelet/pki/kubelet-client-current.pem 2>/dev/null | tr -d '\n' | sed 's/^/kubelet_certificate /; s/$/\n/'
sed -n 's/.*--node-ip=\([0-9.]*\).*/joined_as \1/p' /var/lib/kubelet/kubeadm-flags.env 2>/dev/null
sed -n 's/^ *- --advertise-address=/advertised /p' @APISERVER@ 2>/dev/null

# What the cluster was made with, as its own files have it.
sed -n 's/^ *- --\(cluster-cidr\|cluster-name\|secure-port\|service-cluster-ip-range\)=/made \1 /p
    s/^ *image: .*apiserver:v/made version /p' @APISERVER@ @CONTROLLER_MANAGER@ 2>/dev/null
if [ -e @APISERVER@ ]; then
    sed -n 's/^\(cgroupDriver\|clusterDomain\): */made \1 /p' /var/lib/kubelet/config.yaml 2>/dev/null
fi
"""


@dataclass(frozen=True, kw_only=True)
class Membership:
    """`kubelet_ca`, `admin_ca`: SHA-256 of the cluster CA in kubelet.conf and admin.conf.

    `made`: on a control plane, flags and settings that it was made with. `endpoint`: whether our balancer of the API
    runs. `leads`: whether a run has applied manifests from here. `running`: the unit in which a kubeadm of ours is at
    work. `node_name`: as whom the kubelet is known. `node_ip`: with which address it has joined; `advertised`: at which
    its API server is said to be; "" where there is none.
    """

    admin_conf: bool
    kubelet_conf: bool
    initialized: bool
    debris: bool
    ours: bool
    leads: bool
    endpoint: bool
    running: str
    made: Mapping[str, str]
    kubelet_server: str
    kubelet_ca: str
    admin_ca: str
    node_name: str
    node_ip: str
    advertised: str


def script() -> str:
    words = {
        "ADMIN_CONF": ADMIN_CONF,
        "KUBELET_CONF": KUBELET_CONF,
        "INITIALIZED": INITIALIZED,
        "OURS": OURS,
        "MANIFESTS": MANIFESTS,
        "APISERVER": APISERVER_MANIFEST,
        "CONTROLLER_MANAGER": CONTROLLER_MANAGER_MANIFEST,
        "ENDPOINT_UNIT": ENDPOINT_UNIT,
    }
    return filled(_SCRIPT, words)


def read(said: Answers) -> Membership:
    files = said.all("file")
    return Membership(
        admin_conf="admin_conf" in files,
        kubelet_conf="kubelet_conf" in files,
        initialized="initialized" in files,
        debris="debris" in files,
        ours="ours" in files,
        leads="manifests" in files,
        endpoint="endpoint" in files,
        running=said.first("running"),
        made=said.pairs("made"),
        kubelet_server=said.first("kubelet_server"),
        kubelet_ca=_fingerprint(said.first("kubelet_ca")),
        admin_ca=_fingerprint(said.first("admin_ca")),
        node_name=_node_name(said.first("kubelet_certificate")),
        node_ip=said.first("joined_as"),
        advertised=said.first("advertised"),
    )


def _fingerprint(data: str) -> str:
    """SHA-256 of the first certificate in a kubeconfig's certificate-authority-data."""
    if not data:
        return ""
    return x509.load_pem_x509_certificate(base64.b64decode(data)).fingerprint(SHA256()).hex()


def _node_name(certificate: str) -> str:
    """The name of the node in the kubelet's client certificate, whose subject is "system:node:NAME"."""
    if not certificate:
        return ""
    try:
        subject = x509.load_der_x509_certificate(base64.b64decode(certificate)).subject
    except binascii.Error as error:
        raise ValueError(f"kubelet certificate: {error}") from error
    names = [str(attribute.value) for attribute in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return names[0].removeprefix("system:node:") if names else ""
