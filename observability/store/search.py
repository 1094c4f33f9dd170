"""Search log lines by a pattern, with the lines around a match, in any store: in bounded time and memory.

The pattern is RE2's, or plain text: neither can hang, whatever a line holds. The lines are those that the store gives,
masked as they were written, and to a page those that its reader may see.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from observability.errors import ArgumentError
from observability.timestamps import iso, parsed, utc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from observability.events import Document
    from observability.store.store import Query, Readable

__all__ = ["Found", "Line", "matcher", "newest_matches", "with_context"]

_MOST_PATTERN = 500
_SOURCES_MOST = 2_000
"""Logs whose last lines are kept for the context of a match that may come."""
_FIRST_PAGE, _PAGE = 100, 4_000
"""Lines of the first question to a store that is read backwards, and of a later one at the most."""
_PAGE_BYTES = 16 * 1024 * 1024
"""Bytes of text that a question is meant to bring: a task may write lines of a megabyte."""
_TEXTS = ("event", "message", "error_detail")


@dataclass(frozen=True, slots=True)
class Line:
    """A line that was found, or one around it; ``is_apart``: lines between it and the one before are left out."""

    document: Document
    is_match: bool
    is_apart: bool = False


@dataclass(slots=True)
class Found:
    """The findings of a bounded search, oldest first, and how far back it came; ``is_whole``: to the beginning."""

    lines: list[Line] = field(default_factory=list)
    matches: int = 0
    searched: int = 0
    back_to: str = ""
    is_whole: bool = True


def matcher(pattern: str, *, is_text: bool = False, ignore_case: bool = False) -> Callable[[Document], bool]:
    """Tell of a log line whether ``pattern`` is in its text or its traceback.

    Raises :class:`ArgumentError` where RE2 takes it for none: a look around a match, a reference back.
    """
    import re2

    if not pattern or len(pattern) > _MOST_PATTERN:
        raise ArgumentError(f"a pattern has 1 to {_MOST_PATTERN} characters")
    options = re2.Options()
    options.case_sensitive = not ignore_case
    options.log_errors = False
    try:
        found = re2.compile(re2.escape(pattern) if is_text else pattern, options)
    except re2.error as error:
        raise ArgumentError(
            f"{pattern!r} is not a pattern that RE2 knows: {error}; --text looks for it as it is"
        ) from None

    def matches(document: Document) -> bool:
        return any(found.search(text) for text in _texts(document))

    return matches


def with_context(
    documents: Iterable[Document], matches: Callable[[Document], bool], before: int = 0, after: int = 0
) -> Iterator[Line]:
    """The matching lines in their order, with so many lines of the same log around each, as grep has them."""
    earlier: OrderedDict[tuple[Any, ...], deque[Document]] = OrderedDict()
    owed: dict[tuple[Any, ...], int] = {}
    last: tuple[Any, ...] | None = None
    left_out: set[tuple[Any, ...]] = set()
    for document in documents:
        log = _log_of(document)
        if matches(document):
            kept = earlier.pop(log, deque())
            around = bool(before or after)
            is_apart = around and last is not None and (last != log or log in left_out)
            for number, line in enumerate(kept):
                yield Line(line, is_match=False, is_apart=is_apart and number == 0)
            yield Line(document, is_match=True, is_apart=is_apart and not kept)
            left_out.discard(log)
            owed[log], last = after, log
        elif owed.get(log):
            owed[log] -= 1
            yield Line(document, is_match=False, is_apart=last != log)
            last = log
        elif before:
            _keep(earlier, log, document, before, left_out)
        else:
            left_out.add(log)
        if len(owed) > _SOURCES_MOST:
            owed = {name: number for name, number in owed.items() if number}
        if len(left_out) > _SOURCES_MOST:
            left_out.clear()


def newest_matches(  # noqa: PLR0913 - the bounds of a search
    store: Readable, query: Query, matches: Callable[[Document], bool], *, around: int = 0, most: int = 50,
    seconds: float = 3.0,
) -> Found:  # fmt: skip
    """The newest ``most`` matches, read backwards from the end of ``query`` until they are found or the time is up."""
    ends = time.monotonic() + seconds
    found, until, size = Found(), query.until, min(_FIRST_PAGE, _PAGE)
    seen: set[str] = set()
    while True:
        page = list(store.documents(replace(query, until=until, limit=size, newest=True)))
        fresh = [one for one in page if _key(one) not in seen]
        try:
            lines = list(with_context(fresh, _until(ends, matches), around, around))
        except TimeoutError:  # a pattern of many repetitions takes seconds for a long line
            found.is_whole = False
            break
        found.lines = lines + found.lines
        found.matches += sum(line.is_match for line in lines)
        found.searched += len(fresh)
        if len(page) < size:
            break
        found.back_to = str(page[0].get("@timestamp", ""))
        until = _after(found.back_to)
        seen = {_key(one) for one in page if str(one.get("@timestamp", "")) <= iso(until, "microseconds")}
        if found.matches >= most or time.monotonic() > ends or not fresh:
            found.is_whole = False
            break
        size = _next_size(page, len(seen))
    return _newest(found, most)


def _until(ends: float, matches: Callable[[Document], bool]) -> Callable[[Document], bool]:
    """``matches``, which raises TimeoutError once the time is up."""

    def timed(document: Document) -> bool:
        if time.monotonic() > ends:
            raise TimeoutError
        return matches(document)

    return timed


def _next_size(page: list[Document], again: int) -> int:
    """Lines to ask for next, by the length of those that came; ``again`` of them come again, as their moment does."""
    length = sum(len(text) for document in page for text in _texts(document)) // len(page)
    most = min(_PAGE, 8 * _PAGE_BYTES // max(length, 1))
    return max(1, min(most, max(_PAGE_BYTES // max(length, 1), 2 * again)))


def _newest(found: Found, most: int) -> Found:
    """``found`` without the older matches beyond ``most``, and what stands around those."""
    if found.matches <= most:
        return found
    places = [place for place, line in enumerate(found.lines) if line.is_match]
    found.lines = found.lines[places[-most] :]
    found.matches, found.is_whole = most, False
    return found


def _keep(
    earlier: OrderedDict[tuple[Any, ...], deque[Document]],
    log: tuple[Any, ...],
    document: Document,
    most: int,
    left_out: set[tuple[Any, ...]],
) -> None:
    lines = earlier.setdefault(log, deque(maxlen=most))
    if len(lines) == most:
        left_out.add(log)
    lines.append(document)
    earlier.move_to_end(log)
    if len(earlier) > _SOURCES_MOST:
        left_out.add(earlier.popitem(last=False)[0])


def _texts(document: Document) -> Iterator[str]:
    for name in _TEXTS:
        value = document.get(name)
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):  # the frames of a traceback, as structlog writes them
            for problem in value:
                if isinstance(problem, dict):
                    yield f"{problem.get('exc_type', '')}: {problem.get('exc_value', '')}"


def _log_of(document: Document) -> tuple[Any, ...]:
    """The log in which a line stands."""
    names = ("dag_id", "run_id", "task_id", "map_index", "iteration", "try_number", "component")
    return (*(document.get(f"airflow.{name}") for name in names), document.get("host.name"))


def _key(document: Document) -> str:
    """The place of a line in its log; lines of one moment are told apart by it."""
    return f"{_log_of(document)}{document.get('offset')}{document.get('@timestamp')}{document.get('event')}"


def _after(moment: str) -> datetime:
    """The first moment after one: until is exclusive, and other lines may have the same."""
    found = parsed(moment)
    found = found if found.tzinfo else found.replace(tzinfo=timezone.utc)
    return utc(found.timestamp() + 0.001)
