"""An inventory of one host, which is the whole cluster; with the lab's group data, and all else set as it is seldom.

The files that it names are made by the test.
"""

from lab.definition import CHECKOUT as _CHECKOUT
from lab.definition import host_data as _host_data

_FILES = _CHECKOUT / ".state" / "single-files"

control_plane = [
    (
        "cp1",
        {
            **_host_data(0),
            "http_port": 8080,
            "https_port": 8443,
            "http_redirect": False,
            "ingress": {"traffic_policy": "Cluster"},
            "ca_certificate": str(_FILES / "ca.crt"),
            "ca_key": str(_FILES / "ca.key"),
            "wildcard_certificate": str(_FILES / "site.crt"),
            "wildcard_key": str(_FILES / "site.key"),
            "registry": {"users": {"dev": (_FILES / "password").read_text()}},
            "node_labels": {"rack": "7"},
            "node_taints": ["dedicated=tests:PreferNoSchedule"],
            "sysctls": {"net.ipv4.tcp_fin_timeout": 30},
        },
    )
]
lab = control_plane
