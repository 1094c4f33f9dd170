"""The search for secrets in one text: an automaton gives hints, and each hint is followed where it stands."""

from __future__ import annotations

import bisect
import re
import time
from typing import TYPE_CHECKING, NamedTuple

from observability.contain import count_loss
from observability.secrets_codes import BREAK
from observability.secrets_names import is_secret_name
from observability.secrets_rules import USERINFO, compiled

if TYPE_CHECKING:
    from typing import Any

    import ahocorasick_rs

__all__ = ["MASK", "Found", "Rules", "Search", "cut"]

MASK = "***"
"""The text in place of a secret; Airflow's masker writes the same."""
_SURE_PIECE = 12
"""A piece of base64 of this length is a secret's wherever it stands."""
_INSIDE = 0x80
"""The upper bits of a byte within a character of UTF-8."""
_MOST_S = 2.0
"""Processor time after which the rest of a text is masked unread: none has been seen to take a tenth of it."""
_WINDOW = 262_144
"""Bytes that are scanned at once, so that a text of many finds takes no memory."""
_KEEP = re.compile(
    rb"(?i)(?:[\[{(]+|null|none|nil|true|false|undefined|\*+|\.{3}|<[\w -]{1,32}>|yes|no|eof|required|missing|empty"
    rb"|[\W_]{1,2}|\$\{[\w.:-]{1,64}\}?|%\(\w{1,64}(?:\)s)?|\{\{[^{}]{1,128}\}\}|[\[(]*\{[\w-]{1,32}:|[\[(]-?\d+)\Z"
)
"""Values that say that there is none, or where it is: a variable, a template, the beginning of a structure."""
_EDGE = re.compile(rb"(?s).*[^\w.-]")
_RUN = re.compile(rb"[\w.-]*")
_ASSIGNED = re.compile(
    rb"(?i)(?:\\{0,8}[\"']{0,3}|&quot;|&#3[49];|%2[27])(?:\]|%(?:25)?5d|[ \t]is(?=:))?[ \t]{0,16}"
    rb"(?:[:=]>?[ \t]{0,4}\{[^{}]{0,128}?[\"']value\\{0,8}[\"'][ \t]{0,4}[:=]>?"
    rb"|=>|->(?=[ \t]{0,4}[^/\s])|:=|==?|:|%(?:25){0,3}3[ad]"
    rb"|(?:, ?\\{0,4}[\"']?(?!value)\w{1,24}\\{0,4}[\"']?[:=] ?\\{0,4}[\"']?[\w. -]{0,32}\\{0,4}[\"']?){0,3}"
    rb"(?:,|\\[rn]|\s){1,32}\\{0,8}[\"']?value\\{0,8}[\"']?[ \t]{0,4}[:=]"
    rb"|(?:[ \t]{1,16}(?!value)[\w-]{1,32}=\\{0,8}[\"'][^\"'<>\\]{0,64}\\{0,8}[\"']){0,4}[ \t]{1,16}value[ \t]{0,4}="
    rb"|[ \t]{1,8}\{[^{}\"']{0,128}?default[ \t]{0,8}=)"
    rb"[ \t]{0,16}(?:[bnru]{1,2}(?=\\{0,8}[\"']))?"
)
_SCHEME = re.compile(
    rb"(?i)\[?\\{0,8}[\"']?(?:bearer|basic|bot|digest|token|negotiate|apikey|geniekey|key|oauth|splunk|ntlm|hawk|dpop)"
    rb"[ \t]{1,8}"
)
_ARGUMENT = re.compile(rb"[ \t]{1,8}(?!-)|\\{0,8}[\"'],[ \t]{0,8}(?=\\{0,8}[\"'](?!-))")
_PAIR = re.compile(rb"\\{0,8}[\"'],[ \t]{0,4}[bru]{0,2}(?=\\{0,8}([\"'])[^\"'\\]{1,256}\\{0,8}\1[ \t]{0,4}\))")
_OPENS = re.compile(rb"\((?:[ \t]{0,4}\\{0,8}[\"'][\w.-]{1,48}\\{0,8}[\"'],)?[ \t]{0,4}[bru]{0,2}\\{0,8}[\"']\Z")
"""Before and after a name in ``('name', 'value')``: a header, a call, a call with a section before the name."""
_OPENS_ATTRIBUTE = re.compile(rb"(?i)[\s](?:name|key|id)[ \t]?=[ \t]?\\{0,8}[\"']\Z")
_ATTRIBUTE = re.compile(rb"\\{0,8}[\"'][^<>]{0,64}>(?=[^<]{1,4096}</)")
"""Before and after a name in ``<entry key="name">value</entry>``."""
_OPENS_KEYWORD = re.compile(rb"[\s{\[(]:\Z")
_KEYWORD = re.compile(rb"[ \t]{1,4}(?=\\{0,8}\")")
"""Before and after a name in ``:name "value"``."""
_OPENS_TUPLE = re.compile(rb"\{\Z")
_TUPLE = re.compile(rb",[ \t]{0,4}(?:<<)?(?=\\{0,8}\")")
"""Before and after a name in ``{name,"value"}``."""
_CELL = re.compile(
    rb"(?:[ \t]{0,64}[|\xe2][\x94\x82\x83]{0,2}[ \t]{1,64}|\t[ \t]{0,64}|[ ]{2,64}|\\t)"
    rb"(?=[^\s|\\\"]{1,256}[ \t]{0,64}(?:[|\xe2][\x94\x82\x83]{0,2})?[ \t]{0,8}(?:[\r\n\"]|\\[rn]|\Z))"
    rb"(?!(?i:string|text|n?varchar2?|n?char|character|int(?:eger)?|bigint|bool(?:ean)?|bytea?s?|binary|object|uuid)\b)"
)
_OPENS_LINE = re.compile(rb"(?:\A|[\r\n]|\\n)[ \t|\xe2\x94\x82\x83]{0,16}\Z")
"""Before and after a name in a table of two columns: its line says no more than it, and a word that is no type."""
_ELEMENT = re.compile(rb"(?:\s[^<>]{0,256})?>(?:(?=[^<]{1,4096}</)|\s{0,16}<!\[CDATA\[(?=[^<]{1,4096}</))")
_OPENS_ELEMENT = re.compile(rb"[<:]\Z")
_ESCAPED = re.compile(rb"(?:&gt;|\\{1,8}u003e)(?=[^<&\r\n]{1,4096}(?:&lt;|\\{1,8}u003c)/)")
_OPENS_ESCAPED = re.compile(rb"(?:&lt;|u003c)(?:\w{1,16}:)?\Z")
_PROPERTY = re.compile(rb"(?i)</(?:name|key)>\s{0,32}<(?:value|string)>")
"""Between name and value in the configuration of Hadoop and in property lists."""
_CALL = re.compile(
    rb"(?:\s|\\n){0,16}string\(\d{1,5}\) (?=\\{0,8}\")"
    rb"|(?:[\w.]{0,64}[\[(]){1,4}(?:[\w-]{1,64}[ \t]{1,8}|[bru]{1,2}(?=\\{0,8}[\"']))?(?=\\{0,8}[\"'])"
)
_BRACES = re.compile(rb"\{((?:[^{}\"'\r\n]|\}\}){1,256})\}(?=[;\"'\s]|\Z)")
_BLOCK = re.compile(
    rb"[|>][+-]?\d?[ \t]{0,8}(?:\r?\n|\\n)([ \t]{1,64})([^\r\n\\]{1,4096}(?:(?:\r?\n|\\n)\1[^\r\n\\]{1,4096}){0,64})"
)
"""A text on lines of its own in YAML: those that are indented as the first."""
_SPOKEN = re.compile(rb"[ \t]{1,8}(?=')")
_SHOUTED = re.compile(rb"[A-Z_]{5,64}\Z")
"""A name as SQL writes its words, which a quoted value follows."""
_SET = re.compile(
    rb"(?:\A|[\s\"';]|\\n)(?:ENV|setx|setenv|set(?: -{1,2}[a-z]{1,9}){1,3}|variables (?:set|--set|-s))[ \t]{1,4}"
    rb"[\"']?\Z"
)
_BLANK = re.compile(rb"[\"']?[ \t]{1,64}")
"""Before and after a name that a shell, a Dockerfile or Airflow's command line gives a value."""
_QUOTE = re.compile(rb"\\{0,8}(?:\"{3}|'{3}|[\"'])|&quot;|&#3[49];|%2[27]")
_VALUE = re.compile(rb"[^\s\"'&,;)}\]\\<>|]+")
_INNER = re.compile(rb"[^<]+")
_INNER_ESCAPED = re.compile(rb"[^<&\r\n\\]+")
_IN_AN_ADDRESS = re.compile(rb"(?:[^\s\"'&,;)}\]\\<>|%]|%(?!(?:25){0,3}2[2367]))+")
"""A value of an address that is a value itself: it ends at a quoted ``&``, quote or ``#``."""
_AFTER = (
    (_OPENS_ELEMENT, _ELEMENT, _INNER),
    (_OPENS_ESCAPED, _ESCAPED, _INNER_ESCAPED),
    (_OPENS, _PAIR, _VALUE),
    (_OPENS_ATTRIBUTE, _ATTRIBUTE, _INNER),
    (_OPENS_KEYWORD, _KEYWORD, _VALUE),
    (_OPENS_TUPLE, _TUPLE, _VALUE),
    (_SET, _BLANK, _VALUE),
    (_OPENS_LINE, _CELL, _VALUE),
)
"""The sign before a name, that between it and its value, and the value where it has no quotes."""
_ESCAPED_BYTE = re.compile(rb"%(?:25){0,3}[0-9A-Fa-f]{2}|\\(?:u00[0-9A-Fa-f]{2}|[nrt])")
"""A character before a name that an address or JSON spells with letters."""
_COOKIES = re.compile(rb"[^\r\n\"'\\]+")
_ARMOUR = re.compile(rb"(?i)-----BEGIN [A-Z0-9 ]{0,64}(?:PRIVATE KEY|PGP MESSAGE)(?: BLOCK)?-----")


class Found(NamedTuple):
    """The meaning of a pattern of the automaton: a form of a secret, a piece of one, or a hint."""

    secret: bool = False
    base64: bool = False
    piece: bool = False
    name: bool = False
    armour: bool = False
    rules: tuple[bytes, ...] = ()


class Rules(NamedTuple):
    """The secrets to look for: ``automaton`` finds all, overlaps included; ``found`` says what each pattern is.

    ``longest`` is the length of the longest pattern in bytes.
    """

    automaton: ahocorasick_rs.BytesAhoCorasick
    longest: int
    found: list[Found]
    keys: tuple[str, ...]
    patterns: tuple[Any, ...]


class Search:
    """The secrets in one text: spans of bytes, found from the hints that the automaton gives, in their order."""

    def __init__(self, rules: Rules, raw: bytes) -> None:
        self.rules = rules
        self.raw = raw
        self.found: list[tuple[int, int]] = []
        self.done = 0  # what a rule has masked is not looked at again
        self.name_ends = 0  # a name that was read is not read again for each word in it
        self.is_broken = False  # a piece of a secret's base64 was seen

    def spans(self) -> list[tuple[int, int]]:
        """The places of the secrets, in any order, overlaps included."""
        if self._hints(self.raw) and self.is_broken:
            self._join_lines()
        if b"@" in self.raw:
            self._look_at_addresses()
        return self.found

    def _hints(self, raw: bytes) -> bool:
        """Follow each hint; True unless there was no time to. What is a piece only is remembered."""
        ends_at = time.thread_time() + _MOST_S
        lower = raw.lower()
        for window in range(0, len(raw) or 1, _WINDOW):
            hints = self.rules.automaton.find_matches_as_indexes(
                lower[window : window + _WINDOW + self.rules.longest], overlapping=True
            )
            hints.sort(key=_by_place)
            for number, (which, start, end) in enumerate(hints):
                if start < _WINDOW:
                    self._follow(self.rules.found[which], window + start, window + end)
                if not number % 1024 and time.thread_time() > ends_at:
                    count_loss("redact", "too_slow")
                    self.found.append((window + start, len(raw)))
                    return False
        return True

    def _follow(self, what: Found, start: int, end: int) -> None:
        if what.secret:
            self.found.append(_widened(self.raw, start, end) if what.base64 else (start, end))
        if what.piece:
            self.is_broken = True
            if end - start >= _SURE_PIECE:
                self.found.append(_widened(self.raw, start, end))
        if start < self.done:
            return
        if what.armour and (begin := _ARMOUR.match(self.raw, start)):
            stop = self.raw.find(b"-----END", begin.end())
            self._mask(begin.end(), stop if stop >= 0 else len(self.raw))
        for rule in what.rules:
            if match := compiled(rule).match(self.raw, start):
                self._mask(*match.span(match.lastindex or 0))
                break
        if what.name and end > self.name_ends:
            self._read_name(start, end)

    def _mask(self, start: int, end: int) -> None:
        if end > start:
            self.found.append((start, end))
            self.done = max(self.done, end)

    def _read_name(self, start: int, end: int) -> None:
        """Mask the value of the name that ``start`` is in the middle of, if it has one and is a secret's."""
        raw = self.raw
        run = _RUN.match(raw, end)
        self.name_ends = run.end() if run else end
        before = raw[max(0, start - 64) : start]
        edge = _EDGE.match(before)
        begins = start - len(before) + (edge.end() if edge else 0)
        if escaped := _ESCAPED_BYTE.match(raw, max(0, begins - 1), start):
            begins = escaped.end()
        if b"secretsmanager:" in before and raw[begins - 1 : begins] == b":":
            return  # a resource of AWS: "secret" is its kind
        name = raw[max(begins, self.name_ends - 256) : self.name_ends]
        value = self._value_of(name, begins)
        if value and is_secret_name(name.decode("utf-8", "replace"), self.rules.keys):
            self._mask_value(name.lower(), *value)

    def _value_of(self, name: bytes, begins: int) -> tuple[int, re.Pattern[bytes]] | None:
        """The start of a name's value, and its pattern where it has no quotes."""
        raw, end = self.raw, self.name_ends
        if match := _ASSIGNED.match(raw, end):
            return match.end(), _IN_AN_ADDRESS if b"%" in match[0] else _VALUE
        if match := _PROPERTY.match(raw, end):
            return match.end(), _INNER
        if name.startswith(b"-") and (match := _ARGUMENT.match(raw, end)):
            return match.end(), _VALUE
        for before, between, plain in _AFTER:
            if (match := between.match(raw, end)) and before.search(raw[max(0, begins - 80) : begins]):
                return match.end(), plain
        if (match := _SPOKEN.match(raw, end)) and (b"passw" in name[-10:].lower() or _SHOUTED.match(name)):
            return match.end(), _VALUE
        return None

    def _mask_value(self, name: bytes, start: int, plain: re.Pattern[bytes]) -> None:
        raw = self.raw
        if before := _SCHEME.match(raw, start) or _CALL.match(raw, start):
            start = before.end()
        if quoted := _QUOTE.match(raw, start):
            end = raw.find(quoted[0], quoted.end(), quoted.end() + 4096)
            while end > 0 and raw[end - 1 : end] == b"\\" and not quoted[0].startswith(b"\\"):
                end = raw.find(quoted[0], end + 1, quoted.end() + 4096)
            start = quoted.end()
            if _is_folder(name, raw[start : start + 1]):
                return
            if end >= 0:
                self._mask_unless_kept(start, end)
                return
        if block := _BLOCK.match(raw, start):
            self._mask(*block.span(2))
            return
        if raw[start - 1 : start] == b"=" and (braces := _BRACES.match(raw, start)):
            self._mask_unless_kept(*braces.span(1))
            return
        if name.endswith((b"cookie", b"cookies")):
            plain = _COOKIES
        match = plain.match(raw, start)
        if match and not _is_folder(name, raw[start : start + 1]):
            self._mask_unless_kept(start, match.end())

    def _mask_unless_kept(self, start: int, end: int) -> None:
        if not _KEEP.match(self.raw, start, end):
            self._mask(start, end)

    def _look_at_addresses(self) -> None:
        """Mask the passwords in addresses."""
        place = self.raw.find(b"://")
        while place >= 0:
            for rule in USERINFO:
                if match := compiled(rule).match(self.raw, place):
                    if not _KEEP.match(self.raw, *match.span(1)):
                        self.found.append(match.span(1))
                    break
            place = self.raw.find(b"://", place + 3)

    def _join_lines(self) -> None:
        """Mask base64 of a secret that line breaks run through: it is looked for in the text without them."""
        kept, begins, total = [], [0], 0
        shifts, last = [0], 0
        for gap in BREAK.finditer(self.raw):
            kept.append(self.raw[last : gap.start()])
            total += gap.start() - last
            begins.append(total)
            shifts.append(shifts[-1] + gap.end() - gap.start())
            last = gap.end()
        if not last:
            return
        joined = b"".join([*kept, self.raw[last:]])
        for which, start, end in self.rules.automaton.find_matches_as_indexes(joined.lower(), overlapping=True):
            if self.rules.found[which].base64:
                first, after = _widened(joined, start, end)
                there = shifts[bisect.bisect_right(begins, first) - 1]
                back = shifts[bisect.bisect_right(begins, after - 1) - 1]
                self.found.append((first + there, after + back))


def _is_folder(name: bytes, first: bytes) -> bool:
    """True for the shell's working folder; ODBC calls a password ``Pwd``."""
    return name in {b"pwd", b"oldpwd"} and first in {b"/", b"~"}


def _by_place(hint: tuple[int, int, int]) -> tuple[int, int]:
    return hint[1], -hint[2]


def _widened(raw: bytes, start: int, end: int) -> tuple[int, int]:
    """The span with the base64 digits beside it that hold bits of the secret, too."""
    start -= start > 0 and chr(raw[start - 1]).isalnum()
    end += end < len(raw) and chr(raw[end]).isalnum()
    while end < len(raw) and raw[end : end + 1] == b"=":
        end += 1
    return start, end


def cut(raw: bytes, spans: list[tuple[int, int]]) -> str:
    """``raw`` as text, with MASK in place of each span."""
    parts: list[bytes] = []
    done = 0
    for start, end in sorted(spans):
        if end <= done or start == end:
            continue
        begin = start
        while done < begin < len(raw) and raw[begin] & 0xC0 == _INSIDE:  # a bound of a rule may lie within a character
            begin -= 1
        if begin > done or not parts:
            parts += [raw[done:begin], MASK.encode()]
        done = end
        while done < len(raw) and raw[done] & 0xC0 == _INSIDE:
            done += 1
    return b"".join([*parts, raw[done:]]).decode("utf-8", "surrogatepass")
