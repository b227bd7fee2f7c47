"""Certificates: what is made, what is judged good, and what the control plane host and all others are told."""

from __future__ import annotations

import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from fake_hosts import Facts, Hosts, Told, fact, told_by, unpacked, writes
from pyinfra.api import OperationError
from sample_certificates import DAY, NOW, certificate, key_pem, new_key, signed
from stub_programs import calls, run_with

from kubestage.certificates import pem, platform
from kubestage.certificates.platform import (
    CA_CERTIFICATE,
    CA_KEY,
    CLIENT,
    SERVER,
    WILDCARD_CERTIFICATE,
    WILDCARD_KEY,
    Pair,
)
from kubestage.facts.certificates import TRUSTED, Authority, Certificates, Installed, Trust, TrustState
from kubestage.facts.files import FileState, FileStates
from kubestage.host_file import HostFile
from kubestage.operations import certificates as operations
from kubestage.render.runtime import registry_trust

RENEW_DAYS = 60
NAMES = ["lab.test", "*.lab.test"]
PAIRS = {CA_CERTIFICATE: CA_KEY, WILDCARD_CERTIFICATE: WILDCARD_KEY}


def new_ca(now: datetime = NOW) -> Pair:
    return platform.new_ca("lab CA", now)


def good(pair: Pair, ca: Pair, now: datetime = NOW, names: list[str] = NAMES) -> bool:
    return platform.is_good(pair.certificate, ca.certificate, names, now, RENEW_DAYS)


class TestMade:
    def test_ca(self) -> None:
        pair = new_ca()
        (found,) = pem.certificates(pair.certificate)
        assert pem.is_ca(found) and pem.is_issued_by(found, found) and pem.is_key_of(pem.private_key(pair.key), found)
        assert found.not_valid_before_utc == NOW - DAY
        assert found.not_valid_after_utc == NOW + 3650 * DAY
        constraints = found.extensions.get_extension_for_class(x509.BasicConstraints)
        assert constraints.critical and constraints.value.path_length == 0
        usage = found.extensions.get_extension_for_class(x509.KeyUsage).value
        assert usage.key_cert_sign and not usage.digital_signature

    def test_two_are_not_the_same(self) -> None:
        one, other = new_ca(), new_ca()
        assert one.key != other.key
        assert pem.first(one.certificate).serial_number != pem.first(other.certificate).serial_number

    def test_a_long_name(self) -> None:
        domain = ".".join(["x" * 40] * 3)
        pair = platform.issued(platform.new_ca("y" * 200, NOW), platform.wildcard_names(domain), NOW)
        assert pem.dns_names(pem.first(pair.certificate)) == [domain, f"*.{domain}"]

    def test_wildcard(self) -> None:
        ca = new_ca()
        pair = platform.issued(ca, platform.wildcard_names("lab.test"), NOW)
        leaf, behind = pem.certificates(pair.certificate)
        assert behind == pem.first(ca.certificate)
        assert pem.dns_names(leaf) == NAMES
        assert not pem.is_ca(leaf) and pem.is_issued_by(leaf, behind) and pem.is_key_of(pem.private_key(pair.key), leaf)
        assert leaf.not_valid_before_utc == NOW - DAY
        assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == 397 * DAY
        assert list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
            ExtendedKeyUsageOID.SERVER_AUTH
        ]

    def test_it_ends_with_its_ca(self) -> None:
        ca = new_ca(NOW - 3600 * DAY)
        leaf = pem.first(platform.issued(ca, NAMES, NOW).certificate)
        assert leaf.not_valid_after_utc == pem.first(ca.certificate).not_valid_after_utc == NOW + 50 * DAY

    @pytest.mark.parametrize("whose", ["ours", "the user's"])
    def test_openssl_believes_it(self, tmp_path: Path, whose: str) -> None:
        """Ours to the letter of RFC 5280; and what is issued by a CA of the user's that has no identifier."""
        key = rsa.generate_private_key(65537, 2048)
        ca = new_ca() if whose == "ours" else Pair(certificate(key, ca=True), key_pem(key))
        strict = ["-x509_strict"] if whose == "ours" else []
        (tmp_path / "ca").write_text(ca.certificate)
        (tmp_path / "leaf").write_text(platform.issued(ca, NAMES, NOW).certificate)
        verify = ["openssl", "verify", *strict, "-purpose", "sslserver", "-CAfile", str(tmp_path / "ca")]
        for host, believed in {"registry.lab.test": True, "lab.test": True, "registry.example.com": False}.items():
            ran = subprocess.run(
                [*verify, "-verify_hostname", host, str(tmp_path / "leaf")], capture_output=True, text=True, check=False
            )
            assert (ran.returncode == 0) == believed, ran.stderr

    def test_keys_are_not_shown(self) -> None:
        pair = new_ca()
        assert pair.key not in repr(pair)

    def test_fingerprint(self, tmp_path: Path) -> None:
        ca = new_ca()
        (tmp_path / "ca").write_text(ca.certificate)
        argv = ["openssl", "x509", "-in", str(tmp_path / "ca"), "-noout", "-fingerprint", "-sha256"]
        said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        assert said.strip().endswith(f"={pem.fingerprint(ca.certificate)}")


class TestGood:
    def test_early_and_late(self) -> None:
        ca = pem.first(new_ca().certificate)
        assert not platform.is_late(ca, NOW + 3589 * DAY, RENEW_DAYS)
        assert platform.is_late(ca, NOW + 3591 * DAY, RENEW_DAYS)
        assert platform.is_late(ca, NOW + 4000 * DAY, RENEW_DAYS)
        assert not platform.is_early(ca, NOW - 0.9 * DAY)  # a clock that is a day behind is all right
        assert platform.is_early(ca, NOW - 1.1 * DAY)

    def test_a_short_life(self) -> None:
        """What is renewed 30 days before its end, as others do with 90 days, is not late before that."""
        short = pem.first(signed(new_key(), "short", None, end=NOW + 89 * DAY))
        assert not platform.is_late(short, NOW + 58 * DAY, RENEW_DAYS)
        assert platform.is_late(short, NOW + 60 * DAY, RENEW_DAYS)

    def test_wildcard(self) -> None:
        ca = new_ca()
        pair = platform.issued(ca, NAMES, NOW)
        assert good(pair, ca)
        assert good(pair, ca, NOW + 335 * DAY)
        assert not good(pair, ca, NOW + 337 * DAY)  # within 60 days of its end
        assert not good(pair, ca, NOW + 400 * DAY)
        assert not good(pair, ca, NOW - 2 * DAY)

    def test_other_domain(self) -> None:
        ca = new_ca()
        pair = platform.issued(ca, NAMES, NOW)
        assert not good(pair, ca, names=["example.com", "*.example.com"])
        assert not good(pair, ca, names=[*NAMES, "*.example.com"])

    def test_other_ca(self) -> None:
        ca, other = new_ca(), new_ca()  # of the same name
        assert not good(platform.issued(ca, NAMES, NOW), other)

    def test_what_is_no_certificate(self) -> None:
        ca = new_ca()
        assert not good(Pair("", ""), ca)
        assert not good(Pair("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", ""), ca)

    def test_the_last_days_of_its_ca(self) -> None:
        """A new one would be no better: it is not issued again and again."""
        ca = new_ca(NOW - 3640 * DAY)
        pair = platform.issued(ca, NAMES, NOW)
        assert good(pair, ca)


class TestFact:
    """The command, by the real openssl, on files that are moved into a folder."""

    def ask(self, folder: Path, **installed: str) -> dict[str, Installed]:
        """`installed`: ca_crt, ca_key, wildcard_crt, wildcard_key -> content."""
        pki = folder / CA_CERTIFICATE.lstrip("/")
        pki.parent.mkdir(parents=True)
        for name, content in installed.items():
            path = pki.with_name(name.replace("_", "."))
            path.write_text(content)
            path.chmod(0o600 if name.endswith("key") else 0o644)
        ran = run_with(folder, fact(Certificates, pairs=PAIRS), {}, moved=("/etc",))
        assert ran.returncode == 0 and ran.stderr == ""
        found = Certificates().process(ran.stdout.splitlines())
        return {path.removeprefix(str(folder)): state for path, state in found.items()}

    def test_nothing(self, tmp_path: Path) -> None:
        assert self.ask(tmp_path) == {}

    def test_both_pairs(self, tmp_path: Path) -> None:
        ca = new_ca()
        pair = platform.issued(ca, NAMES, NOW)
        found = self.ask(
            tmp_path, ca_crt=ca.certificate, ca_key=ca.key, wildcard_crt=pair.certificate, wildcard_key=pair.key
        )
        assert found == {
            CA_CERTIFICATE: Installed(ca.certificate, has_key=True),
            WILDCARD_CERTIFICATE: Installed(pair.certificate, has_key=True),
        }

    def test_no_key_is_printed(self, tmp_path: Path) -> None:
        ca = new_ca()
        self.ask(tmp_path, ca_crt=ca.certificate, ca_key=ca.key)
        printed = run_with(tmp_path, fact(Certificates, pairs=PAIRS), {}, moved=("/etc",)).stdout
        assert ca.certificate.splitlines()[1] in printed
        assert not any(line in printed for line in ca.key.splitlines())

    @pytest.mark.parametrize("key", ["", "hello\n", key_pem(new_key())], ids=["empty", "text", "another"])
    def test_a_key_that_does_not_fit(self, tmp_path: Path, key: str) -> None:
        ca = new_ca()
        assert self.ask(tmp_path, ca_crt=ca.certificate, ca_key=key) == {
            CA_CERTIFICATE: Installed(ca.certificate, has_key=False)
        }

    def test_one_of_a_pair(self, tmp_path: Path) -> None:
        pair = platform.issued(new_ca(), NAMES, NOW)
        assert self.ask(tmp_path, ca_key=pair.key, wildcard_crt=pair.certificate) == {
            WILDCARD_CERTIFICATE: Installed(pair.certificate, has_key=False)
        }

    def test_without_openssl(self, tmp_path: Path) -> None:
        ca = new_ca()
        self.ask(tmp_path, ca_crt=ca.certificate, ca_key=ca.key)
        programs = {"openssl": "exit 127"}
        ran = run_with(tmp_path, fact(Certificates, pairs=PAIRS), programs, moved=("/etc",))
        assert [state.has_key for state in Certificates().process(ran.stdout.splitlines()).values()] == [None]

    def test_strange_modes(self, tmp_path: Path) -> None:
        ca = new_ca()
        self.ask(tmp_path, ca_crt=ca.certificate, ca_key=ca.key)
        (tmp_path / CA_KEY.lstrip("/")).chmod(0o640)
        ran = run_with(tmp_path, fact(Certificates, pairs=PAIRS), {}, moved=("/etc",))
        (state,) = Certificates().process(ran.stdout.splitlines()).values()
        assert state.strange == [f"{tmp_path}{CA_KEY}"] and state.has_key


def installed(*pairs: tuple[str, Pair], fits: bool = True, strange: str = "") -> Facts:
    """What Certificates says: (a certificate's path, the pair that is there)."""
    lines = []
    for path, pair in pairs:
        lines += [f"certificate {path}", *(f"pem {line}" for line in pair.certificate.splitlines())]
        lines += ["key"] if fits and pair.key else []
    return {fact(Certificates, pairs=PAIRS): [*lines, *([f"mode 640 0:0 {strange}"] if strange else [])]}


def kept(facts: Facts, ca_key: str = "", **given: Any) -> list[Told]:
    hosts = Hosts({"cp1": facts}, {"cp1": {f"cat {CA_KEY}": ca_key} if ca_key else {}})
    arguments = {"ca": None, "wildcard": None, "renew_days": RENEW_DAYS, **given}
    hosts.prepare("cp1", operations.authority, cluster_name="lab", domain="lab.test", **arguments)
    hosts.execute()
    return hosts.told("cp1")


class TestKept:
    """A key is always renamed into its place before its certificate: that one says that both are there."""

    def written(self, told: Told) -> dict[str, tuple[str, str]]:
        files = unpacked(told)
        assert told.command == writes(*files)
        keys = [path for path in files if path.endswith(".key")]
        assert list(files) == [path for key in keys for path in (key, key.replace(".key", ".crt"))]
        return files

    def test_first_run(self) -> None:
        (told,) = kept(installed())
        files = self.written(told)
        assert {path: mode for path, (_, mode) in files.items()} == {
            CA_CERTIFICATE: "644",
            CA_KEY: "600",
            WILDCARD_CERTIFICATE: "644",
            WILDCARD_KEY: "600",
        }
        ca = Pair(files[CA_CERTIFICATE][0], files[CA_KEY][0])
        pair = Pair(files[WILDCARD_CERTIFICATE][0], files[WILDCARD_KEY][0])
        assert good(pair, ca)
        assert pem.is_key_of(pem.private_key(ca.key), pem.first(ca.certificate))
        assert pem.is_key_of(pem.private_key(pair.key), pem.first(pair.certificate))
        assert "lab CA" in pem.first(ca.certificate).subject.rfc4514_string()

    def test_second_run(self) -> None:
        ca = new_ca()
        pair = platform.issued(ca, NAMES, NOW)
        assert kept(installed((CA_CERTIFICATE, ca), (WILDCARD_CERTIFICATE, pair))) == []

    @pytest.mark.parametrize("why", ["missing", "near its end", "another domain", "another CA"])
    def test_the_wildcard_is_issued_anew(self, why: str) -> None:
        ca = new_ca(NOW - 400 * DAY)
        there = {
            "missing": [],
            "near its end": [(WILDCARD_CERTIFICATE, platform.issued(ca, NAMES, NOW - 370 * DAY))],
            "another domain": [(WILDCARD_CERTIFICATE, platform.issued(ca, ["*.example.com"], NOW))],
            "another CA": [(WILDCARD_CERTIFICATE, platform.issued(new_ca(), NAMES, NOW))],
        }[why]
        read, write = kept(installed((CA_CERTIFICATE, ca), *there), ca_key=ca.key)
        assert read == Told(f"cat {CA_KEY}")
        files = self.written(write)
        assert list(files) == [WILDCARD_KEY, WILDCARD_CERTIFICATE]
        assert good(Pair(files[WILDCARD_CERTIFICATE][0], ""), ca)

    @pytest.mark.parametrize("days", [3591, 3700], ids=["near its end", "over"])
    def test_a_ca_whose_time_is_over_is_made_anew(self, days: int, caplog: pytest.LogCaptureFixture) -> None:
        """Which is said; and the wildcard certificate with it, by the new CA: no key is read."""
        ca = new_ca(NOW - days * DAY)
        pair = platform.issued(ca, NAMES, NOW - days * DAY)
        with caplog.at_level("WARNING", logger="pyinfra"):
            (told,) = kept(installed((CA_CERTIFICATE, ca), (WILDCARD_CERTIFICATE, pair)))
        files = self.written(told)
        assert files[CA_CERTIFICATE][0] != ca.certificate
        assert good(Pair(files[WILDCARD_CERTIFICATE][0], ""), Pair(files[CA_CERTIFICATE][0], ""))
        assert "whoever trusts it has to trust the new one (make trust)" in caplog.text

    def refused(self, facts: Facts, *words: str) -> None:
        with pytest.raises(OperationError) as error:
            kept(facts)
        assert all(word in str(error.value) for word in ("cp1: ", *words)), str(error.value)
        assert f"rm -f {CA_CERTIFICATE} {CA_KEY}" in str(error.value)

    def test_a_ca_that_is_not_valid_yet_is_left(self) -> None:
        """It was made by a clock that was ahead: a new one would have to be trusted by everybody."""
        self.refused(
            installed((CA_CERTIFICATE, new_ca(NOW + 3 * DAY))),
            f"{CA_CERTIFICATE} is not valid before {NOW + 2 * DAY:%Y-%m-%d %H:%M} UTC",
            "correct this machine's clock",
        )

    def test_a_ca_from_a_clock_two_hours_ahead_serves(self) -> None:
        ca = new_ca(NOW + DAY / 12)
        pair = platform.issued(ca, NAMES, NOW + DAY / 12)
        assert kept(installed((CA_CERTIFICATE, ca), (WILDCARD_CERTIFICATE, pair))) == []

    def test_a_ca_without_its_key_is_left(self) -> None:
        """So it is when the key is another's: both look alike from outside."""
        self.refused(installed((CA_CERTIFICATE, new_ca()), fits=False), "its key is not there, or is another's", CA_KEY)

    @pytest.mark.parametrize(
        "content", ["", "hello\n", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
    )
    def test_a_ca_that_can_not_be_read_is_left(self, content: str) -> None:
        self.refused(installed((CA_CERTIFICATE, Pair(content, "key"))), "can't be read", "put it back from a copy")

    def test_what_is_no_ca_is_left(self) -> None:
        leaf = platform.issued(new_ca(), NAMES, NOW)
        self.refused(installed((CA_CERTIFICATE, leaf)), "it is no CA's")

    def test_a_key_that_nobody_can_compare(self) -> None:
        facts = installed((CA_CERTIFICATE, new_ca()))
        ((asked, lines),) = facts.items()
        with pytest.raises(OperationError, match=r"openssl does not run there, so whether .* fits can't be told"):
            kept({asked: ["unknown" if line == "key" else line for line in lines]})

    def test_modes(self) -> None:
        ca = new_ca()
        pairs = (CA_CERTIFICATE, ca), (WILDCARD_CERTIFICATE, platform.issued(ca, NAMES, NOW))
        assert kept(installed(*pairs, strange=CA_KEY)) == [Told(f"chown 0:0 {CA_KEY} && chmod 600 {CA_KEY}")]
        told = kept(installed(*pairs, strange=WILDCARD_CERTIFICATE))
        assert told == [Told(f"chown 0:0 {WILDCARD_CERTIFICATE} && chmod 644 {WILDCARD_CERTIFICATE}")]

    def test_a_ca_key_that_can_t_be_read(self) -> None:
        hosts = Hosts({"cp1": installed((CA_CERTIFICATE, new_ca()))}, {"cp1": {f"cat {CA_KEY}": {"success": False}}})
        hosts.prepare(
            "cp1", operations.authority, cluster_name="lab", domain="lab.test", ca=None, wildcard=None, renew_days=60
        )
        with pytest.raises(OperationError, match=f"cp1: could not read {CA_KEY}"):
            hosts.execute()

    def test_no_key_is_in_anything_that_pyinfra_prints(
        self, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        ca = new_ca()
        told = kept(installed((CA_CERTIFICATE, ca)), ca_key=ca.key)
        secrets = [line for key in (ca.key, unpacked(told[1])[WILDCARD_KEY][0]) for line in key.splitlines()[1:-1]]
        printed = "".join([*capsys.readouterr(), caplog.text, *(each.command for each in told)])
        assert len(secrets) > 4
        assert not any(line in printed for line in secrets)


def on_disk(*there: HostFile, asked: list[HostFile]) -> Facts:
    lines = [f"{file.mode} 0:0 {file.sha256} {file.path}" for file in there]
    return {fact(FileStates, paths=[file.path for file in asked]): lines}


class TestGiven:
    def test_ca(self) -> None:
        """The user's CA replaces ours, and issues the wildcard certificate."""
        old, ca = new_ca(), new_ca()
        files = [HostFile(CA_KEY, ca.key, mode="600"), HostFile(CA_CERTIFICATE, ca.certificate)]
        ours = [(CA_CERTIFICATE, ca), (WILDCARD_CERTIFICATE, platform.issued(old, NAMES, NOW))]
        given, issued = kept({**on_disk(asked=files), **installed(*ours)}, ca=ca)
        assert unpacked(given) == {CA_CERTIFICATE: (ca.certificate, "644"), CA_KEY: (ca.key, "600")}
        assert good(Pair(unpacked(issued)[WILDCARD_CERTIFICATE][0], ""), ca)

        pair = platform.issued(ca, NAMES, NOW)
        facts = installed((CA_CERTIFICATE, ca), (WILDCARD_CERTIFICATE, pair))
        assert kept({**on_disk(*files, asked=files), **facts}, ca=ca) == []

    def test_wildcard(self) -> None:
        """No CA is made, and none is looked for."""
        pair = platform.issued(new_ca(), NAMES, NOW)
        files = [
            HostFile(WILDCARD_KEY, pair.key, mode="600"),
            HostFile(WILDCARD_CERTIFICATE, pair.certificate),
        ]
        (told,) = kept(on_disk(asked=files), wildcard=pair)
        assert unpacked(told) == {file.path: (file.content, file.mode) for file in files}
        assert kept(on_disk(*files, asked=files), wildcard=pair) == []

    def test_wildcard_and_the_ca_to_trust(self) -> None:
        ca = new_ca()
        pair = platform.issued(ca, NAMES, NOW)
        files = [
            HostFile(CA_CERTIFICATE, ca.certificate),
            HostFile(WILDCARD_KEY, pair.key, mode="600"),
            HostFile(WILDCARD_CERTIFICATE, pair.certificate),
        ]
        (told,) = kept(on_disk(asked=files), ca=Pair(ca.certificate, ""), wildcard=pair)
        assert list(unpacked(told)) == [file.path for file in files]


FOLDER = "/etc/kubernetes/kubestage/pki/xds"
USES = {"contour": SERVER, "envoy": CLIENT}


def mutual(*lines: str) -> list[Told]:
    pairs = {f"{FOLDER}/{name}.crt": f"{FOLDER}/{name}.key" for name in ("ca", "contour", "envoy")}
    return told_by(
        operations.mutual_certificates,
        {fact(Certificates, pairs=pairs): lines},
        folder=FOLDER,
        uses=USES,
        renew_days=RENEW_DAYS,
    )


class TestMutual:
    def lines(self, files: dict[str, tuple[str, str]], *, without_key_of: str = "") -> list[str]:
        lines = []
        for name in ("ca", "contour", "envoy"):
            content, _ = files[f"{FOLDER}/{name}.crt"]
            lines += [f"certificate {FOLDER}/{name}.crt", *(f"pem {line}" for line in content.splitlines())]
            lines += [] if name in ("ca", without_key_of) else ["key"]
        return lines

    def test_made_then_left_alone(self) -> None:
        (told,) = mutual()
        files = unpacked(told)
        assert {path.removeprefix(f"{FOLDER}/"): mode for path, (_, mode) in files.items()} == {
            "ca.crt": "644",
            "contour.crt": "644",
            "contour.key": "600",
            "envoy.crt": "644",
            "envoy.key": "600",
        }
        ca = pem.first(files[f"{FOLDER}/ca.crt"][0])
        for name, use in USES.items():
            found = pem.first(files[f"{FOLDER}/{name}.crt"][0])
            assert pem.is_issued_by(found, ca) and pem.dns_names(found) == [name]
            assert list(found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [use]
            assert pem.is_key_of(pem.private_key(files[f"{FOLDER}/{name}.key"][0]), found)
            assert found.not_valid_after_utc > NOW + 3640 * DAY

        assert mutual(*self.lines(files)) == []
        strange = f"mode 644 0:0 {FOLDER}/envoy.key"
        assert mutual(*self.lines(files), strange) == [
            Told(f"chown 0:0 {FOLDER}/envoy.key && chmod 600 {FOLDER}/envoy.key")
        ]

    @pytest.mark.parametrize("lost", ["contour", "envoy"])
    def test_all_anew_when_one_is_lost(self, lost: str) -> None:
        (told,) = mutual()
        (again,) = mutual(*self.lines(unpacked(told), without_key_of=lost))
        assert len(unpacked(again)) == 5
        assert unpacked(again)[f"{FOLDER}/ca.crt"] != unpacked(told)[f"{FOLDER}/ca.crt"]

    def test_all_anew_when_one_is_near_its_end(self) -> None:
        (told,) = mutual()
        files = unpacked(told)
        ca = new_ca(NOW - 3591 * DAY)
        old = {f"{FOLDER}/ca.crt": (ca.certificate, "644")}
        for name in USES:
            pair = platform.issued(ca, [name], NOW - 3591 * DAY, life=3650 * DAY)
            old[f"{FOLDER}/{name}.crt"] = (pair.certificate, "644")
        (again,) = mutual(*self.lines(old))
        assert len(unpacked(again)) == 5 and unpacked(again) != files

    def test_those_that_are_not_valid_yet_are_left(self) -> None:
        ca = new_ca(NOW + 3 * DAY)
        files = {f"{FOLDER}/ca.crt": (ca.certificate, "644")}
        for name in USES:
            files[f"{FOLDER}/{name}.crt"] = (platform.issued(ca, [name], NOW).certificate, "644")
        with pytest.raises(OperationError) as error:
            mutual(*self.lines(files))
        assert f"{FOLDER}/ca.crt is not valid before {NOW + 2 * DAY:%Y-%m-%d}" in str(error.value)
        assert f"rm -r {FOLDER}" in str(error.value)


SITE = "registry.lab.test:8443"


class Trusting:
    """The control plane and a worker, in one run of `trusted`."""

    def __init__(self, ca: str, worker: list[str], *, registry: str = SITE, wanted: bool = True) -> None:
        contents = {fact(Authority): ca.splitlines() or ["none"]}
        self.hosts = Hosts({"cp1": {**contents, fact(Trust): worker}, "w1": {fact(Trust): worker}})
        arguments = {"control_plane": self.hosts.speaker, "registry": registry, "wanted": wanted}
        for name in ("cp1", "w1"):
            self.hosts.prepare(name, operations.trusted_authority, **arguments)
        self.hosts.execute()

    @property
    def told(self) -> list[Told]:
        assert self.hosts.told("cp1") == self.hosts.told("w1")
        return self.hosts.told("w1")


def trust_lines(files: list[HostFile], *, bundled: bool) -> list[str]:
    lines = [f"file {file.mode} 0:0 {file.sha256} {file.path}" for file in files]
    return [*lines, *(["bundled"] if bundled else [])]


class TestTrusted:
    CA = new_ca().certificate

    @property
    def files(self) -> list[HostFile]:
        return [HostFile(TRUSTED, self.CA), *registry_trust(SITE, self.CA, TRUSTED)]

    def test_first_run(self) -> None:
        written, update = Trusting(self.CA, ["bundled"]).told
        assert unpacked(written) == {file.path: (file.content, "644") for file in self.files}
        assert update == Told("update-ca-certificates --fresh")

    def test_second_run(self) -> None:
        trusting = Trusting(self.CA, trust_lines(self.files, bundled=True))
        assert trusting.told == []
        # Once while it looks ahead, once while it works; not once a host.
        asked = fact(Authority)
        assert trusting.hosts.everything("cp1").count(asked) == 2

    def test_a_run_was_killed_before_the_bundle(self) -> None:
        assert Trusting(self.CA, trust_lines(self.files, bundled=False)).told == [
            Told("update-ca-certificates --fresh")
        ]

    def test_a_file_of_the_registry_is_lost(self) -> None:
        (written,) = Trusting(self.CA, trust_lines(self.files[:-1], bundled=True)).told
        assert list(unpacked(written)) == [self.files[-1].path]

    def test_another_ca(self) -> None:
        written, update = Trusting(new_ca().certificate, trust_lines(self.files, bundled=True)).told
        # containerd's file names the CA's path: it stays.
        assert list(unpacked(written)) == [TRUSTED, f"/etc/docker/certs.d/{SITE}/ca.crt"]
        assert update == Told("update-ca-certificates --fresh")

    def test_no_registry_any_more(self) -> None:
        told = Trusting(self.CA, trust_lines(self.files, bundled=True), registry="").told
        folders = [f"/etc/containerd/certs.d/{SITE}", f"/etc/docker/certs.d/{SITE}"]
        paths = [f"{folders[0]}/hosts.toml", f"{folders[1]}/ca.crt"]
        assert told == [Told(f"rm {path} && rmdir --ignore-fail-on-non-empty $(dirname {path})") for path in paths]

    def test_the_registry_has_moved(self) -> None:
        written, *removed = Trusting(self.CA, trust_lines(self.files, bundled=True), registry="registry.lab.test").told
        assert list(unpacked(written)) == [
            "/etc/containerd/certs.d/registry.lab.test/hosts.toml",
            "/etc/docker/certs.d/registry.lab.test/ca.crt",
        ]
        assert [each.command.split()[1] for each in removed] == [file.path for file in self.files[1:]]

    def test_no_ca_any_more(self) -> None:
        told = Trusting(self.CA, trust_lines(self.files, bundled=True), wanted=False).told
        assert [each.command.split()[0] for each in told] == ["rm", "rm", "rm", "update-ca-certificates"]
        assert Trusting(self.CA, ["bundled"], wanted=False).told == []

    def test_no_ca_yet(self) -> None:
        """A run with --limit that leaves the control plane out, before there is one."""
        hosts = Hosts({"cp1": {fact(Authority): ["none"]}, "w1": {fact(Trust): ["bundled"]}})
        hosts.prepare("w1", operations.trusted_authority, control_plane=hosts.speaker, registry="", wanted=True)
        with pytest.raises(OperationError, match=r"cp1 has no .*ca\.crt yet: run once without --limit"):
            hosts.execute()


class TestTrustFact:
    """The command, on files that are moved into a folder."""

    BUNDLE, LINK = "/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/certs/kubestage.certificates.pem"

    def ask(self, folder: Path) -> TrustState:
        ran = run_with(folder, fact(Trust), {}, moved=("/etc", "/usr/local"))
        assert ran.returncode == 0
        state = Trust().process(line.replace(str(folder), "") for line in ran.stdout.splitlines())
        assert calls(folder) == []
        return state

    def put(self, folder: Path, path: str, content: str) -> FileState:
        file = folder / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        file.chmod(0o644)
        return FileState(HostFile(path, content).sha256, "644", "0:0")

    def test_bare_host(self, tmp_path: Path) -> None:
        assert self.ask(tmp_path) == TrustState(bundled=True)

    def test_trusted(self, tmp_path: Path) -> None:
        ca = new_ca().certificate
        files = [HostFile(TRUSTED, ca), *registry_trust(SITE, ca, TRUSTED)]
        states = {file.path: self.put(tmp_path, file.path, file.content) for file in files}
        self.put(tmp_path, self.BUNDLE, f"{new_ca().certificate}{ca}")
        # The registries' own mirrors, and a CA that the user put there.
        self.put(tmp_path, "/etc/containerd/certs.d/docker.io/hosts.toml", 'server = "https://docker.io"\n')
        self.put(tmp_path, "/etc/docker/certs.d/other.example.com/ca.crt", ca)
        assert self.ask(tmp_path) == TrustState(states, bundled=True)

    def test_not_in_the_bundle(self, tmp_path: Path) -> None:
        self.put(tmp_path, TRUSTED, new_ca().certificate)
        assert not self.ask(tmp_path).bundled
        self.put(tmp_path, self.BUNDLE, new_ca().certificate)
        assert not self.ask(tmp_path).bundled

    def test_still_in_the_bundle(self, tmp_path: Path) -> None:
        """Its file is gone, and its link is not."""
        link = tmp_path / self.LINK.lstrip("/")
        link.parent.mkdir(parents=True)
        link.symlink_to(TRUSTED)
        assert not self.ask(tmp_path).bundled


class TestFetched:
    def fetch(self, path: Path, ca: str, *, wanted: bool = True) -> list[Told]:
        hosts = Hosts({"cp1": {fact(Authority): ca.splitlines() or ["none"]}})
        hosts.prepare("cp1", operations.authority_copy, control_plane=hosts.speaker, path=path, wanted=wanted)
        hosts.execute()
        return hosts.told("cp1")

    def test_fetched_kept_and_removed(self, tmp_path: Path) -> None:
        path = tmp_path / "lab" / "ca.crt"
        ca, other = new_ca().certificate, new_ca().certificate
        self.fetch(path, ca)
        assert path.read_text() == ca
        before = path.stat().st_mtime_ns
        self.fetch(path, ca)
        assert path.stat().st_mtime_ns == before
        self.fetch(path, other)
        assert path.read_text() == other
        self.fetch(path, other, wanted=False)
        assert list(path.parent.iterdir()) == []
        self.fetch(path, other, wanted=False)
