"""Certificates and keys read from PEM texts, and what can be said of them."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def certificates(pem: str) -> list[x509.Certificate]:
    """All certificates of a text; raises ValueError where there is none, or one that can't be read."""
    return x509.load_pem_x509_certificates(pem.encode())


def first(pem: str) -> x509.Certificate:
    """The certificate itself, without its chain; raises ValueError."""
    return certificates(pem)[0]


def private_key(pem: str) -> PrivateKey:
    """Raises ValueError where it is none, or of a kind that can't serve here; TypeError where it has a passphrase."""
    key = load_pem_private_key(pem.encode(), password=None)
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
    """Whether it may sign other certificates."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def is_issued_by(certificate: x509.Certificate, ca: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def fingerprint(pem: str) -> str:
    """SHA-256 of the certificate, as browsers show it: "AB:CD:..."."""
    return first(pem).fingerprint(SHA256()).hex(":").upper()


def normalised(pem: str) -> str:
    """The certificates of a text alone, as they came: files of other programs hold remarks between them."""
    return "".join(found.public_bytes(Encoding.PEM).decode() for found in certificates(pem))
