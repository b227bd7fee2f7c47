"""The dashboard's manifests: who reads what, who is let in, and what stands before the program that has no login."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_hosts import Hosts, fact, writes
from sample_cluster import GROUPS, NO_SPEAKER, hosts_data
from sample_reports import control_plane

import tasks.dashboard
from kubestage.checks.load import load
from kubestage.checks.preflight import Checked
from kubestage.cluster.plan import HostPlan
from kubestage.commands.api import Api
from kubestage.commands.dashboard_token import new_token, running_flavour
from kubestage.facts.files import FileStates
from kubestage.facts.host_report import parse
from kubestage.facts.kubernetes import ManifestsApplied, Workload
from kubestage.facts.stack_objects import StacksInCluster
from kubestage.kubernetes import MANIFESTS
from kubestage.operations.stacks import manifest_commands
from kubestage.settings import ClusterSettings
from kubestage.stacks import dashboard
from kubestage.stacks.stack import Stack

FLAVOURS = ("headlamp", "kube-web-view")
NOBODY: list[dict[str, str]] = []


def settings(**changed: Any) -> ClusterSettings:
    return load(hosts_data({"domain": "lab.test", **changed}), GROUPS).common


def stack(flavour: str, **changed: Any) -> Stack:
    return dashboard.dashboard(settings(dashboard_flavour=flavour, **changed))


def documents(flavour: str, **changed: Any) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(stack(flavour, **changed).manifest.content))


def of_kind(kind: str, flavour: str, **changed: Any) -> list[dict[str, Any]]:
    return [each for each in documents(flavour, **changed) if each["kind"] == kind]


def the_pod(flavour: str, **changed: Any) -> dict[str, Any]:
    (deployment,) = of_kind("Deployment", flavour, **changed)
    template: dict[str, Any] = deployment["spec"]["template"]
    return template


def rights(flavour: str, **changed: Any) -> dict[str, list[str]]:
    """ClusterRole -> the ServiceAccounts that have it."""
    return {
        binding["roleRef"]["name"]: [subject["name"] for subject in binding.get("subjects", NOBODY)]
        for binding in of_kind("ClusterRoleBinding", flavour, **changed)
    }


@pytest.mark.parametrize("flavour", FLAVOURS)
class TestBothFlavours:
    def test_the_settings_choose(self, flavour: str) -> None:
        chosen, other = (
            get(settings(dashboard_flavour=flavour)) for get in (dashboard.dashboard, dashboard.other_dashboard)
        )
        assert {chosen.name, other.name} == set(FLAVOURS) and chosen.name == flavour
        assert chosen.manifest.path != other.manifest.path
        assert chosen.workloads == (Workload("dashboard", "Deployment", flavour),)

    def test_the_namespace_comes_first_and_holds_all_of_it(self, flavour: str) -> None:
        found = documents(flavour)
        assert (found[0]["kind"], found[0]["metadata"]["name"]) == ("Namespace", "dashboard")
        cluster_wide = {"Namespace", "ClusterRole", "ClusterRoleBinding"}
        assert {each["metadata"].get("namespace") for each in found if each["kind"] not in cluster_wide} == {
            "dashboard"
        }

    def test_the_ingress_leads_to_the_pod(self, flavour: str) -> None:
        (ingress,) = of_kind("Ingress", flavour)
        (rule,) = ingress["spec"]["rules"]
        assert rule["host"] == "dashboard.lab.test"
        backend = rule["http"]["paths"][0]["backend"]["service"]
        (service,) = of_kind("Service", flavour)
        assert backend == {
            "name": service["metadata"]["name"],
            "port": {"number": service["spec"]["ports"][0]["port"]},
        }
        template = the_pod(flavour)
        assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
        first, *others = template["spec"]["containers"]
        assert [port["name"] for port in first["ports"]] == [service["spec"]["ports"][0]["targetPort"]]
        assert not any(other.get("ports") for other in others)

    def test_nobody_may_read_secrets_or_change_anything(self, flavour: str) -> None:
        (role,) = of_kind("ClusterRole", flavour)
        for rule in role["rules"]:
            assert set(rule["verbs"]) <= {"get", "list", "watch"}
            assert not {"secrets", "*"} & {*rule["resources"], *rule["apiGroups"]}

    def test_what_the_pages_list_is_read(self, flavour: str) -> None:
        (role,) = of_kind("ClusterRole", flavour)
        read = {f"{resource}.{rule['apiGroups'][0]}" for rule in role["rules"] for resource in rule["resources"]}
        assert {
            "storageclasses.storage.k8s.io",
            "csidrivers.storage.k8s.io",
            "priorityclasses.scheduling.k8s.io",
            "leases.coordination.k8s.io",
            "mutatingwebhookconfigurations.admissionregistration.k8s.io",
            "validatingwebhookconfigurations.admissionregistration.k8s.io",
            "httpproxies.projectcontour.io",
        } <= read

    def test_the_pod_is_as_the_namespace_asks(self, flavour: str) -> None:
        assert documents(flavour)[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
        pod = the_pod(flavour)["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}

    def test_people_have_an_account(self, flavour: str) -> None:
        names = [each["metadata"]["name"] for each in of_kind("ServiceAccount", flavour)]
        assert names == ["dashboard", flavour]
        assert the_pod(flavour)["spec"]["serviceAccountName"] == flavour


class TestHeadlamp:
    def test_the_token_has_the_rights_and_the_pod_has_none(self) -> None:
        assert rights("headlamp") == {"kubestage-dashboard": ["dashboard"], "view": ["dashboard"], "cluster-admin": []}

    def test_administrators_by_setting(self) -> None:
        assert rights("headlamp", dashboard_admin=True)["cluster-admin"] == ["dashboard"]

    def test_a_session_ends_with_its_token(self) -> None:
        (container,) = the_pod("headlamp")["spec"]["containers"]
        assert f"-session-ttl={dashboard.TOKEN_LIFETIME_S}" in container["args"]

    def test_it_writes_to_nothing_but_a_tmp_of_its_own(self) -> None:
        pod = the_pod("headlamp")["spec"]
        (container,) = pod["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]
        assert [volume for volume in pod["volumes"] if "emptyDir" not in volume] == []

    def test_image(self) -> None:
        (container,) = the_pod("headlamp", headlamp_image="example.com/h:1")["spec"]["containers"]
        assert container["image"] == "example.com/h:1"

    def test_tokens_are_for_the_api(self) -> None:
        assert dashboard.token_audiences(settings(), "headlamp") == []


def filters(**changed: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Envoy's filters by name, in their order."""
    (configuration,) = of_kind("ConfigMap", "kube-web-view", **changed)
    (listener,) = yaml.safe_load(configuration["data"]["envoy.yaml"])["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    for each in manager["http_filters"]:
        yield each["name"].rpartition(".")[2], each["typed_config"]


def provider(**changed: Any) -> dict[str, Any]:
    """Whose tokens are taken."""
    found: dict[str, Any] = dict(filters(**changed))["jwt_authn"]["providers"]["kubernetes"]
    return found


class TestKubeWebView:
    def test_it_reads_and_people_have_no_rights(self) -> None:
        assert rights("kube-web-view") == {"kubestage-dashboard": ["kube-web-view"], "view": ["kube-web-view"]}

    def test_images(self) -> None:
        pod = the_pod("kube-web-view", envoy_image="example.com/e:1", kube_web_view_image="example.com/k:1")
        assert [each["image"] for each in pod["spec"]["containers"]] == ["example.com/e:1", "example.com/k:1"]

    def test_only_envoy_is_reached_from_outside_of_the_pod(self) -> None:
        envoy, web = the_pod("kube-web-view")["spec"]["containers"]
        program, *options = web["args"]
        assert 'host="127.0.0.1"' in program and "--port=8081" in options
        assert envoy["ports"] == [{"name": "http", "containerPort": 8080, "protocol": "TCP"}]

    def test_tokens_are_checked_right_before_the_way_out(self) -> None:
        assert [name for name, _ in filters()] == ["lua", "jwt_authn", "router"]

    def test_nothing_but_health_is_served_without_a_token(self) -> None:
        assert dict(filters())["jwt_authn"]["rules"] == [
            {"match": {"path": "/health"}},
            {"match": {"prefix": "/"}, "requires": {"provider_name": "kubernetes"}},
        ]

    def test_whose_tokens_are_taken(self) -> None:
        taken = provider()
        assert taken["issuer"] == "https://kubernetes.default.svc.cluster.local"
        assert taken["audiences"] == ["https://dashboard.lab.test"]
        assert taken["subjects"] == {"exact": "system:serviceaccount:dashboard:dashboard"}
        assert taken["require_expiration"] is True and taken["max_lifetime"] == "3660s"
        assert taken["from_headers"] == [{"name": "Authorization", "value_prefix": "Bearer "}]  # in no log of addresses
        assert "forward" not in taken  # the token stays with Envoy

    def test_tokens_are_for_the_site_alone(self) -> None:
        chosen = settings(dashboard_flavour="kube-web-view", https_port=8443, http_redirect=False)
        assert dashboard.token_audiences(chosen, "kube-web-view") == ["https://dashboard.lab.test:8443"]
        assert provider(https_port=8443, http_redirect=False)["audiences"] == ["https://dashboard.lab.test:8443"]

    def test_the_issuer_is_the_api_servers(self) -> None:
        assert provider(cluster_domain="k8s.example")["issuer"] == "https://kubernetes.default.svc.k8s.example"
        own = {"service-account-issuer": "https://issuer.example.com"}
        assert provider(apiserver_extra_args=own)["issuer"] == "https://issuer.example.com"

    def test_keys_are_filled_in_on_the_control_plane(self) -> None:
        filled = stack("kube-web-view").filled
        keys = provider()["local_jwks"]["inline_string"]
        assert filled[keys] == "kubectl --kubeconfig /etc/kubernetes/admin.conf get --raw /openid/v1/jwks"
        digest = the_pod("kube-web-view")["metadata"]["annotations"]["kubestage/signing-keys"]
        assert filled[digest] == f"{filled[keys]} | sha256sum | cut -c 1-16"  # new keys start a new pod
        assert all(stack("kube-web-view").manifest.content.count(word) == 1 for word in filled)

    def test_new_configuration_starts_a_new_pod(self) -> None:
        def annotations(**changed: Any) -> Any:
            return the_pod("kube-web-view", **changed)["metadata"]["annotations"]

        assert annotations() != annotations(cluster_domain="k8s.example")


class FakeApi(Api):
    """As much of a cluster's API as is asked for a token, and for the flavour by the names of its deployments."""

    def __init__(self, deployments: Sequence[str] = ()) -> None:
        self.deployments, self.asked = deployments, list[Any]()

    def get(self, path: str, **query: str) -> Any:
        assert path == "/apis/apps/v1/namespaces/dashboard/deployments"
        return {"items": [{"metadata": {"name": name}} for name in self.deployments]}

    def post(self, path: str, body: Any) -> Any:
        self.asked.append((path, body["kind"], body["spec"]))
        return {"status": {"token": "a.b.c"}}


@pytest.mark.parametrize(
    ("flavour", "audiences"), [("headlamp", []), ("kube-web-view", ["https://dashboard.lab.test"])]
)
def test_a_new_token(flavour: str, audiences: list[str]) -> None:
    api = FakeApi()
    assert new_token(api, settings(), flavour) == "a.b.c"
    spec = {"audiences": audiences, "expirationSeconds": 3600}
    assert api.asked == [("/api/v1/namespaces/dashboard/serviceaccounts/dashboard/token", "TokenRequest", spec)]


@pytest.mark.parametrize(("deployments", "flavour"), [(["other", "headlamp"], "headlamp"), (["other"], ""), ([], "")])
def test_the_flavour_that_runs(deployments: list[str], flavour: str) -> None:
    assert running_flavour(FakeApi(deployments)) == flavour


def told(on_disk: list[Stack], in_the_cluster: list[Stack], **changed: Any) -> list[str]:
    """What the control plane host is told by the task; the first words of each command.

    `on_disk`, `in_the_cluster`: where there is anything of these stacks.
    """
    known = settings(dashboard_flavour="kube-web-view", **changed)
    wanted, other = dashboard.dashboard(known), dashboard.other_dashboard(known)
    facts: dict[str, list[str]] = {}
    for each in (wanted, other):
        file = each.manifest
        facts[fact(FileStates, paths=[file.path])] = [f"644 0:0 {file.sha256} {file.path}"] if each in on_disk else []
        facts[fact(ManifestsApplied, parts=manifest_commands([each]))] = ["exit 0"] if each in in_the_cluster else []
    there = [f"{each.name}|v1|Namespace||dashboard" for each in in_the_cluster]
    facts[fact(StacksInCluster)] = [*(f"stack_object {one}|Apply" for one in there), "stack_objects "]
    reports = {"cp1": parse(control_plane(stack_objects=there).splitlines(), 0, 0)}
    checked = Checked(replace(load(hosts_data(), GROUPS), common=known), reports, {"cp1": "10.0.0.11"}, (), "lab")
    hosts = Hosts({"cp1": facts})
    hosts.prepare_task(
        "cp1", tasks.dashboard.install, HostPlan("cp1", checked, ("cp1",), NO_SPEAKER, Path("kubeconfig"))
    )
    hosts.execute()
    return [command.partition("=")[0] for command in hosts.commands("cp1")]


class TestTask:
    def test_as_it_should_be(self) -> None:
        assert told([stack("kube-web-view")], [stack("kube-web-view")]) == []
        assert told([], [], stacks=[]) == []

    def test_the_other_flavour_goes_first_as_it_takes_the_namespace_with_it(self) -> None:
        delete = "kubectl --kubeconfig /etc/kubernetes/admin.conf delete --ignore-not-found --wait --timeout"
        write, _, _ = writes(stack("kube-web-view").manifest.path).partition("=")
        applied = [write, "manifests"]
        # Whatever is on the host's disk.
        rm = f"rm {MANIFESTS}/headlamp.yaml"
        assert told([stack("headlamp")], [stack("headlamp")]) == [delete, rm, *applied]
        assert told([], [stack("headlamp")]) == [delete, *applied]
        assert told([stack("headlamp")], []) == [rm, *applied]

    def test_switched_off(self) -> None:
        off = told([stack("kube-web-view")], [stack("kube-web-view")], stacks=[])
        assert [command.split()[:4][-1] for command in off] == ["delete", f"{MANIFESTS}/kube-web-view.yaml"]
