"""What `make verify` finds when things are broken: the checks that are to see it fail, and no other.

Many things are broken at the same time, each of them where it does not hide another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from kubestage.facts.etcd import etcdctl
from kubestage.kubernetes import KUBECTL
from tests.lab.commands import KUBECONFIG, deploy, on, settle, verify
from tests.lab.sites import ADDRESSES, DOMAIN


def each(check: str) -> tuple[str, ...]:
    """The check as it is run for every host."""
    return tuple(f"{check}[{host}]" for host in ADDRESSES)


@dataclass(frozen=True)
class Breakage:
    """What is broken by hand on a host, and the checks that see it. `mend_it`: "" where a run repairs it."""

    host: str
    break_it: str
    checks: tuple[str, ...]
    mend_it: str = ""


@contextmanager
def broken(breakages: Iterable[Breakage]) -> Iterator[set[str]]:
    """While all of it is broken: the checks that are to see it. In the end all is mended, by a run where it can be."""
    with ExitStack() as mends:
        mends.callback(deploy)
        wanted: set[str] = set()
        for breakage in breakages:
            if breakage.mend_it:
                mends.callback(on, breakage.host, breakage.mend_it)  # also where it is broken by half
            on(breakage.host, breakage.break_it)
            wanted.update(breakage.checks)
        yield wanted


STRAY = Breakage(
    "cp1",
    f"printf 'apiVersion: v1\\nkind: Node\\nmetadata: {{name: stray}}\\n' | {KUBECTL} create -f -",
    ("test_nodes.py::test_node_set",),
    # A DaemonSet is not told of a node that goes: only when one of its pods does, it stops waiting for that node.
    f"{KUBECTL} delete node stray && {KUBECTL} -n projectcontour delete pods --field-selector status.phase=Pending",
)


def test_what_is_not_as_settings_say(cluster: None) -> None:
    """A node that no inventory has is the one thing here for which the cluster itself is changed."""
    with broken([STRAY]) as wanted:
        checks = ("test_hosts.py", "test_nodes.py", "test_apiserver.py")
        assert verify(*checks, inventory="tests/lab/other_settings/lab.py") == {
            *wanted,
            "test_hosts.py::test_packages[w1]",
            "test_nodes.py::test_versions[w1]",
            "test_nodes.py::test_internal_address[w1]",
            "test_nodes.py::test_labels[w1]",
            "test_apiserver.py::test_running_flags[kube-apiserver]",
            "test_apiserver.py::test_kubeadm_configuration",
            "test_apiserver.py::test_reservation",
            "test_apiserver.py::test_a_reserved_port_is_refused",
        }


def test_random_ports_that_are_to_be_reserved(cluster: None) -> None:
    check = "test_apiserver.py::test_random_ports_are_not_reserved_ones"
    assert verify(check, inventory="tests/lab/other_reservation/lab.py") == {check}


# A certificate of the platform's CA near its end, in the place of the wildcard certificate.
ENDING = f"""
cd $(mktemp -d)
openssl req -new -newkey rsa:2048 -nodes -keyout key -out request -subj /CN={DOMAIN} 2>/dev/null
touch index
cat >ca.cnf <<END
[ca]
default_ca = own
[own]
database = index
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = any
x509_extensions = site
[any]
commonName = supplied
[site]
subjectAltName = DNS:{DOMAIN},DNS:*.{DOMAIN}
END
pki=/etc/kubernetes/kubestage/pki
openssl ca -batch -notext -config ca.cnf -cert $pki/ca.crt -keyfile $pki/ca.key -in request -out certificate \\
    -startdate $(date -u -d '60 days ago' +%Y%m%d%H%M%SZ) -enddate $(date -u -d '9 days' +%Y%m%d%H%M%SZ) 2>/dev/null
{KUBECTL} -n projectcontour create secret tls wildcard --cert certificate --key key --dry-run=client -o yaml |
    {KUBECTL} replace -f -
"""
LOCAL = "PREROUTING -t nat -p tcp ! --dport 22 -m addrtype --dst-type LOCAL -j ACCEPT"
SERVICES = "PREROUTING -t nat -p tcp --dport 80 -d 10.96.0.0/12 -j ACCEPT"
LISTENER = "kubestage-test-listener"
# It is never Ready, not even for the moment that it lives.
IN_A_LOOP = """\
apiVersion: v1
kind: Pod
metadata: {name: in-a-loop, namespace: kube-flannel}
spec:
  containers:
    - name: it
      image: docker.io/library/busybox:1.35.0
      command: ["false"]
      readinessProbe: {exec: {command: ["false"]}}
"""


def opened(namespace: str, name: str, without: str) -> str:
    """The command that edits a Deployment's ConfigMap, by sed's command `without`, and starts its pods by it."""
    in_it = f"{KUBECTL} --namespace {namespace}"
    return (
        f"{in_it} get configmap {name} -o yaml | sed '{without}' | {in_it} replace -f - && "
        f"{in_it} rollout restart deployment {name} && {in_it} rollout status deployment {name} --timeout 180s"
    )


BROKEN = (
    # What comes from outside to a NodePort of this node gets nowhere.
    Breakage(
        "w1",
        f"iptables -I {LOCAL}",
        (
            *(f"test_sites.py::test_{name}[w1]" for name in ("https", "http", "certificate", "redirect")),
            *(f"test_sites.py::test_{name}[w1]" for name in ("a_users_site", "a_clients_address")),
            *(f"test_dashboard.py::test_refused_{name}[w1]" for name in ("without_login", "with_a_wrong_token")),
            "test_dashboard.py::test_served_with_a_token[w1]",
            *(f"test_registry.py::test_refused_{name}[w1]" for name in ("without_login", "with_a_wrong_password")),
            "test_registry.py::test_push_and_pull[w1]",
            "test_network.py::test_node_port[w1]",
        ),
        f"iptables -D {LOCAL}",
    ),
    Breakage(
        "w2",
        f"systemd-run --unit {LISTENER} perl -MIO::Socket::INET -e "
        "'IO::Socket::INET->new(Listen => 1, LocalPort => 3000) and sleep 3600'",
        ("test_apiserver.py::test_ports_in_use_are_reserved[w2]",),
        f"systemctl stop {LISTENER}",
    ),
    Breakage("w1", f"iptables -I {SERVICES}", ("test_network.py::test_cluster_ip[w1]",), f"iptables -D {SERVICES}"),
    # Hosts.
    Breakage("w1", "sed -i /overlay/d /etc/modules-load.d/kubestage.conf", ("test_hosts.py::test_kernel_modules[w1]",)),
    Breakage(
        "w1",
        "printf '[Service]\\nExecStart=true\\n' >/etc/systemd/system/chrony.service && systemctl daemon-reload",
        ("test_hosts.py::test_time_synchronisation[w1]",),
        "rm /etc/systemd/system/chrony.service && systemctl daemon-reload",
    ),
    Breakage(
        "w2",
        "install -m 600 /dev/null /etc/kubernetes/kubestage/join.yaml",
        ("test_hosts.py::test_no_token_left[w2]",),
        "rm /etc/kubernetes/kubestage/join.yaml",
    ),
    Breakage(
        "w1",
        "rm /usr/local/share/ca-certificates/kubestage.crt && update-ca-certificates --fresh",
        (
            "test_trust.py::test_ca_is_trusted[w1]",
            "test_trust.py::test_sites_from_the_host[w1]",
            "test_registry.py::test_pull_by_a_pod[w1]",
        ),
    ),
    Breakage(
        "cp1",
        f"sed -i s/registry.{DOMAIN}/registri.{DOMAIN}/ /etc/hosts",
        (
            "test_trust.py::test_sites_from_the_host[cp1]",
            "test_registry.py::test_pull_by_a_pod[cp1]",
            "test_registry.py::test_pull_by_docker",
        ),
    ),
    Breakage("cp1", f"rm -r /etc/docker/certs.d/registry.{DOMAIN}", ("test_trust.py::test_registry_is_trusted[cp1]",)),
    Breakage(
        "cp1",
        "rm /etc/kubernetes/kubestage/registry/config.json",
        ("test_hosts.py::test_secrets[cp1]", "test_platform_secrets.py::test_platform_secret[registry-logins]"),
    ),
    Breakage(
        "w1",
        "chmod 644 /etc/kubernetes/kubelet.conf",
        ("test_hosts.py::test_secrets[w1]",),
        "chmod 600 /etc/kubernetes/kubelet.conf",
    ),
    # Nodes and pods.
    Breakage("cp1", f"{KUBECTL} cordon w2", ("test_nodes.py::test_ready[w2]",), f"{KUBECTL} uncordon w2"),
    Breakage(
        "cp1",
        f"echo '{IN_A_LOOP}' | {KUBECTL} create -f -",
        (
            "test_system_pods.py::test_ready_pods[kube-flannel]",
            "test_system_pods.py::test_no_restart_loop[kube-flannel]",
        ),
        f"{KUBECTL} -n kube-flannel delete pod in-a-loop --now",
    ),
    # Stacks.
    Breakage(
        "cp1",
        f"{KUBECTL} -n projectcontour scale deployment default-backend --replicas 0",
        (*each("test_sites.py::test_https"), *each("test_sites.py::test_http")),
    ),
    Breakage("cp1", ENDING, each("test_sites.py::test_certificate")),
    # Open to everybody.
    Breakage(
        "cp1",
        opened("registry", "registry", "/^ *auth:/,/^ *path:/d"),
        (
            *each("test_registry.py::test_refused_without_login"),
            *each("test_registry.py::test_refused_with_a_wrong_password"),
        ),
    ),
    Breakage(
        "cp1",
        opened("dashboard", "kube-web-view", "/requires: {provider_name/d"),
        (
            *each("test_dashboard.py::test_refused_without_login"),
            *each("test_dashboard.py::test_refused_with_a_wrong_token"),
        ),
    ),
    Breakage(
        "cp1",
        f"{KUBECTL} -n registry annotate ingress registry ingress.kubernetes.io/force-ssl-redirect-",
        each("test_sites.py::test_redirect"),
    ),
    Breakage(
        "cp1",
        f'{KUBECTL} -n projectcontour patch service envoy -p \'{{"spec":{{"externalTrafficPolicy":"Cluster"}}}}\'',
        each("test_sites.py::test_a_clients_address"),
    ),
    Breakage(
        "cp1",
        f"{KUBECTL} -n local-path-storage get configmap local-path-config -o yaml | sed s/0777/0700/ "
        f"| {KUBECTL} replace -f -",
        ("test_storage.py::test_data_outlives_its_pod",),
    ),
    # A join that did not come to its end.
    Breakage(
        "cp1",
        etcdctl("member add kubestage-ghost --learner --peer-urls https://10.77.0.250:2380"),
        ("test_etcd.py::test_members", "test_etcd.py::test_every_member_answers"),
        etcdctl(f"member remove $({etcdctl('member list')} | sed -n 's/, unstarted.*//p')"),
    ),
    # As it was written before there was a key.
    Breakage(
        "cp1",
        etcdctl(
            "put /registry/secrets/default/plain "
            """'{"kind":"Secret","apiVersion":"v1","metadata":{"name":"plain","namespace":"default"}}'"""
        ),
        ("test_etcd.py::test_secrets_are_encrypted",),
        f"{KUBECTL} --namespace default delete secret plain",
    ),
)


def test_what_is_broken(cluster: None) -> None:
    """In the cluster and on its hosts."""
    KUBECONFIG.chmod(0o644)
    with broken(BROKEN) as wanted:
        assert verify() == {*wanted, "test_hosts.py::test_kubeconfig_is_private"}
    assert verify() == set()


POD_TO_POD = "FORWARD -d 10.244.0.0/16 -s 10.244.0.0/16 -p tcp -j DROP"
CUT_OFF = (
    Breakage(
        "cp1",
        f"{KUBECTL} -n kube-system scale deployment coredns --replicas 0"
        f" && {KUBECTL} -n kube-system wait --for=delete pod -l k8s-app=kube-dns --timeout=180s",
        ("test_system_pods.py::test_cluster_dns", *each("test_network.py::test_dns")),
        f"{KUBECTL} -n kube-system scale deployment coredns --replicas 2"
        f" && {KUBECTL} -n kube-system rollout status deployment coredns --timeout=180s",
    ),
    Breakage("cp1", f"iptables -I {POD_TO_POD}", each("test_network.py::test_pod_to_pod"), f"iptables -D {POD_TO_POD}"),
)


def test_what_is_cut_off(cluster: None) -> None:
    """From the names in the cluster, and from the pods of the other nodes."""
    with broken(CUT_OFF) as wanted:
        assert verify(*sorted({check.partition("[")[0] for check in wanted})) == wanted


MANIFEST = "/etc/kubernetes/manifests/kube-scheduler.yaml"
AWAY = (
    # No namespace of a verification's own could be deleted while an API does not answer: by itself, so.
    Breakage(
        "cp1",
        f"{KUBECTL} -n kube-system scale deployment metrics-server --replicas 0",
        ("test_metrics.py::test_api_service", *each("test_metrics.py::test_top_node"), "test_metrics.py::test_top_pod"),
    ),
    Breakage(
        "cp1",
        f"mv {MANIFEST} /root/ && {KUBECTL} -n kube-system wait --for=delete --timeout=180s pod/kube-scheduler-cp1",
        ("test_system_pods.py::test_control_plane_pod[kube-scheduler]",),
        f"{{ test ! -e /root/kube-scheduler.yaml || mv /root/kube-scheduler.yaml {MANIFEST}; }} && "
        f"{KUBECTL} -n kube-system wait --for=create --timeout=180s pod/kube-scheduler-cp1 && "
        f"{KUBECTL} -n kube-system wait --for=condition=Ready --timeout=180s pod/kube-scheduler-cp1",
    ),
)
# For a second, the API server answers what it was told of etcd before.
NOT_READY = f"timeout 60 sh -c 'while timeout 5 {KUBECTL} get --raw /readyz >/dev/null 2>&1; do sleep 0.2; done'"
FROZEN = Breakage(
    "cp1",
    f"kill -STOP $(pidof etcd) && {NOT_READY}",
    ("test_apiserver.py::test_healthy",),
    "kill -CONT $(pidof etcd)",
)


def test_what_is_away(cluster: None) -> None:
    checks = ("test_metrics.py", "test_system_pods.py")
    with broken(AWAY) as wanted:
        assert verify(*checks) == wanted
    settle()
    assert verify(*checks) == set()


def test_what_is_frozen(cluster: None) -> None:
    """The last one: what leads by a lease dies of it, and is in a loop for those who have just seen it die."""
    with broken([FROZEN]) as wanted:
        assert verify("test_apiserver.py::test_healthy") == wanted
    settle()
    assert verify("test_apiserver.py::test_healthy") == set()
