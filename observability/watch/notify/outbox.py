"""Delivery: one thread per channel takes rows from the outbox and brings them out, so that none delays another.

A row is marked ``sending`` before it is sent and ``sent`` after. Killed in between, it is sent again with the
same dedup key: the file channel looks whether it is there, a webhook's receiver and PagerDuty tell by the key.
Only a channel without keys (chat, mail, plain SNS) can then see a message twice: when the process dies after
the service has taken it and before the row is marked, a time of one local transaction.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import func, insert, select, update

from observability.emit import is_recorded
from observability.events import ChannelBroken, ChannelRecovered, Identity, NotificationFailed, NotificationSent
from observability.redact import inert
from observability.watch.facts import CERTAIN, observed
from observability.watch.ledger import pending_events, records, schema
from observability.watch.ledger.database import LedgerUnavailable
from observability.watch.notify.channels import ChannelRefused, ChannelUnavailable, open_channel
from observability.watch.notify.message import Message
from observability.watch.notify.size_limits import essentials

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from observability.events import Event
    from observability.watch.facts import Fact
    from observability.watch.ledger.database import Ledger
    from observability.watch.notify.channels.channel import Channel, Contacts
    from observability.watch.rules.config import AlertingConfig, ChannelSpec

__all__ = ["ChannelWorker", "OutboxRow", "backoff", "fallback_for", "requeue"]

_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 300.0
_TROUBLE_AFTER = 3
_LONG_REST_S, _REST_MOST_S = 30.0, 3600.0
"""A service that wants to be left alone for longer than the first is as good as down."""
_IDLE_S = 1.0
_REASON_MOST = 2000
_LEDGER_WAIT_S = 1.0
_EMIT_HERE_S = 5.0
"""The watcher emits an event of a worker only if the worker, which was killed, has not done so by then."""


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A row of the outbox on its way; ``attempt`` counts from 1."""

    id: int
    attempt: int
    created: float
    fact_time: float | None
    message: Message


def backoff(attempt: int, wish_s: float | None, chance: float) -> float:
    """Seconds to wait after a failed attempt: doubling, with jitter; never less than the service asked for."""
    wait = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** (attempt - 1)) * (0.5 + chance / 2)
    return max(wait, wish_s or 0.0)


def fallback_for(rules: AlertingConfig, channel: str) -> str | None:
    """The channel that takes over while this one is down."""
    found = (one.fallback for one in rules.receivers.values() if channel in one.channels)
    return next((name for name in found if name and name != channel), None)


def requeue(ledger: Ledger) -> None:
    """Put back what a watcher that died was sending."""
    table = schema.outbox
    with ledger.transaction(lock=True) as connection:
        connection.execute(update(table).where(table.c.state == "sending").values(state="pending"))


class ChannelWorker(threading.Thread):
    """Brings out the messages of one channel until :meth:`stop`.

    ``report`` takes facts about the channel itself; ``complete`` adds to a message what is known when it is sent.
    """

    def __init__(  # noqa: PLR0913 - the parts of a worker
        self,
        name: str,
        spec: ChannelSpec,
        ledger: Ledger,
        contacts: Contacts,
        home: Path,
        *,
        fallback: str | None,
        report: Callable[[Fact], None],
        emit: Callable[[Event], object],
        complete: Callable[[Message], Message] = lambda message: message,
    ) -> None:
        super().__init__(name=f"worker-{name}", daemon=True)
        self.channel, self._spec, self._ledger, self._contacts, self._home = name, spec, ledger, contacts, home
        self._fallback, self._report, self._emit, self._complete = fallback, report, emit, complete
        self._wake = threading.Event()
        self._over = threading.Event()
        self._sent: deque[float] = deque()
        self._rest_until = 0.0
        self._open: Channel | None = None
        self._failures = 0
        self._is_first = True
        """Tell whether nothing was delivered yet: an earlier worker may have reported the channel as broken."""
        self._log = structlog.get_logger("contrail.watch")

    def wake(self) -> None:
        """There may be something to send."""
        self._wake.set()

    def stop(self) -> None:
        """End after the message that is on its way."""
        self._over.set()
        self._wake.set()

    def run(self) -> None:
        """The thread."""
        while not self._over.is_set():
            try:
                busy = self.step(time.time())
            except LedgerUnavailable as error:
                self._log.warning("the outbox waits for the ledger", reason=str(error))
                self._over.wait(_LEDGER_WAIT_S)
                continue
            except Exception:  # noqa: BLE001 - the channel lives by this thread
                self._log.exception("a worker stumbled, and goes on", channel=self.channel)
                self._put_back()
                busy = False
            if not busy:
                self._wake.wait(_IDLE_S)
                self._wake.clear()
        if self._open is not None:
            self._open.close()

    def step(self, now: float) -> bool:
        """Send one message, if one is due and the rate allows it; whether there may be more."""
        if now < self._rest_until <= now + _REST_MOST_S:
            return self._pass_by(now)
        if not self._may_send(now):
            return False
        row = self._claim(now)
        if row is None:
            return False
        try:
            if self._open is None:
                self._open = open_channel(self.channel, self._spec, self._contacts, self._home)
            row = self._send(self._open, row)
        except ChannelUnavailable as error:
            self._failed(row, str(error), error.retry_after_s, time.time())
        except ChannelRefused as error:
            self._dead(row, str(error), time.time())
        except Exception as error:  # noqa: BLE001 - a fault of a client library must not end the thread that the channel lives by
            self._log.exception("a channel failed in a way that it does not know", channel=self.channel)
            self._failed(row, f"{self.channel}: {type(error).__name__}: {error}", None, time.time())
        else:
            self._done(row, time.time())
        return True

    def _send(self, channel: Channel, row: OutboxRow) -> OutboxRow:
        """Send it, or its essentials where the service may have refused it for its size; return what was sent."""
        resent, message = row.attempt > 1, self._complete(row.message)
        try:
            channel.send(message, resent=resent)
        except ChannelRefused as error:
            if not error.perhaps_too_long:
                raise
            try:
                channel.send(essentials(message), resent=resent)
            except ChannelRefused:
                raise error from None  # what was said of the whole message says more
            self._log.warning("a message was taken only in short", channel=self.channel, reason=str(error))
        return replace(row, message=message)

    def _put_back(self) -> None:
        table = schema.outbox
        mine = (table.c.channel == self.channel, table.c.state == "sending")
        try:
            with self._ledger.transaction(lock=True) as connection:
                connection.execute(update(table).where(*mine).values(state="pending"))
        except LedgerUnavailable as error:
            self._log.warning("the outbox waits for the ledger", reason=str(error))

    def _may_send(self, now: float) -> bool:
        while self._sent and not now - 60 < self._sent[0] <= now:  # later than now: the clock was set back
            self._sent.popleft()
        return len(self._sent) < self._spec.rate_per_minute

    def _pass_by(self, now: float) -> bool:
        """While the service wants to be left alone for long, the fallback has what is due; whether there was any."""
        if self._fallback is None or self._failures < _TROUBLE_AFTER:
            return False
        row = self._claim(now)
        if row is None:
            return False
        self._mark(row, state="pending", attempts=row.attempt - 1, next_attempt=self._rest_until)
        self._hand_over(row, now)
        return True

    def _claim(self, now: float) -> OutboxRow | None:
        table = schema.outbox
        columns = (table.c.id, table.c.attempts, table.c.created, table.c.fact_time, table.c.message)
        due = select(*columns).where(
            table.c.channel == self.channel, table.c.state == "pending", table.c.next_attempt <= now, ~_overtakes()
        )
        with self._ledger.transaction() as connection:
            row = connection.execute(due.order_by(table.c.id).limit(1)).first()
            if row is None:
                return None
            connection.execute(update(table).where(table.c.id == row[0]).values(state="sending", attempts=row[1] + 1))
        self._sent.append(now)
        return OutboxRow(row[0], row[1] + 1, row[2], row[3], Message.from_json(row[4]))

    def _done(self, row: OutboxRow, now: float) -> None:
        table = schema.outbox
        event = _event(NotificationSent, self.channel, row, row.message.summary, now)
        said = records.clean(row.message.as_json())
        self._mark(row, event, state="sent", sent=now, error=None, message=said)
        with self._ledger.transaction() as connection:  # what this one stood in for need not be said again
            replaced = select(table.c.merged_into).where(table.c.id == row.id).scalar_subquery()
            twin = (table.c.id == replaced, table.c.state == "pending")
            connection.execute(update(table).where(*twin).values(state="merged", merged_into=row.id))
            broken = self._is_first and any(
                one.subject == self.channel for one in records.live_incidents(connection, kind="delivery")
            )
        if broken or self._failures >= _TROUBLE_AFTER:
            over = ChannelRecovered(channel=self.channel, reason="it takes messages again")
            self._report(observed(over, time=now))
        self._failures, self._is_first = 0, False
        self._say(event)

    def _failed(self, row: OutboxRow, reason: str, wish_s: float | None, now: float) -> None:
        reason = inert(reason, longest=_REASON_MOST)  # what a service said is shown on terminals
        if now - row.created >= self._spec.give_up_after:
            self._dead(row, f"given up after {row.attempt} attempts: {reason}", now)
            return
        wait = backoff(row.attempt, wish_s, random.random())  # noqa: S311 - jitter is no secret
        if wish_s:  # it speaks for the whole channel, not for this message
            self._rest_until = now + min(wish_s, _REST_MOST_S)
        if (wish_s or 0.0) > _LONG_REST_S:
            self._failures = max(self._failures, _TROUBLE_AFTER - 1)
        event = _event(NotificationFailed, self.channel, row, reason, now)
        self._mark(row, event, state="pending", error=reason, next_attempt=now + wait)
        self._count_failure(row, reason, now)
        self._say(event)

    def _dead(self, row: OutboxRow, reason: str, now: float) -> None:
        reason = inert(reason, longest=_REASON_MOST)  # what a service said is shown on terminals
        event = _event(NotificationFailed, self.channel, row, reason, now, delivery="dead")
        self._mark(row, event, state="dead", error=reason)
        self._failures = max(self._failures, _TROUBLE_AFTER - 1)
        self._count_failure(row, reason, now)
        self._say(event)

    def _count_failure(self, row: OutboxRow, reason: str, now: float) -> None:
        self._failures += 1
        if self._open is not None:
            self._open.close()
            self._open = None
        if self._failures >= _TROUBLE_AFTER:
            broken = ChannelBroken(channel=self.channel, reason=reason)
            self._report(observed(broken, time=now, certainty=CERTAIN))
            self._hand_over(row, now)

    def _hand_over(self, row: OutboxRow, now: float) -> None:
        """Queue the same message for the fallback, once."""
        table = schema.outbox
        if self._fallback is None:
            return
        twin = select(table.c.id).where(table.c.dedup_key == row.message.dedup_key, table.c.channel == self._fallback)
        with self._ledger.transaction(lock=True) as connection:
            if connection.execute(twin).first() is not None:
                return
            connection.execute(
                insert(table).values(
                    dedup_key=row.message.dedup_key,
                    channel=self._fallback,
                    state="pending",
                    kind=row.message.kind,
                    dag_id=row.message.dag_id,
                    incident_id=row.message.incident_id or None,
                    attempts=0,
                    created=now,
                    next_attempt=now,
                    fact_time=row.fact_time,
                    merged_into=row.id,
                    message=row.message.as_json(),
                )
            )

    def _mark(self, row: OutboxRow, event: Event | None = None, **values: Any) -> None:
        """Write down what became of a row, and in the same transaction the event that says so."""
        table = schema.outbox
        while True:
            try:
                with self._ledger.transaction() as connection:
                    connection.execute(update(table).where(table.c.id == row.id).values(**values))
                    if event is not None:
                        pending_events.add(connection, event, time.time() + _EMIT_HERE_S)
                return
            except LedgerUnavailable as error:  # it was sent; that must be written down before anything else
                self._log.warning("a delivery waits for the ledger", channel=self.channel, reason=str(error))
                if self._over.wait(_LEDGER_WAIT_S):
                    return

    def _say(self, event: Event) -> None:
        """Emit an event that stands in the ledger, and delete it there once it stands in the journal."""
        self._emit(event)
        if not is_recorded(event.id):
            return
        try:
            with self._ledger.transaction() as connection:
                pending_events.delete_recorded(connection, [event.id])
        except LedgerUnavailable as error:  # the watcher finds that it stands in the journal, and deletes it
            self._log.warning("an event that was emitted stays in the ledger", reason=str(error))


def _overtakes() -> Any:
    """The end of an incident, while an earlier message about it waits: arriving first, it would leave that one open."""
    table, earlier = schema.outbox, schema.outbox.alias("earlier")
    same = earlier.c.incident_id == table.c.incident_id
    waits = earlier.c.state.in_(("pending", "sending"))
    asked = select(earlier.c.id).where(
        earlier.c.channel == table.c.channel, same, waits, earlier.c.id < table.c.id, table.c.kind == "resolved"
    )
    return asked.exists()


def waiting(ledger: Ledger) -> dict[tuple[str, str], int]:
    """Count the rows, by (channel, state)."""
    table = schema.outbox
    with ledger.transaction() as connection:
        asked = select(table.c.channel, table.c.state, func.count()).group_by(table.c.channel, table.c.state)
        return {(row[0], row[1]): row[2] for row in connection.execute(asked)}


def _event(kind: Any, channel: str, row: OutboxRow, reason: str, now: float, **more: Any) -> Event:
    message = row.message
    made: Event = kind(
        identity=Identity(dag_id=message.dag_id, task_id=message.task_id, run_id=message.run_id),
        discriminator=f"{channel}:{message.dedup_key}:{row.attempt}",
        channel=channel,
        kind=message.kind,
        incident_id=message.incident_id,
        incident_key=message.incident_key,
        reason=reason,
        attempts=row.attempt,
        cause=message.cause or None,
        duration_ns=int((now - (row.fact_time or row.created)) * 1e9),
        asset=message.assets or None,
        **more,
    )
    return made
