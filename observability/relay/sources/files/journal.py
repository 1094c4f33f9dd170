"""The journal's folder: which dataset a journal file belongs to, and the id of a record."""

from __future__ import annotations

import re
from hashlib import blake2b

import orjson

from observability.catalog import DATASETS, RECEIVED
from observability.relay.sources.files.tailed_file import Stream

__all__ = ["journal_stream", "record_id"]

_NAME = re.compile(r"(?P<dataset>[a-z.]+)-\d{8}-\d{3,}\.journal")
_ID = re.compile(rb'\{"event\.id":"([0-9A-Za-z_.:-]{8,128})"[,}]')


def journal_stream(name: str) -> Stream | None:
    """The stream of the journal file ``name``; None where it is no journal of a known dataset."""
    match = _NAME.fullmatch(name)
    if match is None or not (match["dataset"] in DATASETS or match["dataset"] in RECEIVED):
        return None
    return Stream(name, match["dataset"], "journal")


def record_id(document: bytes) -> bytes:
    """The ``event.id`` that a journal document begins with; a hash of the document where it does not."""
    match = _ID.match(document)
    if match:
        return match[1]
    try:
        given = orjson.loads(document).get("event.id")
    except (orjson.JSONDecodeError, AttributeError):
        given = None
    return str(given).encode() if given else blake2b(document, digest_size=16).hexdigest().encode()
