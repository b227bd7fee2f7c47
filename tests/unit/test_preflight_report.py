"""The script asks what it should, and its answers are understood."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Interface
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate
from pyinfra.api.exceptions import FactProcessError
from sample_cluster import GROUPS, hosts_data
from sample_reports import OTHER_CA, OUR_CA, bare, certificate, control_plane, inline, member
from stub_programs import calls, run_with

from kubestage.certificates import platform
from kubestage.checks.load import load
from kubestage.checks.wanted import wanted
from kubestage.facts.apt import SOURCES
from kubestage.facts.host_report import (
    FileSystem,
    HostReport,
    HostReportFact,
    Node,
    Repository,
    Volume,
    Wanted,
    parse,
    runtimes,
)


def read(text: str) -> HostReport:
    return parse(text.splitlines(), asked=1000.0, answered=1001.0)


def test_bare_host() -> None:
    report = read(bare(11))
    assert (report.uid, report.os_id, report.os_version, report.os_codename) == (0, "debian", "12", "bookworm")
    assert (report.architecture, report.cpus, report.memory_mib) == ("amd64", 2, 24105)
    assert set(report.folders) == {"packages", "kubelet", "images", "docker", "cni", "volumes"}
    assert report.folders["images"] == FileSystem("/", 82434380, 67049472, 5242880, 5100000)
    assert report.tools == {"apt-get", "ip", "systemctl"}
    assert (report.resolv_conf, report.cloud_init) == ("/etc/resolv.conf", False)
    assert report.default_address == "10.0.0.11"
    assert report.addresses == (IPv4Interface("127.0.0.1/8"), IPv4Interface("10.0.0.11/24"))
    assert report.devices == {"lo", "eth0"}
    assert report.tcp_ports == {22}
    assert report.udp_ports == {68}
    assert report.ephemeral_ports == (32768, 60999)
    assert not (report.admin_conf or report.kubelet_conf or report.initialized or report.debris or report.ours)
    assert (report.running, report.kubelet_ca, report.admin_ca, report.node_name) == ("", "", "", "")
    assert report.packages == {}
    assert report.repositories is not None
    assert report.repositories["kubernetes"].versions["kubelet"] == ("1.36.2-1.1", "1.36.3-1.1")
    assert report.repositories["docker"].versions["containerd.io"] == ("2.4.2-1~debian.12~bookworm",)
    assert report.registries == {}
    assert (report.cluster, report.cluster_error) == (None, "")


def test_clock_lies_within_the_round_trip() -> None:
    # The host said 1000.25 and 1000.75 while our own clock went from 1000 to 1001.
    assert read(bare(11)).clock == (-0.25, 0.25)
    assert read(bare(11).replace("begin 1000.25", "begin 1060.25").replace("end 1000.75", "end 1060.75")).clock == (
        59.75,
        60.25,
    )


def test_member() -> None:
    report = read(member(12, "w1"))
    assert report.kubelet_conf and report.ours and report.debris and not report.admin_conf
    assert report.kubelet_server == "https://10.0.0.11:6443"
    assert report.kubelet_ca == OUR_CA.fingerprint(SHA256()).hex()
    assert read(member(12, "w1", OTHER_CA)).kubelet_ca == OTHER_CA.fingerprint(SHA256()).hex()
    assert report.node_name == "w1"
    assert report.packages["kubelet"] == "1.36.3-1.1"
    assert report.repositories is None


def test_control_plane() -> None:
    services = "Service|shop/web|30100|80 443||\nService|shop/headless||||\nService|shop/udp||80||"
    nodes = "Node|/w9||||\nNode|/w1|||fd00::12 10.0.0.12|False"
    report = read(control_plane(services=services, nodes=nodes))
    assert report.admin_conf and report.initialized
    assert report.admin_ca == report.kubelet_ca == OUR_CA.fingerprint(SHA256()).hex()
    assert report.cluster is not None
    assert report.cluster.node_ports == {
        80: ("shop/web", "shop/udp"),
        443: ("shop/web",),
        6443: ("kube-system/kubestage-reserved-node-ports",),
        10250: ("kube-system/kubestage-reserved-node-ports",),
    }
    assert report.cluster.health_ports == {30100: ("shop/web",)}
    assert report.cluster.nodes == {
        "cp1": Node("10.0.0.11", True),
        "w1": Node("10.0.0.12", False),
        "w9": Node("", False),
    }
    assert report.cluster.pressures == {}
    short = read(control_plane() + "true cp1|Ready\ntrue w1|DiskPressure PIDPressure Ready\ntrue w9|\n").cluster
    assert short is not None and short.pressures == {"w1": ("DiskPressure", "PIDPressure")}


def test_api_that_does_not_answer_is_unknown() -> None:
    text = control_plane().replace("cluster known", "cluster unknown connection refused")
    assert (read(text).cluster, read(text).cluster_error) == (None, "connection refused")


def test_address_of_the_default_route() -> None:
    second = "address 5: eth1    inet 192.168.0.5/16 scope global eth1\nend 1000.75"
    other = (
        bare(11)
        .replace("end 1000.75", second)
        .replace("route default", "route default via 1.1.1.1 dev eth1 metric 9\nroute default")
    )
    assert read(other).default_address == "10.0.0.11"
    assert read(other.replace("dev eth0", "dev eth0 metric 100")).default_address == "192.168.0.5"
    assert read(bare(11).replace("dev eth0", "dev eth0 src 10.0.0.99 metric 5")).default_address == "10.0.0.99"
    assert read(bare(11).replace("route default via 10.0.0.1 dev eth0\n", "")).default_address == ""


def test_unreachable_repository() -> None:
    text = bare(11).replace("asked docker", "asked docker\nunreachable docker http://m/gpg: curl: (7) refused")
    repositories = read(text).repositories
    assert repositories is not None
    assert repositories["docker"].error == "http://m/gpg: curl: (7) refused"
    assert repositories["kubernetes"].error == ""


@pytest.mark.parametrize("line", ["begin", "uid", "os", "cpus", "memory_mib", "ephemeral", "end"])
def test_a_report_that_is_cut_off_is_no_report(line: str) -> None:
    text = "\n".join(one for one in bare(11).splitlines() if not one.startswith(f"{line} "))
    with pytest.raises(FactProcessError):
        HostReportFact().parse(text.splitlines())


def test_wanted_are_the_pinned_versions() -> None:
    cluster = load(hosts_data(), GROUPS)
    asked = wanted(cluster.common, cluster.hosts["w1"])
    assert asked.packages == {
        "kubelet": "1.36.3-1.1",
        "kubeadm": "1.36.3-1.1",
        "kubectl": "1.36.3-1.1",
        "docker-ce": "5:29.9.3-1~",
        "docker-ce-cli": "5:29.9.3-1~",
        "containerd.io": "2.4.2-1~",
    }
    assert asked.kubernetes_apt.endswith("/v1.36/deb")
    assert asked.docker_apt.endswith("/{os}")  # the host fills it in
    assert set(asked.registries) == {"docker.io", "ghcr.io", "registry.k8s.io"}


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[str]:
    """A repository at /k with one version of kubelet and another architecture's, and its key at /key."""
    (tmp_path / "k").mkdir()
    (tmp_path / "key").write_text("key\n")
    (tmp_path / "k" / "Packages").write_text(
        "Package: kubelet\nVersion: 1.36.3-1.1\nArchitecture: all\n\n"
        "Package: kubelet\nArchitecture: sparc\nVersion: 1.36.4-1.1\n\n"
        "Package: other\nVersion: 1\nArchitecture: all\n"
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_script_itself(mirror: str, tmp_path: Path) -> None:
    """In the shell that hosts have, on this machine: a real report, and a mirror that was asked."""
    asked = Wanted(
        {"kubelet": "1.36.3-1.1", "no-such-package": "1~"},
        f"{mirror}/k",
        f"{mirror}/key",
        f"{mirror}/{{os}}",
        mirror + "/gone",
        {"volumes": f"{tmp_path}/not/yet", "images": "/proc"},
        {"registry.k8s.io": ["http://127.0.0.1:1/v2/x", f"{mirror}/v2/x"], "ghcr.io": ["https://no-such-host.invalid"]},
    )
    report = on_this_machine(tmp_path, asked)
    assert report.cpus >= 1 and report.memory_mib > 0
    volumes = shutil.disk_usage(tmp_path)
    assert report.folders["volumes"].size_kib == volumes.total // 1024
    assert abs(report.folders["volumes"].free_kib - volumes.free // 1024) < 1024 * 1024
    assert report.folders["images"].mount == "/proc" and not report.folders["volumes"].noexec
    assert 0 < report.memory_free_mib <= report.memory_mib and 0 < report.tasks[0] < report.tasks[1]
    assert report.os_id != "unknown"
    assert int(mirror.rpartition(":")[2]) in report.tcp_ports
    assert report.repositories is not None
    assert report.repositories["kubernetes"] == Repository("", {"kubelet": ("1.36.3-1.1",)})
    assert report.repositories["docker"].error.startswith(f"{mirror}/gone: 404 ")
    assert report.registries["registry.k8s.io"] == {
        "http://127.0.0.1:1/v2/x": "connect: Connection refused",
        f"{mirror}/v2/x": "",
    }
    assert report.registries["ghcr.io"]["https://no-such-host.invalid"] != ""
    assert abs(report.clock[0]) < 60 and report.clock[0] <= report.clock[1]


def on_this_machine(folder: Path, asked: Wanted, **environment: str) -> HostReport:
    """The script's report of the machine that runs the test; it must leave nothing behind."""
    fact = HostReportFact()
    own = {"PATH": "/usr/bin:/bin", "TMPDIR": str(folder / "tmp"), "HOME": str(folder), **environment}
    (folder / "tmp").mkdir()
    command = ["sh", "-c", fact.ask(asked)]
    result = subprocess.run(command, capture_output=True, text=True, env=own, check=True)
    assert list((folder / "tmp").iterdir()) == []
    return fact.parse(result.stdout.splitlines())


def test_devices_that_lead_into_a_tunnel(tmp_path: Path) -> None:
    for device, kind in {"eth0": 1, "wg0": 65534, "ppp0": 512, "tap0": 1, "br0": 1}.items():
        (tmp_path / device).mkdir()
        (tmp_path / device / "type").write_text(f"{kind}\n")
    (tmp_path / "tap0/tun_flags").write_text("0x1002\n")
    script = HostReportFact().ask(NOWHERE).replace("/sys/class/net", str(tmp_path))
    result = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert HostReportFact().parse(result.stdout.splitlines()).tunnels == {"wg0", "ppp0", "tap0"}


def test_nameservers(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("# nameserver 9.9.9.9\nnameserver 127.0.0.53\nnameserver 10.0.0.2 \nsearch x\n")
    (tmp_path / "b").write_text("nameserver\t10.0.0.2\nnameserver fd00::1\nnameserver 10.0.0\n")
    script = HostReportFact().ask(NOWHERE).replace("/run/systemd/resolve/resolv.conf", f"{tmp_path}/b")
    script = script.replace("/etc/resolv.conf", f"{tmp_path}/a")
    result = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert HostReportFact().parse(result.stdout.splitlines()).nameservers == ("127.0.0.53", "10.0.0.2")


def test_where_ssh_comes_from(tmp_path: Path) -> None:
    """Also behind sudo, whose own process alone still knows."""
    connection = "198.51.100.7 50123 10.0.0.11 22"
    assert on_this_machine(tmp_path, NOWHERE, SSH_CONNECTION=connection).client == "198.51.100.7"
    forgotten = ["env", "-u", "SSH_CONNECTION", "sh", "-c", HostReportFact().ask(NOWHERE)]
    parent = f"import subprocess; print(subprocess.run({forgotten!r}, capture_output=True, text=True).stdout)"
    environment = {**os.environ, "SSH_CONNECTION": connection}
    result = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True, env=environment, check=True)
    assert HostReportFact().parse(result.stdout.splitlines()).client == "198.51.100.7"


NOWHERE = Wanted({}, "", "", "", "", {"packages": "/var/lib"}, {})  # asks no mirror, as no package is wanted


def test_a_mount_without_programs(tmp_path: Path) -> None:
    """By the last of the mounts at one place, which is the one that counts."""
    (tmp_path / "mounts").write_text(
        "proc /proc proc rw 0 0\nproc /proc proc rw,noexec,relatime 0 0\nsysfs /sys sysfs rw,noexecutives 0 0\n"
    )
    script = HostReportFact().ask(replace(NOWHERE, folders={"images": "/proc/no", "cni": "/sys", "x": "/"}))
    script = script.replace("/proc/self/mounts", f"{tmp_path}/mounts")
    result = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    folders = HostReportFact().parse(result.stdout.splitlines()).folders
    assert {name: (each.mount, each.noexec) for name, each in folders.items()} == {
        "images": ("/proc", True),
        "cni": ("/sys", False),
        "x": ("/", False),
    }


def test_a_users_own_limit_is_not_the_number_of_cpus(tmp_path: Path) -> None:
    limits = {"OMP_NUM_THREADS": "1", "OMP_THREAD_LIMIT": "1"}
    assert on_this_machine(tmp_path, NOWHERE, **limits).cpus == len(os.sched_getaffinity(0))


DEAD = 'Acquire::http::Proxy "http://127.0.0.1:1/";'  # nothing listens there


@pytest.mark.parametrize(
    ("configuration", "http_proxy", "reached"),
    [
        ('Acquire::http::Proxy "DIRECT";', "", True),
        ('Acquire::http::Proxy "false";', "", True),
        ('Acquire::http::Proxy "DIRECT";', "http://127.0.0.1:1/", True),
        (DEAD, "", False),
        (DEAD + ' Acquire::http::Proxy::127.0.0.1 "DIRECT";', "", True),
        (DEAD + ' Acquire::http::Proxy::mirror.example "DIRECT";', "", False),
        ("", "http://127.0.0.1:1/", False),
    ],
)
def test_mirrors_are_asked_by_the_proxies_that_apt_takes(
    mirror: str, tmp_path: Path, configuration: str, http_proxy: str, reached: bool
) -> None:
    (tmp_path / "apt.conf").write_text(configuration)
    key = f"{mirror}/key"
    asked = Wanted({"no-such-package": "1~"}, f"{mirror}/k", key, f"{mirror}/k", key, {"packages": "/var/lib"}, {})
    environment = {"APT_CONFIG": str(tmp_path / "apt.conf"), "http_proxy": http_proxy, "no_proxy": ""}
    report = on_this_machine(tmp_path, asked, **environment)
    assert report.repositories is not None
    error = report.repositories["kubernetes"].error
    assert (error == "") == reached, error
    assert reached or error.startswith(f"{key}: Could not connect to 127.0.0.1:1 ")


@pytest.mark.parametrize("bare", [True, False])
def test_a_bare_host_may_have_no_cas_yet(mirror: str, bare: bool, tmp_path: Path) -> None:
    """The mirror's certificate is of a CA that this machine does not know either."""
    authority = platform.new_ca("CA", datetime.now(UTC))
    pair = platform.issued(authority, ["mirror.test"], datetime.now(UTC))
    (tmp_path / "pair.pem").write_text(pair.certificate + pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pair.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path)))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        address = f"https://127.0.0.1:{server.server_port}"
        asked = Wanted(
            {"kubelet": "1.36.3-1.1"}, f"{address}/k", f"{address}/key", address, address, {"packages": "/var/lib"}, {}
        )
        script = HostReportFact().ask(asked)
        if bare:
            script = script.replace("/etc/ssl/certs/ca-certificates.crt", f"{tmp_path}/none")
        result = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    repositories = read(result.stdout).repositories
    assert repositories is not None
    if bare:
        assert repositories["kubernetes"] == Repository("", {"kubelet": ("1.36.3-1.1",)})
    else:
        assert repositories["kubernetes"].error.startswith(f"{address}/key: ")


KUBECTL = """\
#!/bin/sh
case "$*" in
    *"--cache-dir /dev/null/none"*"get services,nodes,persistentvolumes --all-namespaces -o jsonpath={range"*) ;;
    *"--cache-dir /dev/null/none"*"api-resources --verbs list,delete --output name")
        printf '%s\\n' deployments.apps events events.events.k8s.io endpoints; exit ;;
    *"--cache-dir /dev/null/none"*"get deployments.apps,endpoints --all-namespaces --selector kubestage/stack "*)
        echo "Warning: v1 Endpoints is deprecated in v1.33+" >&2
        echo "stack_object web|apps/v1|Deployment|shop|web|Apply Update|3|7|{}"
        echo "stack_object web|v1|Endpoints|shop|web|||8|{}"
        exit ;;
    *) echo "unexpected: $*"; exit 1 ;;
esac
if [ -e "$0.down" ]; then echo "The connection was refused" >&2; exit 1; fi
echo "object Service|shop/web||80 443||"
echo "object Node|/cp1|||10.0.0.11|True"
echo "object PersistentVolume|/pvc-1||||"
echo "volume shop/orders|local-path|2Gi|Delete Bound|w1|/data/pvc-1"
echo "volume shop/old|local-path|3Gi|Delete Released||"
echo "volume shop/kept|local-path|4Gi|Retain Released||/data/a|b"
echo "volume shop/again|local-path|5Gi|Delete Released||"
echo "volume shop/again|local-path|6Gi|Delete Bound||"
echo "volume shop/again|local-path|7Gi|Delete Released||"
"""


def on_a_control_plane(folder: Path) -> HostReport:
    """The script's report of a machine whose /etc/kubernetes, kubelet folder, kubectl and packages are in `folder`."""
    fact = HostReportFact()
    asked = Wanted(
        {"kubelet": "1.36.3-1.1"},
        "http://m.invalid/",
        "http://m.invalid/key",
        "http://m.invalid/",
        "http://m.invalid/key",
        {"packages": "/var/lib"},
        {},
    )
    script = fact.ask(asked)
    script = script.replace("/etc/kubernetes", f"{folder}/etc").replace("/var/lib/kubelet", f"{folder}/kubelet")
    script = script.replace(" PATH=", f" PATH={folder}/bin:")
    before = sorted(str(path) for path in folder.rglob("*"))
    result = subprocess.run(["sh", "-c", script], capture_output=True, text=True, env={"HOME": str(folder)}, check=True)
    assert sorted(str(path) for path in folder.rglob("*")) == before  # nothing was written
    assert "PRIVATE" not in result.stdout and "c2VjcmV0" not in result.stdout
    assert result.stderr == ""
    return fact.parse(result.stdout.splitlines())


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def test_the_script_on_a_control_plane(tmp_path: Path) -> None:
    for name in ("etc/kubestage", "etc/pki", "kubelet/pki", "bin"):
        (tmp_path / name).mkdir(parents=True)
    server = "- cluster:\n    certificate-authority-data: {ca}\n    server: https://10.0.0.11:6443\n  name: x\n"
    (tmp_path / "etc/kubelet.conf").write_text("clusters:\n" + server.format(ca=inline(OUR_CA)))
    (tmp_path / "etc/admin.conf").write_text("clusters:\n" + server.format(ca=inline(OUR_CA)) + "token: c2VjcmV0\n")
    (tmp_path / "etc/kubestage/initialized").touch()
    pem = certificate("system:node:cp1").public_bytes(Encoding.PEM).decode()
    key = "-----BEGIN EC PRIVATE KEY-----\nc2VjcmV0\n-----END EC PRIVATE KEY-----\n"
    issuer = OUR_CA.public_bytes(Encoding.PEM).decode()
    (tmp_path / "kubelet/pki/kubelet-client-current.pem").write_text(pem + issuer + key)
    (tmp_path / "etc/pki/etcd").mkdir()
    (tmp_path / "etc/kubestage/pki/xds").mkdir(parents=True)
    own = {"pki/apiserver": "api", "pki/etcd/server": "etcd", "kubestage/pki/ca": "ours", "kubestage/pki/xds/ca": "xds"}
    made = {name: certificate(subject) for name, subject in own.items()}
    for name, one in made.items():
        (tmp_path / f"etc/{name}.crt").write_bytes(
            one.public_bytes(Encoding.PEM).replace(b"\n", b"\r\n") + b"\r\nmore\r\n"
        )
        (tmp_path / f"etc/{name}.key").write_text(key)
    (tmp_path / "etc/pki/apiserver-kubelet-client.crt").touch()
    (tmp_path / "etc/pki/front-proxy-ca.crt").write_text(
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    )
    client = certificate("admin")
    with (tmp_path / "etc/admin.conf").open("a") as conf:
        conf.write(f"    client-certificate-data: {inline(client)}\n    client-key-data: c2VjcmV0\n")
    program(tmp_path / "bin/kubectl", KUBECTL)
    program(tmp_path / "bin/dpkg-query", "#!/bin/sh\necho 'package kubelet 1.36.3-1.1 installed'\n")
    program(tmp_path / "bin/systemctl", '#!/bin/sh\ntest "$*" = "--quiet is-active kubestage-join"\n')

    report = on_a_control_plane(tmp_path)
    assert (report.admin_conf, report.kubelet_conf, report.initialized, report.ours) == (True, True, True, True)
    assert report.kubelet_ca == report.admin_ca == OUR_CA.fingerprint(SHA256()).hex()
    assert (report.kubelet_server, report.node_name) == ("https://10.0.0.11:6443", "cp1")
    assert (report.node_ip, report.advertised) == ("", "")
    assert (report.debris, report.running) == (False, "kubestage-join")
    assert report.packages == {"kubelet": "1.36.3-1.1"}
    assert report.repositories is None  # every package is there: no mirror was asked
    assert report.cluster is not None
    assert report.cluster.node_ports == {80: ("shop/web",), 443: ("shop/web",)}
    assert report.cluster.nodes == {"cp1": Node("10.0.0.11", True)}
    assert report.cluster.volumes == {
        "shop/orders": Volume("local-path", "2Gi", node="w1", path="/data/pvc-1"),
        "shop/old": Volume("local-path", "3Gi", leaving=True),
        "shop/kept": Volume("local-path", "4Gi", path="/data/a|b"),
        "shop/again": Volume("local-path", "6Gi"),
    }

    assert {path.replace(str(tmp_path), ""): one for path, one in report.certificates.items()} == {
        **{f"/etc/{name}.crt": one for name, one in made.items()},
        "/etc/admin.conf": client,
        "/etc/pki/apiserver-kubelet-client.crt": None,
        "/etc/pki/front-proxy-ca.crt": None,
        "/kubelet/pki/kubelet-client-current.pem": load_pem_x509_certificate(pem.encode()),
    }
    (ours,) = report.cluster.stack_objects.objects  # the label of the other one is a copy
    assert (ours.stack, str(ours.name), report.cluster.stack_objects.error) == ("web", "Deployment shop/web", "")

    # The API down, a CA in a file, a package that was removed but not purged, a certificate that is missing.
    (tmp_path / "bin/kubectl.down").touch()
    (tmp_path / "etc/pki/ca.crt").write_bytes(OTHER_CA.public_bytes(Encoding.PEM))
    (tmp_path / "etc/kubelet.conf").write_text("clusters:\n- cluster:\n    certificate-authority: /x\n")
    (tmp_path / "kubelet/pki/kubelet-client-current.pem").unlink()
    program(tmp_path / "bin/dpkg-query", "#!/bin/sh\necho 'package kubelet 1.36.3-1.1 config-files'\n")
    (tmp_path / "etc/manifests").mkdir()
    (tmp_path / "etc/manifests/kube-apiserver.yaml").write_text(
        "    - kube-apiserver\n    - --secure-port=6443\n    - --advertise-address=10.0.0.11\n"
        "    image: registry.k8s.io/kube-apiserver:v1.36.3\n"
    )
    (tmp_path / "etc/manifests/kube-controller-manager.yaml").write_text("    - --cluster-cidr=10.244.0.0/16\n")
    (tmp_path / "kubelet/kubeadm-flags.env").write_text(
        'KUBELET_KUBEADM_ARGS="--hostname-override=cp1 --node-ip=10.0.0.11 --v=2"\n'
    )
    (tmp_path / "kubelet/config.yaml").write_text("cgroupDriver: systemd\nclusterDomain: cluster.local\n")
    report = on_a_control_plane(tmp_path)
    assert (report.node_ip, report.advertised) == ("10.0.0.11", "10.0.0.11")
    assert report.made == {
        "endpoint": "10.0.0.11:6443",
        "secure-port": "6443",
        "version": "1.36.3",
        "cluster-cidr": "10.244.0.0/16",
        "cgroupDriver": "systemd",
        "clusterDomain": "cluster.local",
    }
    assert (report.cluster, report.cluster_error) == (None, "The connection was refused")
    assert report.kubelet_ca == OTHER_CA.fingerprint(SHA256()).hex()
    assert (report.debris, report.node_name) == (True, "")
    assert report.packages == {}
    assert report.repositories is not None
    assert report.repositories["kubernetes"].error == "http://m.invalid/key: Could not resolve 'm.invalid'"


@pytest.mark.parametrize(
    ("services", "resolv_conf", "cloud_init"),
    [
        ("exit 3", "/etc/resolv.conf", False),
        ('test "$*" = "--quiet is-active systemd-resolved"', "/run/systemd/resolve/resolv.conf", False),
        ("printf 'ActiveState=active\\n\\nActiveState=inactive\\n'; exit 3", "/etc/resolv.conf", False),
        ("printf 'ActiveState=active\\n\\nActiveState=activating\\n'; exit 3", "/etc/resolv.conf", True),
        ("printf 'ActiveState=active\\n\\nActiveState=inactive\\nJob=91\\n'; exit 3", "/etc/resolv.conf", True),
    ],
    ids=["neither", "systemd-resolved", "cloud-init has ended", "cloud-init is at work", "cloud-init will be at work"],
)
def test_what_systemd_says_of_a_machine(tmp_path: Path, services: str, resolv_conf: str, cloud_init: bool) -> None:
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin/systemctl", f"#!/bin/sh\n{services}\n")
    program(tmp_path / "bin/dpkg-query", "#!/bin/sh\necho 'package kubelet 1.36.3-1.1 installed'\n")
    report = on_a_control_plane(tmp_path)
    assert (report.resolv_conf, report.cloud_init) == (resolv_conf, cloud_init)


class TestRuntimes:
    """Its part of the script, with the host's programs stood in for."""

    DOCKER = "docker.io 20.10.24 installed"

    def go(
        self, folder: Path, packages: Sequence[str], *files: str, active: str = "docker containerd", **programs: str
    ) -> HostReport:
        """`packages`: as dpkg-query tells of all it knows. `active`: the units that are."""
        for file in files:
            (folder / file.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
            (folder / file.lstrip("/")).touch()
        known = "\n".join(packages)
        given = {
            "dpkg-query": f"for name; do echo '{known}' | grep \"^$name \"; done; exit 1",
            "systemctl": f"for unit; do :; done; case ' {active} ' in *\" $unit \"*) ;; *) exit 3 ;; esac",
            "docker": "test \"$*\" = 'ps --format {{.Names}}' || exit 64; echo shop; echo shop-db",
            "podman": "test \"$*\" = 'ps --format {{.Names}}' || exit 64",
            "ctr": "case $3 in --quiet) echo moby; echo ci ;; tasks) test $2 = ci || exit 64; echo job ;; esac",
            **programs,
        }
        result = run_with(folder, runtimes.script(), given, moved=("/etc/kubernetes", "/etc/apt/sources.list.d"))
        assert result.stderr == ""
        return read(bare(11) + result.stdout)

    def test_none(self, tmp_path: Path) -> None:
        """Nobody is asked what runs."""
        report = self.go(tmp_path, ["docker.io 20.10.24 config-files"])
        assert (report.runtimes, report.containers) == ({}, ())
        assert not {call.split()[0] for call in calls(tmp_path)} & {"docker", "podman", "ctr", "systemctl"}

    def test_the_distribution_s(self, tmp_path: Path) -> None:
        report = self.go(tmp_path, [self.DOCKER, "containerd 1.6.20 installed", "podman 4.3.1 installed"])
        assert report.runtimes == {"docker.io": "20.10.24", "containerd": "1.6.20"}
        assert report.containers == ("docker shop", "docker shop-db", "containerd job")

    def test_podman_goes_with_its_runc(self, tmp_path: Path) -> None:
        packages = ["runc 1.1.5 installed", "podman 4.3.1 installed"]
        report = self.go(tmp_path, packages, active="", podman="echo a; echo b")
        assert report.runtimes == {"runc": "1.1.5", "podman": "4.3.1"}
        assert report.containers == ("podman a", "podman b")

    def test_podman_that_is_called_docker(self, tmp_path: Path) -> None:
        report = self.go(tmp_path, ["podman-docker 4.3.1 installed"], podman="echo a")
        assert report.containers == ("podman a", "containerd job")

    def test_a_daemon_that_does_not_run_is_not_started(self, tmp_path: Path) -> None:
        """Docker would be, by its socket, and its containers with it."""
        assert self.go(tmp_path, [self.DOCKER], active="").containers == ()
        assert not [call for call in calls(tmp_path) if call.startswith("docker")]

    def test_one_that_does_not_answer(self, tmp_path: Path) -> None:
        assert self.go(tmp_path, [self.DOCKER], docker="exit 1", active="docker").containers == ("docker ?",)

    OWN = ("docker-ce 5:28.0.1-1 installed", "containerd.io 1.7.27-1 installed")

    def test_docker_s_own_that_is_somebody_else_s(self, tmp_path: Path) -> None:
        report = self.go(tmp_path, self.OWN)
        assert report.runtimes == {"docker-ce": "5:28.0.1-1", "containerd.io": "1.7.27-1"}
        assert "docker shop" in report.containers

    @pytest.mark.parametrize("file", [SOURCES, "/etc/kubernetes/kubelet.conf"])
    def test_docker_s_own_that_is_of_our_making(self, tmp_path: Path, file: str) -> None:
        assert self.go(tmp_path, self.OWN, file).runtimes == {}
