"""The API's balancer on every node: haproxy's configuration and its unit (haproxy 2.4 and later)."""

from __future__ import annotations

from collections.abc import Collection

from kubestage.host_file import HostFile
from kubestage.kubernetes import CLUSTER_CA, ENDPOINT, ENDPOINT_CA, ENDPOINT_CONFIG, ENDPOINT_PORT, ENDPOINT_UNIT
from kubestage.started import recorded

PACKAGES = ("haproxy",)  # of the distribution
THEIR_UNITS = ("haproxy.service",)  # which would start when it is installed, with a configuration that is not ours
UNIT_FILE = f"/etc/systemd/system/{ENDPOINT_UNIT}"
UNITS = {ENDPOINT_UNIT: [ENDPOINT_CONFIG, ENDPOINT_CA]}


def config(addresses: Collection[str], api_port: int) -> HostFile:
    """haproxy's configuration for the API servers at these private addresses; the same on every node.

    One counts as up while its /readyz says so over TLS, as it accepts connections while its etcd is down too. Where
    none does, all are tried: /readyz may be closed to those without a login. Connections live for hours, as watches,
    `logs -f` and `exec` do. One that says that it is about to end gets no new ones, and answers what it has; those to a
    host that is silent are ended after nine seconds (srvtcpka of haproxy 2.3, tcp-ut of tcp(7)).
    """
    servers = [f"{address}:{api_port}" for address in sorted(addresses)]
    lines = [
        "global",
        "    log stdout format raw local0 notice",
        "    user haproxy",
        "    group haproxy",
        "    hard-stop-after 30s  # watches would keep the process of before a reload alive",
        "defaults",
        "    mode tcp",
        "    log global",
        "    timeout connect 2s",
        "    timeout check 2s",
        "    timeout client 24h",
        "    timeout server 24h",
        "    retries 2",
        "    option redispatch",
        "    option dontlognull",
        "listen kubernetes-api",
        f"    bind {ENDPOINT}",
        "    balance leastconn",
        "    option httpchk GET /readyz",
        "    option allbackups",
        "    option srvtcpka  # a host that is gone ends nothing by itself",
        "    srvtcpka-idle 5s",
        "    srvtcpka-intvl 2s",
        "    srvtcpka-cnt 2",
        "    default-server inter 2s fastinter 500ms fall 2 rise 2 tcp-ut 9s",
        *(f"    server {server} {server} check check-ssl verify required ca-file {ENDPOINT_CA}" for server in servers),
        *(f"    server unchecked-{server} {server} no-check backup" for server in servers),
    ]
    return HostFile(ENDPOINT_CONFIG, "".join(f"{line}\n" for line in lines))


def unit() -> HostFile:
    """The balancer's unit. It runs where the cluster's CA is known: on a host that has joined, or is about to."""
    # A copy, as kubeadm joins no host that has the CA already; the original goes before it wherever it is.
    copy = f"/bin/sh -c 'test ! -e {CLUSTER_CA} || install -D -m 644 {CLUSTER_CA} {ENDPOINT_CA}'"
    record = recorded(ENDPOINT_UNIT, UNITS[ENDPOINT_UNIT])
    lines = [
        "[Unit]",
        f"Description=The Kubernetes API on this node, at port {ENDPOINT_PORT}",
        "After=network.target",
        "Before=kubelet.service",
        f"ConditionPathExists=|{CLUSTER_CA}",
        f"ConditionPathExists=|{ENDPOINT_CA}",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=notify",
        f"ExecStartPre={copy}",
        record,
        f"ExecStart=/usr/sbin/haproxy -Ws -f {ENDPOINT_CONFIG}",
        f"ExecReload={copy}",
        f"ExecReload=/usr/sbin/haproxy -c -q -f {ENDPOINT_CONFIG}",
        record.replace("ExecStartPre=", "ExecReload="),
        "ExecReload=/bin/kill -USR2 $MAINPID",
        "KillMode=mixed",
        "SuccessExitStatus=143",
        "Restart=always",
        "RestartSec=1",
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]
    return HostFile(UNIT_FILE, "".join(f"{line}\n" for line in lines))
