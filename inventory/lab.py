"""The lab: hosts on this machine, made by `python -m lab up`. Add a name to a group, and the lab has one more."""

import os

from lab.definition import host_data as _host_data

_control_plane = ["cp1"]
_workers = ["w1", "w2"]

# KUBESTAGE_LAB_CONTROL_PLANES=3 and KUBESTAGE_LAB_WORKERS=N, for a larger or a smaller try.
if "KUBESTAGE_LAB_CONTROL_PLANES" in os.environ:
    _control_plane = [f"cp{number}" for number in range(1, int(os.environ["KUBESTAGE_LAB_CONTROL_PLANES"]) + 1)]
if "KUBESTAGE_LAB_WORKERS" in os.environ:
    _workers = [f"w{number}" for number in range(1, int(os.environ["KUBESTAGE_LAB_WORKERS"]) + 1)]

# A host keeps its address while others come and go.
control_plane = [(name, _host_data(100 + number if number else 0)) for number, name in enumerate(_control_plane)]
workers = [(name, _host_data(number)) for number, name in enumerate(_workers, 1)]
