"""What of a stack the control plane host prints for kubectl: run by a shell, and read as the API server reads it."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path
from typing import Any

import yaml

from kubestage.host_file import HostFile
from kubestage.operations.stacks import manifest_commands
from kubestage.stacks.stack import Secret, Stack

SECRET = b'per%cent \x00 \\n "quoted" $HOME\n'


def printed(stack: Stack) -> list[dict[str, Any]]:
    """The documents that go to kubectl; as many as there are commands, and whatever they say on errors is none."""
    parts = manifest_commands([stack])
    result = subprocess.run(["sh", "-c", " && echo --- && ".join(parts)], capture_output=True, text=True, check=True)
    assert result.stderr == ""
    documents = list(yaml.safe_load_all(result.stdout))
    assert len(documents) == len(parts)
    return documents


def on_disk(folder: Path, manifest: str = "kind: Nothing\n") -> HostFile:
    path = folder / "manifest.yaml"
    path.write_text(manifest)
    return HostFile(str(path), manifest)


def test_secret(tmp_path: Path) -> None:
    (tmp_path / "the key").write_bytes(SECRET)
    (tmp_path / "crt").write_bytes(b"certificate\n")
    keys = {"tls.crt": f"{tmp_path}/crt", ".key": f"{tmp_path}/the key"}
    stack = Stack("registry", on_disk(tmp_path), (Secret("123", "login", keys, "example.com/pair"),))
    assert printed(stack)[1] == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "login", "namespace": "123", "labels": {"kubestage/stack": "registry"}},
        "type": "example.com/pair",
        "data": {
            "tls.crt": base64.b64encode(b"certificate\n").decode(),
            ".key": base64.b64encode(SECRET).decode(),
        },
    }


def test_secrets_come_before_what_mounts_them(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(SECRET)
    manifest = on_disk(tmp_path, "# Why.\nkind: Namespace\nca: @ca@\n---\nkind: Pod\nca: @ca@\n---\nkind: Last\n")
    secret = Secret("registry", "login", {"key": f"{tmp_path}/key"})
    stack = Stack("registry", manifest, (secret,), namespaces=("shop",), filled={"@ca@": "echo yes"})
    parts = manifest_commands([stack])
    text = subprocess.run(["sh", "-c", " && echo --- && ".join(parts)], capture_output=True, text=True, check=True)
    documents = list(yaml.safe_load_all(text.stdout))
    assert [document["kind"] for document in documents] == ["Namespace", "Namespace", "Secret", "Pod", "Last"]
    assert documents[1] == {"kind": "Namespace", "ca": True} and documents[3] == {"kind": "Pod", "ca": True}


def test_no_secret_of_a_file_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(SECRET)
    keys = {"one": f"{tmp_path}/one", "two": f"{tmp_path}/two"}
    _, command, _ = manifest_commands([Stack("registry", on_disk(tmp_path), (Secret("default", "login", keys),))])
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (result.returncode != 0, result.stdout) == (True, "")
    assert f"{tmp_path}/two" in result.stderr


def test_others_namespaces_come_first_and_are_named_alone(tmp_path: Path) -> None:
    stack = Stack("registry", on_disk(tmp_path), namespaces=("default", "null"))
    names = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in ("default", "null")]
    assert printed(stack) == [*names, {"kind": "Nothing"}]


def test_filled(tmp_path: Path) -> None:
    (tmp_path / "ca").write_bytes(SECRET * 50)
    manifest = on_disk(tmp_path, 'ca: "@ca@"\nuser: "@user@"\nnone: "@other@"\n')
    stack = Stack("metrics", manifest, filled={"@ca@": f"base64 -w 0 < {tmp_path}/ca", "@user@": "echo a/b"})
    encoded = base64.b64encode(SECRET * 50).decode()
    assert printed(stack) == [{"ca": encoded, "user": "a/b", "none": "@other@"}]
