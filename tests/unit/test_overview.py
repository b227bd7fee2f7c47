"""The page that says what is where: its rows by settings, its text, and what a run prints of it."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_hosts import Hosts
from sample_cluster import GROUPS, hosts_data

from kubestage.checks.load import load
from kubestage.operations import overview as operations
from kubestage.output.overview import Overview, overview, text
from kubestage.settings import ClusterSettings
from kubestage.stacks.stack_type import Place, Row

PLACE = Place(
    inventory="inventory/shop.py",
    folder=Path(".state/shop"),
    control_plane="cp1",
    server="https://47.1.2.3:6443",
    addresses={"cp1": "47.1.2.3", "w1": "47.1.2.4"},
)


def settings(**changed: Any) -> ClusterSettings:
    return load(hosts_data({"domain": "shop.example", **changed}), GROUPS).common


def rows(*, has_ca: bool = True, **changed: Any) -> dict[str, Row]:
    return {row.what: row for row in overview(settings(**changed), PLACE, has_ca).rows}


def test_the_whole_platform() -> None:
    assert text(overview(settings(), PLACE, has_ca=True)) == (
        """\
WHAT         WHERE                           USER              HOW
API          https://47.1.2.3:6443           kubernetes-admin  .state/shop/kubeconfig
certificate  shop.example, *.shop.example                      make trust INVENTORY=inventory/shop.py
ingress      https://NAME.shop.example
dashboard    https://dashboard.shop.example  any               make dashboard-token INVENTORY=inventory/shop.py
registry     https://registry.shop.example   kubestage         /etc/kubernetes/kubestage/registry/users.json on cp1
metrics      kubectl top nodes
storage      StorageClass local-path

Every node serves the sites, so let your DNS or /etc/hosts lead their names to any of: 47.1.2.3 47.1.2.4"""
    )


def test_no_platform() -> None:
    assert text(overview(settings(stacks=[]), PLACE, has_ca=True)) == (
        """\
WHAT  WHERE                  USER              HOW
API   https://47.1.2.3:6443  kubernetes-admin  .state/shop/kubeconfig"""
    )


def test_what_settings_change() -> None:
    other_port: dict[str, Any] = {"https_port": 8443, "http_redirect": False}
    assert rows(**other_port)["registry"].where == "https://registry.shop.example:8443"
    assert rows(**other_port)["ingress"].where == "https://NAME.shop.example:8443"
    assert rows(storage_class="cloud-ssd")["storage"].where == "StorageClass local-path"  # the stack makes no other
    assert rows(has_ca=False)["certificate"].how == ""
    assert "dashboard" not in rows(stacks=["ingress"])


def test_no_password_is_shown() -> None:
    shown = text(overview(settings(registry={"users": {"ci": "correct horse", "ann": "battery staple"}}), PLACE, True))
    assert "ci, ann" in shown
    assert "correct horse" not in shown and "battery staple" not in shown


def test_health_has_a_column_where_there_is_any() -> None:
    shown = Overview((Row("API", "there", "me"), Row("metrics", "here"))).with_health({"API": "3 of 3 nodes Ready"})
    assert (
        text(shown)
        == """\
WHAT     HEALTH              WHERE  USER
API      3 of 3 nodes Ready  there  me
metrics                      here"""
    )


def test_a_run_prints_it_and_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    hosts = Hosts({"cp1": {}})
    ca = tmp_path / "ca.crt"
    hosts.prepare("cp1", operations.summary, settings=settings(), place=PLACE, ca=ca)
    ca.touch()  # made while the run works
    assert "dashboard" not in caplog.text
    with caplog.at_level(logging.INFO):
        hosts.execute()
    assert hosts.commands("cp1") == []
    assert "https://dashboard.shop.example" in caplog.text
    assert "make trust INVENTORY=inventory/shop.py" in caplog.text


def test_backups_have_a_row_once_somebody_can_read_them() -> None:
    assert "backup" not in rows()
    found = overview(
        settings(backup_recipients=("age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",)),
        PLACE,
        has_ca=True,
    ).rows
    assert Row("backup", ".state/shop/backups", how="pyinfra inventory/shop.py backup.py") in found


def test_a_control_plane_of_several() -> None:
    several = replace(PLACE, members=["cp1", "cp2"])
    assert Row("etcd", "cp1, cp2") in overview(settings(), several, has_ca=True).rows
    assert "etcd" not in rows()
