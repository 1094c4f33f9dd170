"""The forms in which a known secret may be written: encodings, quotings, and the pieces that a line break leaves."""

from __future__ import annotations

import base64
import json
import re
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BREAK", "codes", "has_pieces", "pieces"]

_SHORTEST = 6
"""A shorter secret is not looked for in base64 and hexadecimal digits, where it would be in every other word."""
_LONGEST_PIECE = 32
_SHORTEST_PIECE = 5
_ESCAPES = tuple({ord(one): f"\\u{ord(one):04x}" for one in which} for which in ("&<>\u2028\u2029", "&<>'+="))
"""Characters that JSON within HTML spells by their number: as Go and Django do, and as .NET does."""
_URL = bytes.maketrans(b"+/", b"-_")

BREAK = re.compile(
    rb"(?<=[A-Za-z0-9+/_-])(?:\\{0,8}r)?\\{1,8}n[ \t]{0,16}(?=[A-Za-z0-9+/=_-])|[ \t\r]{0,16}\n[ \t]{0,16}"
)
"""A line break within base64: a real one, or one that a text in JSON spells out."""


def codes(secret: str) -> Iterator[tuple[bytes, bool]]:
    """The forms of ``secret``, each with True where it is base64, whose edges hold bits of its neighbours too."""
    raw = secret.encode("utf-8", "surrogatepass")
    texts = {secret, secret.upper(), secret.lower(), repr(secret)[1:-1], repr(raw)[2:-1]}
    quoted = {quote(raw, safe=safe) for safe in ("", "/", "!#$%&'()*+,/:;=?@[]~")} | {quote_plus(raw)}
    texts |= quoted | {quote(once, safe=safe) for once in quoted for safe in ("", "/+")}
    texts.add("".join(f"%{byte:02x}" for byte in raw))
    texts |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    for _ in range(2):  # a line is JSON, and a message in it may hold JSON
        texts |= {json.dumps(found, ensure_ascii=False)[1:-1] for found in texts}
    texts |= {escape(secret), escape(secret, quote=False)}
    texts |= {found.replace("/", "\\/") for found in _in_json(secret)}  # as PHP writes it
    texts |= {found.translate(escapes) for found in _in_json(secret) for escapes in _ESCAPES}
    texts.add(escape(secret).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"))  # as Jinja writes it
    for found in texts:
        yield found.encode("utf-8", "surrogatepass"), False
    if len(raw) < _SHORTEST:
        return
    yield raw.hex().encode(), False
    for content in _contents(secret, raw):
        for code in _base64(content):
            yield code, True


def _in_json(secret: str) -> tuple[str, ...]:
    return json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]


def _contents(secret: str, raw: bytes) -> set[bytes]:
    """The bytes that base64 may be of: the secret, or what JSON or an address makes of it."""
    return {raw, *(one.encode("utf-8", "surrogatepass") for one in (*_in_json(secret), quote(raw, safe="")))}


def pieces(secret: str) -> Iterator[bytes]:
    """Pieces of the base64 of ``secret``, of which one is whole wherever a line of it was broken."""
    raw = secret.encode("utf-8", "surrogatepass")
    if len(raw) < _SHORTEST:
        return
    for code in _base64(raw):
        size = min(len(code) // 2, _LONGEST_PIECE)
        if has_pieces(code):
            yield from (code[start : start + size] for start in range(0, len(code) - size + 1, size))
            yield code[-size:]


def has_pieces(code: bytes) -> bool:
    """True where a piece of this base64 is found in every place where all of it is."""
    return len(code) // 2 >= _SHORTEST_PIECE


def _base64(raw: bytes) -> Iterator[bytes]:
    """The digits of ``raw`` that depend on nothing else, for each place in which it can begin, in both alphabets."""
    for shift in range(3):
        code = base64.b64encode(b"\0" * shift + raw)
        whole = code[(0, 2, 3)[shift] : len(code.rstrip(b"=")) - ((shift + len(raw)) % 3 > 0)]
        yield whole
        if whole.translate(_URL) != whole:
            yield whole.translate(_URL)
