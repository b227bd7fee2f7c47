"""ECS instances of Alibaba Cloud, found by their tags; README, "On Alibaba Cloud", has the way there.

kubestage:cluster = the cluster, kubestage:role = control-plane or worker; kubestage:name = the node's name, where it is
not the host name; kubestage:setting:NAME = a setting of that host alone.
"""

import os as _os
from pathlib import Path as _Path

from kubestage.providers.ecs import inventory as _ecs

_found = _ecs.hosts(
    __file__,
    region=_os.environ.get("KUBESTAGE_REGION", ""),  # such as cn-hangzhou
    cluster=_os.environ.get("KUBESTAGE_CLUSTER", ""),  # the value of the tag kubestage:cluster
    login=_ecs.Login(
        ssh_key="~/.ssh/id_ed25519",
        by=_ecs.of_environment(_os.environ, "public"),  # "private": from inside the VPC
        jump_host="",  # for hosts without a public address: user@address:port
    ),
    checkout=_Path(__file__).resolve().parents[1],
)
control_plane = _found["control_plane"]
workers = _found["workers"]
