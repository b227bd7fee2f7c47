"""The user's own manifests on the control plane host: of which objects they are, and which are there."""

from __future__ import annotations

from collections.abc import Sequence

from kubestage.facts.framed import Fact
from kubestage.facts.stack_objects import ObjectName

# For the output of kubectl, which can't print text without an end of line otherwise.
OBJECTS = "'jsonpath={.apiVersion}|{.kind}|{.metadata.namespace}|{.metadata.name}{\"\\n\"}'"


class ManifestObjects(Fact[frozenset[ObjectName] | None]):
    """The objects that a command prints in the form OBJECTS; None where it fails. On the control plane.

    A `namespace` that is "" may be of an object in none, or in "default".
    """

    @staticmethod
    def default() -> None:
        return None

    def ask(self, command: str) -> str:
        return f"objects=$({command} 2>/dev/null) && printf '%s\\n' \"$objects\" || echo failed"

    def parse(self, output: Sequence[str]) -> frozenset[ObjectName] | None:
        if list(output) == ["failed"]:
            return None
        found = (line.split("|") for line in output if line)
        return frozenset(
            ObjectName(version.rpartition("/")[0], kind, namespace, name) for version, kind, namespace, name in found
        )


class Folders(Fact[list[str]]):
    """The names of the folders right below `path`, sorted."""

    @staticmethod
    def default() -> list[str]:
        return []

    def ask(self, path: str) -> str:
        return f'for folder in {path}/*/; do if test -d "$folder"; then basename "$folder"; fi; done'

    def parse(self, output: Sequence[str]) -> list[str]:
        return sorted(output)
