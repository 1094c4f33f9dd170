"""Reads the body of an answer over urllib3 within a bound of bytes and of time, and frees the connection."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import urllib3

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

__all__ = ["AnswerTooLong", "read_answer"]

_PART = 65_536
"""Bytes that are unpacked at once: a small answer may be packed from gigabytes."""


class AnswerTooLong(urllib3.exceptions.HTTPError):
    """There is more of the answer than anybody asked for."""


def read_answer(reply: BaseHTTPResponse, most: int, seconds: float, *, cut: bool = False) -> bytes:
    """The whole body of an answer that was not preloaded; with ``cut`` its first ``most`` bytes.

    Raises urllib3's ``HTTPError``: :class:`AnswerTooLong`, or where it is not whole after ``seconds``.
    """
    body, ends_at, is_whole = bytearray(), time.monotonic() + seconds, False
    read = getattr(reply, "read1", reply.read)  # urllib3 before 2.1 waits for a whole part
    try:
        while part := read(_PART, decode_content=True):
            body += part
            if len(body) > most:
                break
            if time.monotonic() > ends_at:
                raise urllib3.exceptions.HTTPError(f"the answer was not whole after {seconds:.0f} s")
        else:
            is_whole = True
    finally:
        if not is_whole:
            reply.close()
        reply.release_conn()  # also a closed one: the pool lends no other in its place
    if not is_whole and not cut:
        raise AnswerTooLong(f"the answer is longer than {most >> 20} MiB")
    return bytes(body[:most])
