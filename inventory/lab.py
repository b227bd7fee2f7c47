"""The lab: hosts on this machine, made by `python -m lab up`. Add a name to a group, and the lab has one more."""

import os

from lab.definition import host_data as _host_data

_control_plane = ["cp1"]
_workers = ["w1", "w2"]

# KUBESTAGE_LAB_WORKERS=N makes it cp1 and N workers, for a smaller or a larger try.
if "KUBESTAGE_LAB_WORKERS" in os.environ:
    _workers = [f"w{number}" for number in range(1, int(os.environ["KUBESTAGE_LAB_WORKERS"]) + 1)]

control_plane = [(name, _host_data(number)) for number, name in enumerate(_control_plane)]
workers = [(name, _host_data(number)) for number, name in enumerate(_workers, len(_control_plane))]
