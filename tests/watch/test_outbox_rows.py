"""A row of the outbox is claimed, sent, tried again, given up or handed over, to the second."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
from sqlalchemy import select, update

from observability.events import ChannelBroken
from observability.watch import incidents
from observability.watch.facts import CERTAIN, observed
from observability.watch.ledger import records, schema
from observability.watch.ledger.database import LedgerUnavailable
from observability.watch.notify import outbox
from observability.watch.notify.channels.channel import ChannelRefused, ChannelUnavailable
from observability.watch.notify.message import Message
from observability.watch.notify.notifier import enqueue
from observability.watch.notify.outbox import ChannelWorker, fallback_for, requeue, waiting
from observability.watch.rules.config import ChannelSpec, parse_rules

NOW = 1_000_000.0


def message(number=1, **more):
    given = {"kind": "opened", "incident_id": f"i{number}", "incident_key": "run:load:r", "cause": "app", **more}
    return Message(severity="error", title="t", summary="why", dedup_key=f"key{number}", dag_id="load", run_id="r",
                   task_id="t", **given)  # fmt: skip


class Sink:
    """A channel that keeps what it was asked to send, and fails as it is told."""

    def __init__(self):
        self.failures, self.sent, self.closed = [], [], 0

    def send(self, message, *, resent):  # noqa: ARG002 - a channel has it
        self.sent.append(message)
        if self.failures:
            raise self.failures.pop(0)

    def close(self):
        self.closed += 1


class Desk:
    """The rows of a ledger, and a worker that is driven by hand."""

    def __init__(self, ledger):
        self.ledger, self.sink, self.facts, self.events = ledger, Sink(), [], []

    def worker(self, *, fallback="log", complete=lambda message: message, **spec):
        return ChannelWorker(
            "hook", ChannelSpec.model_validate({"type": "log", **spec}), self.ledger, None, None, fallback=fallback,
            report=self.facts.append, emit=self.events.append, complete=complete,
        )  # fmt: skip

    def put(self, *messages, channel="hook", at=NOW, **values):
        with self.ledger.transaction(lock=True) as connection:
            for one in messages:
                row = enqueue(connection, channel, one, at)
                if values:
                    connection.execute(update(schema.outbox).where(schema.outbox.c.id == row).values(**values))

    def rows(self, *names):
        with self.ledger.transaction() as connection:
            asked = select(*(schema.outbox.c[name] for name in names)).order_by(schema.outbox.c.id)
            return [tuple(row) if len(names) > 1 else row[0] for row in connection.execute(asked)]


@pytest.fixture
def desk(ledger, monkeypatch):
    made = Desk(ledger)
    monkeypatch.setattr(outbox, "open_channel", lambda *_: made.sink)
    monkeypatch.setattr(outbox.random, "random", lambda: 1.0)
    return made


@pytest.mark.parametrize(
    ("wish", "next_after", "rests", "broken"),
    [
        (None, 1.0, None, False),
        (0.0, 1.0, None, False),
        (20.0, 20.0, 20.0, False),
        (30.0, 30.0, 30.0, False),
        (30.5, 30.5, 30.5, True),  # as good as down
        (5000.0, 5000.0, 3600.0, True),
    ],
)
def test_what_failed_is_tried_again_when_the_service_wishes_it(desk, wish, next_after, rests, broken):
    worker = desk.worker()
    desk.put(message())
    worker._failed(worker._claim(NOW), "busy", wish, NOW + 5)
    assert desk.rows("channel", "state", "attempts", "error", "next_attempt")[0] == (
        "hook", "pending", 1, "busy", NOW + 5 + next_after,
    )  # fmt: skip
    assert worker._rest_until == (0.0 if rests is None else NOW + 5 + rests)
    assert [(fact.kind, fact.subject, fact.certainty) for fact in desk.facts] == [
        ("delivery", "hook", CERTAIN)
    ] * broken
    assert desk.rows("channel") == ["hook", *["log"] * broken]


def test_each_further_attempt_waits_twice_as_long(desk):
    worker, now, waits = desk.worker(fallback=None), NOW, []
    desk.put(message())
    for _ in range(4):
        worker._failed(worker._claim(now), "busy", None, now)
        waits.append(desk.rows("next_attempt")[0] - now)
        now = desk.rows("next_attempt")[0]
    assert waits == [1.0, 2.0, 4.0, 8.0]
    assert desk.rows("attempts") == [4]


def test_the_third_failure_in_a_row_is_trouble_and_a_success_begins_anew(desk):
    worker, reported = desk.worker(), []
    desk.put(*map(message, range(12)))
    for what in "fffdffdfff":
        row = worker._claim(NOW)
        worker._done(row, NOW) if what == "d" else worker._failed(row, "busy", None, NOW)
        reported.append(len(desk.facts))
    assert reported == [0, 0, 1, 2, 2, 2, 2, 2, 2, 3]
    assert [fact.status for fact in desk.facts] == ["firing", "resolved", "firing"]
    assert [fact.time for fact in desk.facts] == [NOW] * 3
    assert desk.facts[1].reason == "it takes messages again"


@pytest.mark.parametrize("before", [0, 5])
def test_what_is_given_up_is_trouble_at_once(desk, before):
    worker = desk.worker()
    worker._failures = before
    desk.put(message())
    worker._dead(worker._claim(NOW), "no such address", NOW)
    assert (worker._failures, [fact.status for fact in desk.facts]) == (max(before, 2) + 1, ["firing"])
    assert desk.rows("channel", "state", "error") == [("hook", "dead", "no such address"), ("log", "pending", None)]
    assert [(event.action, event.delivery, event.reason) for event in desk.events] == [
        ("notification.failed", "dead", "no such address")
    ]


@pytest.mark.parametrize(("age", "state"), [(59.9, "pending"), (60.0, "dead")])
def test_a_message_is_given_up_when_it_could_not_be_delivered_for_so_long(desk, age, state):
    worker = desk.worker(give_up_after="60s")
    desk.put(message())
    worker._failed(worker._claim(NOW), "busy", None, NOW + age)
    said = "busy" if state == "pending" else "given up after 1 attempts: busy"
    assert desk.rows("state", "error")[0] == (state, said)


@pytest.mark.parametrize(("fact_time", "duration"), [(NOW - 7, 10.0), (None, 3.0)])
@pytest.mark.parametrize(("cause", "assets"), [("app", ("s3://a",)), ("", ())])
def test_what_was_sent_says_how_long_it_took_from_its_fact(desk, fact_time, duration, cause, assets):
    worker = desk.worker()
    desk.put(message(cause=cause, assets=assets), fact_time=fact_time, attempts=1)
    worker._done(worker._claim(NOW), NOW + 3)
    (event,) = desk.events
    assert (event.channel, event.kind, event.attempts, event.reason) == ("hook", "opened", 2, "why")
    assert (event.duration_ns, event.cause, event.asset) == (int(duration * 1e9), cause or None, assets or None)
    assert (event.incident_id, event.incident_key, event.delivery) == ("i1", "run:load:r", "sent")
    assert (event.identity.dag_id, event.identity.run_id, event.identity.task_id) == ("load", "r", "t")
    assert event.discriminator == "hook:key1:2"
    assert desk.rows("state", "sent", "error", "attempts") == [("sent", NOW + 3, None, 2)]


def test_the_watcher_emits_what_a_worker_has_not_emitted_within_five_seconds(desk):
    worker = desk.worker()
    desk.put(message())
    before = time.time()
    worker._done(worker._claim(NOW), NOW)
    with desk.ledger.transaction() as connection:
        (due,) = connection.execute(select(schema.events.c.due)).scalars()
    assert before + 5 <= due < before + 5.9


@pytest.mark.parametrize(("rest", "busy"), [(-1, True), (0, True), (0.1, False), (3600, False), (3600.1, True)])
def test_a_worker_rests_until_then_and_no_longer_than_an_hour_of_this_clock(desk, rest, busy):
    worker = desk.worker(fallback=None)
    desk.put(message())
    worker._rest_until = NOW + rest
    assert worker.step(NOW) is busy
    assert len(desk.sink.sent) == busy


@pytest.mark.parametrize(
    ("fallback", "failures", "handed"), [("log", 2, False), ("log", 3, True), ("log", 4, True), (None, 3, False)]
)
def test_while_a_worker_rests_in_trouble_the_fallback_has_what_is_due(desk, fallback, failures, handed):
    worker = desk.worker(fallback=fallback)
    worker._failures, worker._rest_until = failures, NOW + 60
    desk.put(message())
    assert worker.step(NOW) is handed
    assert worker.step(NOW) is False
    assert desk.rows("channel", "state", "attempts") == [
        ("hook", "pending", 0), *[("log", "pending", 0)] * handed,
    ]  # fmt: skip


@pytest.mark.parametrize("incident_id", ["i1", ""])
def test_what_the_fallback_gets_is_the_same_message(desk, incident_id):
    worker = desk.worker()
    desk.put(message(2), channel="log")  # another message that the fallback has already
    desk.put(message(incident_id=incident_id), fact_time=NOW - 9)
    row = worker._claim(NOW)
    for _ in range(2):
        worker._hand_over(row, NOW + 3)
    columns = ("channel", "dedup_key", "state", "kind", "dag_id", "incident_id", "attempts", "created", "next_attempt")
    assert desk.rows(*columns, "fact_time", "merged_into")[2:] == [
        ("log", "key1", "pending", "opened", "load", incident_id or None, 0, NOW + 3, NOW + 3, NOW - 9, row.id)
    ]
    assert desk.rows("message")[2] == desk.rows("message")[1]


@pytest.mark.parametrize("state", ["pending", "sent", "sending"])
def test_what_the_fallback_has_told_need_not_be_told_and_what_was_told_stays_so(desk, state):
    worker = desk.worker()
    desk.put(message(2), channel="other")
    desk.put(message(), channel="log", state=state)
    with desk.ledger.transaction() as connection:
        original = connection.execute(select(schema.outbox.c.id).where(schema.outbox.c.channel == "log")).scalar()
    desk.put(message(), merged_into=original)
    desk.put(message(3), channel="other", merged_into=99)
    row = worker._claim(NOW)
    worker._done(row, NOW)
    assert desk.rows("channel", "state", "merged_into") == [
        ("other", "pending", None),
        ("log", "merged", row.id) if state == "pending" else ("log", state, None),
        ("hook", "sent", original),
        ("other", "pending", 99),
    ]


def test_only_what_was_on_its_way_is_put_back(desk):
    for state in ("pending", "sending", "sent", "dead", "held", "merged"):
        desk.put(message(state), state=state)
    desk.put(message("elsewhere"), channel="log", state="sending")
    desk.worker()._put_back()
    assert desk.rows("state") == ["pending", "pending", "sent", "dead", "held", "merged", "sending"]
    requeue(desk.ledger)
    assert desk.rows("state") == ["pending", "pending", "sent", "dead", "held", "merged", "pending"]


@pytest.mark.parametrize(
    ("other", "claimed"),
    [
        ({}, "key1"),  # the oldest
        ({"next_attempt": NOW + 0.1}, "key2"),
        ({"next_attempt": NOW}, "key1"),
        ({"state": "held"}, "key2"),
        ({"channel": "log"}, "key2"),
    ],
)
def test_the_oldest_row_that_is_due_is_claimed(desk, other, claimed):
    desk.put(message(), attempts=4, fact_time=NOW - 9, **other)
    desk.put(message(2), attempts=4, fact_time=NOW - 9, at=NOW - 1)
    row = desk.worker()._claim(NOW)
    number = int(claimed[-1])
    assert (row.id, row.message.dedup_key, row.attempt, row.fact_time) == (number, claimed, 5, NOW - 9)
    assert row.created == NOW - (number - 1)
    assert desk.rows("id", "state", "attempts")[number - 1] == (number, "sending", 5)
    assert desk.rows("state").count("sending") == 1


@pytest.mark.parametrize(
    ("earlier", "kind", "waits"),
    [
        ({"state": "pending"}, "resolved", True),
        ({"state": "sending"}, "resolved", True),
        ({"state": "sent"}, "resolved", False),
        ({"state": "pending", "channel": "log"}, "resolved", False),
        ({"state": "pending", "incident_id": "other"}, "resolved", False),
        ({"state": "pending"}, "reminder", False),
    ],
)
def test_only_the_end_of_an_incident_waits_and_only_for_what_was_said_of_it_there_before(desk, earlier, kind, waits):
    desk.put(message(), next_attempt=NOW + 60, **earlier)
    desk.put(message(2, incident_id="i1", kind=kind))
    assert (desk.worker()._claim(NOW) is None) is waits


def test_a_message_is_completed_when_it_is_sent_and_kept_as_it_was_sent(desk):
    worker = desk.worker(complete=lambda one: replace(one, details=(("Log", "new"),)))
    desk.put(message())
    assert worker.step(NOW)
    assert desk.sink.sent[0].details == (("Log", "new"),)
    assert desk.rows("message")[0]["details"] == [["Log", "new"]]


LONG = {"details": (("Long", "x" * 4000),), "log": ("y" * 300,) * 12}


@pytest.mark.parametrize(
    ("failures", "state", "error", "tries"),
    [
        ([ChannelRefused("413", perhaps_too_long=True)], "sent", None, 2),
        ([ChannelRefused("413", perhaps_too_long=True), ChannelRefused("400")], "dead", "413", 2),
        ([ChannelRefused("401")], "dead", "401", 1),
        ([ChannelUnavailable("down")], "pending", "down", 1),
        ([ZeroDivisionError("odd")], "pending", "hook: ZeroDivisionError: odd", 1),
    ],
)
def test_what_is_refused_for_its_length_is_tried_in_short_and_nothing_else_is(desk, failures, state, error, tries):
    worker, desk.sink.failures = desk.worker(fallback=None), failures
    desk.put(message(**LONG), at=time.time())
    assert worker.step(time.time())
    assert desk.rows("state", "error") == [(state, error)]
    assert [len(one.log) for one in desk.sink.sent] == [12, 0][:tries]
    assert desk.sink.closed == (state != "sent")  # the next attempt opens it anew


def test_a_worker_opens_its_channel_once_and_closes_it_at_its_end(desk, monkeypatch):
    opened = []
    monkeypatch.setattr(outbox, "open_channel", lambda *given: opened.append(given) or desk.sink)
    worker = desk.worker()
    desk.put(message(), message(2))
    assert [worker.step(NOW) for _ in range(3)] == [True, True, False]
    assert [given[0] for given in opened] == ["hook"]
    worker.stop()
    worker.run()
    assert (desk.sink.closed, worker.daemon, worker.name) == (1, True, "worker-hook")


class Pauses(threading.Event):
    """An event that is never waited for: it notes for how long it would have been."""

    def __init__(self, worker, noted, name):
        super().__init__()
        self.worker, self.noted, self.name = worker, noted, name

    def wait(self, seconds):
        self.noted.append((self.name, seconds, self.is_set()))
        if len(self.noted) > 3:
            self.worker.stop()
        return self.is_set()


def test_a_worker_rests_for_a_second_where_nothing_is_left_or_the_ledger_is_away_or_it_stumbled(desk, monkeypatch):
    worker, noted = desk.worker(), []
    worker._wake, worker._over = Pauses(worker, noted, "idle"), Pauses(worker, noted, "ledger")
    answers = [True, LedgerUnavailable("away"), True, ZeroDivisionError(), False, False]

    def step(_now):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        worker.wake()
        return answer

    monkeypatch.setattr(worker, "step", step)
    worker.run()
    assert noted == [("ledger", 1.0, False), ("idle", 1.0, True), ("idle", 1.0, True), ("idle", 1.0, True)]
    assert answers == []


def test_what_was_sent_is_written_down_until_the_worker_is_stopped(desk, monkeypatch):
    worker, noted = desk.worker(), []
    worker._over = Pauses(worker, noted, "ledger")

    def away(**_options):
        raise LedgerUnavailable("away")

    desk.put(message())
    row = worker._claim(NOW)
    monkeypatch.setattr(desk.ledger, "transaction", away)
    worker._mark(row, state="sent")
    assert noted == [("ledger", 1.0, False)] * 4


def test_rows_are_counted_by_channel_and_state(desk):
    desk.put(message(), message(2))
    desk.put(message(3), state="sent")
    desk.put(message(4), channel="log")
    assert waiting(desk.ledger) == {("hook", "pending"): 2, ("hook", "sent"): 1, ("log", "pending"): 1}


def test_only_the_row_that_is_meant_is_marked(desk):
    desk.put(message(), message(2), message(3))
    worker = desk.worker()
    worker._mark(worker._claim(NOW), state="dead")
    assert desk.rows("state") == ["dead", "pending", "pending"]


@pytest.mark.parametrize(
    ("subject", "first", "told"),
    [("hook", True, ["resolved"]), ("hook", False, []), ("log", True, []), (None, True, [])],
)
def test_a_new_worker_says_that_its_channel_is_back_where_it_was_reported_as_broken(desk, subject, first, told):
    if subject is not None:
        fact = observed(ChannelBroken(channel=subject, reason="503"), time=NOW - 60)
        with desk.ledger.transaction(lock=True) as connection:
            records.save_incident(connection, incidents.observe(None, fact, NOW - 60, incidents.Policy())[0])
    worker = desk.worker()
    worker._is_first = first
    desk.put(message())
    worker._done(worker._claim(NOW), NOW)
    assert [fact.status for fact in desk.facts] == told


CHANNELS = "channels: {a: {type: log}, b: {type: log}, c: {type: log}}\nroutes: [{receiver: x}]\n"


@pytest.mark.parametrize(
    ("receivers", "channel", "found"),
    [
        ("x: {channels: [a], fallback: b}", "a", "b"),
        ("x: {channels: [a], fallback: b}", "b", None),
        ("x: {channels: [a]}", "a", None),
        ("x: {channels: [a]}, y: {channels: [a], fallback: c}", "a", "c"),
        ("x: {channels: [a, b], fallback: a}, y: {channels: [a], fallback: c}", "a", "c"),
    ],
)
def test_the_channel_that_takes_over_is_the_first_other_one_of_a_receiver(receivers, channel, found):
    assert fallback_for(parse_rules(f"{CHANNELS}receivers: {{{receivers}}}", "rules"), channel) == found
