"""The lines of components: without the lines that their tasks repeat there, and masked.

A supervisor can repeat what its task says on the component's own output (LocalExecutor always does). That output
passes no mask of ours, and each line already stands in the task's own log. So the repeated lines are left out, and
every other line is masked by its looks and its keys before any sink sees it.
"""

from __future__ import annotations

import re

import orjson

from observability import redact
from observability.relay.steps.line_time import ANSI

__all__ = ["masked", "without_echo"]

_HINTS = (b"task.std", b"ti_id", b'"logger":"task"', b"[task]")
"""A chunk without any of these has no line of a task."""
_SUPERVISING = (b'"airflow.component":"scheduler"', b'"airflow.component":"worker"')
"""The components that run tasks; what others say about a task's id is their own."""
_DATED = re.compile(rb"\s?\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d")
_COLOUR = re.compile(ANSI.pattern.encode())
_PRINTED = re.compile(rb"\[task(?:\.stdout|\.stderr)?\](?: [\w.]{1,64}=.{0,4096})?\Z")
"""The logger of a printed line, or of the task runner, as Airflow's console format writes it behind the text."""
_BOUND = re.compile(rb"(?<=[ \t])ti_id=[0-9a-f]{8}-[0-9a-f-]{27}(?=\s|\Z)")
"""Keys that only a task's process binds to its lines."""
_PRINTERS = frozenset({"task", "task.stdout", "task.stderr"})


def without_echo(chunk: bytes, prefix: bytes) -> bytes:
    """``chunk`` with blanks where a task's repeated lines stood, so that every byte keeps its offset."""
    if not any(hint in chunk for hint in _HINTS) or not any(component in prefix for component in _SUPERVISING):
        return chunk
    kept: list[bytes] = []
    entry: list[bytes] = []
    for line in chunk.split(b"\n"):
        if entry and _begins_entry(line):
            kept += _own(entry)
            entry = []
        entry.append(line)
    return b"\n".join([*kept, *_own(entry)])


def masked(documents: list[bytes], prefix: bytes) -> list[bytes]:
    """The documents without secrets; those that are clean, which nearly all are, stay the same bytes."""
    if redact.is_clean(b"\n".join(documents)):
        return documents
    return [document if redact.is_clean(document) else _masked(document, prefix) for document in documents]


def _begins_entry(line: bytes) -> bool:
    return line.startswith(b'{"') or _DATED.match(_COLOUR.sub(b"", line[:64])) is not None


def _own(entry: list[bytes]) -> list[bytes]:
    """The lines of an entry as they are, blank where a task said them."""
    return [b" " * len(line) for line in entry] if _is_echo(entry) else entry


def _is_echo(entry: list[bytes]) -> bool:
    text = b"\n".join(entry).rstrip()
    if not any(hint in text for hint in _HINTS):
        return False
    if text.startswith(b"{"):
        return _is_json_echo(text)
    last = _COLOUR.sub(b"", text[text.rfind(b"\n") + 1 :])
    if _PRINTED.match(last, max(0, last.rfind(b"[task"))):
        return True
    return b" try_number=" in text and b" task_id=" in text and _BOUND.search(_COLOUR.sub(b"", text)) is not None


def _is_json_echo(text: bytes) -> bool:
    try:
        line = orjson.loads(text)
    except orjson.JSONDecodeError:
        return b'"logger":"task.std' in text
    if not isinstance(line, dict):
        return False
    return line.get("logger") in _PRINTERS or ("ti_id" in line and "try_number" in line)


def _masked(document: bytes, prefix: bytes) -> bytes:
    try:
        return orjson.dumps(redact.document(orjson.loads(document)))
    except (orjson.JSONDecodeError, TypeError):  # a line that only looks like JSON: a sink refuses it, as it would have
        rest = document[len(prefix) :].decode("utf-8", "replace")
        return prefix + redact.text(rest).encode("utf-8", "replace")
