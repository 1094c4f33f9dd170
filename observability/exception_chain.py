"""An error as each source sees it: the exception itself, Airflow's log line about it, or a traceback as text.

Each is brought into one shape, a chain of :class:`Raised` with the outermost error first, so that
:mod:`observability.causes` gives one answer whoever saw it. The shape holds what Airflow's task log holds
(``error_detail`` of structlog's ``ExceptionDictTransformer``): the bare name of the class, the text, the frames.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from observability.contain import text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

__all__ = ["Frame", "Raised", "of_detail", "of_error", "of_text"]

_CHAIN_MOST = _MEMBERS_MOST = 50
_ALL_MOST, _DEPTH_MOST = 500, 20
"""Errors that are looked at in groups within groups, and how many groups may lie in each other."""
_FRAME = re.compile(r'^ *(?:\| *)*File "([^"]+)", line (\d+), in (.+)$', re.MULTILINE)
_HEAD = re.compile(r"(?:\| *)*([A-Za-z_][\w.]*)(?:: |:?$)")
"""The line of a traceback that names the error, as :mod:`traceback` prints it: at the left edge."""
_NEXT = re.compile(
    r"\n+(The above exception was the direct cause of the following exception"
    r"|During handling of the above exception, another exception occurred):\n+"
)
_MEMBERS = re.compile(r"^( *)\+-\+-{16} 1 -{16}$", re.MULTILINE)
_RULE = re.compile(r"\+-+(?: (?:\d+|\.\.\.) -+)?")
"""The lines above the first error of a group in a traceback, and between its errors, which stand two columns deeper."""
_STDERR_MOST = 4000
_LIBRARY = re.compile(
    r"^<|[/\\](?:site|dist)-packages[/\\]|[/\\]lib(?:64)?[/\\]python\d[\d.]*t?[/\\]|[/\\]python\d+\.zip[/\\]"
    r"|[/\\]observability[/\\](?:measure|callbacks|emit|contain|logs)\.py$"
)
"""Files that are not the user's own, by the path alone: a log may be read on another host than it was written."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A line of a traceback."""

    file: str
    line: int
    function: str

    @property
    def is_own(self) -> bool:
        """True for the user's own code, False for Python's, a library's and ours."""
        return _LIBRARY.search(self.file) is None

    def __str__(self) -> str:
        """As events and pages show it."""
        return f"{PurePath(self.file).name}:{self.line} in {self.function}"


@dataclass(frozen=True, slots=True)
class Raised:
    """One error of a chain. ``kind`` is its class where it is at hand, ``module`` where only that is known.

    ``members`` are the chains of a group's errors, ``more`` is how many of them are left out. ``is_cause``: the error
    before it in the chain was raised ``from`` it. ``code`` is the exit code that the error itself has, ``stderr`` the
    last line that a command wrote there.
    """

    name: str
    message: str
    frames: tuple[Frame, ...] = ()
    kind: type[BaseException] | None = None
    module: str = ""
    members: tuple[tuple[Raised, ...], ...] = ()
    more: int = 0
    is_cause: bool = False
    code: int | None = None
    stderr: str = ""

    @property
    def own(self) -> tuple[Frame, ...]:
        """The frames of the user's own code."""
        return tuple(frame for frame in self.frames if frame.is_own)

    def leaves(self) -> Iterator[tuple[Raised, ...]]:
        """The chains of the errors in a group and in the groups within it; of any other error itself."""
        for chain in self.members:
            if chain[0].members:
                yield from chain[0].leaves()
            else:
                yield chain
        if not self.members:
            yield (self,)

    def left_out(self) -> int:
        """The number of errors of a group, and of the groups within it, that are not among the leaves."""
        return self.more + sum(chain[0].left_out() for chain in self.members)


def of_error(error: BaseException) -> list[Raised]:
    """The chain of an exception: what it was raised from, or while what was handled, unless that was suppressed."""
    return _chain_of(error, frozenset(), [_ALL_MOST], _DEPTH_MOST)


def _chain_of(error: BaseException, above: frozenset[int], left: list[int], depth: int) -> list[Raised]:
    """``above`` are the errors on the way to this one, ``left`` how many may still be looked at."""
    chain: list[Raised] = []
    seen, is_cause = set(above), False
    current: BaseException | None = error
    while current is not None and id(current) not in seen and len(chain) < _CHAIN_MOST and left[0] > 0:
        left[0] -= 1
        seen.add(id(current))
        all_members = [one for one in getattr(current, "exceptions", None) or () if isinstance(one, BaseException)]
        asked = all_members[: _MEMBERS_MOST if depth else 0]
        members = tuple(tuple(found) for one in asked if (found := _chain_of(one, frozenset(seen), left, depth - 1)))
        more = len(all_members) - len(members) if members else 0
        chain.append(replace(_raised(current), members=members, more=more, is_cause=is_cause))
        is_cause = current.__cause__ is not None
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return chain


def _raised(error: BaseException) -> Raised:
    code = getattr(error, "code" if isinstance(error, SystemExit) else "returncode", None)
    return Raised(
        name=type(error).__name__,
        message=text_of(error),
        frames=tuple(_walk(error.__traceback__)),
        kind=type(error),
        code=code if isinstance(code, int) else None,
        stderr=_last_line(getattr(error, "stderr", None)),
    )


def _last_line(said: Any) -> str:
    """The last line that a command wrote, where its error has that."""
    text = said[-_STDERR_MOST:].decode("utf-8", "replace") if isinstance(said, bytes) else said
    return text[-_STDERR_MOST:].strip().rpartition("\n")[2].strip() if isinstance(text, str) else ""


def of_detail(details: Any) -> list[Raised]:
    """The chain in the ``error_detail`` of a line of Airflow's task log; empty where it is not of that shape."""
    return list(_of_stacks(details, _DEPTH_MOST))


def of_text(trace: str) -> list[Raised]:
    """The chain in a traceback as :mod:`traceback` prints it, outermost first."""
    return list(_of_trace(trace, _DEPTH_MOST))


def _of_trace(trace: str, depth: int) -> Iterator[Raised]:
    """The blocks lie between the words that say how the one below came of the one above."""
    parts = _NEXT.split(trace.strip("\n"))
    for number in range(len(parts) - 1, -1, -2):
        words = parts[number + 1] if number + 1 < len(parts) else ""
        if parts[number].strip():
            yield replace(_of_block(parts[number], depth), is_cause="direct cause" in words)


def _walk(step: TracebackType | None) -> Iterator[Frame]:
    while step is not None:
        code = step.tb_frame.f_code
        yield Frame(code.co_filename, step.tb_lineno, code.co_name)
        step = step.tb_next


def _of_stacks(details: Any, depth: int) -> Iterator[Raised]:
    for one in details[:_CHAIN_MOST] if isinstance(details, list) else ():
        if isinstance(one, dict):
            groups = one.get("exceptions") if depth else None
            groups = groups if isinstance(groups, list) else []
            found = (tuple(_of_stacks(group, depth - 1)) for group in groups[:_MEMBERS_MOST])
            members = tuple(chain for chain in found if chain)
            yield Raised(
                name=str(one.get("exc_type") or "Exception"),
                message=str(one.get("exc_value") or ""),
                frames=tuple(_frames_of(one.get("frames"))),
                members=members,
                more=len(groups) - len(members) if members else 0,
                is_cause=one.get("is_cause") is True,
            )


def _frames_of(frames: Any) -> Iterator[Frame]:
    for frame in frames if isinstance(frames, list) else ():
        if isinstance(frame, dict):
            line = frame.get("lineno")
            yield Frame(
                str(frame.get("filename", "?")), line if isinstance(line, int) else 0, str(frame.get("name", "?"))
            )


def _of_block(block: str, depth: int) -> Raised:
    group = _MEMBERS.search(block) if depth else None
    if group is not None:
        indent = len(group[1])
        members = tuple(tuple(_of_trace(part, depth - 1)) for part in _parts(block[group.end() :], indent + 2))
        head = "\n".join(_unmarked(line, indent) for line in block[: group.start()].rstrip("\n").split("\n"))
        return replace(_of_block(head, 0), members=tuple(chain for chain in members if chain))
    frames = tuple(Frame(file, int(line), function) for file, line, function in _FRAME.findall(block))
    after = block[_last_frame(block) :].split("\n")
    at = next((number for number, line in enumerate(after) if _HEAD.match(line)), len(after) - 1)
    name, _, first = after[at].lstrip("| ").partition(": ")
    module, _, bare = name.rstrip(":").rpartition(".")
    return Raised(bare, "\n".join([first, *_rest(after[at + 1 :])]).strip(), frames, module=module or "builtins")


def _parts(block: str, indent: int) -> Iterator[str]:
    """The tracebacks of a group's errors, without the marks of the level at which they stand."""
    lines: list[str] = []
    for line in block.strip("\n").split("\n"):
        if _RULE.fullmatch(line[indent:]):
            yield "\n".join(lines)
            lines = []
        else:
            lines.append(_unmarked(line, indent))
    yield "\n".join(lines)


def _unmarked(line: str, indent: int) -> str:
    """A line of a group's traceback as it would stand alone."""
    return line[indent:].removeprefix("| ").removeprefix("|")


def _last_frame(block: str) -> int:
    found = 0
    for match in _FRAME.finditer(block):
        found = match.start()
    return found


def _rest(lines: Iterable[str]) -> Iterator[str]:
    """The other lines of a message; those of the members of a group are no part of it."""
    for line in lines:
        if line.lstrip().startswith("+-"):
            return
        yield line
