"""Certificates made at run time, good and bad ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def certificate(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    *,
    names: list[str] | None = None,
    ca: bool | None = None,
    begin: datetime = NOW - DAY,
    end: datetime = NOW + 365 * DAY,
) -> str:
    """A self-signed one (PEM). `names`: DNS SANs, none at all for None; `ca`: no basic constraints for None."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "someone else's")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )
    if names is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), True)
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM).decode()


def signed(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    name: str,
    by: tuple[ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, str] | None = None,
    *extensions: x509.ExtensionType,
    begin: datetime = NOW - DAY,
    end: datetime = NOW + 365 * DAY,
) -> str:
    """One (PEM) whose common name is `name`, issued `by` a key and its common name, or by itself."""
    signer, issuer = by or (key, name)
    builder = x509.CertificateBuilder(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
        key.public_key(),
        x509.random_serial_number(),
        begin,
        end,
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(signer, SHA256()).public_bytes(Encoding.PEM).decode()


def key_pem(key: Key, passphrase: bytes | None = None, kind: PrivateFormat = PrivateFormat.PKCS8) -> str:
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, kind, encryption).decode()


def file(folder: Path, name: str, content: str) -> str:
    """The path of a new file."""
    (folder / name).write_text(content)
    return str(folder / name)
