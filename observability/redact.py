"""Secrets and control characters, taken out of what is about to be written or sent.

A secret is found by its value in any common encoding (:func:`add_secret`), by the name of its key
(:mod:`observability.secrets_names`), by its looks or its place (:mod:`observability.secrets_rules`), or by a pattern of
``[redaction]``. What is clean, which is nearly everything, costs one scan by one Aho-Corasick automaton. What is not
takes time in proportion to its length, whatever it holds: a rule is tried only where the automaton found its literal.
"""

from __future__ import annotations

import os
import re
import threading
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import ahocorasick_rs

from observability.catalog import FIELDS
from observability.contain import count_loss, text_of
from observability.encode import to_json
from observability.secrets_codes import codes, has_pieces, pieces
from observability.secrets_names import LITERALS, NAME_FILTER, is_secret_name
from observability.secrets_rules import RULE_FILTER, RULES
from observability.secrets_search import MASK, Found, Rules, Search, cut
from observability.settings import RedactionSettings, SettingsError, get_settings, linear_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, MutableMapping

    from observability.events import Document

__all__ = [
    "MASK",
    "NAMES",
    "add_secret",
    "document",
    "forget_secrets",
    "inert",
    "is_clean",
    "structlog_processor",
    "text",
]

_SHORTEST = 3
"""A shorter value is masked by its key only: as a value it would be found in every other word."""
_SHORTEST_LINE = 12
"""A line of a secret of several lines is a secret of its own from this length on."""
_DEEPEST = 12
_AT = ord("@")
"""As a number, which is looked for ten times faster than a text of one byte."""
_MOST_FAST = 2000
"""Patterns up to which the faster, larger form of the automaton is built; it takes milliseconds to build."""
_FILTERED = 16
"""So many bytes of each pattern stand in the filter of :func:`is_clean`: enough to be rare, and a small automaton."""
_MOST_S = 2.0
"""Processor time after which the rest of a text is masked unread: none has been seen to take a tenth of it."""
NAMES = frozenset(
    {
        *("@timestamp", "timestamp", "level", "log.level", "log_id", "offset", "filename", "lineno"),
        *(
            "event.id",
            "event.action",
            "event.kind",
            "event.outcome",
            "event.provider",
            "service.name",
            "service.environment",
            "host.name",
        ),
        *(
            "trace.id",
            "logger",
            "log.logger",
            "dag_id",
            "task_id",
            "run_id",
            "ti_id",
            "dag_run_id",
            "error.fingerprint",
            "incident.id",
        ),
        *(
            "log.file.path",
            "incident.severity",
            "incident.state",
            "notification.kind",
            "notification.state",
            "metric.name",
        ),
        *(
            f"airflow.{name}"
            for name in ("dag_id", "task_id", "run_id", "run_type", "ti_id", "operator", "pool", "queue")
        ),
        *(
            f"airflow.{name}"
            for name in ("owner", "team", "tags", "bundle", "dag_file", "component", "run_path", "cause")
        ),
        *(f"airflow.{name}" for name in ("state", "signal", "queue")),
    }
)
"""Fields with names that Airflow or we gave, and no free text. Who may see the DAG sees them anyway, so they stay, even
where somebody's password is such an everyday word."""
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]+")

_secrets: dict[str, None] = {}
_lock = threading.Lock()


class _Made(NamedTuple):
    """The rules that follow from the secrets and the settings, and the scan of :func:`is_clean`."""

    rules: Rules
    scan: Callable[[bytes], object]


class _Ready:
    """The rules and the scan, made on first use after the secrets changed; ``changes`` counts how often they did."""

    made: _Made | None
    scan: Callable[[bytes], object]
    changes = 0


def add_secret(value: str) -> None:
    """Mask ``value``, and each line of it if it has several, in any encoding from now on."""
    lines = [line.strip() for line in value.splitlines() if not line.startswith("-----")]
    wanted = [value, *(line for line in lines if len(line) > _SHORTEST_LINE)]
    with _lock:
        known = len(_secrets)
        _secrets.update((found, None) for found in wanted if len(found) >= _SHORTEST)
        if len(_secrets) != known:
            _forget_rules()


def forget_secrets() -> None:
    """Forget every value that :func:`add_secret` was given."""
    with _lock:
        if _secrets:
            _secrets.clear()
            _forget_rules()


def is_clean(line: bytes) -> bool:
    """True if nothing in ``line`` (text, or a document as JSON) can be a secret; False says: look closer."""
    return not _ready.scan(line.lower()) and (_AT not in line or b"://" not in line)


def text(value: str) -> str:
    """``value`` without secrets."""
    rules = _rules()
    raw = value.encode("utf-8", "surrogatepass")
    if spans := Search(rules, raw).spans():
        value = cut(raw, spans)
    for pattern in rules.patterns:
        value = _without(pattern, value)
    return value


def document(value: Document) -> Document:
    """``value`` without secrets in its values, however deep, and in the names of fields that are not ours."""
    rules = _rules()
    return {
        key if key in FIELDS else text(key): item if key in NAMES else _value(rules, key, item, 0)
        for key, item in value.items()
    }


def structlog_processor(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """:func:`document` as a step of a structlog pipeline; belongs after the step that spells exceptions out.

    What other steps pass on to each other (``exc_info``, ``_record`` …) is left to them.
    """
    theirs = {key: value for key, value in event.items() if key == "exc_info" or key.startswith("_")}
    ours = {key: value for key, value in event.items() if key not in theirs} if theirs else dict(event)
    return event if is_clean(to_json(ours)) else {**document(ours), **theirs}


def inert(value: str, *, longest: int = 500) -> str:
    """``value`` as one line that no terminal, header or parser acts on: no control, bidi or invisible character."""
    return _UNSAFE.sub(lambda found: " " if found[0].isspace() else "\N{REPLACEMENT CHARACTER}", value)[:longest]


def _value(rules: Rules, key: str, value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if not isinstance(value, (dict, list, tuple)) and is_secret_name(key, rules.keys):
        return MASK
    if isinstance(value, (dict, list, tuple, set, frozenset)):
        return _collection(rules, key, value, depth + 1) if depth < _DEEPEST else text(text_of(value))
    shown = value if isinstance(value, str) else text_of(value)
    clean = text(shown)
    return value if clean == shown and isinstance(value, (int, float, datetime)) else clean


def _collection(rules: Rules, key: str, value: Any, depth: int) -> Any:
    if not isinstance(value, dict):
        return [_value(rules, key, item, depth) for item in value]
    hidden = key if is_secret_name(key, rules.keys) else ""
    return {text(text_of(name)): _value(rules, hidden or text_of(name), item, depth) for name, item in value.items()}


def _without(pattern: Any, value: str) -> str:
    """``value`` without what a person's own pattern finds, for as long as there is time; then without the rest."""
    ends_at = time.thread_time() + _MOST_S
    parts, last = [], 0
    for match in pattern.finditer(value):
        start, end = match.span()
        if end > start:
            parts += [value[last:start], MASK]
            last = end
        if time.thread_time() > ends_at:
            count_loss("redact", "too_slow")
            return "".join([*parts, MASK])
    return "".join([*parts, value[last:]])


def _first_scan(line: bytes) -> object:
    return _made().scan(line)


def _rules() -> Rules:
    return _made().rules


def _made() -> _Made:
    """Return the rules and the scan for the secrets that are known now.

    They are made without the lock, as that takes milliseconds and reads the settings. They are kept only if no secret
    came or went meanwhile: what another thread has just added would be written as it is.
    """
    while (made := _ready.made) is None:
        with _lock:
            changes, secrets = _ready.changes, tuple(_secrets)
        made = _make(secrets)
        with _lock:
            if changes == _ready.changes:
                _ready.made, _ready.scan = made, made.scan
    return made


def _forget_rules() -> None:
    _ready.changes += 1
    _ready.made, _ready.scan = None, _first_scan


def _after_fork() -> None:
    """Let go of a lock that another thread of the parent held, and believe nothing of what it was about to change."""
    global _lock  # noqa: PLW0603
    if _lock.locked():
        _lock = threading.Lock()
        _forget_rules()


def _options() -> RedactionSettings:
    """The settings; where they cannot be read, which somebody else reports, the rules that need none still hold."""
    try:
        return get_settings().redaction
    except SettingsError:
        count_loss("redact", "SettingsError")
        return RedactionSettings()


def _make(secrets: Iterable[str]) -> _Made:
    options = _options()
    found: dict[bytes, Found] = {}
    for literal in (*LITERALS, *(key.lower() for key in options.keys)):
        found[literal.encode()] = Found(name=True)
    found[b"-----begin"] = Found(armour=True)
    for rule in RULES:
        for literal in rule.literals:
            known = found.get(literal.encode(), Found())
            found[literal.encode()] = known._replace(rules=(*known.rules, rule.pattern))
    for secret in secrets:
        for code, is_base64 in codes(secret):
            known = found.get(code.lower(), Found())
            found[code.lower()] = known._replace(secret=True, base64=is_base64)
        for piece in pieces(secret):
            known = found.get(piece.lower(), Found())
            found[piece.lower()] = known._replace(piece=True)
    automaton = ahocorasick_rs.BytesAhoCorasick(list(found))
    longest = max(map(len, found))
    own = tuple(map(linear_pattern, options.patterns))
    rules = Rules(automaton, longest, list(found.values()), options.keys, own)
    return _Made(rules, bool if own else _scan(found, options.keys))


def _scan(found: dict[bytes, Found], keys: tuple[str, ...]) -> Callable[[bytes], object]:
    """The scan of :func:`is_clean`: of every pattern a part that is rare, so that the automaton is small and fast."""
    names = [name.encode() for name in (*NAME_FILTER, *(key.lower() for key in keys))]
    rules = [literal.encode() for literal in (*RULE_FILTER, "-----begin")]
    known = [
        code[:_FILTERED]
        for code, what in found.items()
        if what.piece or (what.secret and not (what.base64 and has_pieces(code)))
    ]
    wanted = list(dict.fromkeys([*names, *rules, *known]))
    kind = ahocorasick_rs.Implementation.DFA if len(wanted) < _MOST_FAST else None
    return ahocorasick_rs.BytesAhoCorasick(
        wanted, ahocorasick_rs.MATCHKIND_LEFTMOST_FIRST, kind
    ).find_matches_as_indexes


_ready = _Ready()
_forget_rules()
os.register_at_fork(after_in_child=_after_fork)
