"""Fingerprint a file, whatever it is called now: a hash of its first name and its first line."""

from __future__ import annotations

import os
import re
from hashlib import blake2b

__all__ = ["HEAD_BYTES", "document_id", "first_line", "identify"]

HEAD_BYTES = 1024
"""A first line counts up to here."""

_ROTATED = re.compile(r"\.(?:\d{1,3}|\d{4}-?\d\d-?\d\d(?:[-_.T]?\d{2,6})?)$|-\d{8}(?:-\d+)?$")


def identify(name: str, line: bytes, generation: int = 0) -> str:
    """The identity (16 hex digits) of the file first called ``name`` whose first line is ``line``.

    ``name`` is relative to the log folder and without the suffix that rotation adds; so a renamed or
    copied file keeps its identity. ``generation`` tells apart files that begin alike, such as two
    starts of a daemon whose first line is a banner.
    """
    parts = original_name(name).encode("utf-8", "surrogateescape") + b"\0" + line[:HEAD_BYTES]
    if generation:
        parts += b"\0%d" % generation
    return blake2b(parts, digest_size=8).hexdigest()


def first_line(descriptor: int) -> bytes | None:
    """The first line of an open file, at most ``HEAD_BYTES`` of it; None while it is not whole."""
    head = os.pread(descriptor, HEAD_BYTES, 0)
    line, newline, _ = head.partition(b"\n")
    return line if newline or len(head) == HEAD_BYTES else None


def original_name(name: str) -> str:
    """``name`` without what rotation appends: ``.1``, ``.2026-01-31``, ``-20260131``."""
    return _ROTATED.sub("", name)


def document_id(identity: str, offset: int) -> bytes:
    """The id of the document that begins at byte ``offset`` of the file ``identity``."""
    return b"%b-%d" % (identity.encode(), offset)
