"""Operations that a run can begin before it adds them: to learn what they will ask, and ask it in one go."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import wraps
from typing import Any, ParamSpec, cast

from pyinfra.api.operation import PyinfraOperation
from pyinfra.api.operation import operation as pyinfras

from kubestage.cluster import answers

P = ParamSpec("P")
Made = Callable[P, Generator[Any, None, None]]


def operation() -> Callable[[Made[P]], PyinfraOperation[P]]:
    """As pyinfra's decorator. Of a call while a run foretells, the function is begun and nothing is added."""

    def decorated(function: Made[P]) -> PyinfraOperation[P]:
        added = pyinfras()(function)

        @wraps(added)
        def called(*arguments: Any, **named: Any) -> Any:
            if not answers.is_foretelling():
                return added(*arguments, **named)
            own = {key: value for key, value in named.items() if key != "name" and not key.startswith("_")}
            return answers.begin(function(*arguments, **own))

        return cast(PyinfraOperation[P], called)

    return decorated
