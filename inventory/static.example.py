"""An inventory of your own machines: copy it to inventory/NAME.py. What its hosts share goes to group_data/NAME.py.

A host is ("its node name", {what differs from group_data/all.py, and how to reach it}). Node names are lower-case
letters, digits, hyphens and dots; the address is ssh_hostname, which nothing inside the cluster uses.
"""

_ssh = {
    "ssh_user": "root",  # another user needs sudo: set "_sudo": True beside it
    "ssh_key": "~/.ssh/id_ed25519",
    "ssh_known_hosts_file": "~/.ssh/known_hosts_kubestage",  # a file of its own: rebuilt machines change their keys
}

control_plane = [
    (
        "cp1",
        {
            **_ssh,
            "ssh_hostname": "203.0.113.10",
            "public_address": "203.0.113.10",  # in the API server's certificate and in your kubeconfig
            "private_address": "192.168.10.10",  # left out: the address of the interface with the default route
        },
    ),
]

workers = [
    ("w1", {**_ssh, "ssh_hostname": "203.0.113.11", "node_labels": {"disk": "ssd"}}),
    ("w2", {**_ssh, "ssh_hostname": "203.0.113.12", "ssh_port": 2222, "require_cpus": 4}),
]
