"""Stacks: kept as their manifests and files say, taken out again, waited for."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType

import pytest
import yaml
from fake_hosts import Facts, Hosts, Told, fact, run, run_for_all, told_by, unpacked
from stub_programs import calls, run_with

from kubestage.facts.files import FileStates
from kubestage.facts.kubernetes import ManifestsApplied, Workload, WorkloadsReady
from kubestage.facts.stack_objects import StackObjects
from kubestage.host_file import HostFile
from kubestage.operations import stacks
from kubestage.operations.explained import or_explained
from kubestage.stacks.stack import Secret, Stack

KUBECTL = "kubectl --kubeconfig /etc/kubernetes/admin.conf"
NOTHING_SEEN = StackObjects()  # by preflight


def document(kind: str, more: str = "") -> str:
    return f"apiVersion: demo/v1\nkind: {kind}\nmetadata: {{name: one}}\n{more}"


PLAIN = Stack(
    "plain",
    HostFile("/m/plain.yaml", document("Plain", 'ca: "@CA@"\n')),
    namespaces=("other",),
    filled={"@CA@": "cat /k/ca"},
)
LOGIN = Stack(
    "login",
    HostFile("/m/login.yaml", "---\n".join(map(document, ("Space", "Login", "Last")))),
    secrets=(Secret("login", "users", {"htpasswd": "/k/users", "salt": "/k/salt"}, type="demo/users"),),
)
WEB = Stack(
    "web",
    HostFile(
        "/m/web.yaml",
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
""",
    ),
)
BOTH = [PLAIN, LOGIN]
PATHS = ["/m/plain.yaml", "/m/login.yaml"]
PARTS = [
    "printf 'apiVersion: v1\\nkind: Namespace\\nmetadata:\\n  name: \"other\"\\n'",
    'v0=$(cat /k/ca) && sed -e "s|@CA@|$v0|" /m/plain.yaml',
    "sed -e '/^---$/Q' /m/login.yaml",
    "v0=$(base64 -w 0 < /k/users) && v1=$(base64 -w 0 < /k/salt) && "
    'printf \'apiVersion: v1\\nkind: Secret\\nmetadata:\\n  name: users\\n  namespace: "login"\\n  labels:\\n'
    '    kubestage/stack: login\\ntype: demo/users\\ndata:\\n  htpasswd: %s\\n  salt: %s\\n\' "$v0" "$v1"',
    "sed -e '1,/^---$/d' /m/login.yaml",
]
APPLY = (
    f"manifests=$({' && echo --- && '.join(PARTS)}) && printf '%s\\n' \"$manifests\" | "
    f"{KUBECTL} apply --server-side --force-conflicts --field-manager kubestage -f -"
)


def on_disk(*there: Stack, of: Sequence[Stack] = BOTH) -> Facts:
    lines = [f"644 0:0 {stack.manifest.sha256} {stack.manifest.path}" for stack in there]
    return {fact(FileStates, paths=[stack.manifest.path for stack in of]): lines}


def applied(*lines: str) -> Facts:
    return {fact(ManifestsApplied, parts=PARTS): lines}


class TestKept:
    def test_first(self) -> None:
        files, command = told_by(stacks.kept, {**on_disk(), **applied()}, stacks=BOTH, seen=NOTHING_SEEN)
        assert list(unpacked(files)) == PATHS
        assert command == Told(APPLY)

    def test_one_manifest_changed(self) -> None:
        files, command = told_by(stacks.kept, {**on_disk(PLAIN), **applied()}, stacks=BOTH, seen=NOTHING_SEEN)
        assert unpacked(files) == {"/m/login.yaml": (LOGIN.manifest.content, "644")}
        assert command == Told(APPLY)

    def test_edited_in_the_cluster(self) -> None:
        assert run(stacks.kept, {**on_disk(*BOTH), **applied()}, stacks=BOTH, seen=NOTHING_SEEN) == [APPLY]

    def test_as_they_should_be(self) -> None:
        assert run(stacks.kept, {**on_disk(*BOTH), **applied("exit 0")}, stacks=BOTH, seen=NOTHING_SEEN) == []

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
            fact(FileStates, paths=["/m/web.yaml"]): [f"644 0:0 {WEB.manifest.sha256} /m/web.yaml"],
            fact(ManifestsApplied, parts=["cat /m/web.yaml"]): [*lines, *differs, "exit 1"],
        }
        (command,) = run(stacks.kept, facts, stacks=[WEB], seen=NOTHING_SEEN)
        assert command.partition(" -f -")[2] == restart

    def test_the_cluster_is_asked_with_the_new_manifests(self) -> None:
        hosts = Hosts({"h1": {**on_disk(), **applied("exit 0")}})
        hosts.prepare("h1", stacks.kept, stacks=BOTH, seen=NOTHING_SEEN)
        hosts.execute()
        asked = hosts.everything("h1").index(fact(ManifestsApplied, parts=PARTS))
        assert hosts.everything("h1").index(hosts.commands("h1")[0]) < asked


class TestApplyScript:
    """The command run with a kubectl that stands in."""

    FILES = MappingProxyType({"m/plain.yaml": PLAIN.manifest.content, "m/login.yaml": LOGIN.manifest.content})
    KEYS = MappingProxyType({"k/ca": "Y2E=\n", "k/users": "ann:$2y$05$%s\\n\n", "k/salt": "two\nlines\n"})

    def go(self, folder: Path, without: str = "") -> subprocess.CompletedProcess[str]:
        for name, content in {**self.FILES, **self.KEYS}.items():
            (folder / name).parent.mkdir(exist_ok=True)
            if name != without:
                (folder / name).write_text(content)
        return run_with(folder, APPLY, {"kubectl": f"cat > {folder}/applied"}, moved=("/m/", "/k/"))

    def test_all_in_their_order(self, tmp_path: Path) -> None:
        assert self.go(tmp_path).returncode == 0
        namespace, plain, space, secret, *rest = yaml.safe_load_all((tmp_path / "applied").read_text())
        assert namespace == {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}}
        assert (plain["kind"], plain["ca"]) == ("Plain", "Y2E=")
        assert [one["kind"] for one in (space, *rest)] == ["Space", "Login", "Last"]
        values = {key: base64.b64decode(value).decode() for key, value in secret.pop("data").items()}
        assert values == {"htpasswd": self.KEYS["k/users"], "salt": self.KEYS["k/salt"]}
        assert secret == {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "users", "namespace": "login", "labels": {"kubestage/stack": "login"}},
            "type": "demo/users",
        }

    @pytest.mark.parametrize("without", ["m/plain.yaml", "m/login.yaml", "k/ca", "k/users", "k/salt"])
    def test_nothing_is_applied_when_a_file_is_missing(self, tmp_path: Path, without: str) -> None:
        assert self.go(tmp_path, without).returncode != 0
        assert calls(tmp_path) == []


def test_switched() -> None:
    parts = PARTS[2:]
    facts = {**on_disk(LOGIN, of=[LOGIN]), fact(ManifestsApplied, parts=parts): ["exit 0"]}
    assert run(stacks.switched, facts, stack=LOGIN, on=True, seen=NOTHING_SEEN) == []
    assert run(stacks.switched, facts, stack=LOGIN, on=False, seen=NOTHING_SEEN) == ["rm /m/login.yaml"]


class TestDefinitions:
    """A stack with CRDs, which others have written: a file that is on the host already."""

    STACK = Stack("mesh", HostFile("/m/mesh.yaml", document("Mesh")), definitions="/m/crds.yaml")
    PART = (
        f"d=$({KUBECTL} label --local -f /m/crds.yaml kubestage/stack=mesh -o json) && "
        "printf '%s\\n' \"$d\" | sed '1!s/^{$/---\\n{/'"
    )

    def applied(self, *lines: str) -> Facts:
        manifest = self.STACK.manifest
        return {
            fact(FileStates, paths=["/m/mesh.yaml"]): [f"644 0:0 {manifest.sha256} {manifest.path}"],
            fact(ManifestsApplied, parts=[self.PART, "cat /m/mesh.yaml"]): lines,
        }

    def test_they_are_served_before_what_is_of_their_kinds(self) -> None:
        apply = (
            f"printf '%s\\n' \"$manifests\" | {KUBECTL} apply --server-side --force-conflicts --field-manager kubestage"
        )
        assert run(stacks.kept, self.applied(), stacks=[self.STACK], seen=NOTHING_SEEN) == [
            f"manifests=$({self.PART}) && {apply} -f - && "
            f"{KUBECTL} wait --for condition=Established --timeout 180s -f /m/crds.yaml",
            f"manifests=$(cat /m/mesh.yaml) && {apply} -f -",
        ]

    def test_as_they_should_be(self) -> None:
        assert run(stacks.kept, self.applied("exit 0"), stacks=[self.STACK], seen=NOTHING_SEEN) == []

    def test_kubectl_puts_nothing_between_two_objects(self, tmp_path: Path) -> None:
        objects = "".join(f'{{\n    "kind": "{kind}",\n    "spec": {{\n    }}\n}}\n' for kind in ("One", "Two"))
        result = run_with(tmp_path, f"{self.PART} && echo --- && echo kind: Three", {"kubectl": f"printf '{objects}'"})
        assert [each["kind"] for each in yaml.safe_load_all(result.stdout)] == ["One", "Two", "Three"]

    def test_none_of_them_where_kubectl_fails(self, tmp_path: Path) -> None:
        assert run_with(tmp_path, self.PART, {"kubectl": "exit 1"}).returncode != 0


class TestServing:
    WEB, AGENT = Workload("demo", "Deployment", "web"), Workload("demo", "DaemonSet", "agent")

    def go(self, *lines: str) -> list[str]:
        return run_for_all(stacks.serving, {fact(WorkloadsReady): lines or ["none"]}, workloads=[self.WEB, self.AGENT])

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
        found = run_for_all(stacks.serving, {fact(WorkloadsReady): lines or ["none"]}, workloads=[], apis=["v1.demo"])
        assert found == [
            f"{KUBECTL} wait --for=condition=Available --timeout=300s apiservice/v1.demo "
            + or_explained(f"{KUBECTL} describe apiservice v1.demo | tail -n 20")
        ]

    def test_apis_answer(self) -> None:
        lines = ["APIService v1.demo True", "APIService v1.other False"]
        assert run_for_all(stacks.serving, {fact(WorkloadsReady): lines}, workloads=[], apis=["v1.demo"]) == []

    def test_none_does(self) -> None:
        assert self.go() == [self.wait("deployment/web"), self.wait("daemonset/agent")]
