"""An error as each source sees it: the exception itself, Airflow's log line about it, or a traceback as text.

Each is brought into one shape, a chain of :class:`Raised` with the outermost error first, so that
:mod:`observability.causes` gives one answer whoever saw it. The shape holds what Airflow's task log holds
(``error_detail`` of structlog's ``ExceptionDictTransformer``): the bare name of the class, the text, the frames.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from observability.contain import text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import TracebackType

__all__ = ["Frame", "Raised", "of_detail", "of_error", "of_text"]

_CHAIN_MOST = 50
_FRAME = re.compile(r'^ *(?:\| *)*File "([^"]+)", line (\d+), in (.+)$', re.MULTILINE)
_HEAD = re.compile(r"(?:\| *)*([A-Za-z_][\w.]*)(?:: |:?$)")
"""The line of a traceback that names the error, as :mod:`traceback` prints it: at the left edge."""
_NEXT = re.compile(
    r"\n+(?:The above exception was the direct cause of the following exception"
    r"|During handling of the above exception, another exception occurred):\n+"
)
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
    """One error of a chain. ``kind`` is its class where it is at hand, ``module`` where only that is known."""

    name: str
    message: str
    frames: tuple[Frame, ...] = ()
    kind: type[BaseException] | None = None
    module: str = ""
    members: tuple[Raised, ...] = ()

    @property
    def own(self) -> tuple[Frame, ...]:
        """The frames of the user's own code."""
        return tuple(frame for frame in self.frames if frame.is_own)


def of_error(error: BaseException) -> list[Raised]:
    """The chain of an exception: what it was raised from, or while what was handled, unless that was suppressed."""
    chain: list[Raised] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen and len(chain) < _CHAIN_MOST:
        seen.add(id(current))
        members = [one for one in getattr(current, "exceptions", None) or () if isinstance(one, BaseException)]
        chain.append(
            Raised(
                name=type(current).__name__,
                message=text_of(current),
                frames=tuple(_walk(current.__traceback__)),
                kind=type(current),
                members=tuple(found for one in members[:_CHAIN_MOST] for found in of_error(one)[:1]),
            )
        )
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return chain


def of_detail(details: Any) -> list[Raised]:
    """The chain in the ``error_detail`` of a line of Airflow's task log; empty where it is not of that shape."""
    if not isinstance(details, list):
        return []
    return [_of_stack(one) for one in details[:_CHAIN_MOST] if isinstance(one, dict)]


def of_text(trace: str) -> list[Raised]:
    """The chain in a traceback as :mod:`traceback` prints it, outermost first."""
    return [_of_block(block) for block in reversed(_NEXT.split(trace.strip("\n"))) if block.strip()]


def _walk(step: TracebackType | None) -> Iterator[Frame]:
    while step is not None:
        code = step.tb_frame.f_code
        yield Frame(code.co_filename, step.tb_lineno, code.co_name)
        step = step.tb_next


def _of_stack(one: Mapping[str, Any]) -> Raised:
    groups = one.get("exceptions")
    members = [group[0] for group in groups if _is_stack(group)] if isinstance(groups, list) else []
    return Raised(
        name=str(one.get("exc_type") or "Exception"),
        message=str(one.get("exc_value") or ""),
        frames=tuple(_frames_of(one.get("frames"))),
        members=tuple(_of_stack(member) for member in members[:_CHAIN_MOST]),
    )


def _is_stack(group: Any) -> bool:
    return isinstance(group, list) and bool(group) and isinstance(group[0], dict)


def _frames_of(frames: Any) -> Iterator[Frame]:
    for frame in frames if isinstance(frames, list) else ():
        if isinstance(frame, dict):
            line = frame.get("lineno")
            yield Frame(
                str(frame.get("filename", "?")), line if isinstance(line, int) else 0, str(frame.get("name", "?"))
            )


def _of_block(block: str) -> Raised:
    frames = tuple(Frame(file, int(line), function) for file, line, function in _FRAME.findall(block))
    after = block[_last_frame(block) :].split("\n")
    at = next((number for number, line in enumerate(after) if _HEAD.match(line)), len(after) - 1)
    name, _, first = after[at].lstrip("| ").partition(": ")
    module, _, bare = name.rstrip(":").rpartition(".")
    return Raised(bare, "\n".join([first, *_rest(after[at + 1 :])]).strip(), frames, module=module or "builtins")


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
