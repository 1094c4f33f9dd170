"""The question of the search box: which log lines say this, and what stands around them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any

from observability.errors import ArgumentError
from observability.store import Query
from observability.store.search import Found, matcher, newest_matches
from observability.timestamps import parsed

if TYPE_CHECKING:
    from observability.store import Readable

__all__ = ["LEVELS", "SearchPage", "Wanted", "search_page"]

LEVELS = ("debug", "info", "warning", "error", "critical")
_AROUND_MOST = 20
_MATCHES = 50
_SECONDS = 3.0
"""The time that one search may take: a page says how far back it came, and goes on from there."""
_TOO_SLOW = "this pattern takes too long on lines as long as these: shorten what it repeats"
_TURNS = BoundedSemaphore(4)
"""Searches at once: each holds one of the threads by which the API server answers."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A search as it stands in the address; ``until`` is where an earlier one stopped."""

    text: str = ""
    dag_id: str = ""
    run_id: str = ""
    task_id: str = ""
    level: str = ""
    hours: float = 24.0
    around: int = 2
    is_pattern: bool = False
    until: str = ""


@dataclass(frozen=True, slots=True)
class SearchPage:
    """The search and its findings, or why it cannot be made."""

    wanted: Wanted
    found: Found = field(default_factory=Found)
    mistake: str = ""


def search_page(store: Readable, wanted: Wanted) -> SearchPage:
    """The newest lines that say what is wanted."""
    if not wanted.text:
        return SearchPage(wanted)
    try:
        matches = matcher(wanted.text, is_text=not wanted.is_pattern, ignore_case=True)
        until = parsed(wanted.until) if wanted.until else None
    except (ArgumentError, ValueError) as error:
        return SearchPage(wanted, mistake=str(error))
    if until is not None and until.tzinfo is None:
        until = until.replace(tzinfo=timezone.utc)
    names = {
        "airflow.dag_id": wanted.dag_id,
        "airflow.run_id": wanted.run_id,
        "airflow.task_id": wanted.task_id,
        "log.level": wanted.level if wanted.level in LEVELS else "",
    }
    where: dict[str, Any] = {name: value for name, value in names.items() if value}
    since = datetime.now(timezone.utc) - timedelta(hours=wanted.hours)
    query = Query("airflow.task", where, since=since, until=until)
    around = min(max(wanted.around, 0), _AROUND_MOST)
    if not _TURNS.acquire(timeout=_SECONDS):
        return SearchPage(wanted, mistake="others are searching: try it again in a moment")
    try:
        found = newest_matches(store, query, matches, around=around, most=_MATCHES, seconds=_SECONDS)
    finally:
        _TURNS.release()
    is_stuck = not found.is_whole and not found.back_to
    return SearchPage(wanted, found, mistake=_TOO_SLOW if is_stuck else "")
