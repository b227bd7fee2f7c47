"""What of a stack the control plane host gets, and what it prints for kubectl, read as the API server reads it."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path
from typing import Any

import yaml

from kubestage.facts.printed import Printed
from kubestage.facts.unknown import Unknown
from kubestage.operations.stacks import manifest_commands
from kubestage.stacks.stack import Namespace, Secret, Stack, Upstream, recorded

FOLDER = "/etc/kubernetes/kubestage/manifests/registry"


def stack(*secrets: Secret, **changed: Any) -> Stack:
    return Stack("registry", lambda _: "kind: Pod\nmetadata: {name: one}\n", secrets=secrets, **changed)


def files(of: Stack) -> dict[str, list[dict[str, Any]]]:
    """Path below FOLDER -> its documents."""
    return {file.path.removeprefix(f"{FOLDER}/"): list(yaml.safe_load_all(file.content)) for file in of.files({})}


def test_secrets_come_before_what_mounts_them_and_after_their_namespace() -> None:
    found = stack(Secret("registry", "login", {"key": "/k/key"}), namespace=Namespace("registry"), others=("shop",))
    kustomize = "kubectl kustomize --load-restrictor LoadRestrictionsNone"
    assert manifest_commands([found]) == [
        f"cat {FOLDER}/namespaces.yaml",
        f"{kustomize} {FOLDER}/secrets",
        f"cat {FOLDER}/manifest.yaml",
        f"cat {FOLDER}/record.yaml",
    ]
    assert list(files(found)) == ["namespaces.yaml", "secrets/kustomization.yaml", "manifest.yaml", "record.yaml"]


def test_others_namespaces_are_named_alone() -> None:
    own, *others = files(stack(namespace=Namespace("registry", "baseline"), others=("default", "null")))[
        "namespaces.yaml"
    ]
    labels = {"kubestage/stack": "registry", "pod-security.kubernetes.io/enforce": "baseline"}
    assert own["metadata"] == {"name": "registry", "labels": labels}
    assert [each["metadata"] for each in others] == [{"name": name} for name in ("kubestage-system", "default", "null")]


def test_secrets_are_of_files_by_their_paths_alone() -> None:
    secret = Secret("123", "login", {"tls.crt": "/k/crt", ".key": "/k/the key"}, "example.com/pair")
    (made,) = files(stack(secret))["secrets/kustomization.yaml"]
    assert made["secretGenerator"] == [
        {
            "namespace": "123",
            "name": "login",
            "type": "example.com/pair",
            "files": ["tls.crt=/k/crt", ".key=/k/the key"],
        }
    ]
    assert made["generatorOptions"] == {"disableNameSuffixHash": True, "labels": {"kubestage/stack": "registry"}}


def test_the_record_says_what_was_applied() -> None:
    """It differs with whatever is applied, but for what only the host can tell."""

    def record(of: Stack) -> dict[str, str]:
        (document,) = files(of)["record.yaml"]
        assert document["metadata"]["labels"] == {"kubestage/stack": "registry"}
        assert (document["metadata"]["namespace"], document["metadata"]["name"]) == (
            "kubestage-system",
            "stack.registry",
        )
        return {key: base64.b64decode(value).decode() for key, value in document["data"].items()}

    def pod(image: str, asked: str = "") -> Stack:
        text = f"kind: Pod\nmetadata: {{name: one}}\nspec:\n  containers:\n    - image: {image}\n"
        return Stack(
            "registry", lambda answers: text + "".join(answers.values()), asked={asked: "true"} if asked else {}
        )

    assert record(pod("example.com/one:1"))["images"] == "example.com/one:1"
    others = [
        pod("example.com/one:2"),
        stack(),
        stack(namespace=Namespace("one")),
        stack(Secret("one", "two", {"a": "/b"})),
        stack(upstream=(Upstream("https://one.example/a.yaml", "0" * 64),)),
        stack(upstream=(Upstream("https://one.example/a.yaml", "1" * 64),)),
    ]
    digests = [record(each)["digest"] for each in (pod("example.com/one:1"), *others)]
    assert len(set(digests)) == len(digests)
    assert record(pod("example.com/one:1", asked="ca"))["digest"] == digests[0]
    (document,) = files(others[0])["record.yaml"]
    assert recorded([document, {"type": "Opaque", "metadata": {"name": "other"}}]) == {"registry": digests[1]}


class TestPrinted:
    def ask(self, **commands: str) -> dict[str, str] | Unknown:
        command = Printed().ask(commands)
        output = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout
        return Printed().parse(output.splitlines())

    def test_each_by_its_name(self, tmp_path: Path) -> None:
        (tmp_path / "ca").write_bytes(b"certificate" * 50)
        encoded = base64.b64encode(b"certificate" * 50).decode()
        asked = self.ask(ca=f"base64 -w 0 < {tmp_path}/ca", user="echo a b/c")
        assert asked == {"ca": encoded, "user": "a b/c"}

    def test_one_that_fails(self, tmp_path: Path) -> None:
        assert self.ask(user="echo a", ca=f"base64 -w 0 < {tmp_path}/ca") == Unknown("ca")
        assert self.ask(ca=f"sha256sum < {tmp_path}/ca | cut -c1-16", user="echo a") == Unknown("ca")
