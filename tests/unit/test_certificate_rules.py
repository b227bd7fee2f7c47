"""The user's own certificates: what is wrong with the files is told, and what is right is taken."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat
from sample_certificates import DAY, NOW, certificate, file, key_pem, new_key
from sample_cluster import GROUPS, hosts_data

from kubestage import pem
from kubestage.certificates import given
from kubestage.settings import Problem, SettingsError, load

SITES = ["lab.test", "*.lab.test"]


def problems(**settings: str) -> list[Problem]:
    try:
        load(hosts_data({"domain": "lab.test", **settings}), GROUPS)
    except SettingsError as error:
        assert {problem.where for problem in error.problems} == {"all hosts"}
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

    def test_a_chain_with_remarks(self, files: Files) -> None:
        key = new_key()
        leaf = certificate(key, names=["*.LAB.test"])
        own = files.file(f"subject=/CN=leaf\n\n{leaf}\nsubject=/CN=someone's CA\n{files.ca_pem}")
        own_key = file(files.folder, "leaf.key", key_pem(key))
        assert problems(wildcard_certificate=own, wildcard_key=own_key) == []
        pair = given(own, own_key)
        assert pair is not None and pair.certificate == leaf + files.ca_pem and pair.key == key_pem(key)
        assert pair.key not in repr(pair)

    def test_home_folder(self, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(files.folder))
        assert problems(ca_certificate="~/ca.crt", ca_key="~/ca.key") == []
        pair = given("~/ca.crt", "~/ca.key")
        assert pair is not None and pair.certificate == files.ca_pem

    def test_none_given(self) -> None:
        assert given("", "") is None


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
        self.both(files, str(files.folder), "can't be read: Is a directory", "let the user")

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
        self.both(files, str(path), "not PEM", "-inform DER")

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
