"""The platform's certificates: its CA, the wildcard certificate of its sites, and whether they still serve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kubestage.certificates import pem
from kubestage.kubernetes import OURS

PKI = f"{OURS}/pki"
CA_CERTIFICATE, CA_KEY = f"{PKI}/ca.crt", f"{PKI}/ca.key"
WILDCARD_CERTIFICATE, WILDCARD_KEY = f"{PKI}/wildcard.crt", f"{PKI}/wildcard.key"  # the certificate with its chain

CA_LIFE = timedelta(days=3650)
LEAF_LIFE = timedelta(days=397)  # browsers refuse a site's certificate that lives longer
# How far back one begins: the clocks of its readers may be behind, and the one by which it was made may be ahead.
_BACKDATED = timedelta(days=1)

SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


@dataclass(frozen=True)
class Pair:
    """PEM: a certificate with its chain behind it, and its key (never shown; empty where there is none)."""

    certificate: str
    key: str = field(repr=False)


def given(certificate: str, key: str) -> Pair | None:
    """The user's own files at these paths on this machine; None where the first is empty. Rules have judged them."""
    if not certificate:
        return None
    found = pem.certificates(pem.text(Path(certificate).expanduser().read_bytes()))
    private_key = pem.private_key(pem.text(Path(key).expanduser().read_bytes())) if key else None
    return Pair(pem.normalised(pem.chain(found, private_key)), pem.normalised_key(private_key) if private_key else "")


def new_ca(name: str, now: datetime) -> Pair:
    """A CA called `name`. It signs sites' certificates, and no other CA's."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(name)
    builder = (
        _builder(subject, subject, key, now, now + CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
    )
    return Pair(pem.normalised([builder.sign(key, SHA256())]), pem.normalised_key(key))


def issued(
    ca: Pair,
    names: Sequence[str],
    now: datetime,
    *,
    use: x509.ObjectIdentifier = SERVER,
    life: timedelta = LEAF_LIFE,
) -> Pair:
    """A certificate for the DNS `names`, with the CA's own behind it. It ends with its CA at the latest."""
    authority, authority_key = pem.first(ca.certificate), pem.private_key(ca.key)
    key = ec.generate_private_key(ec.SECP256R1())
    end = min(now - _BACKDATED + life, authority.not_valid_after_utc)
    builder = (
        _builder(_subject(names[-1]), authority.subject, key, now, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(_authority_key_identifier(authority), critical=False)
    )
    return Pair(pem.normalised([builder.sign(authority_key, SHA256())]) + ca.certificate, pem.normalised_key(key))


def wildcard_names(domain: str) -> list[str]:
    """What the sites' certificate is for: the domain, and all names right below it."""
    return [domain, f"*.{domain}"]


def is_early(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether its time has not come yet, which a new one would not mend: a clock is wrong, or was."""
    return now < certificate.not_valid_before_utc


def is_late(certificate: x509.Certificate, now: datetime, renew_days: int) -> bool:
    """Whether it has ended, or does within these days; of one with a short life, within the last third of that.

    So one that is renewed is not late at once.
    """
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return certificate.not_valid_after_utc < now + min(timedelta(days=renew_days), life / 3)


def is_good(certificate: str, ca: str, names: Sequence[str], now: datetime, renew_days: int) -> bool:
    """Whether it is for `names`, of the `ca`, and need not be issued anew.

    In its CA's own last days a new one would end as early: it is left.
    """
    try:
        found, authority = pem.first(certificate), pem.first(ca)
    except ValueError:
        return False
    ends_with_its_ca = found.not_valid_after_utc >= authority.not_valid_after_utc
    return (
        set(names) <= set(pem.dns_names(found))
        and pem.is_issued_by(found, authority)
        and not is_early(found, now)
        and (ends_with_its_ca or not is_late(found, now, renew_days))
    )


def _subject(name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "kubestage"),
            x509.NameAttribute(NameOID.COMMON_NAME, name[:64]),  # RFC 5280 allows no more
        ]
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _authority_key_identifier(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """By the identifier that the CA's certificate has, whatever way it was made up."""
    try:
        known = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.public_key())  # type: ignore[arg-type]
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known.value)


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
