"""The lab's hosts, with a stack that others have written."""

from lab.definition import host_data as _host_data

_ALL = {"stacks": ["ingress", "dashboard", "registry", "storage", "metrics", "descheduler"]}

control_plane = [("cp1", {**_host_data(0), **_ALL})]
workers = [(name, {**_host_data(number), **_ALL}) for number, name in enumerate(("w1", "w2"), 1)]
