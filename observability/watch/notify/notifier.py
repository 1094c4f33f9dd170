"""From a notice to rows of the outbox: route it, pace it, write down what is to be said."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select, update

from observability.watch.ledger import records, schema
from observability.watch.links import act_links
from observability.watch.notify import render
from observability.watch.notify.history import with_memory
from observability.watch.notify.messages import Links, Message, compose, digest
from observability.watch.rules.config import decide

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from observability.watch.incidents import Notice
    from observability.watch.rules.config import AlertingConfig

__all__ = ["Notifier", "enqueue"]

_KEYED = {"pagerduty"}
_OF_A_FACT = {"opened", "update", "early_warning"}
"""Kinds of notice that follow a fact; of the others the time is that at which they are written."""
_STORM_WINDOW_S = 60.0
_OVER_AFTER_S = 5.0
_FLAP_WINDOW_S = 300.0
_DIGEST_FIRST_S, _DIGEST_MOST_S, _DIGEST_MEMORY_S = 5.0, 300.0, 600.0


@dataclass(frozen=True, slots=True)
class Notifier:
    """Writes notices into the outbox by the rules in force."""

    rules: AlertingConfig
    links: Links
    environment: str

    def notify(self, connection: Connection, notice: Notice, now: float) -> tuple[str, ...]:
        """Queue ``notice`` for everybody who should hear of it; the channels it was queued for."""
        incident = with_memory(connection, notice.incident) if notice.kind == "opened" else notice.incident
        decision = decide(self.rules, incident, now, notice.level)
        channels = decision.channels
        if notice.kind == "resolved":
            channels = (
                tuple(name for name in _notified_channels(connection, incident.id) if name in self.rules.channels)
                or channels
            )
        if incident.kind == "delivery":
            channels = self._around(incident.subject, channels)
        message = compose(replace(notice, incident=incident), self.links, self.environment, decision.severity)
        if self.links.acts and render.is_web(self.links.airflow):
            message = replace(message, acts=act_links(connection, incident, self.links.airflow))
        fact_time = incident.last_seen if notice.kind in _OF_A_FACT else now
        for channel in channels:
            if notice.kind == "resolved" and self._is_keyed(channel):
                self._close(connection, channel, message, now)
                continue
            many = notice.with_others or self._too_many(connection, channel, incident.dag_id, now)
            again = notice.kind in {"reminder", "update"} and self._is_keyed(channel)  # it changes what is there
            state = "held" if many and not again else "pending"
            enqueue(connection, channel, message, now, state=state, fact_time=fact_time)
            if notice.kind == "resolved" and self.rules.channels[channel].type in {"apprise", "address"}:
                self._close_digests(connection, channel, incident.id, now)
        return channels

    def _is_keyed(self, channel: str) -> bool:
        """Tell whether the service opens and closes alerts by a key."""
        return self.rules.channels[channel].type in _KEYED

    def _close(self, connection: Connection, channel: str, resolved: Message, now: float) -> None:
        """See to it that nothing stays open there: the alert itself, and every digest in which it was the last."""
        table = schema.outbox
        mine = (table.c.channel == channel, table.c.incident_id == resolved.incident_id)
        connection.execute(update(table).where(*mine, table.c.state == "held").values(state="suppressed"))
        alone = select(table.c.id).where(*mine, table.c.state.in_(("pending", "sending", "sent", "dead")))
        if connection.execute(select(alone.exists())).scalar():
            enqueue(connection, channel, resolved, now, fact_time=now)
        self._close_digests(connection, channel, resolved.incident_id, now)

    def _close_digests(self, connection: Connection, channel: str, incident_id: str, now: float) -> None:
        """Say that a digest is over with the last of its incidents; an Apprise service without keys leaves it out."""
        table = schema.outbox
        mine = (table.c.channel == channel, table.c.incident_id == incident_id)
        digests = select(table.c.merged_into).where(*mine, table.c.state == "merged").distinct()
        for row in connection.execute(select(table.c.message).where(table.c.id.in_(digests))).scalars():
            said = Message.from_json(row)
            if said.kind == "digest" and not _any_live(connection, said):
                over = replace(
                    said, kind="resolved", title=f"Resolved: {said.title}", dedup_key=f"{said.dedup_key}:over",
                    incident_id="", incidents=(), details=(), log=(),
                )  # fmt: skip
                enqueue(connection, channel, over, now, fact_time=now)

    def fold(self, connection: Connection, now: float) -> None:
        """Make one digest of what was held back, less often the longer it goes on."""
        table = schema.outbox
        held = select(table.c.channel).where(table.c.state == "held").distinct()
        for channel in connection.execute(held).scalars().all():
            if channel not in self.rules.channels:
                continue
            due = now >= _next_digest(connection, channel, now) or self._is_over(connection, channel, now)
            if due or _only_reminders(connection, channel):
                self._fold(connection, channel, now)

    @staticmethod
    def notified_tasks(connection: Connection, incident_id: str) -> int:
        """Number of failed tasks that people were notified of: it may have been counted while it was sent."""
        table = schema.outbox
        rows = connection.execute(select(table.c.message).where(table.c.incident_id == incident_id)).scalars()
        return max((int(row.get("failed") or 0) for row in rows), default=0)

    def _is_over(self, connection: Connection, channel: str, now: float) -> bool:
        """True if a storm has ended: what it left need not wait as long as what goes on."""
        table = schema.outbox
        held = select(func.count(), func.max(table.c.created)).where(
            table.c.channel == channel, table.c.state == "held"
        )
        number, last = connection.execute(held).one()
        return bool(number >= self.rules.timing.storm_messages and last <= now - _OVER_AFTER_S)

    def _fold(self, connection: Connection, channel: str, now: float) -> None:
        table = schema.outbox
        mine = (table.c.channel == channel, table.c.state == "held")
        rows = connection.execute(
            select(table.c.dedup_key, table.c.message, table.c.fact_time).where(*mine).order_by(table.c.id)
        ).all()
        messages = [Message.from_json(row[1]) for row in rows]
        said = digest(messages, _serial([row[0] for row in rows]), self.environment, now, self.links)
        made = enqueue(connection, channel, said, now, fact_time=min(row[2] or now for row in rows))
        connection.execute(update(table).where(*mine).values(state="merged", merged_into=made))

    def _too_many(self, connection: Connection, channel: str, dag_id: str | None, now: float) -> bool:
        """True if notices come too fast; those that were held back count, so that a storm ends when it ends."""
        table, timing = schema.outbox, self.rules.timing
        mine = (table.c.channel == channel, table.c.kind != "digest")
        if _as_many(connection, timing.storm_messages, *mine, table.c.created > now - _STORM_WINDOW_S):
            return True
        about = (*mine, table.c.dag_id == dag_id, table.c.created > now - _FLAP_WINDOW_S)
        return dag_id is not None and _as_many(connection, timing.flap_messages, *about)

    def _around(self, broken: str, channels: tuple[str, ...]) -> tuple[str, ...]:
        """Channels for a message about a broken one: its fallbacks, then any other."""
        fallbacks = [one.fallback for one in self.rules.receivers.values() if broken in one.channels and one.fallback]
        found = dict.fromkeys(name for name in (*channels, *fallbacks) if name != broken)
        return tuple(found) or tuple(name for name in self.rules.channels if name != broken)[:1]


def enqueue(  # noqa: PLR0913 - a row has that many columns
    connection: Connection,
    channel: str,
    message: Message,
    now: float,
    *,
    state: str = "pending",
    fact_time: float | None = None,
) -> int:
    """Write one row into the outbox and answer its id; the same message to the same channel is one row."""
    table = schema.outbox
    mine = (table.c.dedup_key == message.dedup_key, table.c.channel == channel)
    known = connection.execute(select(table.c.id).where(*mine)).scalar()
    if known is not None:
        return int(known)
    values = {
        "dedup_key": message.dedup_key,
        "channel": channel,
        "state": state,
        "kind": message.kind,
        "dag_id": message.dag_id,
        "incident_id": message.incident_id or None,
        "attempts": 0,
        "created": now,
        "next_attempt": now,
        "fact_time": fact_time,
        "message": records.clean(message.as_json()),
    }
    made = connection.execute(insert(table).values(**values)).inserted_primary_key
    return int(made[0]) if made else 0


def _serial(keys: list[str]) -> str:
    """The key of a digest, by those for which it stands: numbers of rows differ from database to database."""
    return f"digest:{blake2b(chr(0).join(keys).encode('utf-8', 'replace'), digest_size=12).hexdigest()}"


def _as_many(connection: Connection, number: int, *where: Any) -> bool:
    """True if there are ``number`` such rows; no more of them are looked at."""
    last = select(schema.outbox.c.id).where(*where).offset(number - 1)
    return bool(connection.execute(select(last.exists())).scalar())


def _only_reminders(connection: Connection, channel: str) -> bool:
    """Tell whether all that is held back was gathered to go together; nothing more comes that is worth a wait."""
    table = schema.outbox
    others = select(table.c.id).where(table.c.channel == channel, table.c.state == "held", table.c.kind != "reminder")
    return not connection.execute(select(others.exists())).scalar()


def _any_live(connection: Connection, digest_: Message) -> bool:
    """Tell whether one of the incidents that a digest stands for is still open."""
    names = [str(one["incident_id"]) for one in digest_.incidents if one.get("incident_id")]
    found = (records.incident(connection, name) for name in dict.fromkeys(names))
    return any(one is not None and one.live for one in found)


def _notified_channels(connection: Connection, incident_id: str) -> list[str]:
    table = schema.outbox
    asked = select(table.c.channel).where(table.c.incident_id == incident_id, table.c.state != "suppressed").distinct()
    return list(connection.execute(asked).scalars())


def _next_digest(connection: Connection, channel: str, now: float) -> float:
    table = schema.outbox
    digests = (table.c.channel == channel, table.c.kind == "digest", table.c.created > now - _DIGEST_MEMORY_S)
    number, last = connection.execute(select(func.count(), func.max(table.c.created)).where(*digests)).one()
    first_held = select(func.min(table.c.created)).where(table.c.channel == channel, table.c.state == "held")
    start = last if last is not None else (connection.execute(first_held).scalar() or now)
    wait: float = _DIGEST_FIRST_S * 2.0**number
    return float(start) + min(_DIGEST_MOST_S, wait)
