"""Files on the machine of the run: never half of one, never readable for more than they are to be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kubestage.local_file import save


def test_saved(tmp_path: Path) -> None:
    path = tmp_path / "new" / "kubeconfig"
    save(path, "größe\n", mode=0o600)
    assert path.read_text() == "größe\n"
    assert path.stat().st_mode & 0o777 == 0o600
    save(path, "other\n")
    assert path.read_text() == "other\n"
    assert [file.name for file in path.parent.iterdir()] == ["kubeconfig"]


def test_a_link(tmp_path: Path) -> None:
    link, path = tmp_path / "link", tmp_path / "elsewhere" / "known_hosts"
    link.symlink_to(path)
    save(link, "new\n")
    assert (link.is_symlink(), path.read_text()) == (True, "new\n")


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """The old file stays until the new one is on the disk; what is left beside it is no hindrance."""

    def cut(*_: object) -> None:
        raise OSError("cut off")

    path = tmp_path / "kubeconfig"
    save(path, "old\n")
    with monkeypatch.context() as patch:
        patch.setattr(os if step == "fsync" else Path, step, cut)
        with pytest.raises(OSError, match="cut off"):
            save(path, "new\n")
    assert path.read_text() == "old\n"
    save(path, "new\n")
    assert path.read_text() == "new\n"
    assert [file.name for file in tmp_path.iterdir()] == ["kubeconfig"]
