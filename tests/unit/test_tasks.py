"""Tasks, where they are more than a list of operations. The operations are stood in for: each has its own tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from fake_hosts import Hosts
from sample_certificates import certificate, file, key_pem, new_key
from sample_cluster import GROUPS, NO_SPEAKER, hosts_data
from sample_reports import bare, member
from sample_reports import control_plane as control_plane_report

from kubestage.checks.load import load
from kubestage.checks.preflight import Checked
from kubestage.cluster.plan import HostPlan
from kubestage.facts.host_report import HostReport, parse
from kubestage.facts.unknown import Unknown
from tasks import backup, certificates, control_plane, host, join, network, runtime, volumes
from tasks import stacks as stacks_task

Calls = list[tuple[str, dict[str, Any]]]


def reports() -> dict[str, HostReport]:
    """Those of a run whose control plane is there."""
    return {"cp1": parse(control_plane_report().splitlines(), 0, 0)}


def plan(*reserved: int) -> HostPlan:
    checked = Checked(load(hosts_data(), GROUPS), reports(), {"cp1": "10.0.0.11"}, reserved, frozenset(), "lab")
    return HostPlan("cp1", checked, ("cp1",), NO_SPEAKER, Path("kubeconfig"))


def calls(task: ModuleType, run: HostPlan, monkeypatch: pytest.MonkeyPatch, phase: str = "install") -> Calls:
    """The operations that the task's phase calls on its host: "module.operation" and arguments."""
    made: Calls = []

    def stand_in(name: str) -> Any:
        return lambda **arguments: made.append((name, arguments))

    hosts = Hosts({name: {} for name in dict.fromkeys((run.name, run.leader))})
    for name, module in list(vars(task).items()):
        if isinstance(module, ModuleType) and module.__name__.startswith("kubestage.operations."):
            functions = {function: stand_in(f"{name}.{function}") for function in vars(module)}
            monkeypatch.setattr(task, name, SimpleNamespace(**functions))
    hosts.prepare_task(run.name, getattr(task, phase), run)
    return made


def stacks(made: Calls) -> list[tuple[str, list[str]]]:
    """What is done to which stacks, by their names."""
    return [
        (name, [stack.name for stack in arguments.get("stacks", [arguments.get("stack")])])
        for name, arguments in made
        if name.startswith("stacks.")
    ]


def test_reserved_node_ports_and_flannel_in_one_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    made = calls(network, plan(2379, 6443), monkeypatch)
    assert stacks(made) == [("stacks.stacks", ["kubestage-reserved-node-ports", "flannel"])]


def test_no_port_to_reserve_no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """The API server refuses a Service without ports; that of an earlier range is taken out."""
    made = calls(network, plan(), monkeypatch)
    assert stacks(made) == [("stacks.stacks", ["flannel"]), ("stacks.no_stack", ["kubestage-reserved-node-ports"])]


def plan_of(name: str, **settings: Any) -> HostPlan:
    cluster = load(hosts_data({"domain": "lab.test", **settings}), GROUPS)
    addresses = {"cp1": "10.0.0.11", "w1": "10.0.0.12"}
    known = {name: parse(bare(12).splitlines(), 0, 0), **reports()}
    return HostPlan(
        name,
        Checked(cluster, known, addresses, (), frozenset(), "lab"),
        (name,),
        NO_SPEAKER,
        Path("/state/lab/kubeconfig"),
    )


@pytest.mark.parametrize(
    ("stacks_on", "sites"),
    [
        (["ingress", "dashboard", "registry", "storage"], ["dashboard.lab.test", "registry.lab.test"]),
        (["ingress", "dashboard"], ["dashboard.lab.test"]),
        ([], []),
    ],
)
def test_sites_are_at_the_host_itself(stacks_on: list[str], sites: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    made = calls(host, plan_of("w1", stacks=stacks_on), monkeypatch, "prepare")
    (addresses,) = [given["addresses"] for name, given in made if name == "system.hosts_file"]
    assert addresses == {"cp1": "10.0.0.11", "w1": "10.0.0.12", **dict.fromkeys(sites, "10.0.0.12")}


@pytest.mark.parametrize(("name", "wanted"), [("w1", {"shop/orders": "/data/pvc-1"}), ("w2", None), ("cp1", None)])
def test_a_host_has_its_own_volumes(name: str, wanted: dict[str, str] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        "shop/orders|local-path|2Gi|Delete Bound|w1|/data/pvc-1",
        "shop/old|local-path|2Gi|Delete Released|w1|/data/pvc-2",
        "shop/odd|local-path|2Gi|Delete Bound|w1|",
        "shop/mine|cloud-ssd|2Gi|Delete Bound|w1|/other/pvc-3",
    ]
    run = plan_of(name)
    run.checked.reports.update({host: parse(bare(12).splitlines(), 0, 0) for host in ("w1", "w2")})
    run.checked.reports["cp1"] = parse(control_plane_report(volumes=lines).splitlines(), 0, 0)
    made = calls(volumes, run, monkeypatch, "keep")
    assert [given["volumes"] for _, given in made] == ([] if wanted is None else [wanted])


def test_volumes_of_a_host_that_has_joined_are_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk may be there that is not mounted."""
    run = plan_of("w1")
    lines = ["shop/orders|local-path|2Gi|Delete Bound|w1|/data/pvc-1"]
    run.checked.reports["cp1"] = parse(control_plane_report(volumes=lines).splitlines(), 0, 0)
    run.checked.reports["w1"] = parse(member(12, "w1").splitlines(), 0, 0)
    assert calls(volumes, run, monkeypatch, "keep") == []


@pytest.mark.parametrize(("initialized", "given"), [(True, [Unknown("EOF")]), (False, [])])
def test_volumes_that_nobody_knows_are_not_none(
    initialized: bool, given: list[Unknown], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are none where the first run was killed before it had a cluster."""
    run = plan_of("w1")
    silent = replace(reports()["cp1"], cluster=None, cluster_error="EOF", initialized=initialized)
    run.checked.reports["cp1"] = silent
    assert [arguments["volumes"] for _, arguments in calls(volumes, run, monkeypatch, "keep")] == given


def test_no_volumes_are_known_before_there_is_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    run = plan_of("cp1")
    run.checked.reports["cp1"] = parse(bare(11).splitlines(), 0, 0)
    assert calls(volumes, run, monkeypatch, "keep") == []


def test_cas_are_there_before_the_first_key_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    made = calls(runtime, plan_of("w1"), monkeypatch)
    assert [name for name, _ in made[:2]] == ["apt.packages", "apt.sources"]
    assert "ca-certificates" in made[0][1]["packages"]


class TestCertificates:
    def own(self, folder: Path) -> dict[str, str]:
        """A wildcard certificate and a CA of the user's, as settings."""
        key = new_key()
        return {
            "wildcard_certificate": file(folder, "own.crt", certificate(key, names=["*.lab.test"])),
            "wildcard_key": file(folder, "own.key", key_pem(key)),
            "ca_certificate": file(folder, "ca.crt", certificate(key, ca=True)),
            "ca_key": file(folder, "ca.key", key_pem(key)),
        }

    def given(self, made: Calls, name: str) -> dict[str, Any]:
        (arguments,) = [arguments for called, arguments in made if called == name]
        return arguments

    def test_ours(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = calls(certificates, plan_of("cp1"), monkeypatch, "keep")
        given = self.given(made, "certificates.authority")
        assert (given["domain"], given["ca"], given["wildcard"]) == ("lab.test", None, None)
        assert [name for name, _ in made] == [
            "platform_secrets.files",
            "certificates.authority",
            "platform_secrets.secret",
        ]

    def test_the_user_s(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        own = self.own(tmp_path)
        given = self.given(calls(certificates, plan_of("cp1", **own), monkeypatch, "keep"), "certificates.authority")
        for name in ("ca", "wildcard"):
            assert given[name].certificate == Path(own[f"{name}_certificate"]).read_text()
            assert given[name].key == Path(own[f"{name}_key"]).read_text()

    def test_a_worker_has_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = calls(certificates, plan_of("w1"), monkeypatch, "keep")
        assert made == []

    @pytest.mark.parametrize(
        ("without", "wanted"),
        [
            (["wildcard_certificate", "wildcard_key", "ca_certificate", "ca_key"], True),
            (["wildcard_certificate", "wildcard_key"], True),
            (["ca_key"], True),
            (["ca_certificate", "ca_key"], False),
        ],
        ids=["ours", "the user's CA", "the user's wildcard and CA", "the user's wildcard, of a CA known to all"],
    )
    def test_trust(self, without: list[str], wanted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        own = {name: path for name, path in self.own(tmp_path).items() if name not in without}
        made = calls(certificates, plan_of("cp1", **own), monkeypatch, "trust")
        trusted, fetched = (
            self.given(made, "certificates.trusted_authority"),
            self.given(made, "certificates.authority_copy"),
        )
        assert trusted["wanted"] is fetched["wanted"] is wanted
        assert trusted["registry"] == "registry.lab.test"
        assert fetched["path"] == Path("/state/lab/ca.crt")

    def test_trust_on_a_worker(self, monkeypatch: pytest.MonkeyPatch) -> None:
        own = {"https_port": 8443, "http_redirect": False}
        made = calls(certificates, plan_of("w1", **own), monkeypatch, "trust")
        assert [name for name, _ in made] == ["certificates.trusted_authority"]
        assert made[0][1]["registry"] == "registry.lab.test:8443"
        assert made[0][1]["control_plane"] is NO_SPEAKER

    def test_trust_without_a_registry(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = calls(certificates, plan_of("w1", stacks=["ingress"]), monkeypatch, "trust")
        assert made[0][1]["registry"] == ""


class TestStacks:
    def install(self, stack: str, run: HostPlan, monkeypatch: pytest.MonkeyPatch) -> Calls:
        (wanted,) = [phase for phase in stacks_task.INSTALL if phase.title == stack]
        monkeypatch.setattr(stacks_task, "wanted", wanted, raising=False)
        return calls(stacks_task, run, monkeypatch, "wanted")

    def test_what_a_stack_needs_comes_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = self.install("Ingress", plan_of("cp1"), monkeypatch)
        assert [name for name, _ in made] == [
            "files.download",
            "platform_secrets.files",
            "certificates.mutual_certificates",
            "platform_secrets.secret",
            "stacks.stacks",
        ]
        definitions, had, mutual, _, kept = (arguments for _, arguments in made)
        assert set(had["secret"].files.values()) > {f"{mutual['folder']}/ca.crt"}
        (stack,) = kept["stacks"]
        assert definitions["path"] == f"{stack.upstream_folder(0)}/manifest.yaml"
        assert definitions["address"].startswith("https://raw.githubusercontent.com/")
        assert {key.rpartition("/")[0] for secret in stack.secrets for key in secret.keys.values()} >= {
            mutual["folder"]
        }

    def test_users(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = self.install("Registry", plan_of("cp1"), monkeypatch)
        assert [name for name, _ in made] == [
            "platform_secrets.files",
            "registry.logins",
            "platform_secrets.secret",
            "stacks.stacks",
        ]

    def test_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What needs another goes before it; that of a folder on every node, on every node."""
        run = plan_of("cp1", stacks=[])
        made = calls(stacks_task, run, monkeypatch, "remove")
        assert [names for _, (*names,) in stacks(made)] == [
            [name] for name in ("descheduler", "metrics", "kube-web-view", "headlamp", "registry", "ingress", "storage")
        ]
        folders = [given["path"] for name, given in made if name == "files.no_folder"]
        assert folders == [f"/etc/kubernetes/kubestage/{name}" for name in ("pki/metrics", "registry", "pki/xds")]
        assert made[-1] == ("storage.no_empty_folder", {**made[-1][1], "path": "/var/lib/kubestage/volumes"})

    def test_a_worker_has_a_folder_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = calls(stacks_task, plan_of("w1", stacks=[]), monkeypatch, "remove")
        assert [name for name, _ in made] == ["storage.no_empty_folder"]

    @pytest.mark.parametrize("name", ["cp1", "w1"])
    def test_one_that_is_off_is_not_installed(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.install("Ingress", plan_of(name, stacks=[]), monkeypatch) == []

    def test_a_worker_has_nothing_to_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.install("Ingress", plan_of("w1"), monkeypatch) == []


def test_what_starts_the_api_server_comes_before_what_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [name for name, _ in calls(control_plane, plan_of("cp1"), monkeypatch, "bring_up")]
    assert made == [
        "files.files",
        "operations.init_or_images",
        "renewal.control_plane",
        "kubelet_operations.service",
        "operations.apiserver_names",
        "static_pods_operations.manifests",
        "operations.kube_proxy",
        "kubeconfig.own_copy",
    ]


def test_a_worker_has_no_part_in_the_control_plane(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [name for name, _ in calls(control_plane, plan_of("w1"), monkeypatch, "bring_up")]
    assert made == ["operations.init_or_images"]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("cp1", ["renewal.kubelet_server"]),
        ("w1", ["kubeadm.join", "renewal.kubelet_client", "operations.service", "renewal.kubelet_server"]),
    ],
)
def test_a_kubelet_has_its_certificate_before_it_is_started(
    name: str, wanted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [called for called, _ in calls(join, plan_of(name), monkeypatch, "hosts")] == wanted


RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"


@pytest.mark.parametrize(
    ("was", "settings", "made"),
    [
        ("1.35.9", {"backup_recipients": [RECIPIENT]}, True),
        ("1.35.9", {}, False),
        ("", {"backup_recipients": [RECIPIENT]}, False),
    ],
    ids=["another version", "nobody could read it", "this version"],
)
def test_a_backup_before_an_upgrade(
    was: str, settings: dict[str, Any], made: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = plan_of("cp1", **settings)
    version = was or run.host_settings.kubernetes_version
    report = replace(run.report, made={**run.report.made, "version": version})
    run = replace(run, checked=replace(run.checked, reports={**run.checked.reports, "cp1": report}))
    wanted = ["apt.packages", "operations.made", "operations.brought"] if made else []
    assert [name for name, _ in calls(backup, run, monkeypatch, "before_upgrade")] == wanted


@pytest.mark.parametrize(
    ("settings", "made"),
    [
        ({}, ["systemd.no_unit"]),
        (
            {"backup_recipients": [RECIPIENT], "backup_schedule": "03:30"},
            ["apt.packages", "files.files", "systemd.services"],
        ),
    ],
)
def test_backups_by_a_timer(settings: dict[str, Any], made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert [name for name, _ in calls(backup, plan_of("cp1", **settings), monkeypatch, "keep")] == made
    assert calls(backup, plan_of("w1", **settings), monkeypatch, "keep") == []
