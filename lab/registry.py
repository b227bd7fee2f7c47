"""The image registry's own process: its configuration, its start, and the wait until it answers."""

from __future__ import annotations

import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from lab.progress import failure, step

ANSWER_WITHIN_S = 30.0
POLL_S = 0.1

# https://distribution.github.io/distribution/about/configuration/
_CONFIGURATION = """\
version: 0.1
log:
  level: info
  accesslog:
    disabled: true
storage:
  filesystem:
    rootdirectory: {storage}
  maintenance:
    uploadpurging:
      enabled: false
    readonly:
      enabled: {readonly}
http:
  addr: {address}
"""


def serve(
    registry: Path, storage: Path, address: str, *, readonly: bool, configuration: Path, log: Path
) -> subprocess.Popen[bytes]:
    """Start the registry on `address` (host:port), with its output in `log`.

    A read-only one outlives this process; one that is being filled ends with it.
    """
    configuration.write_text(
        _CONFIGURATION.format(storage=storage, address=address, readonly="true" if readonly else "false")
    )
    fleeting = [] if readonly else ["setpriv", "--pdeathsig", "TERM"]
    return detached([*fleeting, registry, "serve", configuration], log)


def detached(argv: list[str | Path], log: Path, folder: Path = Path("/")) -> subprocess.Popen[bytes]:
    """Start a process in `folder` that outlives this one, with its output appended to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        return subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            cwd=folder,
            start_new_session=True,
        )


def wait_until_up(url: str, process: subprocess.Popen[bytes], title: str, log: Path) -> None:
    """Wait until `url` answers; StepFailed with the end of its log when the process ends first or it takes too long."""
    deadline = time.monotonic() + ANSWER_WITHIN_S
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the lab's own address: no proxy knows it
    with step(title):
        while True:
            try:
                with opener.open(url, timeout=2):
                    return
            except (urllib.error.URLError, OSError) as error:
                if process.poll() is not None:
                    raise failure(title, f"it ended with exit code {process.returncode}", log) from error
                if time.monotonic() > deadline:
                    raise failure(
                        title, f"{url} did not answer within {ANSWER_WITHIN_S:.0f} s: {error}", log
                    ) from error
            time.sleep(POLL_S)
