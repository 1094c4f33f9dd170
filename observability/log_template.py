"""Airflow's names of task logs: a ``[logging] log_filename_template`` rendered, and read back from a file's name.

This is the only place that knows them. A template is Jinja (``{{ ti.dag_id }}/…``) or, of old, ``{dag_id}/…``. One that
does not tell the attempt (no run, say), tells two attempts by one name, or uses more of Jinja than names, ``default``
and a condition on the map index, cannot be read back; ``trouble`` says why.

Names of files are of anybody's making, and a person's template may have many expressions side by side: RE2 reads them,
in time that grows as the name does. It knows no references back, so a field that stands twice is looked for twice.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
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
_LOOP = rb"(?:pass=(?P<iteration>\d{1,9}(?:\.\d{1,9})*)/)?(?:map=(?P<map>-?\d{1,9})/)?"
_TRIGGER = rb"\.trigger\.[^/]+\.log"
_OF_A_TRIGGER = re.compile(_TRIGGER.decode() + "$", re.ASCII)
_FIELDS = {
    "dag_id": rb"[^/]+",
    "run_id": rb".+?",
    "task_id": rb"[^/]+",
    "map_index": rb"-?\d{1,9}",
    "try_number": rb"\d{1,9}",
}
_AGAIN = "_again"
"""Ends the name of a group of a field that stood before: ``dag_id_again1``."""
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
        self._pattern: Any = None
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
        try:
            self._pattern = self._compiled({})
        except ValueError as error:
            self.trouble = str(error)
            return
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
        found = self._values(name) if self._pattern is not None else None
        if found is None:
            return None
        index = found.get("map") or found.get("map_index") or -1  # inside a loop, the index there
        return {
            "dag_id": found["dag_id"],
            "run_id": found["run_id"],
            "task_id": found["task_id"],
            "map_index": int(index),
            "try_number": int(found["try_number"]),
            "component": "triggerer" if found["trigger"] else "task",
            **({"iteration": found["iteration"]} if found.get("iteration") else {}),
        }

    def _values(self, name: str) -> dict[str, str] | None:
        """The values in ``name``; a field has one value, wherever it stands."""
        raw = name.encode("utf-8", "surrogatepass")
        found = _groups(self._pattern, raw)
        twice = {key: found[key.partition(_AGAIN)[0]] for key in found if _AGAIN in key} if found else {}
        if found and any(found[key] != value for key, value in twice.items()):
            found = _groups(self._compiled({key.partition(_AGAIN)[0]: value for key, value in twice.items()}), raw)
        return {key: value.decode("utf-8", "surrogatepass") for key, value in found.items()} if found else None

    def _compiled(self, known: Mapping[str, bytes]) -> Any:
        """The pattern, with what is known in place of these fields. Raises ``ValueError`` where it is too large."""
        pattern = _pattern(self._parts, known)
        if self.text == AIRFLOWS_OWN:
            return re.compile(
                pattern
            )  # it has no expressions side by side, and RE2 takes tens of milliseconds to import
        import re2

        options = re2.Options()
        options.log_errors, options.encoding = False, re2.Options.Encoding.LATIN1
        try:
            return re2.compile(pattern, options)
        except re2.error as error:
            raise ValueError("it is too long") from error

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
    own = LogTemplate(configured) if configured not in {"", AIRFLOWS_OWN} else _airflows_own()
    return tuple(one for one in dict.fromkeys((own, _airflows_own())) if one.trouble is None)


@cache
def _airflows_own() -> LogTemplate:
    return LogTemplate(AIRFLOWS_OWN)


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


def _pattern(parts: list[_Part], known: Mapping[str, bytes]) -> bytes:
    """A pattern with a group for each field, and before the last part of the path those of a task loop."""
    last = max((at for at, part in enumerate(parts) if "/" in part.text), default=-1)
    seen: list[str] = []
    pattern, loop, within = b"", b"", False
    for at, part in enumerate(parts):
        if part.mapped != within:
            pattern += b"(?:" if part.mapped else b")?" + loop
            loop, within = (b"" if within else loop), part.mapped
        if part.name:
            pattern += _group(part.name, seen, known)
        elif at == last and not part.mapped:
            head, _, tail = part.text.rpartition("/")
            pattern += _escaped(f"{head}/") + _LOOP + _escaped(tail)
        else:
            pattern += _escaped(part.text)
            loop = _LOOP if at == last else loop
    return pattern + (b")?" if within else b"") + loop + b"(?P<trigger>" + _TRIGGER + b")?"


def _groups(pattern: Any, raw: bytes) -> dict[str, bytes] | None:
    """The groups of a match of all of ``raw``, b"" for one that is not there. RE2 names them by bytes."""
    match = pattern.fullmatch(raw)
    if match is None:
        return None
    return {key if isinstance(key, str) else key.decode(): value or b"" for key, value in match.groupdict().items()}


def _group(name: str, seen: list[str], known: Mapping[str, bytes]) -> bytes:
    if name not in _FIELDS:
        return b"[^/]*"
    seen.append(name)
    number = seen.count(name) - 1
    content = _escaped(known[name]) if name in known else _FIELDS[name]
    return b"(?P<%b>%b)" % (f"{name}{_AGAIN}{number}".encode() if number else name.encode(), content)


def _escaped(text: str | bytes) -> bytes:
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return b"".join(b"\\x%02x" % byte for byte in raw)
