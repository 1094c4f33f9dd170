"""Secrets and control characters, taken out of what is about to be written or sent.

A secret is found by its value in any common encoding (:func:`add_secret`), by the name of its key, by its place
(URL userinfo, ``password=…``, a bearer token, a private key), or by a pattern of ``[redaction]``. What is clean,
which is nearly everything, costs one scan by one Aho-Corasick automaton.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from datetime import datetime
from functools import lru_cache
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, quote_plus

import ahocorasick_rs

from observability.catalog import FIELDS
from observability.contain import count_loss, text_of
from observability.encode import to_json
from observability.settings import RedactionSettings, SettingsError, get_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableMapping

    from observability.events import Document

__all__ = ["MASK", "add_secret", "document", "forget_secrets", "inert", "is_clean", "structlog_processor", "text"]

MASK = "***"
"""What stands where a secret was; Airflow's masker writes the same."""

_SHORTEST = 3
"""A shorter value is masked by its key only: as a value it would be found in every other word."""
_SHORTEST_CODE = 6
_DEEPEST = 12
_MOST_FAST = 2000
"""Patterns up to which the faster, larger form of the automaton is built; it takes milliseconds to build."""
_KEYS = (
    r"passw(?:or)?d|passphrase|secret|token(?!s|iz)|authorization|api[_-]?key|access[_-]?key|private[_-]?key|credential"
    r"|cookie|keyfile"
)
_HINTS = (
    *("passw", "passphrase", "secret", "token", "authorization", "credential", "cookie", "keyfile", "bearer", "eyj"),
    *(f"{first}{between}key" for first in ("api", "access", "private") for between in ("", "_", "-", " ")),
)
"""Where none of these stands, none of the patterns below can match."""
_PLACES = (
    re.compile(r"(://[^\s/:@\"'<>]*:)[^\s/\"'<>]+(?=@)"),
    re.compile(r"(://)[^\s/:@\"'<>]{16,}(?=@)"),
    re.compile(r"(?i)(bearer\s+)[\w.~+/=-]{6,}"),
    re.compile(r"()\beyJ[\w-]+\.eyJ[\w-]+\.[\w-]*"),
    re.compile(r"(?s)(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(?=-----END|\Z)"),
)
_GENERATED = frozenset(
    {"@timestamp", "timestamp", "event.id", "event.action", "event.kind", "event.outcome", "log.level", "level"}
)
"""Fields that only we fill: never a secret, even where a secret is an everyday word."""
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]+")

_secrets: dict[str, None] = {}
_lock = threading.Lock()


class _Ready:
    """The scan of :func:`is_clean`, made ready on its first use after the rules changed."""

    scan: Callable[[bytes], object]


class _Rules(NamedTuple):
    """What to look for, made ready.

    ``automaton`` finds all, overlaps included; ``edges`` says of each of its patterns whether the base64 digits
    beside it belong to it, and None of a mere hint.
    """

    automaton: ahocorasick_rs.BytesAhoCorasick
    edges: list[bool | None]
    keys: re.Pattern[str]
    places: tuple[re.Pattern[str], ...]
    patterns: tuple[re.Pattern[str], ...]


def add_secret(value: str) -> None:
    """Mask ``value``, and each line of it if it has several, in any encoding from now on."""
    lines = [line.strip() for line in value.splitlines() if not line.startswith("-----")]
    wanted = [value, *(line for line in lines if len(line) > 2 * _SHORTEST_CODE)]
    with _lock:
        known = len(_secrets)
        _secrets.update((found, None) for found in wanted if len(found) >= _SHORTEST)
        if len(_secrets) != known:
            _forget_rules()


def forget_secrets() -> None:
    """Forget every value that :func:`add_secret` was given."""
    with _lock:
        _secrets.clear()
        _forget_rules()


def is_clean(line: bytes) -> bool:
    """Whether nothing in ``line`` (text, or a document as JSON) can be a secret; False says: look closer."""
    return not _ready.scan(line.lower()) and (b"@" not in line or b"://" not in line)


def text(value: str) -> str:
    """``value`` without secrets."""
    rules = _rules()
    raw = value.encode("utf-8", "surrogatepass")
    spans = rules.automaton.find_matches_as_indexes(raw.lower(), overlapping=True)
    if spans:
        value = _cut(raw, [_widened(raw, rules.edges[which], start, end) for which, start, end in spans])
    if spans or ("@" in value and "://" in value):
        for place in rules.places:
            value = place.sub(rf"\1{MASK}", value)
    for pattern in rules.patterns:
        value = pattern.sub(MASK, value)
    return value


def document(value: Document) -> Document:
    """``value`` without secrets in its values, however deep, and in the names of fields that are not ours."""
    rules = _rules()
    return {
        key if key in FIELDS else text(key): item if key in _GENERATED else _value(rules, key, item, 0)
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


def _value(rules: _Rules, key: str, value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if rules.keys.search(key) and not isinstance(value, (dict, list, tuple)):
        return MASK
    if isinstance(value, (dict, list, tuple, set, frozenset)):
        return _collection(rules, key, value, depth + 1) if depth < _DEEPEST else text(text_of(value))
    shown = value if isinstance(value, str) else text_of(value)
    clean = text(shown)
    return value if clean == shown and isinstance(value, (int, float, datetime)) else clean


def _collection(rules: _Rules, key: str, value: Any, depth: int) -> Any:
    if not isinstance(value, dict):
        return [_value(rules, key, item, depth) for item in value]
    hidden = key if rules.keys.search(key) else ""
    return {text(text_of(name)): _value(rules, hidden or text_of(name), item, depth) for name, item in value.items()}


def _widened(raw: bytes, edge: bool | None, start: int, end: int) -> tuple[int, int]:
    """The span with the base64 digits beside it that hold bits of the secret, too; empty for a mere hint."""
    if edge is None:
        return start, start
    if edge:
        start -= start > 0 and chr(raw[start - 1]).isalnum()
        end += end < len(raw) and chr(raw[end]).isalnum()
        while end < len(raw) and raw[end : end + 1] == b"=":
            end += 1
    return start, end


def _cut(raw: bytes, spans: list[tuple[int, int]]) -> str:
    parts: list[bytes] = []
    done = 0
    for start, end in sorted(spans):
        if end <= done or start == end:
            continue
        if start > done or not parts:
            parts += [raw[done:start], MASK.encode()]
        done = end
    return b"".join([*parts, raw[done:]]).decode("utf-8", "surrogatepass")


def _first_scan(line: bytes) -> object:
    _rules()
    return _ready.scan(line)


def _forget_rules() -> None:
    _rules.cache_clear()
    _ready.scan = _first_scan


def _knobs() -> RedactionSettings:
    """The settings; where they cannot be read, which somebody else reports, the rules that need none still hold."""
    try:
        return get_settings().redaction
    except SettingsError:
        count_loss("redact", "SettingsError")
        return RedactionSettings()


@lru_cache(maxsize=1)
def _rules() -> _Rules:
    knobs = _knobs()
    keys = "|".join([_KEYS, *(re.escape(key) for key in knobs.keys)])
    found: dict[bytes, bool | None] = {hint.encode(): None for hint in (*_HINTS, *(key.lower() for key in knobs.keys))}
    for secret in _secrets:
        found.update((code.lower(), edge) for code, edge in _codes(secret))
    assigned = re.compile(
        rf"(?i)((?:{keys})[\w.-]*\\*[\"']?\s*[:=]\s*(?:b?\\*[\"'])?(?:(?:bearer|basic|digest|token)\s+)?)[^\s\"'&,;)}}\]\\]+"
    )
    kind = ahocorasick_rs.Implementation.DFA if len(found) < _MOST_FAST else None
    filter_ = ahocorasick_rs.BytesAhoCorasick(list(found), ahocorasick_rs.MATCHKIND_LEFTMOST_FIRST, kind)
    _ready.scan = bool if knobs.patterns else filter_.find_matches_as_indexes
    return _Rules(
        ahocorasick_rs.BytesAhoCorasick(list(found)),
        list(found.values()),
        re.compile(f"(?i){keys}"),
        (*_PLACES, assigned),
        tuple(re.compile(pattern) for pattern in knobs.patterns),
    )


def _codes(secret: str) -> Iterator[tuple[bytes, bool]]:
    """The forms in which ``secret`` may be written, each with whether it is base64 with shared digits at its edges."""
    raw = secret.encode("utf-8", "surrogatepass")
    texts = {secret, secret.upper(), secret.lower(), repr(secret)[1:-1], repr(raw)[2:-1]}
    texts |= {quote(raw, safe=safe) for safe in ("", "/", "!#$%&'()*+,/:;=?@[]~")} | {quote_plus(raw)}
    texts |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    for _ in range(2):  # a line is JSON, and a message in it may hold JSON
        texts |= {json.dumps(found, ensure_ascii=False)[1:-1] for found in texts}
    texts |= {escape(secret), escape(secret, quote=False)}
    for found in texts:
        yield found.encode("utf-8", "surrogatepass"), False
    if len(raw) < _SHORTEST_CODE:
        return
    yield raw.hex().encode(), False
    for shift in range(3):
        code = base64.b64encode(b"\0" * shift + raw)
        whole = (0, 2, 3)[shift], len(code.rstrip(b"=")) - ((shift + len(raw)) % 3 > 0)
        yield code[slice(*whole)], True
        yield code[slice(*whole)].translate(bytes.maketrans(b"+/", b"-_")), True


_ready = _Ready()
_forget_rules()
