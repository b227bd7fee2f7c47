"""What questions with many answers have in common: a script with blanks, and answers by their first word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def filled(script: str, words: Mapping[str, str]) -> str:
    """The script with each "@NAME@" replaced by what `words` has for NAME."""
    for name, text in words.items():
        script = script.replace(f"@{name}@", text)
    return script


class Answers:
    """The lines of a host's answer. Each begins with a word that says what it is about: "cpus 2"."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._said: dict[str, list[str]] = {}
        for line in lines:
            key, _, rest = line.partition(" ")
            self._said.setdefault(key, []).append(rest.strip())

    def __contains__(self, key: str) -> bool:
        return key in self._said

    def all(self, key: str) -> list[str]:
        """What each line that begins with `key` says; empty if there is none."""
        return self._said.get(key, [])

    def one(self, key: str) -> str:
        """What the first line that begins with `key` says; KeyError if there is none."""
        return self._said[key][0]

    def first(self, key: str) -> str:
        """As one(), and "" where there is none."""
        return self._said.get(key, [""])[0]

    def pairs(self, key: str) -> dict[str, str]:
        """The first word after `key` -> the rest of that line; ValueError where there is no rest."""
        found = {}
        for line in self.all(key):
            name, value = line.split(" ", 1)
            found[name] = value
        return found
