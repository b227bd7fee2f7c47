"""make trust: what a person is told about the CA and the sites."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sample_certificates import NOW, certificate, file, key_pem, new_key
from sample_cluster import GROUPS, NAMES, hosts_data

from kubestage.certificates import pem
from kubestage.certificates.platform import new_ca
from kubestage.checks.load import load
from kubestage.cluster.inventory import TargetError
from kubestage.commands import trust
from kubestage.settings import Cluster


def cluster(**settings: Any) -> Cluster:
    return load(hosts_data({"domain": "lab.test", **settings}), GROUPS)


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A cluster whose kubeconfig has been fetched, and no CA yet."""
    folder = tmp_path / "staging"
    folder.mkdir()
    found = SimpleNamespace(
        cluster=cluster(),
        folder=folder,
        ca=folder / "ca.crt",
        deploy="pyinfra inventory/staging.py deploy.py",
        outside_address=dict(zip(NAMES, ("47.1.2.3", "47.1.2.4", "47.1.2.4"), strict=True)).get,
    )
    monkeypatch.setattr(trust, "read", lambda inventory: found)
    return found


def test_ca_and_sites(target: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    ca = new_ca("staging CA", NOW).certificate
    target.ca.write_text(ca)
    assert trust.main(Namespace(inventory="inventory/staging.py")) == 0
    said = capsys.readouterr().out
    assert f"CA           {target.ca}\nSHA-256      {pem.fingerprint(ca)}\n" in said
    for way in (
        f"sudo cp {target.ca} /usr/local/share/ca-certificates/kubestage-staging.crt && sudo update-ca-certificates",
        f"sudo cp {target.ca} /etc/pki/ca-trust/source/anchors/kubestage-staging.crt && sudo update-ca-trust",
        f"-k /Library/Keychains/System.keychain {target.ca}",
        "certutil -addstore -f Root ca.crt",
        "Firefox",
    ):
        assert way in said
    assert "*.lab.test to any or all of 47.1.2.3, 47.1.2.4\n" in said
    assert "47.1.2.3 dashboard.lab.test registry.lab.test\n" in said


def test_no_ca_yet(target: SimpleNamespace) -> None:
    with pytest.raises(TargetError, match=r"ca\.crt: a run makes it, and has not yet\n.*pyinfra inventory/staging\.py"):
        trust.main(Namespace(inventory="inventory/staging.py"))


def test_a_certificate_of_one_s_own(
    target: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = new_key()
    own = file(tmp_path, "own.crt", certificate(key, names=["*.lab.test"]))
    target.cluster = cluster(wildcard_certificate=own, wildcard_key=file(tmp_path, "own.key", key_pem(key)))
    assert trust.main(Namespace(inventory="inventory/staging.py")) == 0
    said = capsys.readouterr().out
    assert "no CA of the platform to trust" in said and "SHA-256" not in said
    assert "47.1.2.3 dashboard.lab.test" in said


def test_hosts_that_are_known_by_name() -> None:
    """/etc/hosts takes numbers alone."""
    settings = cluster(stacks=["ingress"]).common
    assert "ADDRESS NAME.lab.test" in trust.names(settings, ["a.example.com"])
    assert "47.1.2.4 NAME.lab.test" in trust.names(settings, ["a.example.com", "47.1.2.4"])
