"""What we write is read by apt itself, which takes a folder for the whole system, with repositories on loopback."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fake_hosts import fact, run, told_by, unpacked
from stub_programs import calls, run_with

from kubestage.facts.apt import SOURCES, AptSources
from kubestage.facts.files import FileStates
from kubestage.facts.framed import unframed
from kubestage.facts.packages import PackageStates
from kubestage.operations import apt
from kubestage.operations.apt import Source

needed = ("apt-get", "gpg", "gpgv")
pytestmark = pytest.mark.skipif(not all(map(shutil.which, needed)), reason=f"needs {', '.join(needed)}")

LISTED = "/etc/apt/sources.list.d/"
CONFLICT = "Conflicting values set for option Signed-By"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@dataclass
class System:
    """A system's folder, and the web site of a vendor: its folder, the keys with which it signs, where it answers."""

    folder: Path
    site: Path
    gpg: Path
    address: str
    docker: str  # the address of Docker's repository

    def sign(self, repository: str, key: str) -> None:
        """Sign a repository with the vendor's key of that name, which is made when it is new, and publish the key."""
        gpg = ["gpg", "--batch", "--quiet", "--yes", "--homedir", str(self.gpg), "--passphrase", ""]
        gpg += ["--pinentry-mode", "loopback"]
        known = subprocess.run([*gpg, "--list-keys", f"={key}"], capture_output=True, check=False)
        if known.returncode:
            subprocess.run([*gpg, "--quick-gen-key", key, "ed25519", "sign", "never"], check=True)
        folder = self.site / repository
        public = subprocess.run([*gpg, "--armor", "--export", f"={key}"], check=True, capture_output=True).stdout
        (self.site / f"{repository}.key").write_bytes(public)
        lists = [path for path in folder.rglob("*") if path.name.startswith("Packages")]
        sums = "".join(
            f" {hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_size} {path.relative_to(release)}\n"
            for release in [self.release(repository)]
            for path in lists
        )
        release = self.release(repository)
        (release / "Release").write_text(
            f"Suite: bookworm\nCodename: bookworm\nComponents: stable test\nArchitectures: amd64 arm64\n"
            f"Date: Tue, 24 Nov 2026 12:00:00 UTC\nSHA256:\n{sums}"
        )
        signing = ["--local-user", f"={key}", "--clearsign", "--output", str(release / "InRelease")]
        subprocess.run([*gpg, *signing, str(release / "Release")], check=True)

    def release(self, repository: str) -> Path:
        return self.site / repository / "dists/bookworm" if repository != "kubernetes" else self.site / repository

    def publish(self, repository: str, package: str, key: str = "first@vendor") -> None:
        """Make a repository with one package for every architecture: flat for kubernetes, as the vendor's own is."""
        content = f"the package {package}".encode()
        (self.site / repository).mkdir(parents=True)
        (self.site / repository / f"{package}.deb").write_bytes(content)
        entry = (
            f"Package: {package}\nVersion: 1.0\nArchitecture: all\nMaintainer: x\nDescription: x\n"
            f"Filename: {'' if repository == 'kubernetes' else './'}{package}.deb\nSize: {len(content)}\n"
            f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
        )
        release = self.release(repository)
        places = (
            [release]
            if repository == "kubernetes"
            else [release / part / f"binary-{arch}" for part in ("stable", "test") for arch in ("amd64", "arm64")]
        )
        for place in places:
            place.mkdir(parents=True, exist_ok=True)
            (place / "Packages").write_text(entry)
            (place / "Packages.gz").write_bytes(gzip.compress(entry.encode()))
        self.sign(repository, key)

    @property
    def entries(self) -> list[Source]:
        """Kubernetes' repository and Docker's."""
        own = f"{self.folder}/keyrings/kubestage-"
        return [
            Source(f"{self.address}/kubernetes", "/", (), f"{self.address}/kubernetes.key", f"{own}kubernetes.asc"),
            Source(self.docker, "bookworm", ("stable",), f"{self.address}/docker.key", f"{own}docker.asc"),
        ]

    @property
    def their_key(self) -> Path:
        """Docker's, as its user has put it there."""
        return self.folder / "keyrings/docker.asc"

    def path(self, path: str) -> Path:
        return self.folder / path.lstrip("/")

    def write(self, path: str, content: str) -> None:
        self.path(path).parent.mkdir(parents=True, exist_ok=True)
        self.path(path).write_text(content)

    def do(self, command: str) -> subprocess.CompletedProcess[str]:
        return run_with(self.folder, command, {"dpkg": "", "apt-mark": ""}, moved=("/etc/apt/",))

    def update(self) -> subprocess.CompletedProcess[str]:
        """As a user does it."""
        return subprocess.run(["apt-get", "update"], capture_output=True, text=True, check=False)

    def keep_sources(self) -> int:
        """Do the operation by what is here; the number of its commands."""
        keys, addresses = [entry.key for entry in self.entries], [entry.address for entry in self.entries]
        question = fact(AptSources, keys=keys, addresses=addresses)
        facts: dict[str, list[str]] = {
            each: unframed(self.do(each).stdout.replace(f"{self.folder}/etc", "/etc").splitlines())
            for each in (question, fact(FileStates, paths=[SOURCES]))
        }
        commands = told_by(apt.sources, facts, entries=self.entries)
        for told in commands:
            if told.stdin:
                for path, (content, _) in unpacked(told).items():
                    self.write(path, content)
            else:
                assert self.do(told.command).returncode == 0
        return len(commands)

    def install(self, *packages: str, replaced: str = "") -> subprocess.CompletedProcess[str]:
        """Do the operation on a host that has none of `packages`; dpkg's part in it is done by nobody."""
        others = [replaced] if replaced else []
        there = [f"{name} 1.0 install ok installed" for name in others]
        facts = {fact(PackageStates, names=sorted([*packages, *others])): there}
        wanted = dict.fromkeys(packages, "1.0")
        (command,) = run(
            apt.pinned_packages, facts, packages=wanted, entries=self.entries, timeout_s=9, replaced=others
        )
        return self.do(command)


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The vendor's site as every test finds it, and its keys."""
    folder = tmp_path_factory.mktemp("vendor")
    gpg = folder / "gpg"
    gpg.mkdir(mode=0o700)
    vendor = System(folder, folder / "site", gpg, "", "")
    vendor.publish("kubernetes", "kubelet")
    vendor.publish("docker", "docker-ce")
    yield vendor
    subprocess.run(["gpgconf", "--homedir", str(gpg), "--kill", "all"], check=False)


@pytest.fixture
def system(vendor: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    folder, site = tmp_path / "system", tmp_path / "site"
    shutil.copytree(vendor.site, site)
    apts = (
        "etc/apt/sources.list.d",
        "etc/apt/trusted.gpg.d",
        "etc/apt/apt.conf.d",
        "etc/apt/preferences.d",
        "var/lib/apt/lists/partial",
    )
    for path in (*apts, "var/cache/apt/archives/partial", "var/log/apt", "var/lib/dpkg"):
        (folder / path).mkdir(parents=True)
    (folder / "var/lib/dpkg/status").touch()
    (folder / "apt.conf").write_text(
        f'Dir "{folder}";\nDir::State::status "{folder}/var/lib/dpkg/status";\n'
        f'Dir::Bin::dpkg "{folder}/stubs/dpkg";\nAPT::Sandbox::User "root";\nAcquire::Retries "0";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(folder / "apt.conf"))
    for variable in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    yield System(folder, site, vendor.gpg, address, f"{address}/docker")
    server.shutdown()
    thread.join()
    server.server_close()


def one_line(system: System, rest: str = "bookworm stable", more: str = "") -> str:
    key = f"signed-by={system.their_key}"
    return f"# Docker\ndeb [arch=amd64 {key}] {system.address}/docker {rest}\n{more}"


def stanza(system: System, **changed: str) -> str:
    """A .sources file with that one source, and another's."""
    fields = {
        "Types": "deb",
        "URIs": f"{system.address}/docker/",
        "Suites": "bookworm",
        "Components": "stable",
        "Signed-By": str(system.their_key),
        **changed,
    }
    other = f"Types: deb\nURIs: {system.address}/other\nSuites: ./\nEnabled: no\n"
    return "# Docker\n" + "".join(f"{name}: {value}\n" for name, value in fields.items()) + f"\n{other}"


def give_key(system: System) -> None:
    system.their_key.parent.mkdir()
    shutil.copy(system.site / "docker.key", system.their_key)


class TestAnotherSourceOfTheSameRepository:
    @pytest.mark.parametrize("file", ["docker.list", "docker.sources"])
    def test_one_that_gives_no_more_is_replaced(self, system: System, file: str) -> None:
        before = one_line(system) if file == "docker.list" else stanza(system)
        give_key(system)
        system.write(LISTED + file, before)
        ours = system.entries[1]
        system.write(SOURCES, f"deb [signed-by={ours.key}] {ours.address} bookworm stable\n")
        assert CONFLICT in system.update().stderr  # what apt says of both side by side
        system.path(SOURCES).unlink()

        system.keep_sources()
        assert system.update().stderr == ""
        after = system.path(LISTED + file).read_text()
        assert after.replace("# kubestage: ", "") == before
        changed = [line for line in after.splitlines() if line.startswith("# kubestage: ")]
        assert len(changed) == (1 if file == "docker.list" else 5)
        assert system.keep_sources() == 0
        installed = system.install("docker-ce", "kubelet")
        assert installed.returncode == 0, installed.stderr

    @pytest.mark.parametrize(
        "case",
        ["more components", "source packages", "two suites", "deb822", "no key", "trusted", "not by date"],
    )
    def test_one_that_gives_more_stays_and_shares_its_key(self, system: System, case: str) -> None:
        source = f"deb-src [signed-by={system.their_key}] {system.address}/docker bookworm stable\n"
        content = {
            "more components": one_line(system, "bookworm stable test"),
            "source packages": one_line(system, more=source),
            "two suites": stanza(system, Suites="bookworm trixie"),
            "deb822": stanza(system, Components="stable\n test", Architectures="amd64"),
            "no key": f"deb {system.address}/docker bookworm test\n",
            "trusted": f"deb [ trusted=yes ] {system.address}/docker/ bookworm test",
            "not by date": one_line(system, "bookworm test").replace("arch=amd64", "check-valid-until=no"),
        }[case]
        give_key(system)
        if case == "no key":
            shutil.copy(system.their_key, system.folder / "etc/apt/trusted.gpg.d/docker.asc")
        # Last in apt's order, where the one without a key is the one that is refused.
        path = f"{LISTED}zz.sources" if content.startswith("# Docker\nTypes") else f"{LISTED}zz.list"
        system.write(path, content)
        system.keep_sources()
        assert "Conflicting" not in system.update().stderr
        left = system.path(path).read_text()
        assert left == content if case != "source packages" else left.splitlines()[2] in content
        assert system.keep_sources() == 0
        installed = system.install("docker-ce", "kubelet")
        assert installed.returncode == 0, installed.stderr

    @pytest.mark.parametrize("case", ["another suite", "off", "commented out", "another address", "deb822, off"])
    def test_one_that_is_in_nobody_s_way_is_left_alone(self, system: System, case: str) -> None:
        content = {
            "another suite": one_line(system, "trixie stable"),
            "off": stanza(system, Enabled="no"),
            "commented out": one_line(system).replace("deb", "# deb"),
            "another address": one_line(system).replace("/docker", "/docker-old"),
            "deb822, off": stanza(system, Enabled="False", Suites="bookworm trixie"),
        }[case]
        give_key(system)
        path = LISTED + ("docker.sources" if "Types" in content else "docker.list")
        system.write(path, content)
        system.keep_sources()
        assert "Conflicting" not in system.update().stderr
        assert system.path(path).read_text() == content
        assert f"signed-by={system.entries[1].key}" in system.path(SOURCES).read_text()
        assert system.keep_sources() == 0


class TestKeys:
    def test_one_that_was_replaced_is_fetched_anew(self, system: System) -> None:
        system.keep_sources()
        assert system.install("kubelet").returncode == 0
        system.sign("kubernetes", "second@vendor")
        installed = system.install("kubelet")
        assert installed.returncode == 0, installed.stderr
        assert Path(system.entries[0].key).read_bytes() == (system.site / "kubernetes.key").read_bytes()
        assert system.update().stderr == ""

    def test_one_that_does_not_fit_is_told_of(self, system: System) -> None:
        """The vendor signs with a key that is not the one at its address: nothing is installed."""
        system.keep_sources()
        system.sign("kubernetes", "second@vendor")
        shutil.copy(system.entries[0].key, system.site / "kubernetes.key")
        installed = system.install("kubelet")
        assert installed.returncode != 0
        assert f"GPG error: {system.address}/kubernetes" in installed.stderr
        assert not [call for call in calls(system.folder) if call.startswith("apt-mark")]


class TestListsThatCanNotBeHad:
    def test_one_of_ours(self, system: System) -> None:
        """apt-get by itself ends well, and the packages would be said not to exist."""
        system.docker = "http://127.0.0.1:1/docker"  # nobody answers there
        system.keep_sources()
        assert system.update().returncode == 0
        installed = system.install("docker-ce")
        assert installed.returncode != 0
        assert f"Failed to fetch {system.docker}/dists/bookworm/InRelease" in installed.stderr
        assert "Unable to locate" not in installed.stderr

    def test_another_s_that_is_not_needed(self, system: System) -> None:
        system.write(f"{LISTED}dead.list", f"deb [trusted=yes] {system.address}/gone ./\n")
        system.keep_sources()
        installed = system.install("docker-ce", "kubelet")
        assert installed.returncode == 0, installed.stderr

    def test_another_s_that_is_needed(self, system: System) -> None:
        """Both are told of: what is missing, and why."""
        system.write(f"{LISTED}dead.list", f"deb [trusted=yes] {system.address}/gone ./\n")
        system.keep_sources()
        installed = system.install("docker-ce", "no-such-package")
        assert installed.returncode != 0
        assert f"{system.address}/gone" in installed.stderr
        assert "Unable to locate package no-such-package" in installed.stderr


def test_what_ours_replace_goes_in_the_same_step(system: System) -> None:
    """Though the packages do not say that they conflict."""
    system.write(
        "/var/lib/dpkg/status",
        "Package: podman-docker\nStatus: install ok installed\nPriority: optional\nSection: x\nMaintainer: x\n"
        "Architecture: all\nVersion: 1.0\nDescription: x\n",
    )
    system.keep_sources()
    installed = system.install("docker-ce", replaced="podman-docker")
    assert installed.returncode == 0, installed.stderr
    done = [call for call in calls(system.folder) if "--remove" in call or "--unpack" in call]
    assert "--remove" in done[0] and "podman-docker" in done[0]
    assert "--unpack" in done[1] and "docker-ce_1.0_all.deb" in done[1]
