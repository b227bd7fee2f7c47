"""Stacks: kept as their manifests and files say, taken out again, waited for."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import yaml
from fake_hosts import Facts, Hosts, Told, fact, run, run_for_all, told_by, unpacked
from pyinfra.api import OperationError

from kubestage.facts.files import FileStates
from kubestage.facts.kubernetes import ManifestsApplied, Workload, WorkloadsReady
from kubestage.facts.own_manifests import OBJECTS, ManifestObjects
from kubestage.facts.printed import Printed
from kubestage.facts.stack_objects import ObjectName, StackObject, StackObjects, StacksInCluster
from kubestage.operations import stacks
from kubestage.operations.explained import or_explained
from kubestage.operations.stacks import manifest_commands
from kubestage.stacks.stack import Namespace, Secret, Stack, Upstream

KUBECTL = "kubectl --kubeconfig /etc/kubernetes/admin.conf"
NOTHING_SEEN = StackObjects()  # by preflight


def document(kind: str, more: str = "") -> str:
    return f"apiVersion: demo/v1\nkind: {kind}\nmetadata: {{name: one}}\n{more}"


PLAIN = Stack(
    "plain",
    lambda answers: document("Plain", f'ca: "{answers["ca"]}"\n'),
    asked={"ca": "cat /k/ca"},
    others=("other",),
)
LOGIN = Stack(
    "login",
    lambda _: "---\n".join(map(document, ("Login", "Last"))),
    namespace=Namespace("login"),
    secrets=(Secret("login", "users", {"htpasswd": "/k/users", "salt": "/k/salt"}, type="demo/users"),),
)
WEB = Stack(
    "web",
    lambda _: (
        """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: reader, namespace: web}
spec: {template: {spec: {volumes: [{name: one, emptyDir: {}}, {name: two, configMap: {name: settings}}]}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: other-reader, namespace: web}
spec: {template: {spec: {volumes: [{name: one, configMap: {name: settings-of-another}}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: none, namespace: web}
spec: {template: {spec: {}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: starts-anew, namespace: web}
spec: {jobTemplate: {spec: {template: {spec: {volumes: [{name: one, configMap: {name: settings}}]}}}}}
"""
    ),
)
BOTH = [PLAIN, LOGIN]
M = "/etc/kubernetes/kubestage/manifests"
ANSWERS = {"ca": "Y2E="}
KUSTOMIZE = "kubectl kustomize --load-restrictor LoadRestrictionsNone"
PARTS = [
    f"cat {M}/plain/namespaces.yaml",
    f"cat {M}/plain/manifest.yaml",
    f"cat {M}/plain/record.yaml",
    f"cat {M}/login/namespaces.yaml",
    f"{KUSTOMIZE} {M}/login/secrets",
    f"cat {M}/login/manifest.yaml",
    f"cat {M}/login/record.yaml",
]


def applying(parts: Sequence[str]) -> str:
    return (
        f"manifests=$({' && echo --- && '.join(parts)}) && printf '%s\\n' \"$manifests\" | "
        f"{KUBECTL} apply --server-side --force-conflicts --field-manager kubestage -f -"
    )


APPLY = applying(PARTS)
SOURCES = [f"600 0:0 {'5' * 64} /k/users", f"600 0:0 {'6' * 64} /k/salt"]


def on_disk(*there: Stack, of: Sequence[Stack] = BOTH) -> Facts:
    files = {stack.name: stack.files(ANSWERS if stack is PLAIN else {}) for stack in of}
    lines = [f"644 0:0 {file.sha256} {file.path}" for stack in there for file in files[stack.name]]
    every = [path for stack in of for path in [*(file.path for file in files[stack.name]), *stack.sources]]
    return {
        fact(FileStates, paths=every): [*lines, *SOURCES],
        fact(FileStates, paths=[file.path for stack in of for file in files[stack.name]]): lines,
        fact(Printed, commands=PLAIN.asked): ["ca Y2E="],
    }


def applied(*lines: str) -> Facts:
    return {fact(ManifestsApplied, parts=PARTS): lines}


class TestKept:
    def test_first(self) -> None:
        files, command = told_by(stacks.stacks, {**on_disk(), **applied()}, stacks=BOTH, seen=NOTHING_SEEN)
        assert list(unpacked(files)) == [file.path for stack in BOTH for file in stack.files(ANSWERS)]
        assert 'ca: "Y2E="' in unpacked(files)[f"{M}/plain/manifest.yaml"][0]
        assert command == Told(APPLY)

    def test_one_manifest_changed(self) -> None:
        files, command = told_by(stacks.stacks, {**on_disk(PLAIN), **applied()}, stacks=BOTH, seen=NOTHING_SEEN)
        assert unpacked(files) == {file.path: (file.content, "644") for file in LOGIN.files({})}
        assert command == Told(APPLY)

    def test_edited_in_the_cluster(self) -> None:
        assert run(stacks.stacks, {**on_disk(*BOTH), **applied()}, stacks=BOTH, seen=NOTHING_SEEN) == [APPLY]

    def test_as_they_should_be(self) -> None:
        assert run(stacks.stacks, {**on_disk(*BOTH), **applied("exit 0")}, stacks=BOTH, seen=NOTHING_SEEN) == []

    @pytest.mark.parametrize(
        ("differs", "restart"),
        [
            ([], f" && {KUBECTL} rollout restart --namespace web deployment/reader"),
            # What is applied makes the pods anew as it is.
            (["object apps.v1.Deployment.web.reader", "restarted"], ""),
        ],
        ids=["the ConfigMap alone", "what reads it as well"],
    )
    def test_pods_that_may_have_started_by_an_edited_config_map(self, differs: list[str], restart: str) -> None:
        lines = [f"object v1.ConfigMap.{name}" for name in ("web.settings", "web.unused", "other.settings")]
        facts = {
            **on_disk(WEB, of=[WEB]),
            fact(ManifestsApplied, parts=manifest_commands([WEB])): [*lines, *differs, "exit 1"],
        }
        (command,) = run(stacks.stacks, facts, stacks=[WEB], seen=NOTHING_SEEN)
        assert command.partition(" -f -")[2] == restart

    def test_the_cluster_is_asked_with_the_new_manifests(self) -> None:
        hosts = Hosts({"h1": {**on_disk(), **applied("exit 0")}})
        hosts.prepare("h1", stacks.stacks, stacks=BOTH, seen=NOTHING_SEEN)
        hosts.execute()
        asked = hosts.everything("h1").index(fact(ManifestsApplied, parts=PARTS))
        assert hosts.everything("h1").index(hosts.commands("h1")[0]) < asked

    def test_what_can_not_be_told_ends_the_run(self) -> None:
        silent = {fact(Printed, commands=PLAIN.asked): ["unknown ca"]}
        with pytest.raises(OperationError, match="plain: a command for its manifest failed: ca"):
            run(stacks.stacks, {**on_disk(), **applied(), **silent}, stacks=BOTH, seen=NOTHING_SEEN)


class TestNoted:
    """What was found as it should be is not compared again until somebody has touched it."""

    def seen(self, state: str = "1 {}", **applied: str) -> StackObjects:
        one = StackObject("login", "demo/v1", ObjectName("demo", "Login", "", "one"), state)
        return StackObjects((one,), applied=applied)

    def go(self, seen: StackObjects, *compared: str, facts: Facts | None = None) -> list[str]:
        answers = {fact(ManifestsApplied, parts=manifest_commands([LOGIN])): compared} if compared else {}
        return run(stacks.stacks, {**(facts or on_disk(LOGIN, of=[LOGIN])), **answers}, stacks=[LOGIN], seen=seen)

    def noted(self, state: str = "1 {}") -> str:
        (command,) = self.go(self.seen(state), "exit 0")
        echo, note, to, path = command.split(" ")
        assert (echo, to, path) == ("echo", ">", f"{M}/login/applied")
        return note

    def test_untouched(self) -> None:
        """Nobody is asked: the fake host would not know the question."""
        assert self.go(self.seen(login=self.noted())) == []

    def test_an_object_was_touched(self) -> None:
        note = self.noted()
        assert self.noted("2 {}") != note
        assert self.go(self.seen("2 {}", login=note), "exit 1") == [applying(manifest_commands([LOGIN]))]

    def test_an_object_has_gone(self) -> None:
        gone = StackObjects(applied={"login": self.noted()})
        assert self.go(gone, "exit 1") == [applying(manifest_commands([LOGIN]))]

    def test_the_value_of_a_secret_is_another(self) -> None:
        note = self.noted()
        facts = {
            asked: [line.replace("5" * 64, "7" * 64) for line in lines]
            for asked, lines in on_disk(LOGIN, of=[LOGIN]).items()
        }
        assert self.go(self.seen(login=note), "exit 1", facts=facts) == [applying(manifest_commands([LOGIN]))]

    def test_not_all_was_seen(self) -> None:
        note = self.noted()
        seen = StackObjects(self.seen().objects, "no answer of one kind", {"login": note})
        assert self.go(seen, "exit 0") == []  # compared, and not noted


class TestUpstream:
    """A stack with what others have written: it is on the host already."""

    STACK = Stack(
        "mesh",
        lambda _: document("Mesh"),
        upstream=(
            Upstream("https://far.example/crds.yaml", "0" * 64),
            Upstream(
                "https://far.example/all.yaml",
                "1" * 64,
                {"far.example/mesh": "near.example:5000/mesh:v2"},
                (Workload("m", "Deployment", "web"),),
            ),
        ),
    )
    FIRST, SECOND = (f"{KUSTOMIZE} {M}/mesh/upstream-{number}" for number in range(2))

    def applied(self, *lines: str) -> Facts:
        parts = [self.FIRST, self.SECOND, *manifest_commands([self.STACK])]
        return {**on_disk(self.STACK, of=[self.STACK]), fact(ManifestsApplied, parts=parts): lines}

    def test_they_are_served_before_what_is_of_their_kinds(self) -> None:
        namespaces = f"cat {M}/mesh/namespaces.yaml"
        served = stacks.served("mesh", 180)
        assert run(stacks.stacks, self.applied(), stacks=[self.STACK], seen=NOTHING_SEEN) == [
            f"{applying([namespaces, self.FIRST])} && {served}",
            f"{applying([namespaces, self.SECOND])} && {served} && "
            f"{KUBECTL} rollout status --timeout=180s --namespace m deployment/web",
            applying(manifest_commands([self.STACK])),
        ]

    def test_as_they_should_be(self) -> None:
        assert run(stacks.stacks, self.applied("exit 0"), stacks=[self.STACK], seen=NOTHING_SEEN) == []

    def test_what_kubectl_makes_of_it(self) -> None:
        first, second = (yaml.safe_load(file.content) for file in self.STACK.files({}) if "upstream" in file.path)
        assert (first["resources"], first["images"]) == (["manifest.yaml"], [])
        assert second["images"] == [{"name": "far.example/mesh", "newName": "near.example:5000/mesh", "newTag": "v2"}]
        assert second["labels"] == [{"pairs": {"kubestage/stack": "mesh"}}]

    @pytest.mark.parametrize(
        ("listed", "deleted"),
        [(["v1|Service|m|web"], False), (["v1|Service|m|other"], True), (["failed"], False)],
        ids=["it has it", "it has it no longer", "nobody can tell"],
    )
    def test_what_it_has_no_longer_goes(self, listed: list[str], deleted: bool) -> None:
        seen = StackObjects((StackObject("mesh", "v1", ObjectName("", "Service", "m", "web")),))
        listing = (
            f"{{ {self.FIRST} && echo --- && {self.SECOND}; }} | {KUBECTL} label --local --overwrite --filename - "
            f"kubestage/stack=mesh --output {OBJECTS}"
        )
        known = {
            **self.applied("exit 0"),
            fact(StacksInCluster): ["stack_object mesh|v1|Service|m|web|Apply|1|7|{}", "stack_objects "],
            fact(ManifestObjects, command=listing): listed,
        }
        told = told_by(stacks.stacks, known, stacks=[self.STACK], seen=seen)
        noted = [each.command.endswith("/mesh/applied") for each in told]
        assert ['"name": "web"' in each.stdin for each in told if each.stdin] == [True] * deleted
        assert noted == ([True] if listed == ["v1|Service|m|web"] else [False] * deleted)


class TestServing:
    WEB, AGENT = Workload("demo", "Deployment", "web"), Workload("demo", "DaemonSet", "agent")

    def go(self, *lines: str) -> list[str]:
        return run_for_all(
            stacks.readiness, {fact(WorkloadsReady): lines or ["none"]}, workloads=[self.WEB, self.AGENT]
        )

    def wait(self, what: str) -> str:
        return f"{KUBECTL} rollout status --timeout=300s --namespace demo {what} " + or_explained(
            f"{KUBECTL} describe pods --namespace demo | tail -n 40"
        )

    def test_all_do(self) -> None:
        assert self.go("Deployment demo web 1 1 1 1 1 1", "DaemonSet demo agent 1 1 2 2 2 2") == []

    @pytest.mark.parametrize("agent", [[], ["DaemonSet demo agent 1 1 2 2 2 1"], ["DaemonSet other agent 1 1 2 2 2 2"]])
    def test_one_does_not(self, agent: list[str]) -> None:
        assert self.go("Deployment demo web 1 1 1 1 1 1", *agent) == [self.wait("daemonset/agent")]

    @pytest.mark.parametrize("lines", [[], ["APIService v1.demo False"], ["APIService v1.other True"]])
    def test_an_api_is_silent(self, lines: list[str]) -> None:
        found = run_for_all(stacks.readiness, {fact(WorkloadsReady): lines or ["none"]}, workloads=[], apis=["v1.demo"])
        assert found == [
            f"{KUBECTL} wait --for=condition=Available --timeout=300s apiservice/v1.demo "
            + or_explained(f"{KUBECTL} describe apiservice v1.demo | tail -n 20")
        ]

    def test_apis_answer(self) -> None:
        lines = ["APIService v1.demo True", "APIService v1.other False"]
        assert run_for_all(stacks.readiness, {fact(WorkloadsReady): lines}, workloads=[], apis=["v1.demo"]) == []

    def test_none_does(self) -> None:
        assert self.go() == [self.wait("deployment/web"), self.wait("daemonset/agent")]
