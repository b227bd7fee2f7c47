"""What every fact of ours is made of: a question whose answer is framed, so that what a login prints is not in it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from pyinfra.api import FactBase
from pyinfra.api.exceptions import FactProcessError

T = TypeVar("T")

BEGIN, END = "--- kubestage: answer", "--- kubestage: end"


def framed(command: str) -> str:
    """`command` with a line before its output and one behind it, and its own exit code.

    A login's files (~/.bashrc and the like) may print before it, without a line's end, and behind it.
    """
    return f"printf '\\n%s\\n' '{BEGIN}'\n{command}\nset -- $?; printf '\\n%s\\n' '{END}'; exit $1"


def unframed(output: Sequence[str]) -> list[str]:
    """The lines of a framed command's own output; ValueError where the frame is not whole: the answer was cut off."""
    try:
        begin = output.index(BEGIN)
        end = output.index(END, begin)
    except ValueError:
        raise ValueError("the answer was cut off") from None
    lines = list(output[begin + 1 : end])
    if lines and not lines[-1]:  # the line's end that is put before END
        lines.pop()
    return lines


def beside(output: Sequence[str]) -> list[str]:
    """The lines around the frame that are not blank: what the login has printed. None where the frame is not whole."""
    if BEGIN not in output or END not in output:
        return []
    around = [*output[: output.index(BEGIN)], *output[output.index(END) + 1 :]]
    return [line for line in around if line.strip()]


def _framing(ask: Callable[..., str]) -> Callable[..., str]:
    @functools.wraps(ask)
    def command(self: Any, *arguments: Any, **named: Any) -> str:
        return framed(ask(self, *arguments, **named))

    # pyinfra 3.10 sorts a fact's arguments by inspect.getcallargs, which does not look behind a wrapper.
    command.__signature__ = inspect.signature(ask)  # type: ignore[attr-defined]
    return command


class Fact(FactBase[T]):
    """A fact whose `ask` gives a shell command and whose `parse` reads that command's output, and nothing besides."""

    ask: Callable[..., str]

    def __init_subclass__(cls) -> None:
        if "ask" in vars(cls):
            cls.command = _framing(vars(cls)["ask"])
        super().__init_subclass__()

    def parse(self, output: Sequence[str]) -> T:
        """What the lines of the command's output mean; pyinfra takes `default` where there are none."""
        raise NotImplementedError

    def process(self, output: Iterable[str]) -> T:
        try:
            lines = unframed(list(output))
        except ValueError as error:
            raise FactProcessError(f"{self.name}: {error}") from None
        return self.parse(lines) if lines else self.default()


class Lines(Fact[list[str]]):
    """A fact that is the lines of its command's output; none where there are none."""

    @staticmethod
    def default() -> list[str]:
        return []

    def parse(self, output: Sequence[str]) -> list[str]:
        return list(output)
