"""What a person gets of a run: by pyinfra's own command line, on fake hosts."""

from __future__ import annotations

import base64
import json
import re
import signal
import stat
import subprocess
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fake_hosts import answer
from fake_runs import CONFIG, command, environment, seen_on_a_terminal
from fake_runs import run_with_our_output as run

from kubestage.output import lines
from kubestage.output.kept import last_run
from kubestage.output.log import Log, Mask, secrets_in

# Commands of fake hosts: "breaks" fails with a word that is nobody's business, "sleeps" takes its time on w1.
DEPLOY = """\
from pyinfra import host, logger
from pyinfra.api import OperationError
from pyinfra.api.operation import operation
from kubestage.cluster.phase import phase

@operation()
def told(command="", raises=""):
    if raises:
        raise OperationError(raises)
    if command:
        yield command
    else:
        host.noop("as it is")

@phase("Host", look_at="the sky")
def first(plan):
    {first}

@phase("Join", look_at="the sea", goes_on="the tide goes on")
def second(plan):
    {second}

first(None)
second(None)
"""
CHANGES = 'told("true", name="Name"); told("true", name="Swap")'
NOTHING = 'told(name="Name"); told(name="Swap")'


def inventory(workers: int = 2, slow: str = "", **data: object) -> str:
    """cp1, w1, ...; `slow` is one that takes 20 s for each command."""
    return f"""\
import re
broken = re.compile("breaks"), {{"success": False, "stderr": ["E: no such luck", "E: not for sesame-street"]}}
names = ["cp1", *(f"w{{n}}" for n in range(1, {workers} + 1))]
hosts = [
    (f"@fake/{{name}}", {{"fake_delay": 20 if name == "{slow}" else 0, "fake_delay_jitter": 0,
                        "fake_responses": dict([broken]), **{data!r}}})
    for name in names
]
del broken, names
"""


def deploy(first: str = "pass", second: str = "pass") -> str:
    return DEPLOY.format(first=first, second=second)


def logs(folder: Path) -> list[Path]:
    return sorted((folder / ".state" / "hosts" / "runs").glob("*.log"))


def failed_lines(folder: Path, text: str) -> list[str]:
    """What stands after the changes of a run that failed."""
    lines = text.splitlines()
    return lines[next(number for number, line in enumerate(lines) if line.startswith("Join | Token failed on ")) :]


class TestChanges:
    """Of one run on three hosts, with the logs of 25 earlier ones."""

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("changes")
        runs = folder / ".state" / "hosts" / "runs"
        runs.mkdir(parents=True)
        for number in range(25):
            for ending in ("log", "svg"):
                (runs / f"2026-01-01T0000{number:02}.{ending}").touch()
        return folder

    @pytest.fixture(scope="class")
    @classmethod
    def printed(cls, folder: Path) -> str:
        some = f"""{CHANGES}; told("true" if host.name == "@fake/w1" else "", name="Clock")"""
        said = 'logger.info("    an address"); logger.warning("volumes are lost"); told(name="Names")'
        done = run(folder, inventory(), deploy(said, some), "-y")
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        return done.stderr

    def test_a_line_for_each_with_its_hosts(self, printed: str) -> None:
        lines = [re.split(r"  +", line.strip()) for line in printed.splitlines() if line.startswith("  Join ")]
        everywhere = "@fake/cp1, @fake/w1, @fake/w2"
        assert [line[:3] for line in lines] == [
            ["Join", "Name", everywhere],
            ["Join", "Swap", everywhere],
            ["Join", "Clock", "@fake/w1"],
        ]
        assert printed.splitlines()[-1].startswith("3 changes on 3 hosts in ")

    def test_what_our_own_code_logs_is_shown_and_what_pyinfra_does_is_not(self, printed: str) -> None:
        assert printed.count("    an address") == 3  # of each host's deploy code
        assert printed.count("Warning: volumes are lost") == 1
        assert "Connected" not in printed

    def test_the_log_has_all_of_pyinfras_output_and_the_commands(self, printed: str, folder: Path) -> None:
        text = logs(folder)[-1].read_text()
        for words in ("--> Connecting to hosts...", "[@fake/w1]  >>> true", "noop: as it is", "Grand total", "Success"):
            assert re.search(rf"^\d\d:\d\d:\d\d\.\d\d\d .*{re.escape(words)}", text, re.MULTILINE), words
        assert "\033" not in text

    def test_the_last_twenty_logs_stay_and_nobody_else_may_read_one(self, printed: str, folder: Path) -> None:
        kept = logs(folder)
        assert len(kept) == 20
        assert kept[0].name == "2026-01-01T000006.log"
        assert stat.S_IMODE(kept[-1].stat().st_mode) == 0o600
        assert sorted(file.stem for file in kept[0].parent.glob("*.svg")) == [log.stem for log in kept]

    def test_the_picture_and_what_the_next_command_tells(self, printed: str, folder: Path) -> None:
        state = folder / ".state" / "hosts"
        picture = (state / "last-run.svg").read_text()
        assert picture == logs(folder)[-1].with_suffix(".svg").read_text()
        assert "@fake/w2: Join | Swap, changed, " in picture
        kept = last_run(state)
        assert kept is not None
        assert list(kept.phases) == ["Connect", "Preflight", "Host", "Join"]
        assert kept.ending.startswith("3 changes on 3 hosts in ")
        everywhere = ["@fake/cp1", "@fake/w1", "@fake/w2"]
        assert kept.changes == {"Join | Name": everywhere, "Join | Swap": everywhere, "Join | Clock": ["@fake/w1"]}


def test_nothing_changed_and_nobody_was_asked(tmp_path: Path) -> None:
    done = run(tmp_path, inventory(), deploy(NOTHING, NOTHING))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    pyinfras, begin, end = done.stderr.splitlines()
    assert pyinfras == "--> Loading config..."  # before anybody could ask it not to
    assert begin == f"hosts.py: 3 hosts; all of the output goes to {logs(tmp_path)[0].relative_to(tmp_path)}"
    assert re.fullmatch(r"Nothing changed on 3 hosts in \d+\.\d s(; longest: .*)?", end)


class TestFailure:
    """Of a run that asks, changes something, and fails."""

    DEPLOY = deploy(CHANGES, 'told("breaks", name="Token")')
    SECRETS: ClassVar[dict[str, Any]] = {"ssh_password": "sesame-street", "registry": {"users": {"ci": "open-sesame"}}}

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return tmp_path_factory.mktemp("failure")

    @pytest.fixture(scope="class")
    @classmethod
    def printed(cls, folder: Path) -> str:
        flags = ("--data", "registry_password=sesame-sesame")
        done = run(folder, inventory(**cls.SECRETS), cls.DEPLOY, *flags, given="\n")
        assert done.returncode == 1
        return done.stderr

    def test_one_is_asked_before(self, printed: str) -> None:
        plan = "would change:\n  @fake/cp1, @fake/w1, @fake/w2\n"
        plan += "    Host                 Name, Swap\n    Join                 Token\n"
        assert f"{plan}Press Enter to go on, Ctrl-C to leave all as it is: \n  Host " in printed

    def test_it_is_told_whole_and_last_with_where_to_look(self, printed: str, folder: Path) -> None:
        what, first, second, where, then, files = failed_lines(folder, printed)
        assert re.fullmatch(r"Join \| Token failed on @fake/cp1, @fake/w1, @fake/w2 after \d\.\d s", what)
        assert (first, second, where) == ("    E: no such luck", "    E: not for ***", "Look at: the sea")
        assert then.startswith("Mend it, and give the same command again")
        assert files.endswith("as a picture: .state/hosts/last-run.svg")
        assert "Over 0%" not in printed
        assert "Join | Token, failed, " in (folder / ".state" / "hosts" / "last-run.svg").read_text()

    def test_thirty_hosts_take_as_many_lines(self, printed: str, tmp_path: Path) -> None:
        many = run(tmp_path, inventory(29), self.DEPLOY, "-y").stderr
        assert re.search("^  Host +Swap +all 30 hosts", many, re.MULTILINE)
        assert "failed on all 30 hosts" in many
        assert len(many.splitlines()) <= len(printed.splitlines())

    def test_a_pipe_gets_no_control_characters(self, printed: str) -> None:
        assert not re.search(r"[^\x20-\x7e\n]", printed)

    def test_no_secrets_anywhere(self, printed: str, folder: Path) -> None:
        everything = printed + "".join(file.read_text() for file in (folder / ".state").rglob("*.*"))
        assert "E: not for ***" in everything
        assert "sesame" not in everything

    def test_pyinfras_own_output_on_request(self, tmp_path: Path) -> None:
        done = run(tmp_path, inventory(**self.SECRETS), self.DEPLOY, "-y", "-v")
        assert "--> Starting operation: Host | Name" in done.stderr
        assert "    [@fake/cp1] Success" in done.stderr
        assert ">>> true" not in done.stderr
        assert "\nLook at: the sea\n" in done.stderr
        text = logs(tmp_path)[0].read_text()
        assert ">>> true" in text and "Success" in text and "sesame" not in text


class TestOtherEnds:
    def test_an_error_that_an_operation_raises(self, tmp_path: Path) -> None:
        """gevent prints the traceback of a greenlet that is ended by one: it helps nobody."""
        raises = 'told("true", raises="no token\\nfor it" if host.name == "@fake/w1" else "", name="Token")'
        done = run(tmp_path, inventory(), deploy(second=raises), "-y")
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        what, *words = failed_lines(tmp_path, done.stderr)[:4]
        assert what.startswith("Join | Token failed on @fake/w1 after ")
        assert words == ["    no token", "    for it", "Look at: the sea"]

    def test_there_is_no_way_on_after_a_failure(self, tmp_path: Path) -> None:
        """pyinfra would ask whether to go on, and take an empty line for a yes."""
        one = 'told("breaks" if host.name == "@fake/w1" else "true", name="Token"); told("true", name="After")'
        done = run(tmp_path, inventory(), deploy(second=one), given="\n\n\n")
        assert done.returncode == 1
        assert "After" not in done.stderr.partition("Press Enter")[2]

    def test_before_the_phases_the_message_is_last(self, tmp_path: Path) -> None:
        refused = 'raise OperationError("Settings: an error: no. Nothing was changed.\\n1. no\\n    -> yes")'
        done = run(tmp_path, inventory(), deploy(refused), "-y")
        assert done.returncode == 1
        assert done.stderr.splitlines()[2:] == ["Settings: an error: no. Nothing was changed.", "1. no", "    -> yes"]

    def test_deploy_code_with_a_fault(self, tmp_path: Path) -> None:
        done = run(tmp_path, inventory(), deploy("1 / 0"), "-y")
        assert done.returncode == 1
        assert done.stderr.splitlines()[2].startswith("--> An exception occurred in: deploy.py")
        assert done.stderr.endswith("\nZeroDivisionError: division by zero\n\n")
        assert "ZeroDivisionError" in logs(tmp_path)[0].read_text()

    def test_hosts_that_can_not_be_reached(self, tmp_path: Path) -> None:
        nobody = 'hosts = [("cp1", {"ssh_hostname": "127.0.0.1", "ssh_port": 1, "ssh_known_hosts_file": "/dev/null"})]'
        done = run(tmp_path, nobody, deploy(CHANGES), "-y")
        assert done.returncode == 1
        assert "\nConnect failed on cp1 after " in done.stderr
        assert "\nLook at: whether the host is up" in done.stderr.partition("Unable to connect")[2]
        assert not (tmp_path / ".state" / "hosts" / "last-run.svg").exists()

    def test_no_hosts(self, tmp_path: Path) -> None:
        """pyinfra would do nothing, and call it a success."""
        nobody = run(tmp_path, inventory(), deploy(CHANGES), "-y", "--limit", "w9")
        assert nobody.returncode == 1
        assert "hosts.py: --limit and --exclude leave no host of it" in nobody.stderr

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_run_that_is_ended(self, tmp_path: Path, number: int) -> None:
        """pyinfra alone would wait until no host is at work, and exit with 0."""
        (tmp_path / "config.py").write_text(CONFIG)
        argv = command(tmp_path, inventory(0, slow="cp1"), deploy(NOTHING, 'told("true", name="Long")'), "-y")
        process = subprocess.Popen(argv, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 120
        while not logs(tmp_path) or ">>> true" not in logs(tmp_path)[0].read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        begin = time.monotonic()
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        assert time.monotonic() - begin < 15
        assert process.returncode == 128 + number
        assert re.search(r"^Ended by (Ctrl-C|SIGTERM) after \d+\.\d s$", said, re.MULTILINE), said
        assert "  @fake/cp1 was at: Join | Long\n  the tide goes on\n" in said
        assert "Give the same command again" in said
        assert "cut off" in (tmp_path / ".state" / "hosts" / "last-run.svg").read_text()

    def test_a_run_goes_on_when_nobody_reads_what_it_prints(self, tmp_path: Path) -> None:
        (tmp_path / "config.py").write_text(CONFIG)
        argv = command(tmp_path, inventory(), deploy(CHANGES, CHANGES), "-y")
        process = subprocess.Popen(argv, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True)
        assert process.stderr
        process.stderr.readline()
        process.stderr.close()
        process.wait(timeout=300)
        assert "4 changes on 3 hosts in " in logs(tmp_path)[0].read_text()

    def test_a_folder_that_can_not_be_written(self, tmp_path: Path) -> None:
        (tmp_path / ".state").write_text("")
        done = run(tmp_path, inventory(), deploy(CHANGES), "-y")
        assert done.returncode == 1
        assert "what a run prints is to be kept there" in done.stderr and "Traceback" not in done.stderr


class TestLooking:
    DEPLOY = deploy(CHANGES, 'told("true" if "w" in host.name else "", name="Token")')

    def test_dry_ends_with_what_would_change_by_host(self, tmp_path: Path) -> None:
        """Also with -y, with which pyinfra would not look."""
        done = run(tmp_path, inventory(), self.DEPLOY, "--dry", "-y")
        assert done.returncode == 0
        assert done.stderr.splitlines()[2:] == [
            "would change:",
            "  @fake/cp1",
            "    Host                 Name, Swap",
            "  @fake/w1, @fake/w2",
            "    Host                 Name, Swap",
            "    Join                 Token",
        ]
        assert not (tmp_path / ".state" / "hosts" / "last-run.svg").exists()

    def test_diff_adds_the_lines_with_the_hosts_on_which_they_are_the_same(self, tmp_path: Path) -> None:
        there = {"/etc/motd": b"old\nsame\n", "/etc/key": b"secret\n"}
        lines = [f"{base64.b64encode(text).decode()} {path}" for path, text in there.items()]
        texts = f'(re.compile("base64 -w 0"), {answer(lines)!r})'
        hosts = inventory().replace("dict([broken])", f"dict([broken, {texts}])")
        files = 'HostFile("/etc/motd", "new\\nsame\\n"), HostFile("/etc/key", "secret", mode="600")'
        some = f'files.files(files=[{files}] if host.name != "@fake/w2" else [], name="Files")'
        more = "from kubestage.host_file import HostFile\nfrom kubestage.operations import files\n"
        done = run(tmp_path, hosts, more + deploy(some), "--dry", "--diff")
        assert done.returncode == 0
        assert done.stderr.splitlines()[2:] == [
            "would change:",
            "  @fake/cp1, @fake/w1",
            "    Host                 Files",
            "/etc/motd on @fake/cp1, @fake/w1:",
            "    @@ -1,2 +1,2 @@",
            "    -old",
            "    +new",
            "     same",
            "/etc/key on @fake/cp1, @fake/w1:",
            "    (not everybody may read it: its lines are not shown)",
        ]

    def test_nobody_there_to_be_asked(self, tmp_path: Path) -> None:
        done = run(tmp_path, inventory(), self.DEPLOY)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert done.stderr.endswith("so nothing was changed: add -y to be asked nothing\n")

    def test_json_has_nothing_of_ours(self, tmp_path: Path) -> None:
        done = run(tmp_path, inventory(), self.DEPLOY, "--json")
        assert json.loads(done.stdout)["results"] is None
        assert "would change:" in done.stderr

    def test_other_commands_of_pyinfra_are_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "config.py").write_text(CONFIG)
        argv = [*command(tmp_path, inventory(), deploy())[:4], "exec", "--", "true"]
        done = subprocess.run(argv, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0
        assert "--> Results:" in done.stderr
        assert not (tmp_path / ".state").exists()


class TestSignsOfLife:
    DEPLOY = deploy('told("true", name="Long")')

    def test_a_line_now_and_then_in_a_pipe(self, tmp_path: Path) -> None:
        often = "from kubestage.output import printer\nprinter._SIGNS_S = (0.3, 0.8)\n" + CONFIG
        slow = inventory(slow="w2").replace("20 if", "1.5 if")
        done = run(tmp_path, slow, self.DEPLOY, "-y", config=often)
        signs = re.findall(r"^  Host +Long +\.\.\. (.*?)  +\d\.\d s$", done.stderr, re.MULTILINE)
        assert signs == ["@fake/w2"] * 2, done.stderr

    def test_a_terminal_has_them_in_its_last_line(self, tmp_path: Path) -> None:
        slow = inventory(slow="w2").replace("20 if", "1.5 if")
        seen = seen_on_a_terminal(tmp_path, slow, self.DEPLOY, "-y")
        assert "\r\033[KHost  1 s  Long: @fake/w2" in seen
        assert "\033[K1 change on 3 hosts in " in seen.splitlines()[-1]  # in the place of it


def test_a_full_disk_ends_no_run(tmp_path: Path) -> None:
    log = Log(tmp_path, Mask())
    log.write("fits")
    full = Path("/dev/full").open("w", buffering=1)  # noqa: SIM115
    log._file = full
    log.write("does not")
    assert log.error == "No space left on device"


class TestMask:
    @pytest.mark.parametrize(
        ("data", "text", "shown"),
        [
            ({"ssh_password": "sesame"}, "it is sesame!", "it is ***!"),
            ({"registry": {"users": {"ci": "sesame", "dev": "sesame-2"}}}, "sesame-2 sesame", "*** ***"),
            ({"containerd_config": {"plugins": {"auth": {"password": "sesame"}}}}, "x=sesame", "x=***"),
            ({"docker_config": {"nodes": [{"auth": "sesame"}]}}, "x=sesame", "x=***"),
            ({"ssh_password": "a"}, "a cat", "a cat"),
            ({"ssh_key": "/root/key", "ssh_port": 22}, "/root/key 22", "/root/key 22"),
            ({}, "https://ci:sesame@registry.test/v2", "https://ci:***@registry.test/v2"),
            ({}, "kubeadm join --token abcdef.0123456789abcdef", "kubeadm join --token ***"),
            ({}, "token: eyJhbGci.eyJzdWIi.c2lnbmF0dXJl", "token: ***"),
        ],
    )
    def test_what_is_masked(self, data: dict[str, object], text: str, shown: str) -> None:
        mask = Mask()
        mask.learn(secrets_in(data))
        assert mask(text) == shown


class TestLines:
    @pytest.mark.parametrize(
        ("number", "of", "shown"),
        [
            (1, 3, "w1"),
            (4, 4, "w1, w2, w3, w4"),
            (5, 5, "all 5 hosts"),
            (29, 30, "w1, w2 and 27 more"),
        ],
    )
    def test_names_of_hosts(self, number: int, of: int, shown: str) -> None:
        every = [f"w{number + 1}" for number in range(of)]
        assert lines.some(every[:number], every) == shown

    def test_nothing_would_change(self) -> None:
        assert lines.would_change({"w1": [], "w2": []}) == ["would change: nothing"]

    def test_a_first_run_would_change_much(self) -> None:
        """In lines that can be read, and few of them for hosts that are alike."""
        names = [f"Host | A thing that is to be there, number {number}" for number in range(40)]
        told = lines.would_change({f"w{number}": names for number in range(30)})
        assert told[1] == "  all 30 hosts"
        assert told[2].startswith("    Host                 A thing that is to be there, number 0, ")
        assert len(told) < 25 and max(map(len, told)) <= 120
