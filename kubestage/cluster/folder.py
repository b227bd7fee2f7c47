"""Where a cluster's own files are kept on the machine that runs are started from."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pyinfra.api.exceptions import PyinfraError

STATE = Path(".state")
FOLDER = "_kubestage_folder"  # of a host's data: the folder's name, where it is not the inventory's own
REBUILDS = "rebuild"  # in that folder: a file HOST.json for each host whose rebuild was begun and has not ended
CLUSTER = "KUBESTAGE_CLUSTER"  # of an environment: which cluster an inventory is of that is for several


def folder_name(inventory: str) -> str:
    """The name of the folder in STATE of an inventory's cluster; PyinfraError where the environment names an odd one.

    It is the file's own name, without its ending; of a file that goes by CLUSTER, that, where it is set. An inventory
    may be no file: "@local", "host1,host2".
    """
    path = Path(inventory)
    if not path.is_file():
        return "inventory"
    named = os.environ.get(CLUSTER, "")
    if not named or CLUSTER not in path.read_text(errors="replace"):
        return path.stem
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", named):
        raise PyinfraError(
            f"{CLUSTER}={named}: a folder is named after it\n    -> use letters, digits, hyphens, dots and underscores"
        )
    return named
