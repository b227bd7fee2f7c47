"""The user's own manifests: what is refused, what goes to the host, what is applied and what is taken out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fake_hosts import Facts, Hosts, fact, unpacked
from refusals import told
from sample_cluster import GROUPS, hosts_data
from stub_programs import calls, run_with

from kubestage.checks.load import load
from kubestage.facts.files import FileStates
from kubestage.facts.kubernetes import ManifestsApplied
from kubestage.facts.own_manifests import OBJECTS, Folders, ManifestObjects
from kubestage.facts.stack_objects import ObjectName, StackObject, StackObjects, StacksInCluster
from kubestage.operations import own_manifests
from kubestage.settings.manifests import Source
from kubestage.stacks.own_manifests import FOLDER, OwnManifests

SUM = "0" * 64
URL = "https://example.com/a.yaml"
ONE = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one, namespace: web}\n"


def load_with(manifests: Any) -> dict[str, Source]:
    return load(hosts_data({"manifests": manifests}), GROUPS).common.manifests


class TestSetting:
    def test_its_forms(self, tmp_path: Path) -> None:
        (tmp_path / "one.yaml").write_text(ONE)
        (tmp_path / "test").mkdir()
        (tmp_path / "test/kustomization.yaml").write_text("resources: [../one.yaml]\n")
        assert load_with({"a": {"url": URL, "sha256": SUM}, "b": str(tmp_path / "one.yaml")}) == {
            "a": Source(url=URL, sha256=SUM),
            "b": Source(path=str(tmp_path / "one.yaml")),
        }
        built = load_with({"c": {"folder": str(tmp_path), "kustomize": "./test"}})["c"]
        assert built == Source(path=str(tmp_path), kustomize="test")

    @pytest.mark.parametrize(
        ("value", "reason", "remedy"),
        [
            (["a.yaml"], "not a mapping", "write it as {NAME: VALUE}"),
            ({"My App": "a.yaml"}, "'My App' is not a name", "name each as you like"),
            ({"a": 3}, "neither a path nor one of the other forms", "write the path of a file or folder"),
            ({"a": ""}, "neither a path nor one of the other forms", "write the path of a file or folder"),
            ({"a": {"url": URL}}, "it has no sha256", "add it"),
            ({"a": {"url": URL, "sha256": "abc"}}, "not a SHA-256", "sha256sum"),
            ({"a": {"url": "ftp://x/y", "sha256": SUM}}, "not an http or https URL", "https://"),
            ({"a": {"url": URL, "sha265": SUM}}, 'its keys are sha265, url; did you mean "sha256"?', "write the path"),
            ({"a": {"folder": "x", "kustomize": "../y"}}, "not a folder below folder", "holds all that it refers to"),
            ({"a": {}}, "its keys are none", "write the path"),
            ({"a": "no/such/file"}, "there is no such file or folder", "correct the path"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_refused(self, value: Any, reason: str, remedy: str) -> None:
        (problem,) = told(hosts_data({"manifests": value})).problems
        assert problem.setting.startswith("manifests")
        assert reason in problem.reason and remedy in problem.remedy

    @pytest.mark.parametrize(
        ("name", "content", "reason"),
        [
            ("a.yaml", "a: [", "it is no YAML in line 2"),
            ("a.yaml", "- one\n", "document 1 in it is no object of Kubernetes"),
            ("a.yaml", f"{ONE}---\nkind: Pod\n", "document 2 in it is no object of Kubernetes"),
            ("a.json", '{"apiVersion": "v1", "kind": "List", "items": [{}]}', "document 1 in it is no object"),
            ("a b.yaml", ONE, "the name of its file 'a b.yaml' has blanks"),
            ("a.txt", ONE, "there is no file in it that ends with .yaml, .yml, .json"),
        ],
    )
    def test_folders_refused(self, name: str, content: str, reason: str, tmp_path: Path) -> None:
        (tmp_path / name).write_text(content)
        (problem,) = told(hosts_data({"manifests": {"a": str(tmp_path)}})).problems
        assert reason in problem.reason and problem.setting == "manifests.a"

    def test_not_built_by_kustomize(self, tmp_path: Path) -> None:
        (problem,) = told(hosts_data({"manifests": {"a": {"folder": str(tmp_path), "kustomize": "x"}}})).problems
        assert "there is no kustomization.yaml in its x" in problem.reason

    def test_one_object_in_two_of_them(self, tmp_path: Path) -> None:
        for name in "ab":
            (tmp_path / f"{name}.yaml").write_text(ONE)
        both = {name: str(tmp_path / f"{name}.yaml") for name in "ab"}
        (problem,) = told(hosts_data({"manifests": both})).problems
        assert problem.reason == f"ConfigMap web one is in it, and in {both['a']} as well"


class TestFiles:
    def test_of_a_folder(self, tmp_path: Path) -> None:
        for name in ("b.yaml", "a.yml", "sub/c.json", "notes.txt"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(name)
        own = OwnManifests("shop", Source(path=str(tmp_path)))
        assert [(file.path, file.content, file.mode) for file in own.files()] == [
            (f"{FOLDER}/shop/{name}", name, "600") for name in ("a.yml", "b.yaml", "sub/c.json")
        ]
        built = OwnManifests("shop", Source(path=str(tmp_path), kustomize="sub"))
        assert [file.path.rpartition("shop/")[2] for file in built.files()][-2:] == ["notes.txt", "sub/c.json"]
        assert built.labelled().startswith(f"kubectl kustomize {FOLDER}/shop/sub | kubectl ")

    def test_of_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").write_text("ä\n")
        (file,) = OwnManifests("shop", Source(path=str(tmp_path / "a.yaml"))).files()
        assert (file.path, file.content) == (f"{FOLDER}/shop/a.yaml", "ä\n")


def thing(stack: str, name: str, kind: str = "ConfigMap", namespace: str = "web") -> StackObject:
    return StackObject(stack, "v1", ObjectName("", kind, namespace, name))


def found(*objects: StackObject) -> Facts:
    lines = [
        f"stack_object {one.stack}|v1|{one.name.kind}|{one.name.namespace}|{one.name.name}|Apply|1|7|{{}}"
        for one in objects
    ]
    return {fact(StacksInCluster): [*lines, "stack_objects "]}


@pytest.fixture
def shop(tmp_path: Path) -> OwnManifests:
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "one.yaml").write_text(ONE)
    return OwnManifests("shop", Source(path=str(folder)))


def facts(own: OwnManifests, *, on_disk: bool = True, end: str = "exit 0", more: Sequence[str] = ()) -> Facts:
    (file,) = own.files()
    states = [f"600 0:0 {file.sha256} {file.path}"] if on_disk else []
    return {
        fact(FileStates, paths=[file.path], below=own.folder): [*states, *more],
        fact(ManifestsApplied, parts=[own.labelled()]): [end],
        fact(ManifestObjects, command=own.labelled(OBJECTS)): ["v1|ConfigMap|web|one", "v1|ConfigMap||here"],
    }


def kept(own: OwnManifests, known: Facts, *seen: StackObject) -> Hosts:
    hosts = Hosts({"cp1": {**known, **found(*seen)}})
    hosts.prepare("cp1", own_manifests.entry, own=own, address="", seen=StackObjects(seen))
    hosts.execute()
    return hosts


class TestKept:
    def test_as_it_should_be(self, shop: OwnManifests) -> None:
        seen = [thing("own.shop", "one"), thing("own.shop", "here", namespace="default"), thing("web", "other")]
        assert kept(shop, facts(shop)).commands("cp1") == []
        assert kept(shop, facts(shop), *seen).commands("cp1") == []

    def test_first_run(self, shop: OwnManifests) -> None:
        write, apply = kept(shop, facts(shop, on_disk=False, end="exit 1")).told("cp1")
        assert unpacked(write) == {f"{FOLDER}/shop/one.yaml": (ONE, "600")}
        assert shop.labelled() in apply.command and "kubestage/stack=own.shop" in apply.command

    def test_a_file_that_has_gone(self, shop: OwnManifests) -> None:
        (command,) = kept(shop, facts(shop, more=[f"600 0:0 {SUM} {FOLDER}/shop/old.yaml"])).commands("cp1")
        assert command.startswith(f"rm {FOLDER}/shop/old.yaml")

    def test_an_object_that_has_gone(self, shop: OwnManifests) -> None:
        seen = [thing("own.shop", "one"), thing("own.shop", "old"), thing("own.other", "old")]
        (deleted,) = kept(shop, facts(shop), *seen).told("cp1")
        assert '"name": "old"' in deleted.stdin and '"name": "one"' not in deleted.stdin

    def test_nothing_is_deleted_by_a_manifest_that_can_not_be_read(self, shop: OwnManifests) -> None:
        known = {**facts(shop), fact(ManifestObjects, command=shop.labelled(OBJECTS)): ["failed"]}
        assert kept(shop, known, thing("own.shop", "old")).commands("cp1") == []

    @pytest.mark.parametrize("first", [0, 1])
    @pytest.mark.parametrize("definitions", ["", "crd"])
    def test_what_comes_before_its_kind_is_applied_after_it(
        self, first: int, definitions: str, shop: OwnManifests, tmp_path: Path
    ) -> None:
        (apply,) = kept(shop, facts(shop, end="exit 1")).commands("cp1")
        once = f'if test -e "{tmp_path}/once"; then exit 0; fi; touch {tmp_path}/once; exit {first}'
        kubectl = f'case "$*" in *label*) echo objects ;; *get*) echo {definitions} ;; *apply*) {once} ;; esac'
        assert run_with(tmp_path, apply, {"kubectl": kubectl}).returncode == 0
        verbs = [word for call in calls(tmp_path) for word in call.split() if word in ("apply", "wait")]
        assert verbs == (["apply", *(["wait"] if definitions else []), "apply"] if first else ["apply"])

    def test_from_a_url(self) -> None:
        own = OwnManifests("far", Source(url=URL, sha256=SUM))
        known = {
            fact(FileStates, paths=[own.downloaded]): [],
            fact(ManifestsApplied, parts=[own.labelled()]): ["exit 1"],
        }
        hosts = Hosts({"cp1": known})
        hosts.prepare("cp1", own_manifests.entry, own=own, address="https://m.example/a.yaml", seen=StackObjects())
        hosts.execute()
        download, _ = hosts.commands("cp1")
        assert "https://m.example/a.yaml" in download and f"SHA256:{SUM}" in download


class TestOthersRemoved:
    def told(self, own: OwnManifests, folders: Sequence[str], *seen: StackObject) -> Hosts:
        hosts = Hosts({"cp1": {**found(*seen), fact(Folders, path=FOLDER): folders}})
        hosts.prepare("cp1", own_manifests.no_others, kept=[own], seen=StackObjects(seen))
        hosts.execute()
        return hosts

    def test_nothing(self, shop: OwnManifests) -> None:
        assert self.told(shop, ["shop"], thing("own.shop", "one"), thing("web", "one")).commands("cp1") == []

    def test_what_has_left_the_settings(self, shop: OwnManifests) -> None:
        old = [thing("own.old", "web", "Namespace", ""), thing("own.old", "one")]
        deleted, removed = self.told(shop, ["old", "shop"], thing("own.shop", "one"), *old).told("cp1")
        assert '"kind": "Namespace"' in deleted.stdin and '"name": "one"' in deleted.stdin
        assert removed.command == f"rm -rf {FOLDER}/old"


def test_folders(tmp_path: Path) -> None:
    for name in ("here/b", "here/a"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "here/file").touch()
    for path, wanted in (("here", ["a", "b"]), ("none", [])):
        done = run_with(tmp_path, fact(Folders, path=f"{tmp_path}/{path}"), {})
        assert Folders().process(done.stdout.splitlines()) == wanted


def test_objects(tmp_path: Path) -> None:
    lines = "apps/v1|Deployment|web|one\\nv1|Namespace||web"
    done = run_with(tmp_path, fact(ManifestObjects, command="kubectl x"), {"kubectl": f"printf '{lines}\\n'"})
    assert ManifestObjects().process(done.stdout.splitlines()) == frozenset(
        {
            ObjectName("apps", "Deployment", "web", "one"),
            ObjectName("", "Namespace", "", "web"),
        }
    )
    done = run_with(tmp_path, fact(ManifestObjects, command="kubectl x"), {"kubectl": "exit 1"})
    assert ManifestObjects().process(done.stdout.splitlines()) is None
