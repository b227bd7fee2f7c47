"""Rules about the user's own certificates: files on the machine that the run is started from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec

from kubestage.certificates import pem
from kubestage.checks.own_files import Unusable, content
from kubestage.settings import Problem
from kubestage.settings.cluster import ALL_HOSTS, Cluster

_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)  # what Envoy serves with; of RSA, 2048 bits or more
_SMALLEST_RSA = 2048
_DER = b"\x30"  # the first byte of a certificate and of a key


def _text(path: str, program: str) -> str:
    """A file's content; `program` is openssl's for what it should hold."""
    found = content(path, "PEM file")
    if found.startswith(_DER) and b"-----BEGIN " not in found:
        raise Unusable("the file is DER, not PEM", f"convert it: openssl {program} -inform DER -in FILE -out FILE.pem")
    return pem.text(found)


def _certificates(path: str) -> list[x509.Certificate]:
    text = _text(path, "x509")
    try:
        found = pem.certificates(text)
        for certificate in found:
            _ = certificate.public_key(), certificate.extensions  # they raise where they can't be read
        return found
    except (UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise Unusable(f"the certificate can't be understood: {error}", "have another one issued") from None
    except ValueError:
        if "PRIVATE KEY-----" in text:
            raise Unusable("the file holds a key, and no certificate", "name the certificate's file here") from None
        raise Unusable(
            "the file is not a certificate in PEM", 'name a file that has "-----BEGIN CERTIFICATE-----" in it'
        ) from None


def _key(path: str) -> pem.PrivateKey:
    text = _text(path, "pkey")
    if len(keys := pem.private_keys(text)) > 1:
        raise Unusable(f"the file holds {len(keys)} keys", "name a file that holds one")
    try:
        key = pem.private_key(text)
    except TypeError:
        raise Unusable(
            "the key has a passphrase", "write it without one: openssl pkey -in FILE -out FILE.plain"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise Unusable(
            "the file is not an RSA or elliptic curve key in PEM",
            'name a file that has "-----BEGIN PRIVATE KEY-----" in it, or make such a key',
        ) from None
    good = (
        isinstance(key.curve, _CURVES) if isinstance(key, ec.EllipticCurvePrivateKey) else key.key_size >= _SMALLEST_RSA
    )
    if not good:
        raise Unusable("no site can be served with such a key", "make one of RSA 2048 or of the curve P-256")
    return key


@dataclass(frozen=True)
class _Pair:
    """The files of NAME_certificate and NAME_key: all certificates of the first, and those of its chain in order."""

    problems: tuple[Problem, ...]
    given: tuple[x509.Certificate, ...] = ()
    chain: tuple[x509.Certificate, ...] = ()


def _pair(name: str, certificate: str, key: str) -> _Pair:
    """What is in these files, and what is wrong with it in itself. An empty `key` is none."""
    problems: list[Problem] = []

    def wrong(setting: str, value: str, reason: str, remedy: str) -> None:
        problems.append(Problem(ALL_HOSTS, reason, remedy, f"{name}_{setting}", value))

    given: list[x509.Certificate] = []
    private_key = None
    try:
        given = _certificates(certificate)
    except Unusable as error:
        wrong("certificate", certificate, error.reason, error.remedy)
    try:
        private_key = _key(key) if key else None
    except Unusable as error:
        wrong("key", key, error.reason, error.remedy)
    if not given:
        return _Pair(tuple(problems))
    chain = pem.chain(given, private_key)
    if private_key and not pem.is_key_of(private_key, chain[0]):
        wrong(
            "key",
            key,
            f"it is not the key of {name}_certificate = {certificate!r}",
            "name the key that the certificate was made with",
        )
    now = datetime.now(UTC)
    for number, each in enumerate(chain):
        begin, end = each.not_valid_before_utc, each.not_valid_after_utc
        it = f"of its chain, {each.subject.rfc4514_string()!r}" if number else "it"
        if end <= now:
            wrong("certificate", certificate, f"{it} expired on {end:%Y-%m-%d}", "renew it")
        elif begin > now:
            wrong(
                "certificate",
                certificate,
                f"{it} is not valid before {begin:%Y-%m-%d %H:%M} UTC",
                "wait until then, or check this machine's clock",
            )
    return _Pair(tuple(problems), tuple(given), tuple(chain))


def ca(cluster: Cluster) -> Iterator[Problem]:
    s = cluster.common
    if s.ca_key and not s.ca_certificate:
        yield cluster.wrong("ca_key", "there is a key and no certificate", "set ca_certificate as well")
    if not s.ca_certificate:
        return

    def wrong(reason: str, remedy: str) -> Problem:
        return cluster.wrong("ca_certificate", reason, remedy)

    if not s.ca_key and not s.wildcard_certificate:
        yield wrong(
            "there is a certificate and no key, so it can't issue the sites' certificate",
            "set ca_key as well, or bring that one too: wildcard_certificate and wildcard_key",
        )
    pair = _pair("ca", s.ca_certificate, s.ca_key)
    yield from pair.problems
    if not pair.given:
        return
    if len(pair.given) > 1:
        yield wrong(
            f"the file holds {len(pair.given)} certificates, and hosts trust one",
            "name a file that holds the CA's alone",
        )
    elif not pem.is_ca(pair.given[0]):
        yield wrong(
            "it is no CA's certificate: its basic constraints do not say CA:TRUE",
            "name the CA's own; a site's certificate belongs in wildcard_certificate",
        )
    elif not pem.may_sign(pair.given[0]):
        yield wrong(
            "it may not sign certificates: its key usage has no keyCertSign",
            "have the CA's certificate made anew with keyUsage = keyCertSign, cRLSign",
        )
    elif s.wildcard_certificate:
        chain = _pair("wildcard", s.wildcard_certificate, s.wildcard_key).chain
        if chain and not any(each == pair.given[0] or pem.is_issued_by(each, pair.given[0]) for each in chain):
            yield wrong(
                "the sites' certificate is not of it: hosts would trust a CA that no site is served with; "
                f"wildcard_certificate = {s.wildcard_certificate!r} was issued by "
                f"{chain[-1].issuer.rfc4514_string()!r}",
                "name the CA that issued it, and put those between both into wildcard_certificate; "
                "or leave ca_certificate empty where every machine trusts that one already",
            )


def wildcard(cluster: Cluster) -> Iterator[Problem]:
    s = cluster.common
    if bool(s.wildcard_certificate) != bool(s.wildcard_key):
        given, missing = ("certificate", "key") if s.wildcard_certificate else ("key", "certificate")
        yield Problem(
            ALL_HOSTS,
            f"there is a {given} and no {missing}",
            f"set wildcard_{missing} as well, or leave both empty to have one issued",
            f"wildcard_{given}",
            s.wildcard_certificate or s.wildcard_key,
        )
    if not s.wildcard_certificate:
        return

    def wrong(reason: str, remedy: str) -> Problem:
        return cluster.wrong("wildcard_certificate", reason, remedy)

    pair = _pair("wildcard", s.wildcard_certificate, s.wildcard_key)
    yield from pair.problems
    if not pair.chain:
        return
    leaf = pair.chain[0]
    strangers = [each.subject.rfc4514_string() for each in pair.given if each not in pair.chain]
    if strangers and not pair.problems:
        yield wrong(
            f"the file holds a certificate that is not of its chain: {strangers[0]!r}",
            "leave in it the certificate itself, and those that lead from it to its CA",
        )
    names = [name.lower() for name in pem.dns_names(leaf)]
    if f"*.{s.domain}" not in names:
        yield wrong(
            f"it is for {', '.join(names)}, and not for *.{s.domain}"
            if names
            else "it has no subject alternative name, and browsers look at nothing else",
            f"have one issued for DNS:*.{s.domain}" + (", or correct domain" if names else ""),
        )
    elif not pem.may_serve(leaf):
        yield wrong(
            "no site may be served with it: its extended key usage has no serverAuth",
            "have one issued with extendedKeyUsage = serverAuth",
        )


RULES: tuple[Callable[[Cluster], Iterator[Problem]], ...] = (ca, wildcard)
