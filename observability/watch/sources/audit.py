"""Airflow's event log: who triggered, cleared, paused, changed what, read once and shipped as an event for each row.

The API filters by time, not by number, and a row that is written late has an earlier time: each look begins some time
before the newest row, and leaves out those whose numbers it knows. A row's event and the cursor are one transaction.
A request that Airflow does not show as carried out at once waits a while, because it is written down before it is.
"""

from __future__ import annotations

import json
import threading
import time
from datetime import timezone
from itertools import islice
from typing import TYPE_CHECKING, Any

import structlog

from observability import redact
from observability.contain import count_loss
from observability.errors import ApiError, ApiUnavailable, LedgerUnavailable
from observability.events import AuditRecorded, Identity
from observability.timestamps import iso, parsed
from observability.watch.ledger import pending_events
from observability.watch.ledger.database import read_cursor, write_cursor
from observability.watch.sources.carried_out import TAKES_S, is_judged, outcome_of
from observability.watch.sources.isolation import ODD_ANSWERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from observability.catalog import Outcome
    from observability.watch.ledger.database import Ledger
    from observability.watch.sources.api import AirflowApi

    _Placed = dict[int, tuple[dict[str, Any], float]]

__all__ = ["AuditReader", "look", "recorded"]

_CURSOR = "audit"
_EVERY_S = 10.0
_AWAY_S = 60.0
_OVERLAP_S = 300.0
"""A row that stands in the log later than this after its own time is not read."""
_FIRST_S = 86_400.0
"""A watcher that is new to an Airflow reads what was done on the day before it came."""
_MOST = 1000
"""Rows of one look; the next one goes on there."""
_JUDGED_MOST = 100
"""Rows of one look about which Airflow is asked whether it did that."""
_NOT_DEEDS = (
    "running", "success", "failed", "skipped", "queued", "scheduled", "deferred", "up_for_retry", "up_for_reschedule",
    "upstream_failed", "removed", "restarting", "heartbeat_timeout", "state mismatch", "stuck in queued reschedule",
    "stuck in queued tries exceeded", "cli_task_run", "cli_scheduler", "cli_api_server", "cli_dag_processor",
    "cli_triggerer", "cli_run", "cli_check",
)  # fmt: skip
"""Rows that tasks and components write about themselves: their own events say it, and better."""
_MOST_EXTRA = 2000
_SECRETIVE = ("connection", "variable")
_NAMES = ("connection_id", "conn_id", "key")
_TYPES = (
    (("clear",), "change"),
    (("delete", "remove"), "deletion"), (("trigger", "post", "create", "add", "materialize"), "creation"),
    (("get", "download", "test", "export"), "access"),
)  # fmt: skip
_CATEGORIES = (
    (("login", "logout", "token"), "session"), (("user", "role", "permission"), "iam"),
    (("connection", "variable", "pool", "pause", "config", "silence", "patch_dag"), "configuration"),
)  # fmt: skip


def recorded(row: Mapping[str, Any], outcome: Outcome = "unknown") -> AuditRecorded:
    """The event of a row of the event log, with what became of the request.

    Raises one of :data:`ODD_ANSWERS` where the row is none.
    """
    name = str(row["event"])
    when = parsed(str(row["when"]))
    index = row.get("map_index")
    return AuditRecorded(
        identity=Identity(
            dag_id=row.get("dag_id"), run_id=row.get("run_id"), task_id=row.get("task_id"),
            map_index=index if isinstance(index, int) and index >= 0 else None, try_number=row.get("try_number"),
        ),
        time=when if when.tzinfo else when.replace(tzinfo=timezone.utc),
        discriminator=f"log:{int(row['event_log_id'])}",
        outcome=outcome,
        user_name=row.get("owner"),
        audit_event=name,
        audit_extra=_extra(name, row.get("extra")),
        category=(_kind(name, _CATEGORIES, "process"),),
        change=(_kind(name, _TYPES, "change"),),
    )  # fmt: skip


def look(api: AirflowApi, ledger: Ledger, now: float) -> int:
    """Read what is new and have it emitted; the number of rows. Raises ApiError and LedgerUnavailable."""
    with ledger.transaction() as connection:
        cursor = read_cursor(connection, _CURSOR) or {"newest": now - _FIRST_S, "known": []}
    known = {int(number): float(at) for number, at in cursor["known"]}
    waited = {int(number): float(since) for number, since in cursor.get("waiting", ())}
    since = iso(cursor["newest"] - _OVERLAP_S, "microseconds")
    asked = {"after": since, "excluded_events": list(_NOT_DEEDS), "order_by": "when"}
    listed = islice(api.pages("/eventLogs", "event_logs", **asked), _MOST + len(known))
    placed = {number: (row, at) for row in listed for number, at in _place(row) if number not in known}
    fresh: dict[int, tuple[AuditRecorded, float]] = {}
    waiting: dict[int, float] = {}
    for number, (row, at) in _affordable(placed).items():
        outcome, first = outcome_of(api, row), waited.get(number, now)
        if outcome != "success" and is_judged(row) and now - first < TAKES_S and now - at < _OVERLAP_S / 2:
            waiting[number] = first
        else:
            fresh[number] = recorded(row, outcome), at
    newest = max([float(cursor["newest"]), *(min(at, now) for _, at in fresh.values())])
    seen = known | {number: at for number, (_, at) in fresh.items()}
    kept = [(number, at) for number, at in seen.items() if at >= newest - 2 * _OVERLAP_S]
    with ledger.transaction(lock=True) as connection:
        for event, _ in fresh.values():
            pending_events.add(connection, event, now)
        write_cursor(connection, _CURSOR, {"newest": newest, "known": kept, "waiting": list(waiting.items())})
    return len(fresh)


def _affordable(placed: _Placed) -> _Placed:
    """The oldest of these rows, so many that Airflow need not be asked about more than it is in one look."""
    judged = [number for number, (row, _) in placed.items() if is_judged(row)]
    if len(judged) <= _JUDGED_MOST:
        return placed
    numbers = list(placed)
    return {number: placed[number] for number in numbers[: numbers.index(judged[_JUDGED_MOST])]}


def _place(row: Mapping[str, Any]) -> Iterator[tuple[int, float]]:
    """Number and time of a row that can be recorded; nothing of another one, which is counted."""
    try:
        made = recorded(row)
        if made.time is not None and made.audit_event not in _NOT_DEEDS:
            yield int(row["event_log_id"]), made.time.timestamp()
    except ODD_ANSWERS as error:
        count_loss("watch.audit", type(error).__name__)


class AuditReader(threading.Thread):
    """Looks every ten seconds in a thread of its own, until it is stopped; less often while Airflow refuses."""

    def __init__(self, api: AirflowApi, ledger: Ledger) -> None:
        super().__init__(name="audit", daemon=True)
        self._api, self._ledger = api, ledger
        self._over = threading.Event()

    def stop(self) -> None:
        """End after the look that is under way; the next watcher goes on from there."""
        self._over.set()

    def run(self) -> None:
        """The thread."""
        log, problem = structlog.get_logger("contrail.watch"), ""
        while not self._over.is_set():
            try:
                look(self._api, self._ledger, time.time())
                problem, rest_s = "", _EVERY_S
            except (ApiError, LedgerUnavailable) as error:
                if str(error) != problem:
                    log.warning("Airflow's event log cannot be read now", reason=str(error))
                problem, rest_s = str(error), _EVERY_S if isinstance(error, ApiUnavailable) else _AWAY_S
            except Exception as error:
                count_loss("watch.audit", type(error).__name__)
                log.exception("a look at Airflow's event log failed")
                problem, rest_s = type(error).__name__, _AWAY_S
            self._over.wait(rest_s)
        self._api.close()


def _extra(name: str, extra: Any) -> str | None:
    """The text that Airflow wrote beside a deed, masked; of Connections and Variables only which keys were given."""
    if not extra:
        return None
    try:
        read = json.loads(str(extra))
    except ValueError:
        read = None
    if any(word in name.lower() for word in _SECRETIVE):
        named = (
            {key: read[key] for key in ("connection_id", "conn_id", "key") if key in read}
            if isinstance(read, dict)
            else {}
        )
        keys = sorted(map(str, read)) if isinstance(read, dict) else []
        return redact.text(json.dumps({**named, "fields": keys}))[:_MOST_EXTRA]
    return redact.text(str(extra))[:_MOST_EXTRA]


def _kind(name: str, kinds: Any, otherwise: str) -> str:
    return next((kind for words, kind in kinds if any(word in name.lower() for word in words)), otherwise)
