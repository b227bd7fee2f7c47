"""The certificates on a host, as preflight asks for them: kubeadm's, the kubelet's, the platform's. No key is read."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography import x509

from kubestage.certificates.platform import PKI
from kubestage.facts.answers import Answers, filled
from kubestage.kubernetes import KUBEADM_CERTIFICATES, KUBECONFIGS, KUBELET_CLIENT, KUBELET_SERVER, RENEWING

# Of a file the first certificate, which is its own, as one line of base64; "-" where there is none in it.
_SCRIPT = r"""
certificates() {  # FILE...
    for file; do
        shift
        if [ -f "$file" ]; then set -- "$@" "$file"; fi
    done
    if [ $# = 0 ]; then return; fi
    awk '
        FNR == 1 { state = 0; text = "" }
        { gsub(/\r/, "") }
        $1 == "client-certificate-data:" { print "certificate", FILENAME, $2; told[FILENAME] }
        state == 1 && /-----END CERTIFICATE-----/ { print "certificate", FILENAME, text; told[FILENAME]; state = 2 }
        state == 1 { gsub(/[ \t]/, ""); text = text $0 }
        state == 0 && /-----BEGIN CERTIFICATE-----/ { state = 1 }
        END { for (n = 1; n < ARGC; n++) if (!(ARGV[n] in told)) print "certificate", ARGV[n], "-" }
    ' "$@"
}
certificates @FILES@
if [ -e @RENEWING@ ]; then echo "renewing unfinished"; fi
"""


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """`certificates`: path -> the certificate in the file; None where the file is there and holds none to read.

    `renewing`: a run has begun to renew kubeadm's, and has not come to the end of that.
    """

    certificates: Mapping[str, x509.Certificate | None]
    renewing: bool


def script() -> str:
    files = (f"{KUBEADM_CERTIFICATES}/*.crt", f"{KUBEADM_CERTIFICATES}/etcd/*.crt", *KUBECONFIGS)
    files += (KUBELET_CLIENT, KUBELET_SERVER, f"{PKI}/*.crt", f"{PKI}/*/*.crt")
    return filled(_SCRIPT, {"FILES": " ".join(files), "RENEWING": RENEWING})


def read(said: Answers) -> Certificates:
    return Certificates(
        certificates={path: _certificate(data) for path, data in said.pairs("certificate").items()},
        renewing="renewing" in said,
    )


def _certificate(data: str) -> x509.Certificate | None:
    """From the base64 of its DER or, as a kubeconfig holds it, of its PEM."""
    try:
        content = base64.b64decode(data, validate=True)
        if content.startswith(b"-----BEGIN"):
            return x509.load_pem_x509_certificate(content)
        return x509.load_der_x509_certificate(content)
    except ValueError:
        return None
