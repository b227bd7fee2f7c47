"""An image of a prepared host: of whom none is made, what is asked, and in which order things are done."""

from __future__ import annotations

import argparse
import pkgutil
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sample_cluster import GROUPS, hosts_data
from test_rebuild import Machine

import tasks
from kubestage.checks.load import load
from kubestage.cluster.inventory import TargetError
from kubestage.cluster.phase import PHASES
from kubestage.commands import image


@pytest.fixture
def target(tmp_path: Path) -> Any:
    return SimpleNamespace(cluster=load(hosts_data(), GROUPS), inventory="inventory/mine.py", folder=tmp_path)


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done, in its order; the host is blank, and all goes well."""
    machine, said = Machine(), list[str]()
    machine.did = said
    monkeypatch.setattr(image, "machine", lambda *_: machine)

    def deploy(_: Any, name: str, *flags: str) -> int:
        said.append(f"deploy {name} {' '.join(flags)}")
        return 0

    def shell(*_: Any) -> tuple[bool, str]:
        said.append("shell")
        return True, ""

    monkeypatch.setattr(image, "deploy", deploy)
    monkeypatch.setattr(image, "shell", shell)
    return said


def make(target: Any, host: str = "w1", **more: Any) -> int:
    return image._make(target, argparse.Namespace(**{"host": host, "name": "golden", "yes": True, **more}))


def test_all_steps(target: Any, done: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert make(target) == 0
    only = f"only={','.join(image.PHASES)}"
    assert done == ["shell", f"deploy w1 --limit w1 --data {only}", "shell", "stop", "image golden"]
    assert "m-golden: python -m kubestage rebuild inventory/mine.py HOST --image m-golden" in capsys.readouterr().out


def test_its_phases_are_some_of_a_run() -> None:
    for module in pkgutil.iter_modules(tasks.__path__):
        import_module(f"tasks.{module.name}")
    assert set(image.PHASES) <= set(PHASES)


@pytest.mark.parametrize(("host", "said"), [("w9", "there is no host 'w9'"), ("cp1", "made of workers")])
def test_of_whom_none_is_made(target: Any, host: str, said: str, done: list[str]) -> None:
    with pytest.raises(TargetError, match=said):
        make(target, host)
    assert done == []


@pytest.mark.parametrize("line", ["kubelet_conf", "admin_conf", "debris", "running kubestage-join"])
def test_never_of_a_member(target: Any, line: str, done: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "shell", lambda *_: (True, line))
    with pytest.raises(TargetError, match="w1: it is in a cluster, or was"):
        make(target)
    assert done == []


def test_nobody_is_there_to_ask(target: Any, done: list[str]) -> None:
    with pytest.raises(TargetError, match="no terminal to ask you"):
        make(target, yes=False)
    assert done == ["shell"]


def test_a_run_that_failed_ends_it_and_it_goes_on_there(
    target: Any, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as failing, pytest.raises(TargetError, match="the run that prepares it ended with 3"):
        failing.setattr(image, "deploy", lambda *_: 3)
        make(target)
    monkeypatch.setattr(image, "_forget", lambda *_: exit(9))
    with pytest.raises(SystemExit):
        make(target)
    monkeypatch.setattr(image, "_forget", lambda *_: None)
    done.clear()
    assert make(target) == 0
    assert done == ["stop", "image golden"]
