"""The apt sources of a host: ours, and those of others that name the same repositories."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kubestage.facts.files import SHOW_STATE, FileState, parse_state
from kubestage.facts.framed import Fact

SOURCES = "/etc/apt/sources.list.d/kubestage.list"  # ours


@dataclass(frozen=True)
class Entry:
    """A source that is switched on (sources.list(5)): the lines from `first` to `last`, counted from 1, of the file.

    `types`: "deb", "deb-src". `suites`: "bookworm", or "/" where the repository is flat. `options`: by their names in a
    deb822 file, in lower case: "signed-by".
    """

    path: str
    first: int
    last: int
    types: frozenset[str]
    addresses: tuple[str, ...]
    suites: tuple[str, ...]
    components: frozenset[str]
    options: Mapping[str, str]

    def names(self, address: str, suite: str) -> bool:
        """Whether it is of that repository. apt puts a slash behind every address before it compares."""
        return suite in self.suites and f"{address.rstrip('/')}/" in (f"{own.rstrip('/')}/" for own in self.addresses)

    def gives_no_more(self, components: Iterable[str]) -> bool:
        """Whether it is of one repository's binary packages alone, and of none but these `components`."""
        alone = len(self.addresses) == len(self.suites) == 1 and self.types == {"deb"}
        return alone and self.components <= set(components)


@dataclass
class AptState:
    """`files`: those of ours that are there. `others`: what other files have that names an address of ours."""

    files: dict[str, FileState] = field(default_factory=dict)
    others: list[Entry] = field(default_factory=list)


class AptSources(Fact[AptState]):
    """A host's AptState: SOURCES and `keys`, and who else names one of `addresses`."""

    @staticmethod
    def default() -> AptState:
        return AptState()

    def ask(self, keys: Sequence[str], addresses: Sequence[str]) -> str:
        ours = " ".join(shlex.quote(path) for path in (SOURCES, *keys))
        wanted = " ".join(f"-e {shlex.quote(address.rstrip('/'))}" for address in addresses)
        return (
            f'for f in {ours}; do if test -f "$f"; then echo file {SHOW_STATE}; fi; done; '
            "for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do "
            f'if test "$f" != {SOURCES} && grep -qF {wanted} "$f" 2>/dev/null; then '
            # A last line without an end gets one: it must not swallow the next file's first.
            'echo "source $f"; awk \'{ print "line " $0 }\' "$f"; fi; done'
        )

    def parse(self, output: Sequence[str]) -> AptState:
        state = AptState()
        sources: dict[str, list[str]] = {}
        path = ""
        for line in output:
            kind, _, rest = line.partition(" ")
            if kind == "file":
                file, found = parse_state(rest)
                state.files[file] = found
            elif kind == "source":
                path = rest
                sources[path] = []
            else:
                sources[path].append(rest)
        for path, lines in sources.items():
            state.others += _stanzas(path, lines) if path.endswith(".sources") else _lines(path, lines)
        return state


_LINE = re.compile(r"\s*(deb|deb-src)\s+(?:\[([^]]*)\]\s*)?(\S+)\s+(\S+)([^#]*)")
_OFF = ("no", "false", "without", "off", "disable", "0")


def _lines(path: str, lines: Sequence[str]) -> Iterator[Entry]:
    """The sources of a .list file: "deb [OPTION=VALUE ...] ADDRESS SUITE COMPONENT ..."."""
    for number, line in enumerate(lines, 1):
        if match := _LINE.match(line):
            kind, given, address, suite, components = match.groups()
            pairs = (word.partition("=") for word in (given or "").split())
            options = {name.lower(): value for name, _, value in pairs}
            found = frozenset(components.split())
            yield Entry(path, number, number, frozenset({kind}), (address,), (suite,), found, options)


def _stanzas(path: str, lines: Sequence[str]) -> Iterator[Entry]:
    """The sources of a .sources file, which are in deb822 format: fields, with an empty line between two sources."""
    fields: dict[str, str] = {}
    first = last = 0
    name = ""
    for number, line in enumerate([*lines, ""], 1):
        if line.startswith("#"):
            continue
        if line.strip():
            if not line[0].isspace():
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
            else:
                fields[name] = f"{fields.get(name, '')}\n{line.strip()}"
            first, last = first or number, number
        elif fields:
            if fields.get("enabled", "yes").lower() not in _OFF:
                types, addresses, suites, components = (
                    fields.get(word, "").split() for word in ("types", "uris", "suites", "components")
                )
                yield Entry(
                    path, first, last, frozenset(types), tuple(addresses), tuple(suites), frozenset(components), fields
                )
            fields, first = {}, 0
