"""apt: sources and keys, packages at their pinned version and held."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from fake_hosts import Facts, Hosts, Told, fact, most_at_once, run, told_by, unpacked
from stub_programs import calls, run_with

from kubestage.facts.apt import AptSources
from kubestage.facts.files import FileStates
from kubestage.facts.packages import PackageStates
from kubestage.host_file import HostFile
from kubestage.operations import apt, files
from kubestage.operations.apt import Source

KUBERNETES = Source("https://k.example/deb", "/", (), "https://k.example/deb/Release.key", "/etc/apt/keyrings/k.asc")
DOCKER = Source(
    "https://d.example/linux", "bookworm", ("stable",), "https://d.example/linux/gpg", "/etc/apt/keyrings/d.asc"
)
ENTRIES = [KUBERNETES, DOCKER]
LIST = HostFile(
    "/etc/apt/sources.list.d/kubestage.list",
    "deb [signed-by=/etc/apt/keyrings/k.asc] https://k.example/deb /\n"
    "deb [signed-by=/etc/apt/keyrings/d.asc] https://d.example/linux bookworm stable\n",
)
KEYS = [KUBERNETES.key, DOCKER.key]


def download(source: Source) -> Told:
    return Told(files.download_command(source.key_address, source.key))


def asked(entries: Sequence[Source]) -> str:
    """By which command a host is asked for its sources."""
    keys, addresses = [entry.key for entry in entries], [entry.address for entry in entries]
    return fact(AptSources, keys=keys, addresses=addresses)


class TestSources:
    def facts(self, listed: HostFile | None, keys: Sequence[str], mode: str = "644") -> Facts:
        lines = [f"{mode} 0:0 {listed.sha256} {listed.path}"] if listed else []
        with_keys = [f"file {line}" for line in [*lines, *(f"644 0:0 {'0' * 64} {key}" for key in keys)]]
        return {asked(ENTRIES): with_keys, fact(FileStates, paths=[LIST.path]): lines}

    def go(self, listed: HostFile | None, keys: Sequence[str], mode: str = "644") -> list[Told]:
        return told_by(apt.sources, self.facts(listed, keys, mode), entries=ENTRIES)

    def test_fresh(self) -> None:
        *keys, listed = self.go(None, [])
        assert keys == [download(KUBERNETES), download(DOCKER)]
        assert unpacked(listed) == {LIST.path: (LIST.content, "644")}

    def test_as_they_should_be(self) -> None:
        assert self.go(LIST, KEYS) == []

    def test_a_key_is_missing(self) -> None:
        assert self.go(LIST, [KUBERNETES.key]) == [download(DOCKER)]

    def test_another_mirror_has_other_keys(self) -> None:
        *keys, listed = self.go(HostFile(LIST.path, "deb https://old.example /\n"), KEYS)
        assert keys == [download(KUBERNETES), download(DOCKER)]
        assert unpacked(listed) == {LIST.path: (LIST.content, "644")}

    def test_mode_of_the_list(self) -> None:
        """Content and keys are right: they are not fetched again."""
        (listed,) = self.go(LIST, KEYS, mode="600")
        assert unpacked(listed) == {LIST.path: (LIST.content, "644")}


PACKAGES = {"kubelet": "1.36.3-1.1", "kubectl": "1.36.3-1.1"}
APT = "apt-get -q -o Dpkg::Options::=--force-confold"
OURS_ALONE = (
    "-o Dir::Etc::sourcelist=/etc/apt/sources.list.d/kubestage.list -o Dir::Etc::sourceparts=- "
    "-o APT::Get::List-Cleanup=0"
)
INSTALL = f"{APT} -y --no-install-recommends --allow-downgrades --allow-change-held-packages install"
WANTED = "kubelet=1.36.3-1.1 kubectl=1.36.3-1.1"
UPDATE = f"free {APT} -o APT::Update::Error-Mode=any update"
SUMS = "sha256sum /etc/apt/keyrings/k.asc /etc/apt/keyrings/d.asc 2>/dev/null"
RENEW = " ".join(f"{{ {files.download_command(source.key_address, source.key)}; }};" for source in ENTRIES)
PINNED = (
    f"{apt._free(300)} free dpkg --force-confold --configure -a && "
    f"{{ {UPDATE} {OURS_ALONE} || {{ had=$({SUMS}); {RENEW} "
    f'test "$({SUMS})" != "$had" && {UPDATE} {OURS_ALONE}; }}; }} && '
    f"if ! files=$({INSTALL} --print-uris -qq {WANTED} 2>/dev/null) || "
    """echo "$files" | grep . | grep -qvF -e "'https://k.example/deb" -e "'https://d.example/linux"; """
    f"then {{ {UPDATE} || echo 'Not all package lists could be had: see above.' >&2; }}; fi && "
    f"free {INSTALL} {WANTED} && free apt-mark hold kubelet kubectl"
)


class TestPinned:
    def go(self, *lines: str) -> list[str]:
        ask = fact(PackageStates, names=["kubectl", "kubelet"])
        return run(apt.pinned_packages, {ask: lines}, packages=PACKAGES, entries=ENTRIES, timeout_s=300)

    def test_installed_and_held(self) -> None:
        assert self.go("kubectl 1.36.3-1.1 hold ok installed", "kubelet 1.36.3-1.1 hold ok installed") == []

    @pytest.mark.parametrize(
        "kubelet",
        [
            [],
            ["kubelet 1.36.2-1.1 hold ok installed"],
            ["kubelet 1.36.3-1.1 install ok installed"],
            ["kubelet 1.36.3-1.1 hold ok half-configured"],
            ["kubelet 1.36.3-1.1 hold reinstreq installed"],
            ["kubelet 1.36.3-1.1 deinstall ok config-files"],
        ],
        ids=["missing", "other version", "not held", "cut off", "broken", "removed"],
    )
    def test_drift(self, kubelet: list[str]) -> None:
        assert self.go("kubectl 1.36.3-1.1 hold ok installed", *kubelet) == [PINNED]

    def test_what_they_replace_goes_as_they_come(self) -> None:
        ask = fact(PackageStates, names=["docker.io", "kubectl", "kubelet", "runc"])
        there = ["runc 1.1.5 install ok installed"]
        (command,) = run(
            apt.pinned_packages,
            {ask: there},
            packages=PACKAGES,
            entries=ENTRIES,
            timeout_s=300,
            replaced=["docker.io", "runc"],
        )
        assert command == PINNED.replace(WANTED, f"{WANTED} runc-")

    def test_none_is_known(self) -> None:
        assert self.go() == [PINNED]

    @pytest.mark.parametrize(
        ("lines", "in_turn", "at_once"),
        [
            (["kubelet 1.36.2-1.1 hold ok installed"], True, 1),
            (["kubelet 1.36.2-1.1 hold ok installed"], False, 2),
            ([], True, 2),  # nothing is at work there
        ],
    )
    def test_another_version_at_work_goes_on_one_host_after_the_other(
        self, lines: list[str], in_turn: bool, at_once: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ask = fact(PackageStates, names=["kubectl", "kubelet"])
        hosts = Hosts({"w1": {ask: lines}, "w2": {ask: lines}}, data={"fake_delay": 0.03})
        for name in ("w1", "w2"):
            hosts.prepare(name, apt.pinned_packages, packages=PACKAGES, entries=ENTRIES, timeout_s=300, in_turn=in_turn)
        assert most_at_once(hosts, "apt-mark hold", monkeypatch) == at_once


class TestPinnedScript:
    """The command run with programs that stand in for apt's: whose package lists are read anew, where it stops."""

    def go(self, folder: Path, uris: str, **programs: str) -> subprocess.CompletedProcess[str]:
        apt_get = f"case \"$*\" in *--print-uris*) {uris};; *' update'*) {programs.pop('update', '')};; esac"
        given = {"apt-get": apt_get, "dpkg": "", "apt-mark": "", "apt-helper": "exit 1", **programs}
        return run_with(folder, PINNED.replace("/usr/lib/apt/", ""), given, moved=("/etc/apt/keyrings",))

    def did(self, folder: Path) -> list[str]:
        """The calls, in short: apt-get's by what they are for."""
        short = []
        for call in calls(folder):
            program, *words = call.split()
            what = next((word for word in ("--print-uris", "update", "install") if word in words), "")
            alone = "-o Dir::Etc::sourceparts=-" in call
            short.append(f"{'our ' if alone else ''}{what}" if program == "apt-get" else program)
        return short

    def test_all_from_our_own_sources(self, tmp_path: Path) -> None:
        uris = "echo \"'https://k.example/deb/kubelet.deb' kubelet.deb 1 SHA256:0\""
        assert self.go(tmp_path, uris).returncode == 0
        assert self.did(tmp_path) == ["dpkg", "our update", "--print-uris", "install", "apt-mark"]
        assert calls(tmp_path)[-1] == "apt-mark hold kubelet kubectl"

    def test_nothing_to_download(self, tmp_path: Path) -> None:
        assert self.go(tmp_path, ":").returncode == 0
        assert self.did(tmp_path) == ["dpkg", "our update", "--print-uris", "install", "apt-mark"]

    @pytest.mark.parametrize(
        "uris",
        [
            "echo \"'https://k.example/deb/kubelet.deb' k 1\"; echo \"'http://deb.example/debian/socat.deb' s 1\"",
            "exit 100",
        ],
        ids=["from the distribution", "not known yet"],
    )
    def test_the_distribution_is_asked_when_it_is_needed(self, tmp_path: Path, uris: str) -> None:
        assert self.go(tmp_path, uris).returncode == 0
        assert self.did(tmp_path) == ["dpkg", "our update", "--print-uris", "update", "install", "apt-mark"]

    @pytest.mark.parametrize(
        "refusal",
        [
            "dpkg: error: dpkg frontend lock was locked by another process with pid 407",
            "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 407 (apt-get)",
        ],
        ids=["dpkg", "apt-get"],
    )
    def test_it_waits_while_others_are_at_work(self, tmp_path: Path, refusal: str) -> None:
        once = f"if [ ! -e {tmp_path}/free ]; then touch {tmp_path}/free; echo '{refusal}' >&2; exit 2; fi"
        assert self.go(tmp_path, ":", dpkg=once).returncode == 0
        assert self.did(tmp_path) == ["dpkg", "dpkg", "our update", "--print-uris", "install", "apt-mark"]

    @pytest.mark.parametrize(
        ("failing", "last"),
        [({"dpkg": "exit 2"}, "dpkg"), ({"update": "exit 100"}, "apt-helper"), ({"apt-mark": "exit 100"}, "apt-mark")],
        ids=["dpkg", "apt-get update", "apt-mark"],
    )
    def test_it_stops_at_the_first_failure(self, tmp_path: Path, failing: dict[str, str], last: str) -> None:
        assert self.go(tmp_path, ":", **failing).returncode != 0
        assert self.did(tmp_path)[-1] == last


class TestInstalled:
    NAMES = ("ca-certificates", "openssl")

    def facts(self, *there: str) -> Facts:
        lines = [f"{name} 1.0 install ok installed" for name in there]
        return {fact(PackageStates, names=sorted(self.NAMES)): lines}

    def test_there(self) -> None:
        assert run(apt.packages, self.facts(*self.NAMES), packages=self.NAMES, timeout_s=9) == []

    @pytest.mark.parametrize("lists", ["known", "stale"])
    def test_missing(self, tmp_path: Path, lists: str) -> None:
        """Package lists are read anew only when apt does not find the package by them."""
        (command,) = run(apt.packages, self.facts("ca-certificates"), packages=self.NAMES, timeout_s=9)
        stale = f"case \"$*\" in *' update'*) touch {tmp_path}/read;; *) test -e {tmp_path}/read || exit 100;; esac"
        programs = {"dpkg": "", "apt-get": stale if lists == "stale" else ""}
        assert run_with(tmp_path, command, programs).returncode == 0
        words = [call.split()[-1] for call in calls(tmp_path)]
        assert words == ["-a", "openssl", *(["update", "openssl"] if lists == "stale" else [])]

    def test_what_is_never_to_run_is_masked_before_it_comes(self, tmp_path: Path) -> None:
        named = {"packages": self.NAMES, "timeout_s": 9, "masked": ["its.service"]}
        (command,) = run(apt.packages, self.facts("openssl"), **named)
        assert run_with(tmp_path, command, {"dpkg": "", "apt-get": "", "systemctl": ""}).returncode == 0
        assert calls(tmp_path)[0] == "systemctl mask --quiet its.service"
        assert run(apt.packages, self.facts(*self.NAMES), **named) == []  # somebody may need it

    def test_not_to_be_had(self, tmp_path: Path) -> None:
        (command,) = run(apt.packages, self.facts(), packages=self.NAMES, timeout_s=9)
        assert run_with(tmp_path, command, {"dpkg": "", "apt-get": "exit 100"}).returncode != 0
