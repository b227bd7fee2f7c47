"""Two of the lab's hosts under other names, the control plane at what was a worker's address: for what is restored."""

from lab.definition import host_data as _host_data

control_plane = [("m1", _host_data(1))]
workers = [("n1", _host_data(0))]
