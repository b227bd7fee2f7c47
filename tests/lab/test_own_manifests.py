"""The user's own manifests in a living cluster: applied, put back, taken out.

The tests share one cluster; each leaves it as the deploy wants it.
"""

from __future__ import annotations

import json
from pathlib import Path

from kubestage.stacks.own_manifests import FOLDER
from tests.lab.commands import deploy, kubectl, kubectl_json, on

# The object comes before its kind, and before its namespace.
THINGS = """\
apiVersion: test.kubestage/v1
kind: Thing
metadata: {name: first, namespace: own-test}
spec: {size: 3}
---
apiVersion: v1
kind: Namespace
metadata: {name: own-test}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.test.kubestage}
spec:
  group: test.kubestage
  scope: Namespaced
  names: {kind: Thing, plural: things}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}
"""
SECRET = """\
apiVersion: v1
kind: Secret
metadata: {name: kept, namespace: own-test}
stringData: {password: correct horse}
"""
BASE = {
    "base/kustomization.yaml": "resources: [map.yaml]\n",
    "base/map.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: map}\ndata: {a: b}\n",
    "overlays/test/kustomization.yaml": "namePrefix: built-\nnamespace: default\nresources: [../../base]\n",
}


def given(**manifests: object) -> tuple[str, str]:
    return "--data", f"manifests={json.dumps(manifests)}"


def names(kind: str, namespace: str) -> set[str]:
    found = kubectl_json("get", kind, "--namespace", namespace, "--selector", "kubestage/stack")
    return {item["metadata"]["name"] for item in found["items"]}


def test_own_manifests(cluster: None, tmp_path: Path) -> None:
    things, built = tmp_path / "things", tmp_path / "built"
    things.mkdir()
    (things / "things.yaml").write_text(THINGS)
    (things / "zz.yaml").write_text(SECRET)
    for name, content in BASE.items():
        (built / name).parent.mkdir(parents=True, exist_ok=True)
        (built / name).write_text(content)
    flags = given(things=str(things), built={"folder": str(built), "kustomize": "overlays/test"})

    assert deploy(*flags).changed == {"Manifests | things": ["cp1"], "Manifests | built": ["cp1"]}
    assert names("things.test.kubestage", "own-test") == {"first"}
    assert names("secrets", "own-test") == {"kept"}
    assert names("configmaps", "default") == {"built-map"}
    assert on("cp1", f"stat -c %a {FOLDER}/things/zz.yaml") == "600"
    assert deploy(*flags).changed == {}

    kubectl("patch", "things.test.kubestage", "first", "-n", "own-test", "--type=merge", "-p", '{"spec": {"size": 4}}')
    assert deploy(*flags).changed == {"Manifests | things": ["cp1"]}
    assert kubectl_json("get", "things.test.kubestage", "first", "-n", "own-test")["spec"]["size"] == 3

    (things / "zz.yaml").unlink()
    assert deploy(*flags).changed == {"Manifests | things": ["cp1"]}
    assert names("secrets", "own-test") == set()
    assert on("cp1", f"ls {FOLDER}/things") == "things.yaml"
    assert deploy(*flags).changed == {}

    assert deploy(*given(built=str(built / "base/map.yaml"))).changed == {
        "Manifests | built": ["cp1"],
        "Manifests | No others": ["cp1"],
    }
    assert names("configmaps", "default") == {"map"}
    assert "own-test" not in kubectl("get", "namespaces", "--output", "name")
    assert "test.kubestage" not in kubectl("get", "crds", "--output", "name")
    assert deploy().changed == {"Manifests | No others": ["cp1"]}
    assert names("configmaps", "default") == set()
    assert on("cp1", f"ls {FOLDER}") == ""
    assert deploy().changed == {}
