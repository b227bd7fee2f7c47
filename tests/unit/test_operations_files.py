"""files.write: what differs is sent in one command, what does not is left alone."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from fake_hosts import Facts, Told, fact, run, told_by, unpacked
from pyinfra.facts.files import Directory
from stub_programs import run_with

from kubestage.facts.files import FileStates
from kubestage.host_file import HostFile
from kubestage.operations import files

OPEN = HostFile("/etc/demo/open.conf", "größe = 1\n")
SECRET = HostFile("/etc/demo/secret", "key\n", mode="600")
UNPACK = "base64 -d | tar --extract --touch --no-same-owner --preserve-permissions --directory / --verbose"


def disk(*lines: str, absent: Sequence[str] = ()) -> Facts:
    return {fact(FileStates, paths=[OPEN.path, SECRET.path, *absent]): lines}


def line(file: HostFile, mode: str = "", owner: str = "0:0", content: str | None = None) -> str:
    """What FileStates prints for `file`, or for one that differs in that."""
    there = file if content is None else HostFile(file.path, content)
    return f"{mode or file.mode} {owner} {there.sha256} {file.path}"


def write(facts: Facts, absent: Sequence[str] = ()) -> list[Told]:
    return told_by(files.write, facts, files=[OPEN, SECRET], absent=absent)


def test_as_they_should_be() -> None:
    assert write(disk(line(OPEN), line(SECRET))) == []


def test_all_missing() -> None:
    (told,) = write(disk())
    assert told.command == UNPACK
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
    assert told.command == UNPACK
    assert unpacked(told) == {SECRET.path: (SECRET.content, "600")}


def test_content_is_on_no_command_line() -> None:
    assert [told for told in write(disk()) if "key" in told.command or "größe" in told.command] == []


def test_absent() -> None:
    absent = ["/etc/demo/old", "/etc/demo/older"]
    there = [line(OPEN), line(SECRET)]
    assert write(disk(*there, line(HostFile("/etc/demo/old", "")), absent=absent), absent) == [Told("rm /etc/demo/old")]
    assert write(disk(*there, absent=absent), absent) == []


def test_files_of_nothing() -> None:
    assert run(files.write, {fact(FileStates, paths=[]): []}, files=[]) == []


def test_unpacked_by_the_real_tar(tmp_path: Path) -> None:
    """Mode, folders, an old file with another mode, a link in the file's place; written now, as restarts go by that."""
    demo = tmp_path / "etc" / "demo"
    demo.mkdir(parents=True)
    (demo / "secret").write_text("old")
    (demo / "secret").chmod(0o644)
    (tmp_path / "elsewhere").write_text("untouched")
    (demo / "open.conf").symlink_to(tmp_path / "elsewhere")
    deep = HostFile("/new/folder/file", "deep\n")
    before = time.time()
    subprocess.run(
        ["sh", "-c", UNPACK.replace("--directory /", f"--directory {tmp_path}")],
        input=files.archive([OPEN, SECRET, deep]),
        text=True,
        check=True,
        capture_output=True,
    )
    assert not (demo / "open.conf").is_symlink()
    assert (demo / "open.conf").read_text() == OPEN.content
    assert (tmp_path / "elsewhere").read_text() == "untouched"
    assert (tmp_path / "new/folder/file").read_text() == "deep\n"
    modes = [f"{(demo / name).stat().st_mode & 0o7777:o}" for name in ("open.conf", "secret")]
    assert modes == ["644", "600"]
    assert (demo / "secret").stat().st_mtime >= before - 1


class TestDownloaded:
    ADDRESS, PATH, SHA256 = "https://example.com/crds.yaml", "/etc/demo/crds.yaml", HostFile("", "kind: A\n").sha256
    COMMAND = (
        "mkdir -p $(dirname /etc/demo/crds.yaml) && rm -f /etc/demo/crds.yaml.new && "
        f"/usr/lib/apt/apt-helper -q download-file {ADDRESS} /etc/demo/crds.yaml.new SHA256:{SHA256} && "
        "mv /etc/demo/crds.yaml.new /etc/demo/crds.yaml"
    )

    def go(self, *lines: str) -> list[str]:
        facts = {fact(FileStates, paths=[self.PATH]): lines}
        return run(files.downloaded, facts, address=self.ADDRESS, path=self.PATH, sha256=self.SHA256)

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
        (folder / "crds.yaml.new").write_text("half")
        helper = tmp_path / "usr" / "lib" / "apt" / "apt-helper"
        helper.parent.mkdir(parents=True)
        for body, code, after in (("exit 1", 1, "old"), ('test ! -e "$4" && echo new > "$4"', 0, "new\n")):
            helper.write_text(f"#!/bin/sh\n{body}\n")
            helper.chmod(0o755)
            assert run_with(tmp_path, self.COMMAND, {}, moved=("/etc", "/usr")).returncode == code
            assert (folder / "crds.yaml").read_text() == after


def test_folder_absent() -> None:
    path = "/etc/demo/keys"
    stat = "user=root group=root mode=drwxr-xr-x atime=1 mtime=1 ctime=1 size=4096 '/etc/demo/keys'"
    assert run(files.folder_absent, {fact(Directory, path=path): [stat]}, path=path) == [f"rm -r {path}"]
    assert run(files.folder_absent, {fact(Directory, path=path): []}, path=path) == []
