"""What operations ask of their hosts, in few round trips.

pyinfra (3.10) asks a host for each fact by itself, which is a round trip each. Here the first operation that asks has
those that are still to come asked for too: they are begun, without a command of theirs being run, up to a question
that has no answer yet. All questions go to the host in one script. Answers hold until a run tells any host to do
something; after that it looks ahead from nothing again, a few operations further each time that nothing had to be done.

A run that looks for changes first (without -y, and with --dry) begins operations as it adds them, one after the other.
What all of them will ask is asked before, by foretell().
"""

from __future__ import annotations

import base64
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from gevent.lock import BoundedSemaphore
from pyinfra import logger
from pyinfra.api import FactBase, Host
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.facts import get_fact
from pyinfra.api.state import State
from pyinfra.context import ctx_host

from kubestage.cluster import connections
from kubestage.cluster.shell import script_on
from kubestage.hidden import Hidden

HOLDS_S = 60.0  # how long an answer holds at most: a run may have waited for something in between
LANES = 4  # how many questions a host works at side by side
AHEAD_S = 5  # how long what is asked ahead may take: an API server that is silent must not hold up what needs none
_ALL = 1000  # operations

T = TypeVar("T")


def ask(kind: type[FactBase[T]], of: Host | None = None, fresh: bool = False, **arguments: Any) -> T:
    """The fact of the host `of`, by default of the one whose operation asks; `fresh`: asked now.

    `arguments` are the fact's own, and `_stdin`, a Hidden.
    """
    asked = cast(Host, of or ctx_host.get())  # type: ignore[no-untyped-call]
    return cast(T, _runs.setdefault(asked.state, _Answers()).get(asked, Question(kind, arguments), fresh))


def expect(kind: type[FactBase[Any]], **arguments: Any) -> None:
    """Say that the host is going to be asked this as well, unless it has been told something by then: in one go."""
    expecting = cast(Host, ctx_host.get())  # type: ignore[no-untyped-call]
    _runs.setdefault(expecting.state, _Answers()).expect(expecting, Question(kind, arguments))


@dataclass(frozen=True)
class Question:
    """A fact with its arguments."""

    kind: type[FactBase[Any]]
    arguments: Mapping[str, Any]

    @property
    def command(self) -> str:
        """In shell."""
        own = {name: value for name, value in self.arguments.items() if name != "_stdin"}
        return str(cast(Any, self.kind()).command(**own))

    @property
    def stdin(self) -> str:
        given = self.arguments.get("_stdin")
        return "".join(given.readlines()) if isinstance(given, Hidden) else ""

    @property
    def key(self) -> tuple[Any, ...]:
        """By what it is known to be the same question."""
        return self.kind, self.command, self.stdin


def foretell(host: Host, work: Callable[[], None]) -> None:
    """Ask the host what the operations that `work` calls will ask, in few round trips; none of them is added."""
    _runs.setdefault(host.state, _Answers()).foretell(host, work)


def is_foretelling() -> bool:
    """Whether operations are called to learn what they will ask."""
    return _foretelling


_foretelling = False
_ROUNDS = 5  # questions that depend on answers, one upon the other


class _Answers:
    """Those of a run's hosts."""

    def __init__(self) -> None:
        self._known: defaultdict[str, dict[tuple[Any, ...], tuple[float, Any]]] = defaultdict(dict)
        self._told: int | None = None  # how many commands there were when what is known was asked
        self._ahead: defaultdict[str, int] = defaultdict(lambda: _ALL)
        self._asking: defaultdict[str, BoundedSemaphore] = defaultdict(BoundedSemaphore)
        self._collected: list[Question] | None = None  # while a host's operations are begun
        self._collecting = ""  # that host
        self._expected: defaultdict[str, list[Question]] = defaultdict(list)  # by the operation that the host is at

    def get(self, host: Host, question: Question, fresh: bool) -> Any:
        if self._collected is not None:
            return self._noted(host, question)
        if not connections.is_kept(host):
            return _singly(host, question)
        if not host.state.is_executing:
            known = self._known[host.name].get(question.key)
            return known[1] if known and not fresh else _singly(host, question)
        with self._asking[host.name]:
            self._drop(host.state)
            if fresh:
                self._known[host.name].pop(question.key, None)
            known = self._known[host.name].get(question.key)
            return known[1] if known else self._ask(host, question)

    def expect(self, host: Host, question: Question) -> None:
        """See expect()."""
        if question.key in self._known[host.name] or not connections.is_kept(host):
            return
        if self._collected is not None:
            if host.name == self._collecting:
                self._collected.append(question)
        elif host.state.is_executing:  # before, all is foretold
            self._expected[host.name].append(question)

    def foretell(self, host: Host, work: Callable[[], None]) -> None:
        """See foretell()."""
        for _ in range(_ROUNDS):
            wanted = {each.key: each for each in self._foretold(host, work)}
            if not wanted:
                return
            at = time.monotonic()
            answers = _asked(host, list(wanted.values()))
            self._known[host.name].update({key: (at, answer) for key, answer in answers.items()})
            if len(answers) < len(wanted):
                return  # what takes long, or can't be answered yet, is asked by itself in its turn

    def _foretold(self, host: Host, work: Callable[[], None]) -> list[Question]:
        """What is asked first of what is not known."""
        global _foretelling
        collected = self._collected = []
        said = host.state.print_noop_info
        self._collecting, _foretelling, host.state.print_noop_info = host.name, True, False
        try:
            with connections.closed():
                work()
        except Exception as error:  # it will be met in its turn, and told of
            logger.debug(f"Not foretold any further: {error!r}")
        finally:
            self._collected, _foretelling, host.state.print_noop_info = None, False, said
        return collected

    def _noted(self, host: Host, question: Question) -> Any:
        """The answer if it is known; else the operation has come to its end for now."""
        known = self._known[host.name].get(question.key)
        if known:
            return known[1]
        if host.name == self._collecting and self._collected is not None:
            self._collected.append(question)
        raise connections.LooksAhead

    def _drop(self, state: State) -> None:
        """Forget what may not be so any more."""
        told = connections.told(state)
        if self._told not in (None, told):
            self._known.clear()
            self._ahead = defaultdict(int)
        self._told = told
        for name, answers in self._known.items():
            self._known[name] = {
                key: (at, value) for key, (at, value) in answers.items() if time.monotonic() - at < HOLDS_S
            }

    def _ask(self, host: Host, question: Question) -> Any:
        ahead = self._ahead[host.name]
        self._ahead[host.name] = min(2 * ahead + 1, _ALL)
        expected = self._expected.pop(host.name, [])
        wanted = {each.key: each for each in (question, *expected, *self._coming(host, ahead))}
        told, at = self._told, time.monotonic()
        answers = _asked(host, list(wanted.values())) if len(wanted) > 1 else {}
        if question.key not in answers:  # it is pyinfra that tells of what a fact raises
            answers[question.key] = _singly(host, question)
        if len(answers) < len(wanted):  # they take long, or can't be answered yet
            self._ahead[host.name] = 0
        if told == connections.told(host.state):  # else somebody was told something meanwhile
            self._known[host.name].update({key: (at, answer) for key, answer in answers.items()})
        return answers[question.key]

    def _coming(self, host: Host, number: int) -> list[Question]:
        """What the next operations of the host will ask first of what is not known, as far as that can be told."""
        operations = host.state.ops[host]
        left = [
            operations[op_hash]
            for op_hash in host.op_hash_order
            if op_hash in operations
            and op_hash != host.executing_op_hash
            and not operations[op_hash].operation_meta.is_complete()
        ]
        self._collected, self._collecting = [], host.name
        try:
            with _looking_ahead(host):
                for each in left[:number]:
                    begin(each.command_generator())
            return self._collected
        finally:
            self._collected = None


_runs: WeakKeyDictionary[State, _Answers] = WeakKeyDictionary()


def begin(commands: Iterator[Any]) -> None:
    """Run an operation up to its first command, or a question without an answer."""
    try:
        next(commands, None)
    except connections.LooksAhead:
        pass
    except Exception as error:  # it will meet it in its turn, and tell of it
        logger.debug(f"Not looked ahead any further: {error!r}")
    finally:
        commands.close()  # type: ignore[attr-defined]


_OF_AN_OPERATION = (
    "in_op",
    "current_op_hash",
    "current_op_global_arguments",
    "current_op_deploy_data",
)


@contextmanager
def _looking_ahead(host: Host) -> Iterator[None]:
    """A time in which operations of the host foretell what they would do, as in pyinfra's preparation.

    Nothing in it gives way to another greenlet: whatever would is refused (connections.LooksAhead).
    """
    state = host.state
    kept = {name: getattr(host, name) for name in _OF_AN_OPERATION}
    said = state.print_noop_info
    state.is_executing, state.print_noop_info = False, False
    try:
        with ctx_host.use(host), connections.closed():
            yield
    finally:
        state.is_executing, state.print_noop_info = True, said
        for name, value in kept.items():
            setattr(host, name, value)


def _singly(host: Host, question: Question) -> Any:
    with connections.question(host), ctx_host.use(host):
        return get_fact(host.state, host, question.kind, kwargs=dict(question.arguments), apply_failed_hosts=False)


def _asked(host: Host, questions: Sequence[Question]) -> dict[tuple[Any, ...], Any]:
    """The answers to `questions`, by their keys, of those that were answered."""
    mark = f"--- {secrets.token_hex(8)}"
    with connections.question(host):
        lines = script_on(host, script(questions, mark))
    answers: dict[tuple[Any, ...], Any] = {}
    for number, code, output in _parts(lines, mark):
        question = questions[number]
        if code == "0":
            try:
                answers[question.key] = question.kind().process(output)
            except (PyinfraError, ValueError, LookupError) as error:
                logger.debug(f"{host.name}: asked once more by itself: {question.kind.__name__}: {error!r}")
    return answers


def script(questions: Sequence[Question], mark: str) -> str:
    """In shell: the output of each question behind a line "MARK NUMBER CODE", several at work side by side.

    The first is waited for. What takes longer than AHEAD_S of the others is ended, and not answered.
    It comes by standard input: what is asked may be longer than a command line, and not for all to see.
    """
    functions = []
    for number, question in enumerate(questions):
        given = (
            f"base64 -d <<'STDIN' | ask_{number}\n{base64.encodebytes(question.stdin.encode()).decode()}STDIN\n"
            if question.stdin
            else f"ask_{number} </dev/null\n"
        )
        # What follows a pipe, and what is in brackets, is a shell of its own: a question may exit.
        functions.append(f"ask_{number}() (\n{question.command}\n)\n")
        functions.append(
            f"answer_{number}() {{\n{{\n{given}}} >$work/{number} 2>/dev/null\necho $? >$work/{number}.code\n}}\n"
        )
    # Those that take long are mostly neighbours: each lane takes every fourth.
    lanes = [range(1 + first, len(questions), LANES) for first in range(min(LANES, len(questions) - 1))]
    started = "".join(
        f'{{ {"; ".join(f"answer_{number}" for number in lane)}; }} &\nlanes="$lanes $!"\n' for lane in lanes
    )
    return _SCRIPT.format(
        functions="".join(functions), started=started, numbers=" ".join(map(str, range(len(questions)))), mark=mark
    )


# The shell has read all of it before the first question is asked, which can't take it from the input then.
_SCRIPT = f"""\
all() {{{{
{{functions}}end() {{{{  # PID: it and what it has started
    for child in $(cat /proc/$1/task/*/children 2>/dev/null); do end $child; done
    kill $1 2>/dev/null
}}}}
work=$(mktemp -d) || exit
trap 'rm -rf $work' EXIT
lanes=
{{started}}{{{{ sleep {AHEAD_S}; for lane in $lanes; do end $lane; done; }}}} >/dev/null 2>&1 &
bound=$!
answer_0
if [ -n "$lanes" ]; then wait $lanes; fi
end $bound
for n in {{numbers}}; do
    if [ -e $work/$n.code ]; then printf '\\n%s %s %s\\n' "{{mark}}" $n "$(cat $work/$n.code)"; cat $work/$n; fi
done
printf '\\n%s end\\n' "{{mark}}"
}}}}
all 2>/dev/null
exit
"""


def _parts(lines: Iterable[str], mark: str) -> Iterator[tuple[int, str, list[str]]]:
    """(number, exit code, lines) of each question that was answered to its end."""
    number, code, output = -1, "", list[str]()
    for line in lines:
        if line.startswith(f"{mark} "):
            if number >= 0:
                yield number, code, output[:-1]  # the end of line before the mark
            words = line.split(" ")[2:]
            number, code, output = (int(words[0]), words[1], []) if len(words) == 2 else (-1, "", [])
        else:
            output.append(line)
