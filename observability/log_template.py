"""Airflow's names of task logs: a ``[logging] log_filename_template`` rendered, and read back from a file's name.

This is the only place that knows them. A template is Jinja (``{{ ti.dag_id }}/…``) or, of old, ``{dag_id}/…``. One that
does not tell the attempt (no run, say), tells two attempts by one name, or uses more of Jinja than names, ``default``
and a condition on the map index, cannot be read back; ``trouble`` says why.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["AIRFLOWS_OWN", "LogTemplate", "attempt_of", "templates", "without_trigger"]

AIRFLOWS_OWN = (
    "dag_id={{ ti.dag_id }}/run_id={{ ti.run_id }}/task_id={{ ti.task_id }}/"
    "{% if ti.map_index >= 0 %}map_index={{ ti.map_index }}/{% endif %}"
    "attempt={{ try_number|default(ti.try_number) }}.log"
)
"""The default of Airflow 3. Airflow 3.4 puts ``pass=P/`` and ``map=I/`` of a task loop before the last part."""

_TOKEN = re.compile(r"\{\{-?\s*(?P<value>.*?)\s*-?\}\}|\{%-?\s*(?P<statement>.*?)\s*-?%\}|\{#.*?#\}", re.DOTALL)
_OLD_TOKEN = re.compile(r"\{(?P<value>\w*)\}")
_DEFAULT = re.compile(r"\s*\|\s*default\([\w.]*\)$")
_MAPPED = re.compile(r"if (?:ti\.)?map_index\s*(?:>=\s*0|>\s*-1|!=\s*-1)")
_LOOP = r"(?:pass=(?P<iteration>\d{1,9}(?:\.\d{1,9})*)/)?(?:map=(?P<map>-?\d{1,9})/)?"
_TRIGGER = r"\.trigger\.[^/]+\.log"
_OF_A_TRIGGER = re.compile(_TRIGGER + "$", re.ASCII)
_FIELDS = {
    "dag_id": r"[^/]+",
    "run_id": r".+?",
    "task_id": r"[^/]+",
    "map_index": r"-?\d{1,9}",
    "try_number": r"\d{1,9}",
}
_NEEDED = ("dag_id", "run_id", "task_id", "try_number")
_NAMES = ("load", "a_1", "b-2", "c.3", "a__b--c..d")
_SAMPLES: tuple[dict[str, Any], ...] = tuple(
    dict(zip(_FIELDS, values, strict=True))
    for values in product(_NAMES, ("manual__2026-01-31T00:00:00+00:00", "x/y", "a_1-b.2"), _NAMES, (-1, 0, 12), (1, 23))
)
"""Attempts that a template must tell apart: their names hold what separates names."""


class _Part(NamedTuple):
    """A piece of a template: a text, or the name of a value; ``mapped`` ones are there for mapped tasks only."""

    text: str
    name: str = ""
    mapped: bool = False


class LogTemplate:
    """One template. ``trouble`` is None, or why names made by it cannot be read back, with an example."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._parts: list[_Part] = []
        self._pattern: re.Pattern[str] | None = None
        self.trouble: str | None = None
        try:
            self._parts = list(_parts(text))
        except ValueError as error:
            self.trouble = str(error)
            return
        missing = [name for name in _NEEDED if not any(part.name == name and not part.mapped for part in self._parts)]
        if missing:
            self.trouble = (
                f"it does not hold the {' and the '.join(missing)}, so that a file does not say whose log it is"
            )
            return
        self._pattern = re.compile(_pattern(self._parts), re.ASCII)
        self.trouble = self._ambiguity()
        if self.trouble is not None:
            self._pattern = None

    def render(self, about: Mapping[str, Any]) -> str | None:
        """The name of an attempt's log (``dag_id``, ``run_id``, ``task_id``, ``map_index``, ``try_number``).

        ``iteration``, where it is given, is that of a task loop. None where a value of the template is not known.
        """
        name, whole = self._rendered(about)
        if not whole or self._pattern is None:
            return None
        if (iteration := about.get("iteration")) is None:
            return name
        folder, slash, last = name.rpartition("/")
        inside = f"map={about['map_index']}/" if about["map_index"] >= 0 else ""
        return f"{folder}{slash}pass={iteration}/{inside}{last}"

    def begin(self, about: Mapping[str, Any]) -> str:
        """With what the names of all logs begin of which only ``about`` is known."""
        return self._rendered(about)[0]

    def parse(self, name: str) -> dict[str, Any] | None:
        """The attempt whose log is called ``name``, with its ``component``; None for the name of something else."""
        match = self._pattern.fullmatch(name) if self._pattern is not None else None
        if match is None:
            return None
        found = match.groupdict()
        index = found["map"] or found.get("map_index") or -1  # inside a loop, the index there
        return {
            "dag_id": found["dag_id"],
            "run_id": found["run_id"],
            "task_id": found["task_id"],
            "map_index": int(index),
            "try_number": int(found["try_number"]),
            "component": "triggerer" if found["trigger"] else "task",
            **({"iteration": found["iteration"]} if found["iteration"] else {}),
        }

    def _rendered(self, about: Mapping[str, Any], unknown: str | None = None) -> tuple[str, bool]:
        """The name up to the first value that is not known, and whether that is all of it."""
        name = ""
        for part in self._parts:
            if part.mapped and "map_index" not in about:
                return name, False
            if part.mapped and about["map_index"] < 0:
                continue
            value = about.get(part.name, unknown) if part.name else part.text
            if value is None:
                return name, False
            name += str(value)
        return name, True

    def _ambiguity(self) -> str | None:
        mapped = any(part.name == "map_index" for part in self._parts)
        for one in _SAMPLES:
            if one["map_index"] >= 0 and not mapped:
                continue  # Airflow itself gives the instances of a mapped task one file
            name, _ = self._rendered(one, "x")
            found = self.parse(name)
            if found is None or any(found[key] != one[key] for key in _FIELDS):
                return f"{name} could be the log of more than one attempt"
        return None


@lru_cache(maxsize=64)
def templates(configured: str = "") -> tuple[LogTemplate, ...]:
    """The configured template, if it can be read back, and Airflow's own, by which older logs may be called."""
    every = [LogTemplate(text) for text in dict.fromkeys((configured or AIRFLOWS_OWN, AIRFLOWS_OWN))]
    return tuple(one for one in every if one.trouble is None)


def attempt_of(name: str, configured: str = "") -> dict[str, Any] | None:
    """The attempt whose log is called ``name`` by one of :func:`templates`; None for the name of something else."""
    return next(filter(None, (one.parse(name) for one in templates(configured))), None)


def without_trigger(name: str) -> str:
    """The name of the attempt's own log, of the name of its trigger's part."""
    return _OF_A_TRIGGER.sub("", name)


def _parts(text: str) -> Iterator[_Part]:
    """The pieces of a template. Raises ``ValueError`` at what cannot be read back."""
    token = _TOKEN if "{{" in text else _OLD_TOKEN
    mapped, end = False, 0
    for match in token.finditer(text):
        if match.start() > end:
            yield _Part(text[end : match.start()], mapped=mapped)
        end = match.end()
        found = match.groupdict()
        if (value := found["value"]) is not None:
            yield _Part("", _name_of(value), mapped)
        elif statement := found["statement"]:
            if not (_MAPPED.fullmatch(statement) if not mapped else statement == "endif"):
                raise ValueError(
                    f"{match[0]} is more than Contrail reads back: a condition on ti.map_index, without else"
                )
            mapped = not mapped
    if mapped:
        raise ValueError("it has an if without endif")
    if end < len(text):
        yield _Part(text[end:])


def _name_of(value: str) -> str:
    """The field that an expression is, else the expression itself."""
    plain = _DEFAULT.sub("", value)
    if "|" in plain or "(" in plain or "[" in plain:
        raise ValueError(f"{{{{ {value} }}}} changes a value, which cannot be undone")
    last = plain.rpartition(".")[2]
    return last if last in _FIELDS else plain


def _pattern(parts: list[_Part]) -> str:
    """A pattern with a group for each field, and before the last part of the path those of a task loop."""
    last = max((at for at, part in enumerate(parts) if "/" in part.text), default=-1)
    seen: set[str] = set()
    pattern, loop, within = "", "" if last >= 0 else "(?P<iteration>(?!))?(?P<map>(?!))?", False
    for at, part in enumerate(parts):
        if part.mapped != within:
            pattern += "(?:" if part.mapped else f")?{loop}"
            loop, within = ("" if within else loop), part.mapped
        if part.name:
            pattern += _group(part.name, seen)
        elif at == last and not part.mapped:
            head, _, tail = part.text.rpartition("/")
            pattern += f"{re.escape(head)}/{_LOOP}{re.escape(tail)}"
        else:
            pattern += re.escape(part.text)
            loop = _LOOP if at == last else loop
    return f"{pattern}{')?' if within else ''}{loop}(?P<trigger>{_TRIGGER})?"


def _group(name: str, seen: set[str]) -> str:
    if name not in _FIELDS:
        return r"[^/]*"
    if name in seen:
        return f"(?P={name})"
    seen.add(name)
    return f"(?P<{name}>{_FIELDS[name]})"
