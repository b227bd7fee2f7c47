"""The lab's hosts, of the next minor version of Kubernetes."""

import runpy as _runpy

from lab import build as _build
from lab.definition import CHECKOUT as _CHECKOUT

_lab = _runpy.run_path(str(_CHECKOUT / "inventory" / "lab.py"))
_ALL = {"kubernetes_version": _build.ALL_RELEASES[1].version}

control_plane = [(name, {**data, **_ALL}) for name, data in _lab["control_plane"]]
workers = [(name, {**data, **_ALL}) for name, data in _lab["workers"]]
