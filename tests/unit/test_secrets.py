"""Nothing that a run prints or writes down shows a secret: of settings, of the user's files, of what hosts are told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sample_certificates import certificate, file, key_pem, new_key
from sample_cluster import GROUPS, ROOT, hosts_data
from sample_reports import bare
from test_preflight_check import COMMAND_LINE, stamped

from kubestage.certificates.platform import given
from kubestage.checks.load import load
from kubestage.hidden import Hidden
from kubestage.operations.registry import login_files
from kubestage.render import kubeadm, kubelet, runtime
from kubestage.settings import SETTINGS, ClusterSettings, SettingsError
from kubestage.stacks import catalogue
from kubestage.stacks.registry import RegistrySettings

NUMBERS = {"cp1": 11, "w1": 12, "w2": 13}


def planted(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Settings with a secret wherever one can be, and those secrets."""
    words = iter(f"PLANTED{number}x" for number in range(100))
    key = new_key()
    settings: dict[str, Any] = {
        "domain": "lab.test",
        "registry": {"users": {"ci": next(words)}},
        "containerd_config": {"proxy_plugins": {"mine": {"auth": {"password": next(words)}, "list": [next(words)]}}},
        "docker_config": {"proxies": {"http-proxy": f"http://ci:{next(words)}@proxy.test:3128"}},
        "kubelet_config": {"staticPodURLHeader": {"Authorization": [next(words)]}},
        "kube_proxy_config": {"clientConnection": {"contentType": next(words)}},
        "apiserver_extra_args": {"oidc-client-id": next(words)},
        "ca_certificate": file(folder, "ca.crt", certificate(key, ca=True)),
        "ca_key": file(folder, "ca.key", key_pem(key)),
    }
    used = int(next(words).removeprefix("PLANTED").removesuffix("x"))
    return settings, [*(f"PLANTED{number}x" for number in range(used)), key_pem(key).splitlines()[1]]


def run(
    folder: Path, settings: dict[str, Any], phase: str, failing: str, flags: tuple[str, ...]
) -> subprocess.CompletedProcess[str]:
    """pyinfra's command line on fake hosts, for preflight and one phase; the commands that hold `failing` fail."""
    hosts = {}
    for name, number in NUMBERS.items():
        responses = {"export LC_ALL=C PATH": stamped(bare(number)), failing: {"success": False, "stderr": "it failed"}}
        hosts[name] = {"fake_responses": responses, "fake_delay": 0, "fake_delay_jitter": 0}
    inventory = {group: [(name, hosts[name]) for name in names] for group, names in GROUPS.items()}
    module = phase.partition(".")[0]
    (folder / "pyinfra_on_fake_hosts.py").write_text(COMMAND_LINE)
    (folder / "deploy.py").write_text(f"from tasks import preflight, {module}\n({phase})(preflight.check())\n")
    (folder / "testing.py").write_text("\n".join(f"{group} = {members!r}" for group, members in inventory.items()))
    (folder / "group_data").mkdir(exist_ok=True)
    (folder / "group_data" / "all.py").write_text((ROOT / "group_data" / "all.py").read_text())
    lines = (f"{name} = {value!r}" for name, value in settings.items())
    (folder / "group_data" / "testing.py").write_text("\n".join(lines))
    return subprocess.run(
        [sys.executable, "pyinfra_on_fake_hosts.py", "testing.py", "deploy.py", *flags],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYINFRA_PROGRESS": "off"},
        capture_output=True,
        text=True,
        check=False,  # it is to fail
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


# What a phase sends or asks that has a secret in it, where it fails.
FAILURES = {
    "containerd and Docker": ("runtime.install", "base64 -d"),
    "kubelet": ("kubernetes_packages.install", "base64 -d"),
    "kubeadm's configuration": ("control_plane.bring_up", "base64 -d"),
    "a question with kubeadm's configuration": ("control_plane.bring_up", "addon kube-proxy"),
    "the static pods": ("control_plane.bring_up", "kubestage-static-pods"),
    "a question about the static pods": ("control_plane.bring_up", "kubeadm_renders"),
    "certificates": ("certificates.keep", "base64 -d"),
    "the registry's users": ("stacks.INSTALL[2]", "base64 -d"),
}
FLAGS = ("-y", "-vvv", "--debug")  # all that pyinfra can say; for --debug it prints group data itself
LOOKING_AHEAD = ("--dry", "--diff", "-vvv", "--debug")
CASES: dict[str, tuple[str, str, tuple[str, ...]]] = {what: (*failure, FLAGS) for what, failure in FAILURES.items()}
CASES["a question, looking ahead"] = ("control_plane.bring_up", "addon kube-proxy", LOOKING_AHEAD)


@pytest.mark.parametrize(("phase", "failing", "flags"), CASES.values(), ids=CASES)
def test_a_failing_run(phase: str, failing: str, flags: tuple[str, ...], tmp_path: Path) -> None:
    settings, secrets = planted(tmp_path)
    ran = run(tmp_path, settings, phase, failing, flags)
    printed = [line for line in (ran.stdout + ran.stderr).splitlines() if "Adding data to group" not in line]
    shown = {secret: line for secret in secrets for line in printed if secret in line}
    assert shown == {}
    assert "Loaded fact" in ran.stderr and "Preflight:" not in ran.stderr and "Settings:" not in ran.stderr
    assert "it failed" in ran.stderr or "--dry" in flags
    logs = [path.read_text() for path in tmp_path.rglob("*.log")]  # pyinfra-debug.log
    assert not [secret for secret in secrets if any(secret in log for log in logs)]


WRONG: dict[str, Any] = {
    "registry": {"users": {"ci:x": "PLANTED-long"}},
    "registry_usrs": {"ci": "PLANTED-long"},
    "containerd_config": {"version": 2, "auth": {"password": "PLANTED"}},
    "contanerd_config": "password: PLANTED",
    "docker_config": {"registry-mirrors": [], "proxies": "http://ci:PLANTED@proxy"},
    "kubelet_config": {"kind": "x", "header": {b"PLANTED"}},
    "kube_proxy_config": ["PLANTED"],
    "apiserver_extra_args": {"secure-port": 1, "oidc-client-id": "PLANTED"},
    "mirror_password": "PLANTED",
    "ingress": {"crds_url": "https://ci:PLANTED@files.test/x"},
    "ca_key": "-----BEGIN PRIVATE KEY-----\nPLANTED\n-----END PRIVATE KEY-----\n",
}


@pytest.mark.parametrize(("name", "value"), WRONG.items(), ids=WRONG)
def test_settings_that_are_refused(name: str, value: Any) -> None:
    for everywhere, single in (({name: value}, {}), ({}, {"w1": {name: value}})):
        with pytest.raises(SettingsError) as error:
            load(hosts_data(everywhere, **single), GROUPS)
        assert name in str(error.value)
        assert "PLANTED" not in str(error.value) + repr(error.value) + repr(error.value.problems)


def _passwords(common: ClusterSettings) -> dict[str, str]:
    return {name: password.get_secret_value() for name, password in common.of(RegistrySettings).users.items()}


def test_nothing_shows_secrets_by_its_repr(tmp_path: Path) -> None:
    settings, secrets = planted(tmp_path)
    cluster = load(hosts_data(settings), GROUPS)
    common, own = cluster.common, cluster.hosts["cp1"]
    configuration = kubeadm.init_configuration(common, own, "cp1", "10.0.0.11", [])
    things = [
        cluster,
        common,
        own,
        given(common.ca_certificate, common.ca_key),
        common.of(RegistrySettings),
        catalogue.chosen(common)["registry"],
        Hidden(configuration),
        [
            runtime.containerd_config(common, own),
            runtime.docker_config(common, own),
            *kubelet.files(own, "cp1", "/etc/resolv.conf"),
        ],
        login_files("registry.lab.test", _passwords(common)),
    ]
    for shown in (*map(repr, things), *map(str, things)):
        assert not [secret for secret in secrets if secret in shown], shown[:200]


def test_settings_that_take_anything_are_hidden() -> None:
    """A mapping of a component's own keys may have a password in it, whatever it is called."""
    free = {name for name, field in SETTINGS.items() if field.annotation == dict[str, Any]}
    assert {name for name in free if SETTINGS[name].repr} == {"sysctls"}  # the kernel has no passwords


def test_files_with_secrets_are_root_s_alone(tmp_path: Path) -> None:
    settings, secrets = planted(tmp_path)
    cluster = load(hosts_data(settings), GROUPS)
    common, own = cluster.common, cluster.hosts["cp1"]
    files = [runtime.containerd_config(common, own), runtime.docker_config(common, own), *runtime.registry_hosts(own)]
    files += [
        *kubelet.files(own, "cp1", "/etc/resolv.conf"),
        *login_files("registry.lab.test", _passwords(common)),
    ]
    found = {file.path: file.mode for file in files if any(secret in file.content for secret in secrets)}
    assert len(found) == 4
    assert set(found.values()) == {"600"}
