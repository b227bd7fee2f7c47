"""Machines of whoever has a command for them: `COMMAND VERB HOST`, where the verb is one of those below.

describe  prints what is lost when the disk is replaced, for a person
stop      shuts the machine down
replace   gives it a blank system disk; a third word is the image, where one was asked for
start     boots it
image     makes an image of its disk, called as the third word says, and prints how `replace` calls it
host-key  prints the SSH host keys that it has made since, a line each, or nothing
Each ends with 0 when it is done, also where it had been done before. Its last words on stderr are told.
"""

from __future__ import annotations

import shlex
import subprocess

from kubestage.cluster.inventory import CHECKOUT
from kubestage.providers import Description, ProviderError


class Command:
    """A host's machine, by its command."""

    def __init__(self, host: str, command: str, timeout_s: int) -> None:
        self._host, self._timeout_s = host, timeout_s
        self._words = shlex.split(command)

    def describe(self) -> Description:
        return Description(self._run("describe").strip() or self._host)

    def stop(self) -> None:
        self._run("stop")

    def replace(self, image: str) -> None:
        self._run("replace", *([image] if image else []))

    def start(self) -> None:
        self._run("start")

    def image(self, name: str) -> str:
        return self._run("image", name).strip() or name

    def host_keys(self) -> list[str]:
        return [line.strip() for line in self._run("host-key").splitlines() if line.strip()]

    def _run(self, verb: str, *more: str) -> str:
        words = [*self._words, verb, self._host, *more]
        told = f"{self._host}: provider: {shlex.join(words)}"
        try:
            done = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=self._timeout_s,
                check=False,
                cwd=CHECKOUT,
            )
        except subprocess.TimeoutExpired:
            raise ProviderError(
                f"{told}: it had not ended after {self._timeout_s} s\n    -> look at the machine, and run again"
            ) from None
        except OSError as error:
            raise ProviderError(f"{told}: {error.strerror}\n    -> correct the setting provider") from None
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip() or "without a word").splitlines()[-1]
            raise ProviderError(f"{told}: it failed ({done.returncode}): {last}\n    -> mend that, and run again")
        return done.stdout
