"""Kibana's rules as a source: what they wrote into the alert index, without what the watcher knows already.

Free Kibana can tell only an index; ARCHITECTURE.md ("Kibana's rules") has the shape of its documents. A rule looks at
the same events as the watcher, so an alert counts only where no incident about the same thing was seen
lately: then something escaped the other sources.

Kibana dates an alert by the start of its rule's run and writes it at the end, so alerts arrive out of order. Each look
reads the last minutes again, and leaves out what it has read before, by id.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import structlog

from observability import catalog
from observability.credentials import CredentialsError
from observability.events import Identity, RuleFired, RuleRecovered
from observability.store.cluster import ClusterError, ClusterUnreachable
from observability.timestamps import iso
from observability.watch.facts import SEEN, observed, seconds
from observability.watch.ledger import records
from observability.watch.ledger.database import read_cursor, write_cursor

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Connection

    from observability.events import Event
    from observability.store.cluster import Cluster
    from observability.watch.decisions import Decisions
    from observability.watch.facts import Fact
    from observability.watch.incidents import Incident

__all__ = ["KibanaSource", "fact_of", "is_known"]

_CURSOR = "kibana"
_POLL_S = 10.0
_MOST = 10_000
"""So many documents Elasticsearch gives in one answer."""
_LATE_S = 600.0
"""An alert may be written so long after its date: a rule's run that takes long, and an action that is tried again."""
_SLACK_S = 180.0
"""A rule runs once a minute; it may tell so long after its window."""
_KINDS = {
    "notification-failed": "delivery",
    "relay-lag": "sink",
    "scheduler-heartbeat-absent": "component",
}
"""The kind of incident that a rule watches, where its event does not say it."""
_SUBJECTS = {"scheduler-heartbeat-absent": "scheduler"}
"""The subject of a rule that groups by nothing and watches one of several."""
_WHOLE = "ignore_unavailable=true&allow_no_indices=true&allow_partial_search_results=false"
_OF_THE_READER = "watcher-silent"
_BY_SUBJECT = frozenset({"component", "sink"})
"""Kinds of which one being wrong says nothing of another."""

Alert = dict[str, Any]


class KibanaSource(threading.Thread):
    """Reads the index ``name`` in its own thread, so that a slow cluster delays no decision."""

    def __init__(self, connect: Callable[[], Cluster], name: str) -> None:
        super().__init__(name="kibana", daemon=True)
        self._connect, self._index = connect, name
        self._lock, self._over = threading.Lock(), threading.Event()
        self._place: _Place | None = None
        self._found: list[Alert] = []
        self._taken = 0

    def stop(self) -> None:
        """End after the request that is under way."""
        self._over.set()

    def rest(self) -> None:
        """Read nothing until the next :meth:`exchange`, which begins where the watcher that has the lease came to."""
        with self._lock:
            self._place, self._found, self._taken = None, [], 0

    def exchange(self, connection: Connection, decisions: Decisions, now: float) -> None:
        """Write down what was read; on first use, say from when on to read."""
        with self._lock:
            if self._place is None:
                self._place = _Place.of(read_cursor(connection, _CURSOR) or iso(now))
            place, found = self._place, list(self._found)
        self._taken = len(found)
        facts = [fact for alert in found if (fact := fact_of(alert)) and not is_known(connection, alert, fact)]
        decisions.take(connection, facts, now)
        if found:
            write_cursor(connection, _CURSOR, {"since": place.since, "read": place.read})

    def settle(self) -> None:
        """The transaction of :meth:`exchange` stands: what it took is not given again."""
        with self._lock:
            del self._found[: self._taken]
            self._taken = 0

    def run(self) -> None:
        """The thread."""
        log = structlog.get_logger("contrail.watch")
        while not self._over.wait(_POLL_S):
            try:
                self.read()
            except (ClusterError, ClusterUnreachable, CredentialsError) as error:
                log.warning("Kibana's alert index cannot be read", index=self._index, reason=str(error))
            except Exception:
                log.exception("Kibana's alert index gave an answer that cannot be read", index=self._index)

    def read(self) -> None:
        """Read what was not read before. Raises :class:`ClusterError` or :class:`ClusterUnreachable`."""
        with self._lock:
            place = self._place
        if place is None:
            return
        cluster = self._connect()
        try:
            answer = cluster.ask("POST", f"/{quote(self._index)}/_search?{_WHOLE}", _from(place.since))
        finally:
            cluster.close()
        hits = [hit for hit in answer["hits"]["hits"] if _date(hit["_source"])]
        with self._lock:
            if self._place is not place:  # it rests, or has since begun anew
                return
            self._found += [hit["_source"] for hit in hits if hit["_id"] not in place.read]
            self._place = place.after(hits, time.time())


@dataclass(frozen=True)
class _Place:
    """The date from which the next look reads, and the alerts from there on that were read before: id → date."""

    since: str
    read: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, cursor: str | dict[str, Any]) -> _Place:
        """The place as the ledger keeps it; a watcher of version 0.1 kept the date of the last alert alone."""
        return cls(cursor) if isinstance(cursor, str) else cls(cursor["since"], cursor["read"])

    def after(self, hits: list[dict[str, Any]], now: float) -> _Place:
        """The place after an answer. One that is full goes on from its last alert: there are more behind it.

        A date that is yet to come, by a clock that is wrong, moves the place no further than ``now``.
        """
        if not hits:
            return self
        dates = {str(hit["_id"]): _date(hit["_source"]) for hit in hits}
        last = dates[str(hits[-1]["_id"])]
        reached = min(last, now)
        since = reached if len(hits) >= _MOST else max(seconds(self.since), reached - _LATE_S)
        return _Place(iso(since), {key: date for key, date in (self.read | dates).items() if date >= since})


def _date(alert: Alert) -> float:
    """The date of an alert; 0 for a document that has none, which somebody else wrote."""
    try:
        return seconds(alert["@timestamp"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return 0.0


def fact_of(alert: Alert) -> Fact | None:
    """An alert as a fact; None for a document that no rule of ours wrote, and for "no watcher": one reads it."""
    rule = catalog.MONITORS.get(str(alert.get("rule", "")))
    if rule is None or alert["rule"] == _OF_THE_READER:
        return None
    about = str(alert.get("alert", "")) if rule.group_by else ""
    name = f"{alert['rule']}:{about}" if about and rule.group_by != "dag_id" else str(alert["rule"])
    identity = Identity(dag_id=about) if rule.group_by == "dag_id" and about else None
    reason = f"{rule.title}, says Kibana: {alert.get('value', '')} in {rule.window_s // 60} min"
    event: Event = (
        RuleRecovered(identity=identity, rule_id=name, reason=reason)
        if alert.get("group") == "recovered"
        else RuleFired(
            identity=identity,
            rule_id=name,
            reason=reason,
            cause="deadline" if alert["rule"] == "deadline-missed" else "platform",
            severity=rule.severity,
            runbook=rule.runbook,
        )
    )
    return observed(
        event,
        time=seconds(alert["@timestamp"]),
        certainty=SEEN,
        evidence={"incident.runbook": rule.runbook},
    )


def is_known(connection: Connection, alert: Alert, fact: Fact) -> bool:
    """True if an incident about the same thing was seen since the rule's window began."""
    if fact.status == "resolved":
        return False
    rule = catalog.MONITORS[alert["rule"]]
    seen = records.incidents(connection, since=fact.time - rule.window_s - _SLACK_S)
    return any(_is_same(one, alert, rule) for one in seen if one.kind != "rule")


def _is_same(incident: Incident, alert: Alert, rule: catalog.AlertRule) -> bool:
    if rule.group_by == "dag_id":
        return incident.dag_id == alert.get("alert")
    kind = _kind(alert["rule"], rule)
    if incident.kind != kind or kind not in _BY_SUBJECT:
        return incident.kind == kind
    subject = str(alert.get("alert") if rule.group_by else _SUBJECTS.get(alert["rule"], ""))
    return incident.subject == subject or incident.subject.startswith(f"{subject} of ")  # one of each host


def _kind(key: str, rule: catalog.AlertRule) -> str:
    use = catalog.EVENTS[rule.event].incident if rule.event else None
    return _KINDS.get(key) or (use.kind if use else "")


def _from(since: str) -> dict[str, Any]:
    return {
        "size": _MOST,
        "query": {"range": {"@timestamp": {"gte": since}}},
        "sort": [{"@timestamp": {"order": "asc", "unmapped_type": "date"}}],
    }
