"""What stacks have put into the cluster: labelled, told from what is others', and gone once no manifest has it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from fake_hosts import Facts, Hosts, Told, fact, told_by
from pyinfra.api import OperationError
from sample_cluster import GROUPS, NO_SPEAKER, hosts_data
from sample_reports import bare, control_plane
from sample_stacks import documents, settings
from stub_programs import calls, run_with

from kubestage.checks.load import load
from kubestage.checks.preflight import Checked
from kubestage.cluster.plan import HostPlan
from kubestage.facts.files import FileStates, Missing
from kubestage.facts.host_report import parse
from kubestage.facts.kubernetes import ManifestsApplied
from kubestage.facts.own_manifests import OBJECTS, ManifestObjects
from kubestage.facts.stack_objects import ObjectName, StackObject, StackObjects, StacksInCluster
from kubestage.operations import stacks
from kubestage.stacks import catalogue, dashboard, network
from kubestage.stacks.labels import labelled
from kubestage.stacks.stack import Namespace, Secret, Stack, Upstream

KUBECTL = "kubectl --kubeconfig /etc/kubernetes/admin.conf"
DELETE = f"{KUBECTL} delete --ignore-not-found --wait --timeout=180s -f -"
MANIFEST = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, namespace: web}
"""
WEB = Stack(
    "web",
    lambda _: MANIFEST,
    namespace=Namespace("web"),
    secrets=(Secret("shop", "login", {"key": "/k/key"}),),
    upstream=(Upstream("https://far.example/crds.yaml", "0" * 64),),
)


def thing(version: str, kind: str, namespace: str, name: str, stack: str = "web") -> StackObject:
    return StackObject(stack, version, ObjectName(version.rpartition("/")[0], kind, namespace, name))


WANTED = (
    thing("v1", "Namespace", "", "web"),
    thing("apps/v1beta9", "Deployment", "web", "shop"),  # another version of the same
    thing("v1", "Secret", "shop", "login"),
    thing("v1", "Secret", "kubestage-system", "stack.web"),
)
CRD = thing("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "shops.example.com")
OTHERS = thing("v1", "ConfigMap", "web", "old", stack="another")


class TestLabels:
    def test_every_object_of_every_stack_has_its_own(self) -> None:
        common = settings()
        every = [network.flannel(common), network.reserved_node_ports([22]), *catalogue.chosen(common).values()]
        for stack in (*every, *dashboard.flavours(common).values()):
            for document in documents(stack):
                assert document["metadata"]["labels"]["kubestage/stack"] == stack.name, document["metadata"]
            # No pod is made anew for a label, and no selector goes by it.
            own = [each for each in documents(stack) if each["kind"] != "Namespace"]
            assert stack.manifest.content.count("kubestage/stack") == len(own)

    def test_the_rest_of_the_text_stays(self) -> None:
        text = (
            "# Caf\u00e9\n"
            "kind: One\nmetadata:\n  # why\n  name: \u6f22\u5b57 # here\n  namespace: n\n"
            "data: |\n  metadata:\n    name: x\n"
            "---\nkind: Two\nmetadata:\n    name: two\n    labels:\n        a: b\nspec: {metadata: {labels: {}}}\n"
            "---\nkind: Three\nmetadata: {name: three}\n"
            "---\nkind: Four\nmetadata: {labels: {}, name: four}\n"
            "---\n# nothing\n"
        )
        made = labelled(text, "web")
        for before, after in zip(yaml.safe_load_all(text), yaml.safe_load_all(made), strict=True):
            if before is not None:
                labels = {"kubestage/stack": "web", **before["metadata"].get("labels", {})}
                assert after == {**before, "metadata": {**before["metadata"], "labels": labels}}
        assert [line for line in text.splitlines() if "#" in line] == [
            line for line in made.splitlines() if "#" in line
        ]


class TestFact:
    KINDS = "printf '%s\\n' deployments.apps configmaps events events.events.k8s.io shops.example.com"

    def ask(self, folder: Path, get: str) -> StackObjects:
        kubectl = f'case "$*" in *api-resources*) {self.KINDS} ;; *) {get} ;; esac'
        result = run_with(folder, fact(StacksInCluster), {"kubectl": kubectl})
        assert result.stderr == ""
        return StacksInCluster().process(result.stdout.splitlines())

    def test_every_kind_is_asked_for_in_one_go(self, tmp_path: Path) -> None:
        lines = ["web|apps/v1|Deployment|web|shop|Apply Update|3|7|{}", "web|example.com/v1|Shop||one|Apply||8|{}"]
        # What a controller has made of an object, and what a person has copied, have its labels.
        lines += ["web|v1|Endpoints|web|shop|||9|{}", "web|v1|ConfigMap|default|copy|Update||9|{}"]
        found = self.ask(tmp_path, "; ".join(f"echo 'stack_object {line}'" for line in lines))
        shop = thing("example.com/v1", "Shop", "", "one")
        assert found == StackObjects((thing("apps/v1", "Deployment", "web", "shop"), shop))
        assert [one.state for one in found.objects] == ["3 {}", ".8 {}"]
        asked = calls(tmp_path)[1]
        assert "get deployments.apps,configmaps,shops.example.com --all-namespaces --selector kubestage/stack" in asked

    def test_nothing_is_there(self, tmp_path: Path) -> None:
        assert self.ask(tmp_path, "true") == StackObjects()
        assert StackObjects().known

    def test_silence_is_unknown(self, tmp_path: Path) -> None:
        found = self.ask(tmp_path, "echo 'Warning: old' >&2; echo 'connection refused' >&2; exit 1")
        assert (found.error, found.known) == ("connection refused", False)
        assert self.ask(tmp_path, "exit 124") == StackObjects(error="no answer")  # a time-out says nothing
        assert not StacksInCluster.default().known

    def test_one_kind_that_can_not_be_listed(self, tmp_path: Path) -> None:
        line = "stack_object web|v1|Secret|web|one|Apply||7|{}"
        found = self.ask(tmp_path, f"echo '{line}'; echo 'conversion webhook failed' >&2; exit 1")
        assert found == StackObjects((thing("v1", "Secret", "web", "one"),), "conversion webhook failed")
        assert found.known


@pytest.mark.parametrize(
    ("report", "seen"),
    [
        (bare(11), StackObjects()),
        (control_plane(stack_objects=["web|v1|Secret|web|one"]), StackObjects((thing("v1", "Secret", "web", "one"),))),
        (control_plane().replace("cluster known", "cluster unknown refused"), StackObjects(error="refused")),
        (control_plane().replace("cluster known", "cluster unknown "), StackObjects(error="no answer")),
    ],
    ids=["no cluster yet", "a cluster", "one that refuses", "one that says nothing"],
)
def test_what_a_run_goes_by(report: str, seen: StackObjects) -> None:
    reports = {"cp1": parse(report.splitlines(), 0, 0)}
    checked = Checked(load(hosts_data(), GROUPS), reports, {"cp1": "10.0.0.11"}, (), frozenset(), "lab")
    assert HostPlan("cp1", checked, ("cp1",), NO_SPEAKER, Path("kubeconfig")).stack_objects == seen


def listed(*objects: StackObject, error: str = "") -> Facts:
    """What StacksInCluster is answered."""
    lines = [
        f"stack_object {'|'.join((one.stack, one.api_version, one.name.kind, one.name.namespace, one.name.name))}"
        "|Apply|1|7|{}"
        for one in objects
    ]
    return {fact(StacksInCluster): [*lines, f"stack_objects {error}"]}


def on_disk(there: bool) -> Facts:
    return {fact(Missing, paths=[WEB.folder]): [] if there else [WEB.folder]}


def deleted(told: Told) -> list[str]:
    """The objects that the command deletes, in its order."""
    assert told.command == DELETE
    return [
        f"{one['apiVersion']} {one['kind']} {one['metadata']['namespace']}/{one['metadata']['name']}"
        for one in json.loads(told.stdin)["items"]
    ]


class TestRemoved:
    EVERYTHING = (
        CRD,
        *WANTED,
        thing("example.com/v1", "Shop", "web", "one"),
        thing("apiregistration.k8s.io/v1", "APIService", "", "v1.example.com"),
        thing("v1", "Secret", "elsewhere", "of-a-namespace-that-left-the-settings"),
    )
    ORDER = (
        "apiregistration.k8s.io/v1 APIService /v1.example.com",
        "apps/v1beta9 Deployment web/shop",
        "v1 Secret shop/login",
        "v1 Secret kubestage-system/stack.web",
        "example.com/v1 Shop web/one",
        "v1 Secret elsewhere/of-a-namespace-that-left-the-settings",
        "v1 Namespace /web",
        "apiextensions.k8s.io/v1 CustomResourceDefinition /shops.example.com",
    )

    def go(self, seen: StackObjects, there: Facts, files: bool = False) -> list[Told]:
        return told_by(stacks.no_stack, {**on_disk(files), **there}, stack=WEB, seen=seen)

    @pytest.mark.parametrize("files", [False, True])
    def test_what_is_there_goes_whatever_is_on_the_host_s_disk(self, files: bool) -> None:
        seen = StackObjects((*self.EVERYTHING, OTHERS))
        delete, *rm = self.go(seen, listed(*self.EVERYTHING, OTHERS), files)
        assert deleted(delete) == list(self.ORDER)
        assert rm == [Told(f"rm -r {WEB.folder}")] * files

    def test_a_run_was_killed_in_between(self) -> None:
        (delete,) = self.go(StackObjects((CRD,)), listed(CRD))
        assert deleted(delete) == [self.ORDER[-1]]
        assert self.go(StackObjects(), {}, files=True) == [Told(f"rm -r {WEB.folder}")]

    def test_it_has_gone_since_preflight(self) -> None:
        assert self.go(StackObjects(WANTED), listed(OTHERS)) == []

    def test_it_is_not_there_and_nobody_is_asked_again(self) -> None:
        hosts = Hosts({"h1": on_disk(False)})
        hosts.prepare("h1", stacks.no_stack, stack=WEB, seen=StackObjects((OTHERS,)))
        hosts.execute()
        assert set(hosts.everything("h1")) == {fact(Missing, paths=[WEB.folder])}

    def test_an_api_that_was_silent_at_first_is_asked_again(self) -> None:
        (delete,) = self.go(StackObjects(error="connection refused"), listed(*WANTED))
        assert len(deleted(delete)) == len(WANTED)

    def test_unknown_is_not_absent(self) -> None:
        silent = StackObjects(error="connection refused")
        hosts = Hosts({"h1": {**on_disk(False), **listed(error="connection refused")}})
        hosts.prepare("h1", stacks.no_stack, stack=WEB, seen=silent)
        with pytest.raises(
            OperationError, match="does not say what stacks have put into the cluster: connection refused"
        ):
            hosts.execute()


class TestKept:
    """What a newer manifest no longer has."""

    UPSTREAM = f"kubectl kustomize --load-restrictor LoadRestrictionsNone {WEB.upstream_folder(0)}"
    PARTS = (UPSTREAM, *stacks.manifest_commands([WEB]))
    LISTED = (
        f"{{ {UPSTREAM}; }} | {KUBECTL} label --local --overwrite --filename - kubestage/stack=web --output {OBJECTS}"
    )
    FILES: Facts = {  # noqa: RUF012
        fact(FileStates, paths=[file.path for file in WEB.files({})]): [
            f"644 0:0 {file.sha256} {file.path}" for file in WEB.files({})
        ],
        fact(FileStates, paths=[*(file.path for file in WEB.files({})), *WEB.sources]): [],
        fact(ManifestObjects, command=LISTED): ["apiextensions.k8s.io/v1|CustomResourceDefinition||shops.example.com"],
    }
    DROPPED = (thing("v1", "ConfigMap", "web", "old"), thing("v1", "Secret", "left", "login"))

    def go(self, *there: StackObject, same: bool = True, **seen: StackObjects) -> list[Told]:
        facts = {
            **self.FILES,
            **listed(*there),
            fact(ManifestsApplied, parts=self.PARTS): [f"exit {int(not same)}"],
        }
        return told_by(stacks.stacks, facts, stacks=[WEB], seen=seen.get("seen", StackObjects(there)))

    def test_goes_and_nothing_besides(self) -> None:
        (delete,) = self.go(*WANTED, *self.DROPPED, CRD, OTHERS)
        assert deleted(delete) == ["v1 ConfigMap web/old", "v1 Secret left/login"]

    def test_goes_after_what_is_new_has_come(self) -> None:
        *applied, delete = self.go(*WANTED, *self.DROPPED, same=False)
        assert [" apply " in each.command for each in applied] == [True, True]
        assert len(deleted(delete)) == 2

    def test_of_another_group_is_another_one(self) -> None:
        (delete,) = self.go(*WANTED, thing("example.com/v1", "Deployment", "web", "shop"))
        assert deleted(delete) == ["example.com/v1 Deployment web/shop"]

    @pytest.mark.parametrize("there", [WANTED, (*WANTED, CRD, OTHERS), WANTED[:1]], ids=["all", "and others'", "less"])
    def test_nothing_is_surplus_and_nobody_is_asked_again(self, there: Sequence[StackObject]) -> None:
        facts = {**self.FILES, fact(ManifestsApplied, parts=self.PARTS): ["exit 0"]}
        (note,) = told_by(stacks.stacks, facts, stacks=[WEB], seen=StackObjects(tuple(there)))
        assert note.command.startswith("echo ") and note.command.endswith("/manifests/web/applied")

    def test_what_holds_data_of_others_stays_and_is_told(self, caplog: pytest.LogCaptureFixture) -> None:
        holders = (thing("v1", "Namespace", "", "old"), thing("v1", "PersistentVolumeClaim", "web", "data"))
        with caplog.at_level("WARNING", logger="pyinfra"):
            assert self.go(*WANTED, *holders) == []
        assert caplog.text.count("Namespace old of web, PersistentVolumeClaim web/data of web") == 1
        (delete,) = self.go(*WANTED, *holders, *self.DROPPED)
        assert len(deleted(delete)) == 2

    def test_an_api_that_was_silent_at_first_is_asked_again(self) -> None:
        (delete,) = self.go(*WANTED, self.DROPPED[0], seen=StackObjects(error="connection refused"))
        assert deleted(delete) == ["v1 ConfigMap web/old"]
