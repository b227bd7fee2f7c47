"""What is wrong, where, and what to do about it: collected, and shown all at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .model import SETTINGS

ABSENT: Any = object()  # "this problem is about no value in particular"
_LONGEST_VALUE = 120  # characters of a value that a message quotes
# In names of settings whose values no message quotes.
_SECRET_WORDS = ("registry_user", "registry.user", "pass", "_pw", "secret", "token", "credential", "auth")

# Settings that take what may be a password.
_HIDDEN = tuple(name for name, field in SETTINGS.items() if not field.repr)


@dataclass(frozen=True)
class Problem:
    """One thing to mend before a run: `where` is a host, several, or "the inventory"; `setting` may be empty."""

    where: str
    reason: str
    remedy: str
    setting: str = ""
    value: Any = field(default=ABSENT, repr=False)  # it may be a secret

    def __str__(self) -> str:
        subject = self.where
        if self.setting:
            subject += f": {self.setting}"
        if self.value is not ABSENT:
            subject += f" = {self.shown_value}"
        return f"{subject}: {self.reason}\n    -> {self.remedy}"

    @property
    def shown_value(self) -> str:
        """The value as messages quote it; "" where the problem is about none."""
        return "" if self.value is ABSENT else shown(self.setting, self.value)


def shown(setting: str, value: Any) -> str:
    """A setting's value as messages quote it: shortened, and nothing of it where it may hold a secret."""
    # What is not one of the settings by itself is a stack's: a mapping of all that it has.
    if isinstance(value, Mapping) and (setting in _HIDDEN or setting not in SETTINGS) and not sounds_secret(setting):
        return "{" + ", ".join(f"{key!r}: ..." for key in value) + "}"
    text = repr(value)
    if may_be_secret(setting) or "PRIVATE KEY-----" in text:
        return "(not shown)"
    text = re.sub(r"(?<=://)[^/@\s]+(?=@)", "...", text)  # a URL's user and password
    return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "..."


def may_be_secret(name: str) -> bool:
    """Whether a setting of this name, right or misspelt, or a part of one, may hold passwords."""
    return sounds_secret(name) or any(hidden in name for hidden in _HIDDEN)


def sounds_secret(name: str) -> bool:
    """Whether what has this name, a setting or a part of one, is a password or the like."""
    return any(word in name.lower() for word in _SECRET_WORDS)


def render(title: str, problems: Iterable[Problem]) -> str:
    """Every problem on lines of its own, numbered, under a title that counts them."""
    lines = [f"{number}. {problem}" for number, problem in enumerate(problems, 1)]
    return "\n".join([f"{title}: {len(lines)} problem{'s' if len(lines) != 1 else ''}. Nothing was changed.", *lines])


class SettingsError(ValueError):
    """The settings of an inventory can't be used; `problems` holds every reason."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__(render("Settings", problems))
