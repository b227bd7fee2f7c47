"""What stays of a run in its cluster's folder: its log, its picture, and what the next command tells of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from kubestage.local_file import save
from kubestage.output.picture import picture
from kubestage.output.record import Record

RUNS = "runs"  # the folder of the logs, each with its picture beside it
PICTURE = "last-run.svg"
LAST_RUN = "last-run.json"


@dataclass(frozen=True)
class LastRun:
    """`began`: local time. `ending`: "12 changes on 3 hosts in 74.0 s", "failed", "ended by Ctrl-C".

    `phases`: title -> seconds. `changes`: operation, as "Host | /etc/hosts" -> the hosts on which it changed something.
    """

    inventory: str
    began: datetime
    ending: str
    phases: Mapping[str, float]
    changes: Mapping[str, Sequence[str]]


def keep(folder: Path, log: Path, run: LastRun, record: Record) -> None:
    """Put the run's picture beside its `log`; that and `run` into `folder`, in the place of those of the run before."""
    svg = picture(f"{run.inventory}, {run.began:%Y-%m-%d %H:%M}: {run.ending}", record.spans())
    kept = {
        log.with_suffix(".svg"): svg,
        folder / PICTURE: svg,
        folder / LAST_RUN: json.dumps({**asdict(run), "began": run.began.isoformat(timespec="seconds")}, indent=1),
    }
    for path, content in kept.items():
        save(path, content, outlives_power=False)  # nobody waits at a run's end for what the next one writes anew


def last_run(folder: Path) -> LastRun | None:
    """The last run from this machine; None if there was none that came to its phases."""
    try:
        kept = json.loads((folder / LAST_RUN).read_text())
    except FileNotFoundError:
        return None
    return LastRun(**{**kept, "began": datetime.fromisoformat(kept["began"])})
