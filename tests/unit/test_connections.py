"""A run's connections, over a real sshd: few commands at a time, and a clean end where a host is gone."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import fake_runs
import pytest
from fake_hosts import answer
from loopback_sshd import Loopback, loopback, needs_sshd
from sample_cluster import ROOT

from kubestage.cluster.connections import Slots

pytestmark = needs_sshd

WORKERS = 30
HEAD = """\
from types import SimpleNamespace
from pyinfra import host, state
from pyinfra.api import StringCommand
from pyinfra.api.operation import operation
from pyinfra.operations import server
from kubestage.cluster import connections, control_plane
from kubestage.operations import kubeadm, nodes

if not getattr(state, "kept", False):
    state.kept = True
    factor = 1
    own = SimpleNamespace(commands_per_connection=8, timeout_s=lambda seconds: seconds * factor)
    connections.ALIVE_EVERY_S, connections.SILENT_S, connections.COMMAND_S = 0.5, 3, @COMMAND_S@
    connections.keep(state, own)
speaker = control_plane.of_run(state, ["cp1"], timeout_s=5)
"""
REACHED = '"annotations": {"flannel.alpha.coreos.com/backend-data": "{}"}'
NODES = """echo '{"items": [' """ + " ".join(
    f'\'{{"metadata": {{"name": "@fake/w{n}", {REACHED}}}}},\'' for n in range(WORKERS)
)
NODES += """ '{"metadata": {"name": "cp1"}}]}'"""
KUBECTL = f"sleep 0.1; case $* in *'get nodes'*) {NODES} ;; *fail*) echo refused >&2; exit 1 ;; esac"


def run(
    cluster: Loopback, deploy: str, *flags: str, workers: int = WORKERS, command_s: int = 60
) -> subprocess.CompletedProcess[str]:
    """A run for cp1, behind the sshd, and fake workers that have joined."""
    data = {"fake_delay": 0, "fake_delay_jitter": 0, "fake_responses": {"kubelet_conf": answer(["kubelet_conf"])}}
    inventory = (
        f"control_plane = [{cluster.host('cp1')!r}]\n"
        f"workers = [(f'@fake/w{{n}}', {data!r}) for n in range({workers})]\n"
    )
    text = HEAD.replace("@COMMAND_S@", str(command_s)) + deploy
    result = fake_runs.run(cluster.folder, inventory, text, "--fail-percent", "0", *flags)
    assert "Traceback" not in result.stderr, result.stderr
    return result


JOIN = """
if host.name != "cp1":
    kubeadm.join(control_plane=speaker, node_ip="10.0.0.12", ignore_preflight=[], waits={}, name="kubeadm join")
"""
# Each worker has something of its own to be said, while the control plane host is at its own command.
TELL = """
@operation()
def tell(command):
    yield StringCommand("kubectl own; sleep 1") if host.name == "cp1" else speaker.command(command)

tell(command=f"kubectl tell {host.name}", name="Tell")
"""


@pytest.mark.parametrize("sessions", [10, 2])
def test_thirty_workers_ask_the_same(sessions: int, tmp_path: Path) -> None:
    with loopback(tmp_path, {"kubectl": KUBECTL}, MaxSessions=str(sessions)) as cluster:
        result = run(cluster, JOIN)
        assert result.returncode == 0, result.stderr
        asked = [call for call in cluster.calls() if "get nodes" in call]
        assert len(asked) == 1
        assert result.stderr.count("No changes") == WORKERS


@pytest.mark.parametrize(("sessions", "most"), [(10, 8), (2, 2)])
def test_thirty_workers_have_something_of_their_own_said(sessions: int, most: int, tmp_path: Path) -> None:
    with loopback(tmp_path, {"kubectl": KUBECTL}, MaxSessions=str(sessions)) as cluster:
        result = run(cluster, TELL)
        assert result.returncode == 0, result.stderr
        assert len([call for call in cluster.calls() if call.startswith("+ kubectl tell")]) == WORKERS
        assert cluster.most_at_once() <= most
        refused = (tmp_path / "log").read_text().count("no more sessions")
        assert (refused > 0) == (sessions < 8)


def test_the_control_plane_is_connected_to_where_a_limit_has_left_it_out(tmp_path: Path) -> None:
    with loopback(tmp_path, {"kubectl": KUBECTL}) as cluster:
        result = run(cluster, TELL, "--limit", "workers", workers=3)
        assert result.returncode == 0, result.stderr
        assert len([call for call in cluster.calls() if call.startswith("+")]) == 3


def test_what_fails_through_another_host_is_told_as_on_a_host_of_its_own(tmp_path: Path) -> None:
    with loopback(tmp_path, {"kubectl": KUBECTL}) as cluster:
        result = run(cluster, TELL.replace("kubectl tell", "kubectl fail"), "--limit", "workers", workers=1)
    assert result.returncode == 1
    assert "[@fake/w0] cp1: refused\n" in result.stderr.replace("    [", "[")
    assert "OperationError" not in result.stderr and "Unexpected error" not in result.stderr


def test_what_is_no_sshd_at_all(tmp_path: Path) -> None:
    """By the repository's own config.py, which is read before there is a connection."""
    shutil.copy(ROOT / "config.py", tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        data = {"ssh_hostname": "127.0.0.1", "ssh_port": port, "ssh_user": "root", "ssh_password": "x"}
        answering = threading.Thread(target=_answer_by_http, args=(server,))
        answering.start()
        result = fake_runs.run(tmp_path, f"hosts = [('cp1', {data!r})]", "")
        answering.join()
    assert result.returncode == 1
    assert "SSH error" in result.stderr and "Traceback" not in result.stderr


def _answer_by_http(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


WAIT = """
if host.name == "cp1":
    server.shell(commands="kubectl wait", name="Long")
"""


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (signal.SIGSTOP, 'cp1 has not answered for 3 s during "Long": its connection was given up. See that the host'),
        (signal.SIGKILL, 'the connection to cp1 was closed during "Long"'),
    ],
    ids=["the host is silent", "the connection is dropped"],
)
def test_a_host_that_is_lost_ends_the_run(sent: signal.Signals, told: str, tmp_path: Path) -> None:
    lost = f"{tmp_path}/lost"
    with (
        loopback(tmp_path, {"kubectl": f"touch {lost}; exec sleep 100"}) as cluster,
        cluster.sessions(Path(lost), sent),
    ):
        begin = time.monotonic()
        result = run(cluster, WAIT, workers=1)
        took = time.monotonic() - begin
    assert result.returncode == 1
    assert told in result.stderr
    assert took < 60  # of the 100 that the command takes


def test_a_living_host_may_take_its_time(tmp_path: Path) -> None:
    with loopback(tmp_path, {"kubectl": "sleep 6"}) as cluster:
        assert run(cluster, WAIT, workers=1).returncode == 0


def test_a_command_that_does_not_end(tmp_path: Path) -> None:
    with loopback(tmp_path, {"kubectl": "sleep 100"}) as cluster:
        result = run(cluster, WAIT, workers=1, command_s=1)
    assert result.returncode == 1
    assert 'after 1 s it had not come to its end during "Long"' in result.stderr
    assert "raise timeout_factor" in result.stderr


# As Debian's sudo 1.9 has it: -n asks nobody, -A runs what prints the password. /tmp may be mounted noexec.
SUDO = """\
while test $# -gt 0; do
    case $1 in
        -H | -k) shift ;;
        -n) echo 'sudo: a password is required' >&2; exit 1 ;;
        -A)
            case $SUDO_ASKPASS in
                /tmp/pyinfra*)
                    if test -e @FOLDER@/noexec; then
                        echo "sudo: unable to run $SUDO_ASKPASS: Permission denied" >&2
                        echo 'sudo: no password was provided' >&2
                        echo 'sudo: a password is required' >&2
                        exit 1
                    fi ;;
            esac
            test "$($SUDO_ASKPASS)" = secret || { echo 'sudo: a password is required' >&2; exit 1; }
            shift ;;
        *) exec "$@" ;;
    esac
done
"""


class TestSudo:
    def go(
        self, folder: Path, noexec: bool = False, password: str = "", config: str = "", greeting: str = ""
    ) -> subprocess.CompletedProcess[str]:
        programs = {"kubectl": "true", "sudo": SUDO.replace("@FOLDER@", str(folder))}
        with loopback(folder, programs, greeting) as cluster:
            if noexec:
                (folder / "noexec").touch()
            (folder / "config.py").write_text(f"from pyinfra import config\n{config}\n")
            (folder / "group_data").mkdir()
            (folder / "group_data/all.py").write_text(f"_sudo = True\n_sudo_password = {password!r}\n")
            return run(cluster, WAIT, workers=0)

    def test_a_password_and_no_terminal(self, tmp_path: Path) -> None:
        result = self.go(tmp_path)
        assert result.returncode == 1
        assert "sudo asks for a password, and there is no terminal to ask you for it" in result.stderr

    def test_the_password_by_its_host(self, tmp_path: Path) -> None:
        assert self.go(tmp_path, password="secret").returncode == 0

    def test_a_login_that_prints(self, tmp_path: Path) -> None:
        """In an encoding of its own, moreover."""
        result = self.go(tmp_path, password="secret", greeting=r"printf 'Welcome to d\351p\364t\n'")
        assert result.returncode == 0, result.stderr

    @pytest.mark.parametrize("password", ["secret", "wrong"])
    def test_it_is_not_taken(self, password: str, tmp_path: Path) -> None:
        result = self.go(tmp_path, noexec=password == "secret", password=password)
        assert result.returncode == 1
        assert "sudo did not take the password" in result.stderr
        assert 'config.TEMP_DIR = "' in result.stderr

    def test_the_remedy(self, tmp_path: Path) -> None:
        (tmp_path / "home").mkdir()
        result = self.go(tmp_path, True, "secret", config=f'config.TEMP_DIR = "{tmp_path}/home"')
        assert result.returncode == 0, result.stderr


def test_slots_that_sshd_does_not_have_are_given_up() -> None:
    slots = Slots(2)
    with slots.one():
        assert not slots.fewer()  # it is the only one: no other command stands in its way
