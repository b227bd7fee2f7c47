"""How a check fails: every finding with its place, its value and what to do, and no traceback."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

import pytest

from kubestage.settings import Problem


def expect_none(problems: Iterable[Problem]) -> None:
    """Fail the test with all of `problems`, if there are any."""
    found = [str(problem) for problem in problems]
    if found:
        pytest.fail("\n".join(found), pytrace=False)


def fail(problem: Problem) -> NoReturn:
    """Fail the test with that."""
    pytest.fail(str(problem), pytrace=False)
