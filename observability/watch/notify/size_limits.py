"""Makes a message as short as a service takes it: the essentials stay, and nothing is cut in two.

A message is shortened before it is rendered, so that no entity, escape or code fence can be cut.
"""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from observability.watch.notify.message import Message

__all__ = ["code_units", "essentials", "fitted", "fitted_whole", "shorten", "utf8_bytes"]

_Form = TypeVar("_Form")
_JOINER, _KEYCAP = "\u200d", "\u20e3"
_SELECTORS = range(0xFE00, 0xFE10)
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_TAGS = range(0xE0020, 0xE0080)
_FLAGS = range(0x1F1E6, 0x1F200)


def fitted(message: Message, build: Callable[[Message], str], most: int, measure: Callable[[str], int] = len) -> str:
    """Render ``message`` with ``build`` at no more than ``most`` of ``measure``, leaving out the least important."""
    for shorter in _shorter(message):
        if measure(text := build(shorter)) <= most:
            return text
    bare = replace(essentials(message), links=(), summary="")
    room = most
    while room > 0:
        if measure(text := build(replace(bare, title=shorten(bare.title, room), environment=""))) <= most:
            return text
        room = room * 3 // 4
    return shorten(bare.title, most, measure)


def fitted_whole(message: Message, build: Callable[[Message], _Form], size: Callable[[_Form], int], most: int) -> _Form:
    """Build a form that is no text (blocks, a JSON body) at no more than ``most`` of ``size``, if it can be done."""
    for shorter in _shorter(message):
        if size(form := build(shorter)) <= most:
            break
    return form


def essentials(message: Message) -> Message:
    """The message without which it would not be one: its title, the start of its summary, one link."""
    return replace(
        _with_members(message, 0),
        summary=shorten(message.summary, 160),
        details=(),
        log=(),
        links=message.links[:1],
        acts=(),
    )


def shorten(text: str, most: int, measure: Callable[[str], int] = len) -> str:
    """Cut ``text`` to ``most`` of ``measure``, with an ellipsis where something is gone; no character is cut in two."""
    if len(text) <= most and measure(text) <= most:  # no measure is less than a character's one
        return text
    if most <= 0:
        return ""
    end = _longest(text, most, measure)
    while end > 0:
        end = _boundary(text, end)
        if measure(cut := f"{text[:end].rstrip()}…") <= most:
            return cut
        end -= 1
    return "…" if measure("…") <= most else ""


def _longest(text: str, most: int, measure: Callable[[str], int]) -> int:
    """About the longest beginning that fits, by halves: to measure is to escape, which takes time."""
    least, end = 0, min(len(text), most)
    while least < end:
        middle = (least + end + 1) // 2
        if measure(f"{text[:middle].rstrip()}…") <= most:
            least = middle
        else:
            end = middle - 1
    return end


def code_units(text: str) -> int:
    """Length of ``text`` as JavaScript and most chat services count it: UTF-16 code units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def utf8_bytes(text: str) -> int:
    """Length of ``text`` as a service counts it that takes so many bytes."""
    return len(text.encode("utf-8", "replace"))


def _boundary(text: str, end: int) -> int:
    """The last place at or before ``end`` that is between two characters as a person sees them."""
    while 0 < end < len(text) and _joins(text, end):
        end -= 1
    return end


def _joins(text: str, at: int) -> bool:
    """Tell whether what stands at ``at`` belongs to the character before it."""
    here, before = text[at], text[at - 1]
    code = ord(here)
    if _JOINER in {here, before} or here == _KEYCAP or unicodedata.category(here) in {"Mn", "Me", "Mc"}:
        return True
    if code in _SELECTORS or code in _SKIN_TONES or code in _TAGS:
        return True
    if code in _FLAGS and ord(before) in _FLAGS:
        start = at
        while start > 0 and ord(text[start - 1]) in _FLAGS:
            start -= 1
        return (at - start) % 2 == 1
    return "\ud800" <= before <= "\udbff" and "\udc00" <= here <= "\udfff"


def _shorter(message: Message) -> Iterator[Message]:
    """The message, ever shorter: first the log's older lines go, then long values, then what else can be looked up."""
    yield message
    yield (message := _with_log(message, 12, 160))
    yield (message := _with_log(message, 6, 160))
    yield (message := _with_members(_with_log(message, 3, 120), 20))
    yield (message := _with_details(_with_members(message, 10), 12, 160))
    yield (
        message := replace(
            message, links=message.links[:2], acts=message.acts[:1], summary=shorten(message.summary, 300)
        )
    )
    yield (message := _with_details(_with_members(replace(message, log=()), 5), 8, 100))
    yield (message := _with_details(replace(message, links=message.links[:1], acts=()), 4, 80))
    yield (message := replace(essentials(message), details=message.details[:1]))
    yield (message := essentials(message))
    yield replace(message, links=())


def _with_log(message: Message, lines: int, width: int) -> Message:
    return replace(message, log=tuple(shorten(line, width) for line in message.log[-lines:]))


def _with_details(message: Message, number: int, width: int) -> Message:
    return replace(message, details=tuple((label, shorten(value, width)) for label, value in message.details[:number]))


def _with_members(message: Message, number: int) -> Message:
    gone = max(0, len(message.incidents) - number)
    return replace(message, incidents=message.incidents[:number], more=message.more + gone)
