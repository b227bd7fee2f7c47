"""The lab's hosts, and so many ports to be reserved that of 200 random ones some are among them."""

from lab.definition import host_data as _host_data

_ALL = {"node_port_reserved": ["20000-22999"]}

control_plane = [("cp1", {**_host_data(0), **_ALL})]
workers = [("w1", {**_host_data(1), **_ALL}), ("w2", {**_host_data(2), **_ALL})]
