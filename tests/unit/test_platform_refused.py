"""Settings of the platform that are refused: each with the value, the reason and the remedy, and told once."""

from __future__ import annotations

from typing import Any

import pytest
from refusals import refused
from sample_cluster import GROUPS, group_data, hosts_data

from kubestage.checks.load import load
from kubestage.stacks import catalogue, dashboard, network

PASSWORD = "correct horse battery"
ALONE = {"http_redirect": False}  # with HTTP elsewhere than on 80, or HTTPS than on 443


# settings of all hosts, as shown, reason, remedy
EVERYWHERE: list[tuple[dict[str, Any], str, str, str]] = [
    # names
    ({"stacks": ["ingres"]}, "stacks.0 = 'ingres'", 'did you mean "ingress"?', "dashboard, descheduler, ingress"),
    ({"stacks": ["dashbord", "ingress"]}, "stacks.0 = 'dashbord'", 'did you mean "dashboard"?', "use one of"),
    ({"stacks": ["ingress", "prometheus"]}, "stacks.1 = 'prometheus'", "no such stack", "use one of: dashboard"),
    ({"stacks": "ingress"}, "stacks = 'ingress'", "not a list", "['ingress']"),
    ({"stack": ["ingress"]}, "stack = ['ingress']", 'did you mean "stacks"?', "correct the name"),
    (
        {"dashboard_flavor": "headlamp"},
        "dashboard_flavor = 'headlamp'",
        'mean "dashboard"?',
        "correct the name",
    ),
    (
        {"dashboard": {"flavour": "headlmap"}},
        "dashboard.flavour = 'headlmap'",
        'did you mean "headlamp"?',
        "kube-web-view",
    ),
    ({"dashboard": {"admin": "yes"}}, "dashboard.admin = 'yes'", "neither True nor False", "True or"),
    (
        {"dashboard": {"admin": True, "flavour": "kube-web-view"}},
        "dashboard.admin = True",
        "kube-web-view changes nothing",
        'dashboard.flavour = "headlamp"',
    ),
    # stacks together
    ({"stacks": ["metrics", "metrics"]}, "stacks = ['metrics', 'metrics']", "names metrics more than once", "once"),
    ({"stacks": ["dashboard"]}, "stacks = ['dashboard']", "dashboard can't be reached without", 'add "ingress"'),
    (
        {"stacks": ["registry", "dashboard", "storage"]},
        "stacks = ['registry', 'dashboard', 'storage']",
        "dashboard and registry can't be reached without ingress",
        "or leave out dashboard and registry",
    ),
    ({"stacks": ["ingress", "registry"]}, "stacks = ['ingress', 'registry']", "on a volume", "set storage_class"),
    # the registry
    (
        {"domain": "lab.test", "busybox_image": "registry.lab.test/tools/busybox:1.35.0"},
        "busybox_image = 'registry.lab.test/tools/busybox:1.35.0'",
        "the platform's own registry, which can't start before it",
        "outside of the cluster",
    ),
    (
        {"registry": {"pull_namespaces": ["default", "dashboard"]}},
        "registry.pull_namespaces = ['default', 'dashboard']",
        'the namespace "dashboard" is the platform\'s own',
        "leave it out",
    ),
    # ports
    ({"http_port": 65536}, "http_port = 65536", "1 to 65535", "within 1-65535"),
    ({"http_port": -1}, "http_port = -1", "1 to 65535", "within 1-65535"),
    ({"https_port": 0, **ALONE}, "https_port = 0", "1 to 65535", "within 1-65535"),
    (
        {"http_port": 79, **ALONE},
        "http_port = 79",
        "outside of node_port_range = '80-32767'",
        "or widen it to include 79",
    ),
    ({"https_port": 40443, **ALONE}, "https_port = 40443", "outside of node_port_range", "a port of that range"),
    ({"node_port_range": "100-32767"}, "http_port = 80", "node_port_range = '100-32767'", "widen it to include 80"),
    ({"http_port": 443, **ALONE}, "http_port = 443", "can't share a port", "http_port = 0 and http_redirect = False"),
    ({"node_port_reserved": ["80-100"]}, "http_port = 80", "node_port_reserved holds it", "choose another port"),
    ({"http_port": 10250, **ALONE}, "http_port = 10250", "Kubernetes itself listens on it", "choose another port"),
    ({"http_port": 2379, **ALONE}, "http_port = 2379", "Kubernetes itself listens on it", "choose another port"),
    ({"http_port": 8472, **ALONE}, "http_port = 8472", "the pod network listens on it", "choose another port"),
    ({"https_port": 6443, **ALONE}, "https_port = 6443", "the API server listens on it", "choose another port"),
    (
        {"http_port": 8443, "api_port": 8443, **ALONE},
        "http_port = 8443",
        "the API server listens",
        "choose another port",
    ),
    ({"http_port": 2222, "ssh_port": 2222, **ALONE}, "http_port = 2222", "SSH listens on it", "choose another port"),
    ({"https_port": 8443}, "http_redirect = True", "goes to port 443, and https_port is 8443", "set it to False"),
    ({"http_port": 0}, "http_redirect = True", "http_port is 0", "set it to False"),
    ({"http_port": 8080}, "http_redirect = True", "go to HTTPS on port 8080", "set it to False, or http_port to 80"),
    # how many
    ({"rebuild_at_once": 0}, "rebuild_at_once = 0", "at least 1", "above 0"),
    ({"ingress": {"replicas": 0}}, "ingress.replicas = 0", "at least 1", "above 0"),
    (
        {"ingress": {"replicas": 3}},
        "ingress.replicas = 3",
        "only 2 of the nodes take any pod",
        "set it to 2, or add workers",
    ),
    (
        {"ingress": {"replicas": 4}, "schedule_on_control_plane": True},
        "ingress.replicas = 4",
        "only 3 of the nodes take any pod",
        "set it to 3",
    ),
    (
        {"node_taints": ["gpu:NoSchedule"]},
        "ingress.replicas = None",
        "no node takes any pod",
        "leave a worker without a taint",
    ),
    ({"ingress": {"traffic_policy": "local"}}, "ingress.traffic_policy = 'local'", 'mean "Local"?', "Cluster, Local"),
    # domains
    ({"domain": "lab"}, "domain = 'lab'", "a domain of one label", '"lab.test"'),
    ({"domain": "*.lab.test"}, "domain = '*.lab.test'", "not a DNS name", 'write e.g. "lab.test"'),
    ({"domain": "Lab.Test"}, "domain = 'Lab.Test'", "not a DNS name", 'write it as "lab.test"'),
    ({"domain": "47.1.2.3"}, "domain = '47.1.2.3'", "its last part is a number", '"lab.test"'),
    ({"domain": "lab.0x1f"}, "domain = 'lab.0x1f'", "its last part is a number", '"lab.test"'),
    ({"domain": "lab.test", "cluster_domain": "test"}, "domain = 'lab.test'", "own DNS", '"platform.example"'),
    ({"domain": "cluster.local"}, "domain = 'cluster.local'", "the cluster's own DNS", "a domain of its own"),
    ({"domain": "apps.cluster.local"}, "domain = 'apps.cluster.local'", "the cluster's own DNS", "a domain of its own"),
    # registry and storage
    ({"registry": {"users": {"a:b": PASSWORD}}}, "registry.users", "\"a\" can't be a user's name", "no colon"),
    ({"registry": {"users": {"ci": f"{PASSWORD}\n"}}}, "registry.users", 'of "ci" holds a control', "a single line"),
    ({"registry": {"cleanup": "60 3 * * 0"}}, "registry.cleanup = '60 3 * * 0'", "five fields", "weekday"),
    ({"registry": {"cleanup": "0 3 * * 7"}}, "registry.cleanup = '0 3 * * 7'", "five fields", "weekday"),
    ({"registry": {"cleanup": "*/0 3 * * *"}}, "registry.cleanup = '*/0 3 * * *'", "five fields", "weekday"),
    ({"registry": {"cleanup": "9-3 3 * * *"}}, "registry.cleanup = '9-3 3 * * *'", "five fields", "weekday"),
    ({"storage": {"path": "/tmp/volumes"}}, "storage.path = '/tmp/volumes'", "the system's own", "for volumes alone"),
    ({"storage": {"path": "/mnt"}}, "storage.path = '/mnt'", "the system's own", "for volumes alone"),
    ({"storage": {"path": "/var/lib/etcd"}}, "storage.path = '/var/lib/etcd'", "the system's own", "for volumes alone"),
    (
        {"domain": ".".join(["a" * 60] * 4)},
        "domain = 'aaaa",
        "too long for the names of its sites",
        "at most 240 characters",
    ),
    (
        {"domain": "lab.test", "cluster_domain": "registry.lab.test"},
        "domain = 'lab.test'",
        "the cluster's own DNS",
        "a domain of its own",
    ),
    (
        {
            "mirrors": {
                "upstream": {**group_data()["mirrors"]["upstream"], "registries": {"registry.kubestage.test": []}}
            }
        },
        "mirrors.upstream.registries = 'registry.kubestage.test'",
        "the platform's own registry",
        "remove it",
    ),
    (
        {"registry_mirrors": {"registry.kubestage.test": ["https://m.example"]}},
        "registry_mirrors = 'registry.kubestage.test'",
        "the platform's own registry",
        "remove it",
    ),
    (
        {"registry": {"users": {"ci": "short"}}},
        "registry.users",
        'of "ci" is not of 8 to 72',
        "of that length",
    ),
    ({"registry": {"users": {"ci": 12345678}}}, "registry.users.ci = (not shown)", "not a text", "quotes"),
    ({"registry": {"users": ["ci"]}}, "registry.users = (not shown)", "not a mapping", "{"),
    ({"registry": {"size": "20G"}}, "registry.size = '20G'", "not a volume's size", '"20Gi"'),
    ({"registry": {"cleanup": "weekly"}}, "registry.cleanup = 'weekly'", "not cron's five fields", '"30 3 * * 0"'),
    ({"registry": {"pull_namespaces": ["My_App"]}}, "namespaces.0 = 'My_App'", "not a namespace", '"default"'),
    ({"storage_class": "Cloud SSD"}, "storage_class = 'Cloud SSD'", "not a DNS name", "write e.g."),
    (
        {"storage": {"path": "volumes"}},
        "storage.path = 'volumes'",
        "not an absolute path",
        "/var/lib/kubestage/volumes",
    ),
    (
        {"storage": {"path": "/a/../b"}},
        "storage.path = '/a/../b'",
        "not an absolute path",
        "/var/lib/kubestage/volumes",
    ),
    ({"ingress": {"crds_sha256": "c02ed8"}}, "ingress.crds_sha256 = 'c02ed8'", "not a SHA-256", "sha256sum"),
]
IDS = [str(case[0])[:60] for case in EVERYWHERE]


@pytest.mark.parametrize(("settings", "shown", "reason", "remedy"), EVERYWHERE, ids=IDS)
def test_setting_of_all_hosts(settings: dict[str, Any], shown: str, reason: str, remedy: str) -> None:
    problems = refused(hosts_data(settings)).problems
    assert [problem.where for problem in problems] == ["all hosts"], [str(problem) for problem in problems]
    told, _, advice = str(problems[0]).partition("\n    -> ")
    assert shown in told and reason in told
    assert remedy in advice


@pytest.mark.parametrize("settings", [{"domain": "other.test"}, {"http_port": 8080}, {"stacks": ["ingress"]}], ids=str)
def test_the_platform_is_the_whole_clusters(settings: dict[str, Any]) -> None:
    problems = refused(hosts_data(w1=settings)).problems
    assert "w1" in problems[0].where
    assert "one setting for the whole cluster" in problems[0].reason


def test_a_host_with_the_name_of_a_site() -> None:
    data = hosts_data({"domain": "lab.test"})
    data["registry.lab.test"] = data.pop("w1")
    groups = {"control_plane": ["cp1"], "workers": ["registry.lab.test", "w2"]}
    (problem,) = refused(data, groups).problems
    assert problem.where == "registry.lab.test"
    assert "a site of the platform has this name" in problem.reason and "rename the host" in problem.remedy


def test_what_is_not_on_is_not_asked_for() -> None:
    """Without the ingress its ports and replicas say nothing."""
    unused = {"http_port": 443, "ingress": {"replicas": 9}, "node_port_range": "30000-32767", "stacks": ["metrics"]}
    assert load(hosts_data(unused), GROUPS).common.stacks == ("metrics",)


def test_one_node_alone() -> None:
    data = {"cp1": {**hosts_data()["cp1"], "ingress": {"replicas": 2}}}
    (problem,) = refused(data, {"control_plane": ["cp1"]}).problems
    assert (problem.setting, problem.value) == ("ingress.replicas", 2)
    assert "only 1 of the nodes takes any pod" in problem.reason and "set it to 1" in problem.remedy


def test_no_worker_is_told_once() -> None:
    data = {"cp1": {**hosts_data()["cp1"], "schedule_on_control_plane": False}}
    (problem,) = refused(data, {"control_plane": ["cp1"]}).problems
    assert problem.setting == "schedule_on_control_plane"


@pytest.mark.parametrize(
    "data",
    [
        hosts_data({"registry": {"users": {"ci": PASSWORD, "a:b": PASSWORD}}}),
        hosts_data({"registry": {"users": {f"ci:{PASSWORD}": PASSWORD}}}),
        hosts_data({"registry": {"users": {"ci": [PASSWORD]}}}),
        hosts_data({"registry": {"users": PASSWORD}}),
        hosts_data({"registry_user": {"ci": PASSWORD}}),
        hosts_data({"registry_password": PASSWORD}),
        hosts_data({"registry_accounts": {"ci": PASSWORD}}),
        hosts_data({"ssh_pasword": PASSWORD}),
        hosts_data({"ssh_key_pw": PASSWORD}),
        hosts_data(
            {"registry": {"users": {"ci": PASSWORD}}}, w1={"registry": {"users": {"ci": f"another {PASSWORD}"}}}
        ),
    ],
    ids=[
        "bad name",
        "both in one",
        "no text",
        "no mapping",
        "misspelt",
        "near",
        "a mapping",
        "of SSH",
        "of a key",
        "not the same everywhere",
    ],
)
def test_no_message_shows_a_password(data: dict[str, dict[str, Any]]) -> None:
    message = str(refused(data))
    assert PASSWORD not in message
    assert message.count("\n    -> ") == 1, message


def test_the_platforms_own_namespaces() -> None:
    """All that a stack of ours makes."""
    common = load(hosts_data(), GROUPS).common
    made = [network.flannel(common), *dashboard.others(common), *catalogue.chosen(common).values()]
    names = {stack.namespace.name for stack in made if stack.namespace}
    assert names == {network.FLANNEL, *(kind.namespace for kind in catalogue.STACKS.values() if kind.namespace)}
    for name in names:
        assert "the platform's own" in str(
            refused({"cp1": {**hosts_data()["cp1"], "registry": {"pull_namespaces": [name]}}})
        )
