"""The user's own certificates: what is wrong with the files is told, and what is right is taken."""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from refusals import follow
from sample_certificates import DAY, NOW, certificate, file, key_pem, new_key, signed
from sample_cluster import GROUPS, hosts_data

from kubestage.certificates import pem
from kubestage.certificates.platform import given
from kubestage.checks.load import load
from kubestage.settings import Problem, SettingsError

SITES = ["lab.test", "*.lab.test"]


def problems(**settings: str) -> list[Problem]:
    data = hosts_data({"domain": "lab.test", **settings})
    try:
        load(data, GROUPS)
    except SettingsError as error:
        assert {problem.where for problem in error.problems} == {"all hosts"}
        for problem in error.problems:
            follow(problem, data)
        return error.problems
    return []


def only(setting: str, value: Any, reason: str, remedy: str, **settings: str) -> None:
    """There is one problem, and it is this one."""
    (problem,) = problems(**settings)
    assert (problem.setting, problem.value) == (setting, value)
    assert reason in problem.reason
    assert remedy in problem.remedy


class Files:
    """A good pair of each kind in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        key = new_key()
        self.wildcard = file(folder, "wildcard.crt", certificate(key, names=SITES))
        self.wildcard_key = file(folder, "wildcard.key", key_pem(key))
        self.ca_pem, self.ca_key_pem = certificate(key, ca=True), key_pem(key)
        self.ca = file(folder, "ca.crt", self.ca_pem)
        self.ca_key = file(folder, "ca.key", self.ca_key_pem)

    def file(self, content: str) -> str:
        return file(self.folder, "other", content)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


class TestGood:
    def test_both_pairs(self, files: Files) -> None:
        pairs = {"ca_certificate": files.ca, "ca_key": files.ca_key}
        assert problems(**pairs) == []
        assert problems(wildcard_certificate=files.wildcard, wildcard_key=files.wildcard_key) == []
        assert problems(**pairs, wildcard_certificate=files.wildcard, wildcard_key=files.wildcard_key) == []

    def test_a_ca_to_trust_alone_beside_its_wildcard_certificate(self, files: Files) -> None:
        wildcard = {"wildcard_certificate": files.wildcard, "wildcard_key": files.wildcard_key}
        assert problems(ca_certificate=files.ca, **wildcard) == []

    def test_rsa_and_older_formats(self, files: Files) -> None:
        key = rsa.generate_private_key(65537, 2048)
        own = files.file(certificate(key, names=["*.lab.test"]))
        own_key = file(files.folder, "rsa.key", key_pem(key, kind=PrivateFormat.TraditionalOpenSSL))
        assert problems(wildcard_certificate=own, wildcard_key=own_key) == []

    def test_home_folder(self, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(files.folder))
        assert problems(ca_certificate="~/ca.crt", ca_key="~/ca.key") == []
        pair = given("~/ca.crt", "~/ca.key")
        assert pair is not None and pair.certificate == files.ca_pem

    def test_none_given(self) -> None:
        assert given("", "") is None


LEAF_KEY, MIDDLE_KEY, ROOT_KEY = new_key(), new_key(), new_key()
IS_CA = x509.BasicConstraints(ca=True, path_length=None)
FOR_SITES = x509.SubjectAlternativeName([x509.DNSName(name) for name in SITES])
LEAF = signed(LEAF_KEY, "leaf", (MIDDLE_KEY, "middle"), FOR_SITES)
MIDDLE = signed(MIDDLE_KEY, "middle", (ROOT_KEY, "root"), IS_CA)
ROOT = signed(ROOT_KEY, "root", None, IS_CA)

# What programs, editors and people make of the PEM of a certificate with its chain, or of a key.
WRITTEN: dict[str, Callable[[str], bytes]] = {
    "as it should be": str.encode,
    "with Windows' line ends": lambda pem: pem.replace("\n", "\r\n").encode(),
    "with a byte-order mark": lambda pem: codecs.BOM_UTF8 + pem.encode(),
    "as Windows' Unicode": lambda pem: pem.encode("utf-16"),
    "indented": lambda pem: "".join(f"    {line}\n" for line in pem.splitlines()).encode(),
    "with spaces at its line ends": lambda pem: pem.replace("\n", " \t\n").encode(),
    "without a last line end": lambda pem: pem.rstrip().encode(),
    "with remarks": lambda pem: b"Bag Attributes\n    friendlyName: B\xfccher\nsubject=CN = x\n\n" + pem.encode(),
    "a certificate and a key in one": lambda pem: (LEAF + MIDDLE + key_pem(LEAF_KEY)).encode(),
    "a key before its certificate": lambda pem: (key_pem(LEAF_KEY) + LEAF + MIDDLE).encode(),
    "with a curve's parameters before the key": lambda pem: (
        f"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{pem}".encode()
    ),
}


class TestWritten:
    """However a file is written: what a host gets is plain PEM, a certificate with its chain and a key alone."""

    def own(self, folder: Path, chain: bytes, key: bytes) -> dict[str, str]:
        (folder / "own.crt").write_bytes(chain)
        (folder / "own.key").write_bytes(key)
        return {"wildcard_certificate": str(folder / "own.crt"), "wildcard_key": str(folder / "own.key")}

    @pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
    def test_what_a_host_gets(self, written: Callable[[str], bytes], tmp_path: Path) -> None:
        own = self.own(tmp_path, written(LEAF + MIDDLE), written(key_pem(LEAF_KEY)))
        assert problems(**own) == []
        pair = given(own["wildcard_certificate"], own["wildcard_key"])
        assert pair is not None and (pair.certificate, pair.key) == (LEAF + MIDDLE, key_pem(LEAF_KEY))
        assert pair.key not in repr(pair)

    @pytest.mark.parametrize("kind", [PrivateFormat.TraditionalOpenSSL, PrivateFormat.PKCS8])
    def test_a_key_of_any_format(self, kind: PrivateFormat, tmp_path: Path) -> None:
        own = self.own(tmp_path, (LEAF + MIDDLE).encode(), key_pem(LEAF_KEY, kind=kind).encode())
        assert problems(**own) == []
        pair = given(own["wildcard_certificate"], own["wildcard_key"])
        assert pair is not None and pair.key == key_pem(LEAF_KEY)

    def test_two_keys(self, files: Files) -> None:
        path = files.file(files.ca_key_pem + key_pem(new_key()))
        only("ca_key", path, "holds 2 keys", "a file that holds one", ca_certificate=files.ca, ca_key=path)

    def test_a_key_in_der(self, files: Files) -> None:
        path = Path(files.file(""))
        path.write_bytes(LEAF_KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
        only("ca_key", str(path), "DER", "openssl pkey -inform DER", ca_certificate=files.ca, ca_key=str(path))


class TestChain:
    def own(self, files: Files, *chain: str) -> dict[str, str]:
        own_key = file(files.folder, "leaf.key", key_pem(LEAF_KEY))
        return {"wildcard_certificate": files.file("".join(chain)), "wildcard_key": own_key}

    @pytest.mark.parametrize(
        "chain", [(MIDDLE, LEAF), (ROOT, LEAF, MIDDLE), (LEAF, ROOT, MIDDLE), (LEAF, MIDDLE, LEAF)], ids=range(4)
    )
    def test_is_put_in_order(self, files: Files, chain: tuple[str, ...]) -> None:
        own = self.own(files, *chain)
        assert problems(**own) == []
        pair = given(own["wildcard_certificate"], own["wildcard_key"])
        assert pair is not None and pair.certificate == LEAF + MIDDLE + (ROOT if ROOT in chain else "")

    def test_a_stranger(self, files: Files) -> None:
        own = self.own(files, LEAF, ROOT)  # without what leads to it
        only("wildcard_certificate", own["wildcard_certificate"], "not of its chain: 'CN=root'", "leave in it", **own)

    def test_an_expired_one_above(self, files: Files) -> None:
        own = self.own(files, LEAF, signed(MIDDLE_KEY, "middle", (ROOT_KEY, "root"), IS_CA, end=NOW - DAY / 2))
        reason = "of its chain, 'CN=middle' expired on"
        only("wildcard_certificate", own["wildcard_certificate"], reason, "renew it", **own)

    @pytest.mark.parametrize("ca", [MIDDLE, ROOT], ids=["it issued it", "above the one that did"])
    def test_the_ca_that_it_is_of(self, files: Files, ca: str) -> None:
        assert problems(ca_certificate=file(files.folder, "its-ca", ca), **self.own(files, LEAF, MIDDLE)) == []

    def test_another_ca_of_that_name(self, files: Files) -> None:
        path = file(files.folder, "other-ca", signed(new_key(), "root", None, IS_CA))
        own = self.own(files, LEAF, MIDDLE)
        reason = "issued by 'CN=root'"
        only("ca_certificate", path, reason, "name the CA that issued it", ca_certificate=path, **own)

    def test_a_ca_whose_certificates_lead_not_that_far(self, files: Files) -> None:
        path = file(files.folder, "its-ca", ROOT)
        reason, remedy = "issued by 'CN=middle'", "those between both"
        only("ca_certificate", path, reason, remedy, ca_certificate=path, **self.own(files, LEAF))


class TestUsage:
    def usage(self, *, sign: bool) -> x509.KeyUsage:
        others = (
            "content_commitment key_encipherment data_encipherment key_agreement crl_sign encipher_only decipher_only"
        )
        return x509.KeyUsage(digital_signature=True, key_cert_sign=sign, **dict.fromkeys(others.split(), False))

    def test_a_ca_that_may_not_sign(self, files: Files) -> None:
        own_key = file(files.folder, "own.key", key_pem(ROOT_KEY))
        path = files.file(signed(ROOT_KEY, "root", None, IS_CA, self.usage(sign=False)))
        reason, remedy = "no keyCertSign", "keyUsage = keyCertSign"
        only("ca_certificate", path, reason, remedy, ca_certificate=path, ca_key=own_key)
        Path(path).write_text(signed(ROOT_KEY, "root", None, IS_CA, self.usage(sign=True)))
        assert problems(ca_certificate=path, ca_key=own_key) == []

    def test_a_certificate_that_is_for_no_server(self, files: Files) -> None:
        own_key = file(files.folder, "own.key", key_pem(LEAF_KEY))
        for use, good in (("CLIENT_AUTH", False), ("SERVER_AUTH", True), ("ANY_EXTENDED_KEY_USAGE", True)):
            purpose = x509.ExtendedKeyUsage([getattr(ExtendedKeyUsageOID, use)])
            path = files.file(signed(LEAF_KEY, "leaf", None, FOR_SITES, purpose))
            own = {"wildcard_certificate": path, "wildcard_key": own_key}
            if good:
                assert problems(**own) == []
            else:
                only("wildcard_certificate", path, "has no serverAuth", "extendedKeyUsage = serverAuth", **own)


class TestHalfAPair:
    def test_ca_certificate(self, files: Files) -> None:
        only("ca_certificate", files.ca, "a certificate and no key", "set ca_key as well", ca_certificate=files.ca)

    def test_ca_key(self, files: Files) -> None:
        only("ca_key", files.ca_key, "a key and no certificate", "set ca_certificate as well", ca_key=files.ca_key)

    def test_wildcard_certificate(self, files: Files) -> None:
        only(
            "wildcard_certificate",
            files.wildcard,
            "a certificate and no key",
            "set wildcard_key as well",
            wildcard_certificate=files.wildcard,
        )

    def test_wildcard_key(self, files: Files) -> None:
        only(
            "wildcard_key",
            files.wildcard_key,
            "a key and no certificate",
            "set wildcard_certificate as well",
            wildcard_key=files.wildcard_key,
        )


class TestFile:
    """Each of the four settings goes the same way."""

    def both(self, files: Files, certificate_path: str, reason: str, remedy: str) -> None:
        only("ca_certificate", certificate_path, reason, remedy, ca_certificate=certificate_path, ca_key=files.ca_key)
        only(
            "wildcard_certificate",
            certificate_path,
            reason,
            remedy,
            wildcard_certificate=certificate_path,
            wildcard_key=files.wildcard_key,
        )

    def test_missing(self, files: Files) -> None:
        self.both(files, "/nowhere/at.all", "there is no such file", "correct the path")

    def test_a_folder(self, files: Files) -> None:
        self.both(files, str(files.folder), "it is no file", "name a PEM file: correct the path")

    def test_nobodys_home(self, files: Files) -> None:
        self.both(files, "~no-such-user/ca.crt", "there is no such file", "correct the path")

    def test_no_path(self, files: Files) -> None:
        self.both(files, "a\0b", "not a path", "correct it")

    def test_a_pipe_is_not_waited_for(self, files: Files) -> None:
        path = files.folder / "pipe"
        os.mkfifo(path)
        self.both(files, str(path), "it is no file", "name a PEM file")

    def test_a_large_file_is_not_read(self, files: Files) -> None:
        path = files.folder / "large"
        with path.open("wb") as large:
            large.truncate(1 << 40)
        self.both(files, str(path), "too large", "name a PEM file")

    def test_text(self, files: Files) -> None:
        self.both(files, files.file("hello\n"), "not a certificate in PEM", "BEGIN CERTIFICATE")

    def test_broken_pem(self, files: Files) -> None:
        broken = files.ca_pem.replace("MII", "XXX", 1)
        self.both(files, files.file(broken), "not a certificate in PEM", "BEGIN CERTIFICATE")

    def test_der(self, files: Files) -> None:
        path = Path(files.file(""))
        path.write_bytes(pem.first(files.ca_pem).public_bytes(Encoding.DER))
        self.both(files, str(path), "DER, not PEM", "openssl x509 -inform DER")

    def test_key_for_a_certificate(self, files: Files) -> None:
        self.both(files, files.ca_key, "holds a key, and no certificate", "name the certificate's file")

    @pytest.mark.parametrize(
        ("content", "reason", "remedy"),
        [
            ("hello\n", "not an RSA or elliptic curve key in PEM", "BEGIN PRIVATE KEY"),
            (key_pem(ed25519.Ed25519PrivateKey.generate()), "not an RSA or elliptic curve key", "make such a key"),
            (key_pem(new_key(), b"secret"), "has a passphrase", "openssl pkey"),
            (key_pem(rsa.generate_private_key(65537, 1024)), "served with such a key", "make one of RSA 2048"),
            (key_pem(ec.generate_private_key(ec.SECP256K1())), "served with such a key", "the curve P-256"),
        ],
        ids=["text", "ed25519", "passphrase", "short", "other curve"],
    )
    def test_key(self, files: Files, content: str, reason: str, remedy: str) -> None:
        path = files.file(content)
        only("ca_key", path, reason, remedy, ca_certificate=files.ca, ca_key=path)
        only("wildcard_key", path, reason, remedy, wildcard_certificate=files.wildcard, wildcard_key=path)

    def test_missing_key(self, files: Files) -> None:
        only("ca_key", "/nowhere", "there is no such file", "the path", ca_certificate=files.ca, ca_key="/nowhere")

    def test_certificate_for_a_key(self, files: Files) -> None:
        only("ca_key", files.ca, "not an RSA or", "PRIVATE KEY", ca_certificate=files.ca, ca_key=files.ca)


class TestPair:
    def test_other_key(self, files: Files) -> None:
        other = files.file(key_pem(new_key()))
        only("ca_key", other, "not the key of ca_certificate", "name the key", ca_certificate=files.ca, ca_key=other)
        only(
            "wildcard_key",
            other,
            f"not the key of wildcard_certificate = '{files.wildcard}'",
            "name the key",
            wildcard_certificate=files.wildcard,
            wildcard_key=other,
        )

    def test_expired(self, files: Files) -> None:
        key = new_key()
        path = files.file(certificate(key, names=SITES, ca=True, begin=NOW - 9 * DAY, end=NOW - DAY))
        own_key = file(files.folder, "own.key", key_pem(key))
        reason = f"it expired on {NOW - DAY:%Y-%m-%d}"
        only("ca_certificate", path, reason, "renew it", ca_certificate=path, ca_key=own_key)
        only("wildcard_certificate", path, reason, "renew it", wildcard_certificate=path, wildcard_key=own_key)

    def test_not_yet_valid(self, files: Files) -> None:
        key = new_key()
        path = files.file(certificate(key, names=SITES, ca=True, begin=NOW + DAY))
        own_key = file(files.folder, "own.key", key_pem(key))
        reason = f"it is not valid before {NOW + DAY:%Y-%m-%d}"
        only("ca_certificate", path, reason, "clock", ca_certificate=path, ca_key=own_key)
        only("wildcard_certificate", path, reason, "clock", wildcard_certificate=path, wildcard_key=own_key)


class TestWildcard:
    def refused(self, files: Files, names: list[str] | None, reason: str, remedy: str) -> None:
        key = new_key()
        path = files.file(certificate(key, names=names))
        own_key = file(files.folder, "own.key", key_pem(key))
        only("wildcard_certificate", path, reason, remedy, wildcard_certificate=path, wildcard_key=own_key)

    def test_no_name(self, files: Files) -> None:
        self.refused(files, None, "no subject alternative name", "DNS:*.lab.test")

    def test_other_domain(self, files: Files) -> None:
        self.refused(files, ["*.example.com"], "for *.example.com, and not for *.lab.test", "or correct domain")

    def test_single_host(self, files: Files) -> None:
        self.refused(files, ["registry.lab.test", "lab.test"], "not for *.lab.test", "DNS:*.lab.test")

    def test_wildcard_above(self, files: Files) -> None:
        self.refused(files, ["*.test"], "not for *.lab.test", "DNS:*.lab.test")


class TestCa:
    @pytest.mark.parametrize("ca", [None, False])
    def test_no_ca(self, files: Files, ca: bool | None) -> None:
        key = new_key()
        path = files.file(certificate(key, ca=ca))
        own_key = file(files.folder, "own.key", key_pem(key))
        only("ca_certificate", path, "no CA's certificate", "the CA's own", ca_certificate=path, ca_key=own_key)

    def test_several(self, files: Files) -> None:
        path = files.file(files.ca_pem + certificate(new_key(), ca=True))
        only("ca_certificate", path, "holds 2 certificates", "the CA's alone", ca_certificate=path, ca_key=files.ca_key)
