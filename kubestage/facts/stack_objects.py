"""What stacks have put into the cluster, as the API server knows it: no file on a host has a say in it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kubestage.facts.answers import Answers
from kubestage.facts.framed import Fact
from kubestage.kubernetes import APPLIED, FIELD_MANAGER, KUBECTL, MANIFESTS, STACK_LABEL


@dataclass(frozen=True)
class ObjectName:
    """What an object is known by, whatever version of its API it is read in; `namespace` is "" where it is in none."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True)
class StackObject:
    """An object in the cluster that `stack` has put there. `api_version`: as it was read, "apps/v1".

    `state`: another one whenever somebody has changed what is wanted of it, or its labels.
    """

    stack: str
    api_version: str
    name: ObjectName
    state: str = field(default="", compare=False)


@dataclass(frozen=True)
class StackObjects:
    """What stacks have put into the cluster, and why that may not be all of it, or "".

    `applied`: a stack -> its note of what was there, and by which files, when it was last found as it should be.
    """

    objects: tuple[StackObject, ...] = ()
    error: str = ""
    applied: Mapping[str, str] = field(default_factory=dict)

    @property
    def known(self) -> bool:
        """Whether the API server has answered. Where it has, an error is about single kinds, as of a broken webhook."""
        return bool(self.objects) or not self.error


_OBJECT = (
    f"{{range .items[*]}}stack_object {{.metadata.labels.{STACK_LABEL}}}|{{.apiVersion}}|{{.kind}}"
    "|{.metadata.namespace}|{.metadata.name}"
    f'|{{.metadata.managedFields[?(@.manager=="{FIELD_MANAGER}")].operation}}'
    # The number of the wanted state, which not every kind has, and that of all changes, the controllers' among them.
    '|{.metadata.generation}|{.metadata.resourceVersion}|{.metadata.labels}{"\\n"}{end}'
)
# Of every kind that can be listed and deleted. Events can be many, and nobody applies one.
_SCRIPT = rf"""
kinds=$(@KUBECTL@ api-resources --verbs list,delete --output name 2>/dev/null | grep -v '^events' | paste -sd , -)
error=
{{
    said=$(@KUBECTL@ get "$kinds" --all-namespaces --selector {STACK_LABEL} \
        --output jsonpath={shlex.quote(_OBJECT)} 2>&1 >&3) ||
        error=$(printf 'no answer\n%s' "$said" | grep -v '^Warning: ' | tail -n 1)
}} 3>&1
for f in {MANIFESTS}/*/{APPLIED}; do
    if [ -f "$f" ]; then f=${{f%/*}}; echo "stack_applied ${{f##*/}} $(cat "$f/{APPLIED}")"; fi
done
echo "stack_objects $error"
"""


def script(kubectl: str = KUBECTL) -> str:
    """What prints, by that kubectl, a line "stack_object ..." for each object, and "stack_objects ERROR" at its end."""
    return _SCRIPT.replace("@KUBECTL@", kubectl)


def read(objects: Iterable[str], applied: Mapping[str, str], error: str) -> StackObjects:
    """Of what script() has printed: the lines of `objects`, of `applied`, the `error`, each without its first word."""
    found = []
    for line in objects:
        stack, api_version, kind, namespace, name, operations, generation, version, labels = line.split("|", 8)
        # Labels are copied: by controllers to what they make of an object, and by people.
        if "Apply" in operations.split():
            group = api_version.rpartition("/")[0]
            state = f"{generation or f'.{version}'} {labels}"
            found.append(StackObject(stack, api_version, ObjectName(group, kind, namespace, name), state))
    return StackObjects(tuple(found), error, applied)


class StacksInCluster(Fact[StackObjects]):
    """The StackObjects. On the control plane."""

    @staticmethod
    def default() -> StackObjects:
        return StackObjects(error="no answer")

    def ask(self) -> str:
        return script(f"{KUBECTL} --request-timeout 10s")

    def parse(self, output: Sequence[str]) -> StackObjects:
        said = Answers(output)
        return read(said.all("stack_object"), said.pairs("stack_applied"), said.one("stack_objects"))
