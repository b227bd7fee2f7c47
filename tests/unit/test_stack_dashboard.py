"""The dashboard's manifests: who reads what, who is let in, and what stands before the program that has no login."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import sample_stacks
import yaml
from sample_cluster import GROUPS, hosts_data

from kubestage.checks.load import load
from kubestage.commands.api import Api
from kubestage.commands.dashboard_token import new_token, running_flavour
from kubestage.facts.kubernetes import Workload
from kubestage.settings import ClusterSettings
from kubestage.stacks import catalogue, dashboard
from kubestage.stacks.stack import Stack

FLAVOURS = ("headlamp", "kube-web-view")
NOBODY: list[dict[str, str]] = []


def settings(**changed: Any) -> ClusterSettings:
    return load(hosts_data({"domain": "lab.test", **changed}), GROUPS).common


def stack(flavour: str, **changed: Any) -> Stack:
    own = {"flavour": flavour, **changed.pop("dashboard", {})}
    return dashboard.dashboard(settings(dashboard=own, **changed))


def documents(flavour: str, **changed: Any) -> list[dict[str, Any]]:
    return sample_stacks.documents(stack(flavour, **changed))


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
        known = settings(dashboard={"flavour": flavour})
        chosen, (other,) = dashboard.dashboard(known), dashboard.others(known)
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
        assert rights("headlamp", dashboard={"admin": True})["cluster-admin"] == ["dashboard"]

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
        (container,) = the_pod("headlamp", dashboard={"headlamp_image": "example.com/h:1"})["spec"]["containers"]
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
        pod = the_pod(
            "kube-web-view",
            ingress={"envoy_image": "example.com/e:1"},
            dashboard={"kube_web_view_image": "example.com/k:1"},
        )
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
        chosen = settings(dashboard={"flavour": "kube-web-view"}, https_port=8443, http_redirect=False)
        assert dashboard.token_audiences(chosen, "kube-web-view") == ["https://dashboard.lab.test:8443"]
        assert provider(https_port=8443, http_redirect=False)["audiences"] == ["https://dashboard.lab.test:8443"]

    def test_the_issuer_is_the_api_servers(self) -> None:
        assert provider(cluster_domain="k8s.example")["issuer"] == "https://kubernetes.default.svc.k8s.example"
        own = {"service-account-issuer": "https://issuer.example.com"}
        assert provider(apiserver_extra_args=own)["issuer"] == "https://issuer.example.com"

    def test_keys_are_filled_in_of_the_control_plane(self) -> None:
        found = stack("kube-web-view")
        assert list(found.asked) == ["keys"] and "get --raw /openid/v1/jwks" in found.asked["keys"]
        pods = []
        for keys in ('{"keys":[]}', '{"keys":[1]}'):
            documents = list(yaml.safe_load_all(found.filled({"keys": keys}).content))
            (envoy,) = [each["data"]["envoy.yaml"] for each in documents if each["kind"] == "ConfigMap"]
            assert f"inline_string: '{keys}'" in envoy
            pods += [each["spec"]["template"] for each in documents if each["kind"] == "Deployment"]
        assert pods[0] != pods[1]  # new keys start a new pod

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


class TestTask:
    """Which of the dashboards goes, and which comes; the operations have their own tests."""

    def test_the_other_flavour_goes_first_as_it_takes_the_namespace_with_it(self) -> None:
        for flavour, other in (FLAVOURS, FLAVOURS[::-1]):
            known = settings(dashboard={"flavour": flavour})
            assert [each.name for each in catalogue.left_out(known)] == ["descheduler", other]
            assert catalogue.chosen(known)["dashboard"].name == flavour

    def test_switched_off(self) -> None:
        names = [each.name for each in catalogue.left_out(settings(stacks=[]))]
        assert names == ["descheduler", "metrics", "kube-web-view", "headlamp", "registry", "ingress", "storage"]
