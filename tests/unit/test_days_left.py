"""The table of `make status`: all certificates of a cluster with their days left, and what is not known."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from fake_hosts import Hosts, fact
from sample_certificates import DAY, NOW, certificate, file, key_pem, new_key, signed
from sample_cluster import GROUPS, hosts_data
from sample_reports import inline

from kubestage.certificates import pem
from kubestage.certificates.ending import Found
from kubestage.checks.load import load
from kubestage.cluster import inventory
from kubestage.commands import days_left
from kubestage.facts.host_certificates import HostCertificates
from kubestage.kubernetes import KUBELET_CLIENT, KUBELET_SERVER

KEY = new_key()


def leaf(days: float) -> str:
    return signed(KEY, "leaf", None, begin=NOW + (days - 365) * DAY, end=NOW + (days + 0.5) * DAY)


def found(**days: float) -> Found:
    return {f"/etc/kubernetes/pki/{name}.crt": pem.first(leaf(left)) for name, left in days.items()}


def test_the_first_to_end_comes_first_and_those_of_a_day_stand_together() -> None:
    kubelet = {KUBELET_CLIENT: pem.first(leaf(364)), KUBELET_SERVER: pem.first(leaf(-3))}
    table = days_left.table({"cp1": found(etcd=364, apiserver=364, ca=3000), "w1": kubelet}, NOW)
    heading, *rows = table.splitlines()
    assert heading.split() == ["DAYS", "ENDS", "WHERE", "CERTIFICATES"]
    assert [row.split(maxsplit=3)[::2] for row in rows] == [
        ["-3", "w1"],
        ["364", "cp1"],
        ["364", "w1"],
        ["3000", "cp1"],
    ]
    assert rows[0].endswith("kubelet-server") and rows[1].endswith("pki/apiserver, pki/etcd")
    assert f"{NOW - 2.5 * DAY:%Y-%m-%d}" in rows[0]


def test_a_long_row_is_folded() -> None:
    many = days_left.table({"cp1": found(**dict.fromkeys((f"a-long-name-{number}" for number in range(20)), 9))}, NOW)
    assert max(map(len, many.splitlines())) <= 118
    assert all(line.startswith(" " * 35) for line in many.splitlines()[2:])


def test_what_is_not_known_is_said() -> None:
    table = days_left.table({"cp1": {"/etc/kubernetes/pki/ca.crt": None}, "w1": "no connection"}, NOW)
    assert "?  not readable  cp1           /etc/kubernetes/pki/ca.crt" in table
    assert "?  not known     w1            no connection" in table


def test_troubles_name_the_host() -> None:
    answers: dict[str, Found | str] = {"cp1": found(apiserver=10), "w1": "no connection", "w2": {}}
    (trouble,) = days_left.troubles(answers, NOW, 60)
    assert trouble.startswith("cp1: /etc/kubernetes/pki/apiserver.crt ends on")


@pytest.fixture
def target(tmp_path: Path) -> inventory.Target:
    """cp1 answers, the workers do not."""
    own = {
        "domain": "lab.test",
        "wildcard_certificate": file(tmp_path, "own.crt", certificate(KEY, names=["*.lab.test"])),
        "wildcard_key": file(tmp_path, "own.key", key_pem(KEY)),
    }
    lines = [f"certificate /etc/kubernetes/pki/apiserver.crt {inline(pem.first(leaf(99)))}"]
    silent = {"": {"success": False, "stderr": "sudo: a password is required"}}
    facts = {"cp1": {fact(HostCertificates): lines}, "w1": {}, "w2": {}}
    hosts = Hosts(facts, {"w1": silent, "w2": silent})
    user = {"client-certificate-data": inline(pem.first(leaf(50)))}
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump({"users": [{"name": "me", "user": user}]}))
    return inventory.Target("testing.py", load(hosts_data(own), GROUPS), tmp_path, hosts.state)


def test_hosts_and_this_machine_are_asked(target: inventory.Target) -> None:
    answers = days_left.ask(target)
    here, cp1 = answers[days_left.HERE], answers["cp1"]
    assert not isinstance(here, str) and not isinstance(cp1, str)
    assert {Path(path).name for path in here} == {"kubeconfig", "own.crt"}
    assert list(cp1) == ["/etc/kubernetes/pki/apiserver.crt"]
    assert answers["w1"] == answers["w2"] == "it gave no answer"
