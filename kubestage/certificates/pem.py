"""Certificates and keys read from PEM texts, and what can be said of them.

A text may be what other programs make of one: a key beside its certificate, remarks around them, indented, with the
line ends or the byte-order mark of Windows.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_BLOCK = re.compile(r"^-----BEGIN (?P<label>[A-Z0-9 ]+)-----$.*?^-----END (?P=label)-----$", re.DOTALL | re.MULTILINE)
_CERTIFICATES = ("CERTIFICATE", "X509 CERTIFICATE")


def text(content: bytes) -> str:
    """A PEM file's content as text. Remarks may be in any encoding: what counts is ASCII."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    return content.decode("utf-8-sig", errors="replace")


def _blocks(pem: str) -> list[tuple[str, str]]:
    """Label ("CERTIFICATE") and PEM of everything in a text."""
    lines = "\n".join(line.strip(" \t\ufeff") for line in pem.splitlines())
    return [(match["label"], match[0] + "\n") for match in _BLOCK.finditer(lines)]


def certificates(pem: str) -> list[x509.Certificate]:
    """All certificates of a text; raises ValueError where there is none, or one that can't be read."""
    return x509.load_pem_x509_certificates(
        "".join(block for label, block in _blocks(pem) if label in _CERTIFICATES).encode()
    )


def first(pem: str) -> x509.Certificate:
    """The first certificate of a text; raises ValueError."""
    return certificates(pem)[0]


def private_keys(pem: str) -> list[str]:
    """The PEM of every private key of a text."""
    return [block for label, block in _blocks(pem) if label.endswith("PRIVATE KEY")]


def private_key(pem: str) -> PrivateKey:
    """The one key of a text.

    Raises ValueError where there is none, more than one, or one that can't serve here; TypeError where it has a
    passphrase.
    """
    keys = private_keys(pem)
    if len(keys) != 1:
        raise ValueError(f"{len(keys)} keys")
    key = load_pem_private_key(keys[0].encode(), password=None)
    if not isinstance(key, PrivateKey):
        raise ValueError("neither an RSA nor an elliptic curve key")
    return key


def is_key_of(key: PrivateKey, certificate: x509.Certificate) -> bool:
    return certificate.public_key() == key.public_key()


def dns_names(certificate: x509.Certificate) -> list[str]:
    """The DNS names among its subject alternative names."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return names.value.get_values_for_type(x509.DNSName)


def is_ca(certificate: x509.Certificate) -> bool:
    """Whether it may sign other certificates, by its basic constraints."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def may_sign(certificate: x509.Certificate) -> bool:
    """Whether its key usage lets it sign other certificates; one that says nothing of it may."""
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True


def may_serve(certificate: x509.Certificate) -> bool:
    """Whether its extended key usage lets a server have it; one that says nothing of it may."""
    try:
        uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return ExtendedKeyUsageOID.SERVER_AUTH in uses or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in uses


def is_issued_by(certificate: x509.Certificate, ca: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def chain(found: Sequence[x509.Certificate], key: PrivateKey | None) -> list[x509.Certificate]:
    """Those of `found` that servers present, in the order in which they must: each is issued by the next one.

    The first is the one of `key`, or where that is none or has none, the first of `found`.
    """
    ordered = [next((each for each in found if key and is_key_of(key, each)), found[0])]
    while issuer := next((each for each in found if each not in ordered and is_issued_by(ordered[-1], each)), None):
        ordered.append(issuer)
    return ordered


def fingerprint(pem: str) -> str:
    """SHA-256 of the certificate, as browsers show it: "AB:CD:..."."""
    return first(pem).fingerprint(SHA256()).hex(":").upper()


def normalised(found: Sequence[x509.Certificate]) -> str:
    """The PEM of certificates, and nothing else."""
    return "".join(each.public_bytes(Encoding.PEM).decode() for each in found)


def normalised_key(key: PrivateKey) -> str:
    """The PEM of a key, in the format that every program takes (PKCS #8)."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
