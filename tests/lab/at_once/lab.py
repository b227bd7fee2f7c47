"""The lab's hosts, with room for pods on the control plane, so that both workers may be rebuilt at a time."""

from lab.definition import host_data as _host_data

_ALL = {"schedule_on_control_plane": True, "rebuild_at_once": 2}

control_plane = [("cp1", {**_host_data(0), **_ALL})]
workers = [(name, {**_host_data(number), **_ALL}) for number, name in enumerate(("w1", "w2"), 1)]
