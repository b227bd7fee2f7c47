"""The ingress' manifest: Contour, its Envoys, the default backend; and the Ingresses of the platform's own sites."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from sample_stacks import (
    check_labels,
    check_namespaced,
    check_unprivileged,
    documents,
    images,
    one,
    pods,
    secrets_mounted,
    settings,
)

from kubestage.facts.kubernetes import Workload
from kubestage.stacks import ingress
from kubestage.stacks.sites import WILDCARD
from kubestage.stacks.stack import Secret, Stack, _templates

PKI = "/etc/kubernetes/kubestage/pki"
FILES = Path(__file__).parents[2] / "files"


def stack(**changed: Any) -> Stack:
    return ingress.ingress(settings(**changed))


def ports(**changed: Any) -> dict[str, tuple[int, str]]:
    """Of Envoy's Service: name -> NodePort and where it leads in the pod."""
    found = one(stack(**changed), "Service", "envoy")["spec"]["ports"]
    return {port["name"]: (port["nodePort"], port["targetPort"]) for port in found}


def container(found: Stack, kind: str, name: str, number: int = 0) -> dict[str, Any]:
    spec = one(found, kind, name)["spec"]["template"]["spec"]
    return {**spec["containers"][number]}


def test_what_it_is_made_of() -> None:
    found = stack()
    assert found.workloads == (
        Workload("projectcontour", "Deployment", "contour"),
        Workload("projectcontour", "DaemonSet", "envoy"),
        Workload("projectcontour", "Deployment", "default-backend"),
    )
    for workload in found.workloads:
        assert one(found, workload.kind, workload.name)["metadata"]["namespace"] == workload.namespace
    (definitions,) = found.upstream
    assert definitions.url.startswith("https://raw.githubusercontent.com/projectcontour/contour/v")
    check_namespaced(found, cluster_wide={"Namespace", "IngressClass", "ClusterRole", "ClusterRoleBinding"})
    check_labels(found)


def test_images_are_the_settings() -> None:
    own = {"contour_image": "example.com/contour:9", "envoy_image": "example.com/envoy:9"}
    assert images(stack(ingress=own)) == set(own.values())
    (init,) = one(stack(ingress=own), "DaemonSet")["spec"]["template"]["spec"]["initContainers"]
    assert init["image"] == own["contour_image"]


def test_pods_fit_their_namespace() -> None:
    found = stack()
    assert one(found, "Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for pod in pods(found):
        check_unprivileged(pod)
        check_unprivileged({"spec": {**pod["spec"], "containers": pod["spec"].get("initContainers", [])}})


def test_only_contour_may_ask_the_api() -> None:
    found = stack()
    for pod in pods(found):
        has_account = pod["spec"].get("serviceAccountName") == "contour"
        assert has_account == (pod["metadata"]["labels"] == {"app": "contour"})
        assert has_account != (pod["spec"].get("automountServiceAccountToken") is False)
    for rule in one(found, "ClusterRole")["rules"]:
        assert "*" not in rule["resources"] and set(rule["verbs"]) <= {"get", "list", "watch", "update"}
        assert "update" not in rule["verbs"] or all(name.endswith("/status") for name in rule["resources"])


class TestSecrets:
    def test_of_files(self) -> None:
        assert stack().secrets == (
            Secret(
                "projectcontour",
                "wildcard",
                {"tls.crt": f"{PKI}/wildcard.crt", "tls.key": f"{PKI}/wildcard.key"},
                "kubernetes.io/tls",
            ),
            *(
                Secret(
                    "projectcontour",
                    f"{name}cert",
                    {
                        "ca.crt": f"{PKI}/xds/ca.crt",
                        "tls.crt": f"{PKI}/xds/{name}.crt",
                        "tls.key": f"{PKI}/xds/{name}.key",
                    },
                    "kubernetes.io/tls",
                )
                for name in ("contour", "envoy")
            ),
        )

    def test_each_pod_has_its_own_alone(self) -> None:
        mounted = {pod["metadata"]["labels"]["app"]: secrets_mounted(pod) for pod in pods(stack())}
        assert mounted == {"contour": {"contourcert"}, "envoy": {"envoycert"}, "default-backend": set()}

    def test_every_namespace_may_use_the_wildcard(self) -> None:
        delegation = one(stack(), "TLSCertificateDelegation")
        assert (delegation["metadata"]["name"], delegation["metadata"]["namespace"]) == ("wildcard", "projectcontour")
        assert delegation["spec"]["delegations"] == [{"secretName": "wildcard", "targetNamespaces": ["*"]}]

    def test_contour_and_envoy_know_each_other(self) -> None:
        found = stack()
        contour = container(found, "Deployment", "contour")["args"]
        (bootstrap,) = one(found, "DaemonSet")["spec"]["template"]["spec"]["initContainers"]
        assert {"--contour-cafile=/certs/ca.crt", "--contour-cert-file=/certs/tls.crt"} <= set(contour)
        assert {"--envoy-cafile=/certs/ca.crt", "--envoy-cert-file=/certs/tls.crt"} <= set(bootstrap["args"])
        # The certificate's name is that of the Service which the Envoys ask.
        assert "--xds-address=contour" in bootstrap["args"] and "contour" in ingress.XDS_USES
        assert one(found, "Service", "contour")["spec"]["ports"][0]["port"] == 8001


class TestPorts:
    def test_defaults(self) -> None:
        assert ports() == {"http": (80, "http"), "https": (443, "https")}

    def test_others(self) -> None:
        own = {"http_port": 8080, "https_port": 8443, "http_redirect": False}
        assert ports(**own) == {"http": (8080, "http"), "https": (8443, "https")}

    def test_https_alone(self) -> None:
        assert ports(http_port=0, http_redirect=False) == {"https": (443, "https")}

    def test_contour_s_own_listeners(self) -> None:
        """Where Contour has Envoy listen; they are its defaults."""
        named = {port["name"]: port["containerPort"] for port in container(stack(), "DaemonSet", "envoy")["ports"]}
        assert named == {"http": 8080, "https": 8443}

    @pytest.mark.parametrize("policy", ["Local", "Cluster"])
    def test_traffic_policy(self, policy: str) -> None:
        spec = one(stack(ingress={"traffic_policy": policy}), "Service", "envoy")["spec"]
        assert (spec["type"], spec["externalTrafficPolicy"]) == ("NodePort", policy)


class TestEnvoys:
    def test_on_every_node(self) -> None:
        spec = one(stack(), "DaemonSet")["spec"]["template"]["spec"]
        assert spec["tolerations"] == [{"operator": "Exists"}]
        assert "nodeSelector" not in spec and "affinity" not in spec

    def test_the_new_one_serves_before_the_old_one_ends(self) -> None:
        found = stack()
        assert one(found, "DaemonSet")["spec"]["updateStrategy"] == {
            "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}
        }
        envoy, manager = (container(found, "DaemonSet", "envoy", number) for number in (0, 1))
        assert envoy["readinessProbe"]["httpGet"]["path"] == "/ready"
        assert envoy["lifecycle"]["preStop"]["httpGet"] == {"path": "/shutdown", "port": 8090, "scheme": "HTTP"}
        assert manager["lifecycle"]["preStop"]["exec"]["command"][:3] == ["contour", "envoy", "shutdown"]
        shared = [{mount["name"]: mount["mountPath"] for mount in each["volumeMounts"]} for each in (envoy, manager)]
        assert shared[0]["admin"] == shared[1]["admin"] == "/admin"

    def test_replicas(self) -> None:
        found = stack(ingress={"replicas": 1})
        assert [each["spec"]["replicas"] for each in documents(found, "Deployment")] == [1, 1]
        assert [each["spec"]["replicas"] for each in documents(stack(), "Deployment")] == [2, 2]
        for each in documents(found, "Deployment"):
            (constraint,) = each["spec"]["template"]["spec"]["topologySpreadConstraints"]
            assert constraint["labelSelector"] == each["spec"]["selector"]
            assert constraint["topologyKey"] == "kubernetes.io/hostname"


class TestConfiguration:
    def test_contour_s(self) -> None:
        content = yaml.safe_load(one(stack(), "ConfigMap", "contour")["data"]["contour.yaml"])
        assert content == {"timeouts": {"stream-idle-timeout": "1h"}}

    def test_default_backend_s(self) -> None:
        found = stack()
        content = yaml.safe_load(one(found, "ConfigMap", "default-backend")["data"]["envoy.yaml"])
        (listener,) = content["static_resources"]["listeners"]
        listens = listener["address"]["socket_address"]["port_value"]
        assert container(found, "Deployment", "default-backend")["ports"][0]["containerPort"] == listens
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        (route,) = manager["route_config"]["virtual_hosts"][0]["routes"]
        assert route == {"match": {"prefix": "/"}, "direct_response": {"status": 404}}
        body = manager["local_reply_config"]["body_format"]
        assert body["text_format_source"] == {"inline_string": "There is no site %REQ(:AUTHORITY)% here.\n"}
        assert body["content_type"] == "text/plain; charset=utf-8"
        assert "admin" not in content

    @pytest.mark.parametrize("name", ["contour", "default-backend"])
    def test_pods_start_anew_with_another_one(self, name: str) -> None:
        found = stack()
        (text,) = one(found, "ConfigMap", name)["data"].values()
        template = one(found, "Deployment", name)["spec"]["template"]
        assert re.fullmatch("[0-9a-f]{16}", template["metadata"]["annotations"]["kubestage/configuration"])
        shown = (
            FILES / "ingress" / ("contour.yaml.j2" if name == "contour" else "default-backend.yaml.j2")
        ).read_text()
        assert text.splitlines()[0] == shown.splitlines()[0]


class TestClassAndDefault:
    def test_it_is_the_default_class(self) -> None:
        found = one(stack(), "IngressClass", "contour")
        assert found["metadata"]["annotations"] == {"ingressclass.kubernetes.io/is-default-class": "true"}

    def test_unknown_hosts(self) -> None:
        found = one(stack(domain="example.com"), "Ingress")
        backend = {"service": {"name": "default-backend", "port": {"number": 80}}}
        assert found["spec"]["defaultBackend"] == backend
        paths = {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}
        names = ["example.com", "*.example.com"]
        assert found["spec"]["rules"] == [{"host": name, "http": paths} for name in names]
        assert found["spec"]["tls"] == [{"hosts": names, "secretName": "wildcard"}]
        assert one(stack(), "Service", "default-backend")["spec"]["ports"][0]["port"] == 80

    def test_it_is_never_redirected(self) -> None:
        """Who asks for a site that is not there is told so at once."""
        assert "ingress.kubernetes.io/force-ssl-redirect" not in one(stack(), "Ingress")["metadata"]["annotations"]


class TestSite:
    def site(self, **changed: Any) -> dict[str, Any]:
        common = settings(**changed)
        found: dict[str, Any] = yaml.safe_load(
            _templates.from_string(
                '{% from "sites/ingress.yaml.j2" import ingress with context %}{{ ingress("shop", "web", 8081) }}'
            ).render(settings=common, namespace="shopping", wildcard=WILDCARD)
        )
        return found

    def test_ingress(self) -> None:
        found = self.site()
        assert found["metadata"]["name"] == "shop" and found["metadata"]["namespace"] == "shopping"
        backend = {"service": {"name": "web", "port": {"number": 8081}}}
        assert found["spec"] == {
            "ingressClassName": "contour",
            "rules": [
                {"host": "shop.lab.test", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
            ],
            "tls": [{"hosts": ["shop.lab.test"], "secretName": "wildcard"}],
        }

    def test_nothing_cuts_a_long_answer_or_a_websocket(self) -> None:
        annotations = self.site()["metadata"]["annotations"]
        assert annotations["projectcontour.io/response-timeout"] == "infinity"
        assert annotations["projectcontour.io/websocket-routes"] == "/"
        assert annotations["projectcontour.io/tls-cert-namespace"] == "projectcontour"

    @pytest.mark.parametrize(
        ("changed", "expected"),
        [
            ({}, {"ingress.kubernetes.io/force-ssl-redirect": "true"}),
            ({"http_redirect": False}, {"kubernetes.io/ingress.allow-http": "false"}),
            ({"http_port": 0, "http_redirect": False}, {"kubernetes.io/ingress.allow-http": "false"}),
        ],
        ids=["redirect", "no redirect", "no HTTP"],
    )
    def test_http(self, changed: dict[str, Any], expected: dict[str, str]) -> None:
        annotations = self.site(**changed)["metadata"]["annotations"]
        own = {key: value for key, value in annotations.items() if not key.startswith("projectcontour.io/")}
        assert own == expected
