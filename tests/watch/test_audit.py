"""Airflow's event log: each row once, whoever is killed; nothing of a Connection's or Variable's values."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from observability import redact
from observability.errors import ApiUnavailable
from observability.watch.ledger import pending_events
from observability.watch.sources import audit

NOW = 1_800_000_000.0


def row(number, event="trigger_dag_run", ago=10.0, **more):
    when = datetime.fromtimestamp(NOW - ago, timezone.utc).isoformat().replace("+00:00", "Z")
    return {
        "event_log_id": number, "when": when, "event": event, "owner": "ann", "dag_id": "load", "run_id": "r1",
        "task_id": None, "map_index": None, "try_number": None, "extra": None, **more,
    }  # fmt: skip


class Log:
    """An event log that answers as Airflow's API does: by time, in order, in pages."""

    def __init__(self, *rows):
        self.rows, self.asked, self.away = list(rows), [], False

    def pages(self, path, key, **asked):
        if self.away:
            raise ApiUnavailable("it is away")
        assert (path, key, asked["order_by"]) == ("/eventLogs", "event_logs", "when")
        self.asked.append(asked)
        after = datetime.fromisoformat(asked["after"])
        found = [one for one in self.rows if datetime.fromisoformat(one["when"].replace("Z", "+00:00")) > after]
        return iter(
            sorted((one for one in found if one["event"] not in asked["excluded_events"]), key=lambda one: one["when"])
        )


def emitted(ledger):
    with ledger.transaction() as connection:
        return list(pending_events.due(connection, NOW + 10_000).values())


def test_each_row_is_recorded_once_however_often_it_is_looked_at(ledger):
    log = Log(row(1), row(2, "clear_dag_run"), row(3, "running"))
    assert [audit.look(log, ledger, NOW + turn) for turn in range(3)] == [2, 0, 0]
    first, second = emitted(ledger)
    assert (first.user_name, first.audit_event, first.identity.dag_id, first.identity.run_id) == (
        "ann", "trigger_dag_run", "load", "r1",
    )  # fmt: skip
    assert first.document()["event.category"] == ["process"]
    assert first.document()["event.type"] == ["creation"]
    assert first.id != second.id


def test_a_row_that_is_written_late_is_found_and_one_of_the_same_moment_too(ledger):
    log = Log(row(5, ago=10))
    audit.look(log, ledger, NOW)
    log.rows += [row(4, ago=200), row(6, ago=10)]
    assert audit.look(log, ledger, NOW) == 2
    assert len(emitted(ledger)) == 3


def test_a_watcher_that_was_away_for_days_reads_what_was_done_meanwhile_in_steps(ledger, monkeypatch):
    monkeypatch.setattr(audit, "_MOST", 7)
    log = Log(row(1, ago=3 * 86_400))
    audit.look(log, ledger, NOW - 3 * 86_400)
    log.rows += [row(number, ago=2 * 86_400 - number * 600) for number in range(2, 40)]
    found = []
    while (number := audit.look(log, ledger, NOW)) and len(found) < 50:
        found.append(number)
    assert (sum(found), max(found) <= 8) == (38, True)


def test_nothing_is_lost_or_doubled_where_the_ledger_fails_between_reading_and_writing(ledger, monkeypatch):
    log = Log(row(1))
    with monkeypatch.context() as broken:
        broken.setattr(audit.pending_events, "add", lambda *_: (_ for _ in ()).throw(RuntimeError("killed")))
        with pytest.raises(RuntimeError):
            audit.look(log, ledger, NOW)
    assert emitted(ledger) == []
    assert audit.look(log, ledger, NOW) == 1
    log.away = True
    with pytest.raises(ApiUnavailable):
        audit.look(log, ledger, NOW)
    log.away = False
    assert (audit.look(log, ledger, NOW), len(emitted(ledger))) == (0, 1)


def test_a_row_that_cannot_be_read_is_left_out_and_the_others_are_not(ledger):
    log = Log(row(1), row(2, extra='{"a": 1}'))
    log.rows[0]["event_log_id"] = "none"
    assert audit.look(log, ledger, NOW) == 1


def test_of_a_connection_or_variable_only_its_name_and_the_keys_are_kept():
    secret = "hunter2-hunter2"
    for event, extra in (
        ("post_connection", f'{{"connection_id": "db", "password": "{secret}", "extra": {{"x": "{secret}"}}}}'),
        ("patch_variable", f'{{"key": "k", "value": "{secret}"}}'),
        ("bulk_connections", f'{{"actions": [{{"entities": [{{"password": "{secret}"}}]}}]}}'),
        ("connection.edit", f"not json {secret}"),
    ):
        found = audit.recorded(row(1, event, extra=extra)).audit_extra
        assert secret not in found, event
    kept = audit.recorded(row(1, "post_connection", extra='{"connection_id": "db", "password": "x"}')).audit_extra
    assert kept == '{"connection_id": "db", "fields": ["connection_id", "password"]}'


def test_a_known_secret_in_any_extra_is_masked():
    redact.add_secret("hunter2-hunter2")
    try:
        found = audit.recorded(row(1, extra='{"conf": {"token": "x", "note": "hunter2-hunter2"}}')).audit_extra
    finally:
        redact.forget_secrets()
    assert "hunter2" not in found


@pytest.mark.parametrize(
    ("event", "category", "kind"),
    [
        ("trigger_dag_run", "process", "creation"), ("delete_dag_run", "process", "deletion"),
        ("patch_connection", "configuration", "change"), ("paused", "configuration", "change"),
        ("contrail.silence", "configuration", "change"), ("login", "session", "change"),
        ("get_dag_source", "process", "access"), ("post_clear_task_instances", "process", "change"),
    ],
)  # fmt: skip
def test_a_deed_has_the_category_and_type_of_ecs(event, category, kind):
    found = audit.recorded(row(1, event))
    assert (found.category, found.change) == ((category,), (kind,))


def test_the_first_look_reads_the_day_before_and_no_more(ledger):
    log = Log(row(1, ago=2 * 86_400), row(2, ago=3600))
    assert audit.look(log, ledger, NOW) == 1
    since = datetime.fromisoformat(log.asked[0]["after"])
    assert datetime.fromtimestamp(NOW, timezone.utc) - since < timedelta(days=1, minutes=10)
