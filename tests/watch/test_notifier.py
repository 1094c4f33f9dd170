"""The notifier queues notices for the right channels, holds them back in a storm, and makes digests of them."""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b

import pytest
from sqlalchemy import select, update

from observability.watch.incidents import Incident, Notice
from observability.watch.ledger import records, schema
from observability.watch.notify.messages import Links, compose
from observability.watch.notify.notifier import Notifier, _next_digest, enqueue
from observability.watch.rules.config import parse_rules

NOW = 1_000_000.0
RULES = """
channels: {file: {type: file}, log: {type: log}, desk: {type: log}, pager: {type: pagerduty, routing_key: "env:KEY"}}
receivers:
  everybody: {channels: [file, desk], fallback: log}
  chief: {channels: [log]}
  night: {channels: [pager]}
  both: {channels: [pager, file]}
routes:
  - {match: {dag: [paged]}, receiver: night}
  - {match: {dag: [both]}, receiver: both}
  - {receiver: everybody}
timing: {storm_messages: 3, flap_messages: 2}
"""


@pytest.fixture
def notifier():
    return Notifier(parse_rules(RULES, "rules"), Links(airflow="http://airflow"), "test")


@pytest.fixture
def connection(ledger):
    with ledger.transaction(lock=True) as connection:
        yield connection


def incident(number, dag="load", **more):
    given = {"kind": "task", "cause": "app", "severity": "error", "notified": "opened", "task_id": "t", **more}
    return Incident(
        id=f"{number:016}", key=f"run:{dag}:{number}", state=given.pop("state", "open"), reason="no", certainty=3,
        first_seen=NOW, last_seen=NOW, dag_id=dag, run_id=str(number), notified_at=NOW, **given,
    )  # fmt: skip


def rows(connection, *columns):
    table = schema.outbox
    found = connection.execute(select(*(table.c[name] for name in columns)).order_by(table.c.id)).all()
    return [tuple(row) if len(columns) > 1 else row[0] for row in found]


def tell(notifier, connection, one, kind="opened", now=NOW, **more):
    return notifier.notify(connection, Notice(kind, one, **more), now)


def test_a_notice_is_a_row_for_each_channel_of_the_receiver(notifier, connection):
    assert tell(notifier, connection, incident(1)) == ("file", "desk")
    columns = ("channel", "state", "kind", "dag_id", "incident_id", "attempts", "created", "next_attempt", "fact_time")
    about = ("opened", "load", f"{1:016}", 0, NOW, NOW, NOW)
    assert rows(connection, *columns) == [("file", "pending", *about), ("desk", "pending", *about)]


@pytest.mark.parametrize(
    ("kind", "seen"),
    [("opened", 100), ("update", 100), ("early_warning", 100), ("reminder", 0), ("escalated", 0), ("resolved", 0)],
)
def test_the_way_of_a_notice_begins_with_its_fact_or_with_itself(notifier, connection, kind, seen):
    tell(notifier, connection, replace(incident(1), last_seen=NOW - 100), kind)
    assert rows(connection, "fact_time") == [NOW - seen, NOW - seen]


def test_the_same_message_is_one_row_a_channel(notifier, connection):
    for _ in range(2):
        tell(notifier, connection, incident(1))
    assert rows(connection, "channel") == ["file", "desk"]


def test_those_who_were_told_are_told_of_the_end_and_nobody_else(notifier, connection):
    enqueue_all(notifier, connection, ["log"], incident(1))
    assert tell(notifier, connection, incident(1, state="resolved"), "resolved") == ("log",)
    assert tell(notifier, connection, incident(2, state="resolved"), "resolved") == ("file", "desk")


def test_who_was_told_by_a_channel_that_is_gone_or_not_at_all_is_not_asked(notifier, connection):
    enqueue_all(notifier, connection, ["gone", "log"], incident(1))
    connection.execute(update(schema.outbox).where(schema.outbox.c.channel == "log").values(state="suppressed"))
    assert tell(notifier, connection, incident(1, state="resolved"), "resolved") == ("file", "desk")


def enqueue_all(notifier, connection, channels, one, state="sent"):
    message = compose(Notice("opened", one), notifier.links, "test")
    return [enqueue(connection, name, message, NOW, state=state) for name in channels]


@pytest.mark.parametrize(
    ("broken", "channels"), [("file", ("desk", "log")), ("desk", ("file", "log")), ("log", ("file", "desk"))]
)
def test_who_hears_of_a_broken_channel_hears_it_elsewhere(notifier, connection, broken, channels):
    assert tell(notifier, connection, incident(1, None, kind="delivery", subject=broken, task_id=None)) == channels


def test_where_a_receiver_has_one_channel_and_it_is_broken_any_other_is_used(connection):
    rules = "channels: {a: {type: file}, b: {type: log}, c: {type: log}}\nreceivers: {x: {channels: [a]}}\n"
    rules += "routes: [{receiver: x}]\n"
    notifier = Notifier(parse_rules(rules, "rules"), Links(), "test")
    assert tell(notifier, connection, incident(1, None, kind="delivery", subject="a", task_id=None)) == ("b",)


def test_the_third_notice_in_a_minute_is_the_last_that_goes_alone(notifier, connection):
    for number in range(4):
        tell(notifier, connection, incident(number, f"d{number}"), now=NOW + number)
    assert [state for channel, state in rows(connection, "channel", "state") if channel == "file"] == [
        "pending"
    ] * 3 + ["held"]


def test_a_minute_later_a_notice_goes_alone_again(notifier, connection):
    for number in range(3):
        tell(notifier, connection, incident(number, f"d{number}"))
    tell(notifier, connection, incident(8, "d8"), now=NOW + 59.9)
    tell(notifier, connection, incident(9, "d9"), now=NOW + 120)
    assert [state for channel, state in rows(connection, "channel", "state") if channel == "file"][3:] == [
        "held",
        "pending",
    ]


def test_a_dag_that_flaps_is_held_back_for_five_minutes_and_another_is_not(notifier, connection):
    for number in range(2):
        tell(notifier, connection, incident(number), now=NOW + 100 * number)
    tell(notifier, connection, incident(2), now=NOW + 299)
    tell(notifier, connection, incident(3, "other"), now=NOW + 299)
    tell(notifier, connection, incident(4, "load"), now=NOW + 700)
    assert rows(connection, "dag_id", "state")[4::2] == [("load", "held"), ("other", "pending"), ("load", "pending")]


def test_a_reminder_that_goes_with_others_waits_for_them(notifier, connection):
    tell(notifier, connection, incident(1), "reminder", with_others=True)
    assert rows(connection, "state") == ["held", "held"]


def held(notifier, connection, number, now, channel="file"):
    """Hold back ``number`` notices that came at ``now``."""
    for one in range(number):
        message = compose(Notice("opened", incident(f := 100 + one, f"h{f}")), notifier.links, "test")
        enqueue(connection, channel, message, now, state="held", fact_time=now - one)


@pytest.mark.parametrize(("after", "made"), [(4.9, 0), (5.0, 1)])
def test_a_first_digest_is_made_five_seconds_after_the_first_that_was_held(notifier, connection, after, made):
    enqueue_all(notifier, connection, ["file"], incident(1))  # what went alone long before does not count
    connection.execute(update(schema.outbox).values(created=NOW - 50))
    held(notifier, connection, 2, NOW)
    notifier.fold(connection, NOW + after)
    assert rows(connection, "kind").count("digest") == made


def test_a_digest_stands_for_what_was_held_and_knows_the_oldest_fact(notifier, connection):
    held(notifier, connection, 2, NOW)
    notifier.fold(connection, NOW + 5)
    (*folded, digest) = rows(connection, "id", "state", "kind", "merged_into", "fact_time")
    assert [row[1:4] for row in folded] == [("merged", "opened", digest[0])] * 2
    assert digest[1:] == ("pending", "digest", None, NOW - 1)


def test_each_further_digest_waits_twice_as_long_up_to_five_minutes(notifier, connection):
    made, now = [], NOW
    for _ in range(8):
        held(notifier, connection, 1, now)
        connection.execute(update(schema.outbox).where(schema.outbox.c.state == "held").values(dedup_key=f"k{now}"))
        began = now
        while rows(connection, "kind").count("digest") == len(made):
            now += 0.5
            notifier.fold(connection, now)
        made.append(now - began)
    assert made[:6] == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0]


@pytest.mark.parametrize(
    ("made", "age", "wait"), [(0, 0, 5), (1, 0, 10), (6, 0, 300), (9, 0, 300), (9, 599, 300), (9, 600, 5)]
)
def test_how_long_the_next_digest_waits_after_those_of_ten_minutes(notifier, connection, made, age, wait):
    for number in range(made):
        said = replace(compose(Notice("opened", incident(number)), notifier.links, "test"), kind="digest")
        enqueue(connection, "file", said, NOW - age, state="sent")
        enqueue(connection, "desk", said, NOW, state="sent")
    begun = NOW - age if made and age < 600 else NOW
    assert _next_digest(connection, "file", NOW) == begun + wait


def test_what_a_storm_left_does_not_wait_as_long_as_what_goes_on(notifier, connection):
    held(notifier, connection, 1, NOW)
    notifier.fold(connection, NOW + 5)  # the next would wait for ten seconds
    held(notifier, connection, 4, NOW + 6)
    connection.execute(update(schema.outbox).where(schema.outbox.c.state == "held").values(created=NOW + 6))
    notifier.fold(connection, NOW + 10.9)
    assert rows(connection, "kind").count("digest") == 1
    notifier.fold(connection, NOW + 11)
    assert rows(connection, "kind").count("digest") == 2


def test_fewer_than_a_storm_wait_their_time(notifier, connection):
    held(notifier, connection, 1, NOW)
    notifier.fold(connection, NOW + 5)
    enqueue_all(notifier, connection, ["file"], incident(7), state="held")
    connection.execute(update(schema.outbox).where(schema.outbox.c.state == "held").values(created=NOW + 6))
    notifier.fold(connection, NOW + 14.9)
    assert rows(connection, "kind").count("digest") == 1
    notifier.fold(connection, NOW + 15)
    assert rows(connection, "kind").count("digest") == 2


def test_reminders_alone_go_at_once_and_wait_with_others(notifier, connection):
    tell(notifier, connection, incident(1), "reminder", with_others=True)
    notifier.fold(connection, NOW)
    assert rows(connection, "kind").count("digest") == 2  # of each channel
    tell(notifier, connection, incident(2), "reminder", with_others=True)
    held(notifier, connection, 1, NOW)
    notifier.fold(connection, NOW + 1)
    digests = [channel for channel, kind in rows(connection, "channel", "kind") if kind == "digest"]
    assert sorted(digests) == ["desk", "desk", "file"]


def test_what_was_held_for_a_channel_that_is_gone_stays(notifier, connection):
    held(notifier, connection, 1, NOW, channel="gone")
    notifier.fold(connection, NOW + 500)
    assert rows(connection, "state") == ["held"]


def test_a_pager_is_told_of_the_end_only_where_it_was_told_of_the_beginning(notifier, connection):
    tell(notifier, connection, incident(1, "paged", state="resolved"), "resolved")
    assert rows(connection, "kind") == []
    tell(notifier, connection, incident(2, "paged"))
    tell(notifier, connection, incident(2, "paged", state="resolved"), "resolved")
    assert rows(connection, "channel", "kind") == [("pager", "opened"), ("pager", "resolved")]


def test_what_is_held_for_a_pager_is_dropped_when_it_is_over(notifier, connection):
    enqueue_all(notifier, connection, ["pager"], incident(1, "paged"), state="held")
    tell(notifier, connection, incident(1, "paged", state="resolved"), "resolved")
    assert rows(connection, "kind", "state") == [("opened", "suppressed")]


def test_a_digest_of_a_pager_is_closed_with_the_last_of_its_incidents(notifier, connection):
    ones = [incident(number, "paged") for number in range(2)]
    for one in ones:
        records.save_incident(connection, one)
        enqueue_all(notifier, connection, ["pager"], one, state="held")
    notifier.fold(connection, NOW + 5)
    for one in ones:
        over = replace(one, state="resolved", resolved_at=NOW + 9)
        records.save_incident(connection, over)
        tell(notifier, connection, over, "resolved", now=NOW + 9)
        closed = [message for message in rows(connection, "message") if message["kind"] == "resolved"]
        assert [message["title"] for message in closed] == (
            [] if one is ones[0] else ["Resolved: 2 notices about 1 DAG in one"]
        )


def test_an_update_of_a_pager_is_never_held_back(notifier, connection):
    for number in range(4):
        tell(notifier, connection, incident(number, "paged"))
    tell(notifier, connection, incident(1, "paged", notified_tasks=3), "update")
    assert rows(connection, "kind", "state") == [
        ("opened", "pending"), ("opened", "pending"), ("opened", "held"), ("opened", "held"), ("update", "pending"),
    ]  # fmt: skip


def test_how_many_failed_tasks_people_were_told_of_is_the_most_of_any_message(notifier, connection):
    assert notifier.notified_tasks(connection, f"{1:016}") == 0
    tell(notifier, connection, incident(1, failed_tasks=("a", "b")))
    tell(notifier, connection, incident(1, failed_tasks=("a",)), "reminder")
    assert notifier.notified_tasks(connection, f"{1:016}") == 2


def test_the_end_reaches_a_pager_and_the_channels_after_it(notifier, connection):
    tell(notifier, connection, incident(1, "both"))
    tell(notifier, connection, incident(1, "both", state="resolved"), "resolved")
    assert rows(connection, "channel", "kind")[2:] == [("pager", "resolved"), ("file", "resolved")]


@pytest.mark.parametrize(("after", "state"), [(59.9, "held"), (60, "pending")])
def test_a_storm_is_what_comes_within_a_minute(notifier, connection, after, state):
    for number in range(3):
        tell(notifier, connection, incident(number, f"d{number}"))
    tell(notifier, connection, incident(9, "d9"), now=NOW + after)
    assert rows(connection, "state")[-2:] == [state] * 2


@pytest.mark.parametrize(("after", "state"), [(299.9, "held"), (300, "pending")])
def test_a_dag_flaps_by_what_comes_within_five_minutes(notifier, connection, after, state):
    for number in range(2):
        tell(notifier, connection, incident(number), now=NOW + 100 * number)
    tell(notifier, connection, incident(2), now=NOW + after)
    assert rows(connection, "state")[-2:] == [state] * 2


def test_what_is_about_no_dag_does_not_flap(notifier, connection):
    for number in range(3):
        tell(notifier, connection, incident(number, None))
    assert rows(connection, "state") == ["pending"] * 6


def test_digests_and_other_channels_count_for_no_storm(notifier, connection):
    for number in range(3):
        digest = replace(compose(Notice("opened", incident(number, None)), notifier.links, "test"), kind="digest")
        enqueue(connection, "file", digest, NOW)
        enqueue_all(notifier, connection, ["log"], incident(10 + number, None))
    tell(notifier, connection, incident(9, None))
    assert rows(connection, "state")[-2:] == ["pending"] * 2


AROUND = """
channels: {a: {type: file}, b: {type: log}, c: {type: log}, d: {type: log}}
receivers: {x: {channels: [a], fallback: b}, y: {channels: [c], fallback: d}}
routes: [{receiver: x}]
"""


@pytest.mark.parametrize(("broken", "channels"), [("a", ("b",)), ("c", ("a", "d")), ("d", ("a",))])
def test_a_broken_channel_is_heard_of_by_its_own_fallbacks(connection, broken, channels):
    notifier = Notifier(parse_rules(AROUND, "rules"), Links(), "test")
    assert tell(notifier, connection, incident(1, None, kind="delivery", subject=broken, task_id=None)) == channels


def test_what_was_held_for_a_channel_that_is_gone_holds_up_no_other(notifier, connection):
    held(notifier, connection, 1, NOW, channel="a gone one")
    held(notifier, connection, 1, NOW)
    notifier.fold(connection, NOW + 5)
    assert rows(connection, "channel", "state")[:2] == [("a gone one", "held"), ("file", "merged")]


def test_people_were_told_of_no_failed_task_where_the_message_names_none(notifier, connection):
    tell(notifier, connection, incident(1))
    tell(notifier, connection, incident(2, failed_tasks=("a", "b")))
    assert [notifier.notified_tasks(connection, f"{number:016}") for number in (1, 2, 3)] == [0, 2, 0]


@pytest.mark.parametrize("told", ["pending", "sending", "sent", "dead", "held", "suppressed", "merged"])
def test_a_pager_hears_of_the_end_of_what_it_was_or_will_be_sent(notifier, connection, told):
    enqueue_all(notifier, connection, ["pager"], incident(1, "paged"), state=told)
    enqueue_all(notifier, connection, ["pager"], incident(2, "paged"), state="held")
    tell(notifier, connection, incident(1, "paged", state="resolved"), "resolved", now=NOW + 9)
    heard = told in {"pending", "sending", "sent", "dead"}
    assert rows(connection, "kind", "state", "fact_time") == [
        ("opened", "suppressed" if told == "held" else told, None),
        ("opened", "held", None),
        *[("resolved", "pending", NOW + 9)] * heard,
    ]


ADDRESS = """
channels: {post: {type: address, url: "env:URL"}, log: {type: log}}
receivers: {x: {channels: [post, log]}}
routes: [{receiver: x}]
"""


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_digest_of_a_service_with_keys_is_over_with_the_last_of_its_incidents(connection, forgotten):
    notifier = Notifier(parse_rules(ADDRESS, "rules"), Links(airflow="http://airflow"), "test")
    ones = [incident(number) for number in range(2)]
    for one in ones:
        if not forgotten or one is ones[1]:
            records.save_incident(connection, one)
        enqueue_all(notifier, connection, ["post", "log"], one, state="held")
    notifier.fold(connection, NOW + 5)
    over = replace(ones[1], state="resolved", resolved_at=NOW + 9)
    records.save_incident(connection, over)
    tell(notifier, connection, over, "resolved", now=NOW + 9)
    said = [(row[0], row[1]["title"]) for row in rows(connection, "channel", "message") if row[1]["kind"] == "resolved"]
    mine = compose(Notice("resolved", over), notifier.links, "test").title
    ended = [("post", "Resolved: 2 notices about 1 DAG in one")] if forgotten else []
    assert said == [("post", mine), *ended, ("log", mine)]


def test_a_digest_has_the_same_key_from_version_to_version(notifier, connection):
    held(notifier, connection, 2, NOW)
    keys = rows(connection, "dedup_key")
    notifier.fold(connection, NOW + 5)
    made = blake2b("\x00".join(keys).encode(), digest_size=12).hexdigest()
    assert rows(connection, "dedup_key")[-1] == f"digest:{made}"


def test_what_is_queued_is_due_at_once_and_has_no_attempt_behind_it(notifier, connection):
    message = replace(compose(Notice("opened", incident(1)), notifier.links, "test"), incident_id="")
    assert enqueue(connection, "file", message, NOW, fact_time=NOW - 1) == 1
    assert enqueue(connection, "file", message, NOW + 9) == 1
    assert enqueue(connection, "desk", message, NOW + 9) == 2
    assert rows(connection, "incident_id", "attempts", "created", "next_attempt", "fact_time", "state") == [
        (None, 0, NOW, NOW, NOW - 1, "pending"),
        (None, 0, NOW + 9, NOW + 9, None, "pending"),
    ]
