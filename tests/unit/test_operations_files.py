"""files.files: what differs is sent in one command, what does not is left alone."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from fake_hosts import Facts, Told, fact, run, told_by, unpacked, writes
from stub_programs import calls, run_with

from kubestage.facts.files import FileStates, Missing
from kubestage.facts.framed import unframed
from kubestage.host_file import HostFile
from kubestage.operations import files

OPEN = HostFile("/etc/demo/open.conf", "größe = 1\n")
SECRET = HostFile("/etc/demo/secret", "key\n", mode="600")


def disk(*lines: str, **marked: dict[str, str]) -> Facts:
    return {fact(FileStates, paths=[OPEN.path, SECRET.path], **marked): lines}


def line(file: HostFile, mode: str = "", owner: str = "0:0", content: str | None = None) -> str:
    """What FileStates prints for `file`, or for one that differs in that."""
    there = file if content is None else HostFile(file.path, content)
    return f"{mode or file.mode} {owner} {there.sha256} {file.path}"


def write(facts: Facts, **marked: dict[str, str]) -> list[Told]:
    return told_by(files.files, facts, files=[OPEN, SECRET], **marked)


def test_as_they_should_be() -> None:
    assert write(disk(line(OPEN), line(SECRET))) == []


def test_all_missing() -> None:
    (told,) = write(disk())
    assert told.command == writes(OPEN.path, SECRET.path)
    assert unpacked(told) == {OPEN.path: (OPEN.content, "644"), SECRET.path: (SECRET.content, "600")}


@pytest.mark.parametrize(
    "differing",
    [
        [],
        [line(SECRET, mode="644")],
        [line(SECRET, owner="1000:0")],
        [line(SECRET, owner="0:1000")],
        [line(SECRET, content="key2\n")],
        [line(SECRET, content="key")],
    ],
    ids=["missing", "mode", "owner", "group", "content", "last newline"],
)
def test_one_differs(differing: list[str]) -> None:
    (told,) = write(disk(line(OPEN), *differing))
    assert told.command == writes(SECRET.path)
    assert unpacked(told) == {SECRET.path: (SECRET.content, "600")}


def test_content_is_on_no_command_line() -> None:
    assert [told for told in write(disk()) if "key" in told.command or "größe" in told.command] == []


class TestWhatIsNoLongerWanted:
    MARK = "# demo: ours"

    def left(self, folder: Path, *wanted: HostFile) -> list[str]:
        """What is there once those that are ours and not `wanted` are gone."""
        marked = {f"{folder}/etc/*/hosts.toml": self.MARK}
        question = fact(FileStates, paths=[file.path for file in wanted], marked=marked)
        answer = unframed(run_with(folder, question, {}).stdout.splitlines())
        for told in told_by(files.files, {question: answer}, files=wanted, marked=marked):
            if not told.stdin:
                assert run_with(folder, told.command, {}).returncode == 0
        return sorted(str(path.relative_to(folder / "etc")) for path in (folder / "etc").rglob("*"))

    def test_it_goes_by_its_mark(self, tmp_path: Path) -> None:
        contents = {
            "docker.io": f"{self.MARK}\n[host]\n",
            "ghcr.io": f"{self.MARK}\n",
            "quay.io": f"{self.MARK}\n",
            "theirs.example": "[host]\n",
            "quoted.example": f'# like "{self.MARK}"\n',
        }
        for name, content in contents.items():
            (tmp_path / "etc" / name).mkdir(parents=True)
            (tmp_path / "etc" / name / "hosts.toml").write_text(content)
        (tmp_path / "etc/quay.io/ca.crt").touch()
        wanted = HostFile(f"{tmp_path}/etc/docker.io/hosts.toml", contents["docker.io"])
        assert self.left(tmp_path, wanted) == [
            "docker.io",
            "docker.io/hosts.toml",
            "quay.io",
            "quay.io/ca.crt",
            "quoted.example",
            "quoted.example/hosts.toml",
            "theirs.example",
            "theirs.example/hosts.toml",
        ]

    def test_none_is_there(self, tmp_path: Path) -> None:
        (tmp_path / "etc").mkdir()
        assert self.left(tmp_path) == []


def test_files_of_nothing() -> None:
    assert run(files.files, {fact(FileStates, paths=[]): []}, files=[]) == []


class TestPut:
    """The command, run in a folder of the test."""

    @pytest.fixture
    def demo(self, tmp_path: Path) -> Path:
        """A folder that has an old file with another mode, and a link in the other's place."""
        demo = tmp_path / "etc" / "demo"
        demo.mkdir(parents=True)
        (demo / "secret").write_text("old")
        (demo / "secret").chmod(0o644)
        (tmp_path / "elsewhere").write_text("untouched")
        (demo / "open.conf").symlink_to(tmp_path / "elsewhere")
        return demo

    def put(self, folder: Path, *more: HostFile, **programs: str) -> subprocess.CompletedProcess[str]:
        command = files.put([OPEN, SECRET, *more])
        text = command.get_raw_value().replace("--directory /", f"--directory {folder}")
        given = files.archive([OPEN, SECRET, *more])
        return run_with(folder, text, programs, moved=("/etc", "/new"), given=given)

    def test_written(self, tmp_path: Path, demo: Path) -> None:
        """Mode and folders; written now, as restarts go by that; nothing is left beside them."""
        before = time.time()
        assert self.put(tmp_path, HostFile("/new/folder/file", "deep\n")).returncode == 0
        assert not (demo / "open.conf").is_symlink()
        assert (demo / "open.conf").read_text() == OPEN.content
        assert (tmp_path / "elsewhere").read_text() == "untouched"
        assert (tmp_path / "new/folder/file").read_text() == "deep\n"
        modes = {path.name: f"{path.stat().st_mode & 0o7777:o}" for path in demo.iterdir()}
        assert modes == {"open.conf": "644", "secret": "600"}
        assert (demo / "secret").stat().st_mtime >= before - 1

    def test_a_byte_that_is_not_text(self, tmp_path: Path, demo: Path) -> None:
        content = b"d\xe9p\xf4t\n".decode(errors="surrogateescape")
        assert self.put(tmp_path, HostFile("/etc/demo/hosts", content)).returncode == 0
        assert (demo / "hosts").read_bytes() == b"d\xe9p\xf4t\n"

    @pytest.mark.parametrize("program", ["tar", "sync"])
    def test_a_power_cut(self, tmp_path: Path, demo: Path, program: str) -> None:
        """Whatever was there is whole until all that is new is on the disk."""
        assert self.put(tmp_path, **{program: "exit 1"}).returncode == 1
        assert (demo / "secret").read_text() == "old"
        assert (demo / "open.conf").is_symlink()
        (tmp_path / "stubs" / program).unlink()
        assert self.put(tmp_path).returncode == 0  # what it left is no hindrance
        assert sorted(path.name for path in demo.iterdir()) == ["open.conf", "secret"]

    def test_on_the_disk_before_it_is_renamed(self, tmp_path: Path, demo: Path) -> None:
        assert self.put(tmp_path, sync="true", mv='/bin/mv "$@"').returncode == 0
        new = f"{demo}/.open.conf.kubestage {demo}/.secret.kubestage"
        done = [call.split(" ", 1) for call in calls(tmp_path)]
        assert [program for program, _ in done] == ["sync", "mv", "mv", "sync"]
        assert (done[0][1], done[3][1]) == (new, str(demo))

    def test_a_failure_leaves_the_rest(self, tmp_path: Path, demo: Path) -> None:
        """A certificate is not renamed where its key, which comes before it, could not be."""
        assert self.put(tmp_path, mv="exit 1").returncode == 1
        assert len([call for call in calls(tmp_path) if call.startswith("mv")]) == 1

    def test_a_mount(self, tmp_path: Path, demo: Path) -> None:
        """As a container's /etc/hosts: no rename can replace it."""
        old = (demo / "secret").stat().st_ino
        assert self.put(tmp_path, mountpoint="case $2 in */secret) ;; *) exit 32 ;; esac").returncode == 0
        assert (demo / "secret").read_text() == SECRET.content
        assert (demo / "secret").stat().st_ino == old
        assert f"{(demo / 'secret').stat().st_mode & 0o7777:o}" == "600"
        assert sorted(path.name for path in demo.iterdir()) == ["open.conf", "secret"]


class TestDownloaded:
    ADDRESS, PATH, SHA256 = "https://example.com/crds.yaml", "/etc/demo/crds.yaml", HostFile("", "kind: A\n").sha256
    COMMAND = files.download_command(ADDRESS, PATH, f"SHA256:{SHA256}")

    def go(self, *lines: str) -> list[str]:
        facts = {fact(FileStates, paths=[self.PATH]): lines}
        return run(files.download, facts, address=self.ADDRESS, path=self.PATH, sha256=self.SHA256)

    def test_missing(self) -> None:
        assert self.go() == [self.COMMAND]

    def test_there(self) -> None:
        assert self.go(f"644 0:0 {self.SHA256} {self.PATH}") == []

    def test_another_version(self) -> None:
        assert self.go(f"644 0:0 {'0' * 64} {self.PATH}") == [self.COMMAND]

    def test_what_a_killed_run_left(self, tmp_path: Path) -> None:
        """The rest of a download is thrown away, and a download that fails puts nothing in the file's place."""
        folder = tmp_path / "etc" / "demo"
        folder.mkdir(parents=True)
        (folder / "crds.yaml").write_text("old")
        (folder / ".crds.yaml.kubestage").write_text("half")
        helper = tmp_path / "usr" / "lib" / "apt" / "apt-helper"
        helper.parent.mkdir(parents=True)
        for body, code, after in (("exit 1", 1, "old"), ('test ! -e "$4" && echo new > "$4"', 0, "new\n")):
            helper.write_text(f"#!/bin/sh\n{body}\n")
            helper.chmod(0o755)
            assert run_with(tmp_path, self.COMMAND, {}, moved=("/etc", "/usr")).returncode == code
            assert (folder / "crds.yaml").read_text() == after
        assert [path.name for path in folder.iterdir()] == ["crds.yaml"]


def test_no_folder() -> None:
    path = "/etc/demo/keys"
    assert run(files.no_folder, {fact(Missing, paths=[path]): []}, path=path) == [f"rm -r {path}"]
    assert run(files.no_folder, {fact(Missing, paths=[path]): [path]}, path=path) == []
