"""The lab's hosts, and settings that their cluster was not made with: a verification has to find every one of them."""

from lab.definition import host_data as _host_data

_ALL = {"apiserver_extra_args": {"profiling": "false"}, "node_port_reserved": [12345]}
_W1 = {"kubernetes_version": "1.36.2", "private_address": "10.77.0.99", "node_labels": {"rack": "7"}}

control_plane = [("cp1", {**_host_data(0), **_ALL})]
workers = [("w1", {**_host_data(1), **_ALL, **_W1}), ("w2", {**_host_data(2), **_ALL})]
