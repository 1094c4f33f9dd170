"""The keys that we add to a log line, and what happens to a user's key of the same name.

A user's key that one of ours would hide is stored as ``extra.<key>``. :func:`user_keys` reverses that, so reading
back drops exactly what was added and nothing else.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["ADDED", "is_unusual", "stored_name", "user_keys"]

ADDED = frozenset(
    {
        "@timestamp",
        "airflow.component",
        "airflow.dag_id",
        "airflow.iteration",
        "airflow.map_index",
        "airflow.run_id",
        "airflow.task_id",
        "airflow.try_number",
        "host.name",
        "log.file.path",
        "log.part",
        "log_id",
        "offset",
        "service.environment",
        "service.name",
    }
)
"""All that a document has beside the keys of its line."""
_PARENTS = frozenset({"airflow", "host", "service", "log", "log.file"})
"""An object under such a key spells a key of ours in two steps: ``{"airflow": {"dag_id": …}}``."""
_EXTRA = "extra."
_BLANK = rb"[ \t\r]*"
_GUARD = re.compile(
    rb"," + _BLANK + rb'"(?=[@aehlost][efiotx][fgimrst])'
    rb'(?:(?:offset|@timestamp|timestamp|log_id|airflow\.[^"]*|extra\.[^"]*|host\.name|service\.(?:name|environment)'
    rb'|log\.(?:file\.path|part))"' + _BLANK + rb':|(?:airflow|host|service|log|log\.file)"'
    rb"" + _BLANK + rb":" + _BLANK + rb"[\[{])"
)
"""The letters that the three first of these names have are tried at once, which rules out most keys sooner."""
_ESCAPED = re.compile(rb"\\u00[2-7]")
"""An ASCII character that needs no escape and has one: nobody's serializer writes that, and it can spell any key."""


def is_unusual(lines: bytes) -> bool:
    """Tell whether a line may hold a key of ours, in whichever spelling. Text that only quotes one does not count."""
    if _GUARD.search(lines):
        return True
    return b"\\" in lines and b"\\u00" in lines and _ESCAPED.search(lines) is not None


def stored_name(key: str, value: Any = None) -> str:
    """The name under which a user's key is stored."""
    bare = key
    while bare.startswith(_EXTRA):
        bare = bare[len(_EXTRA) :]
    is_ours = bare in ADDED or bare == "timestamp" or bare.startswith("airflow.")
    return f"{_EXTRA}{key}" if is_ours or (bare in _PARENTS and isinstance(value, (dict, list))) else key


def user_keys(document: dict[str, Any]) -> dict[str, Any]:
    """The keys of a stored line without what we added, under the names that the user gave them."""
    found: dict[str, Any] = {}
    for name, value in document.items():
        if name in ADDED:
            continue
        bare = name.removeprefix(_EXTRA)
        found[bare if bare != name and stored_name(bare, value) == name else name] = value
    return found
