"""An alert that was opened at a service with keys is closed there, whatever was folded, and in the right order."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import select, update
from watch_office import Office, failed, run_ended

from observability.watch.ledger import schema
from observability.watch.notify.channels.pagerduty import payload
from observability.watch.notify.messages import Message
from observability.watch.notify.notifier import enqueue
from observability.watch.notify.outbox import ChannelWorker
from observability.watch.notify.task_context import TaskContext
from observability.watch.rules.config import ChannelSpec

RULES = """
channels: {pager: {type: pagerduty, routing_key: env:KEY}}
receivers: {on-call: {channels: [pager]}}
routes: [{receiver: on-call}]
"""


def still_open(office):
    """The keys that a service would hold open after all that is in the outbox, in its order."""
    table = schema.outbox
    with office.ledger.transaction() as connection:
        asked = select(table.c.message).where(table.c.state.in_(("pending", "sent"))).order_by(table.c.id)
        rows = connection.execute(asked).scalars().all()
    alive = set()
    for said in (payload(Message.from_json(row), "key") for row in rows):
        (alive.add if said["event_action"] == "trigger" else alive.discard)(said["dedup_key"])
    return alive


@pytest.mark.parametrize("number", [1, 9, 12])
def test_all_that_a_digest_stood_for_is_closed_with_the_last_of_it(ledger, number):
    office = Office(ledger, RULES)
    for one in range(number):
        office.see(failed(run=f"r{one}", time=office.now))
        office.pass_time(2)
    office.pass_time(700, step=10)
    assert still_open(office)
    office.see(run_ended("resolved", run="later", time=office.now + 60))
    office.pass_time(20)
    assert still_open(office) == set()


def test_an_end_waits_for_the_message_that_opened_it(ledger, tmp_path):
    spec = ChannelSpec.model_validate({"type": "file"})
    worker = ChannelWorker(
        "file", spec, ledger, None, tmp_path, fallback=None, report=lambda _: None, emit=lambda _: None
    )  # fmt: skip
    common = {"severity": "error", "title": "t", "summary": "s", "incident_id": "i", "pair": "i"}
    now = time.time()
    with ledger.transaction(lock=True) as connection:
        first = enqueue(connection, "file", Message(kind="opened", dedup_key="a", **common), now)
        enqueue(connection, "file", Message(kind="resolved", dedup_key="b", **common), now)
        later = update(schema.outbox).where(schema.outbox.c.id == first).values(next_attempt=now + 60)
        connection.execute(later)
    assert not worker.step(now)
    assert worker.step(now + 61)
    assert worker.step(now + 62)


class Api:
    """Airflow's answers about a mapped task of which 100 of 300 have failed."""

    def get(self, path, **asked):
        if "/logs/" in path:
            return {
                "content": [{"event": "read 3 files", "logger": "mine"}, {"event": "::endgroup::", "logger": "task"}]
            }
        if asked.get("state") == "upstream_failed":
            return {"task_instances": [{"task_id": "publish"}], "total_entries": 1}
        return {"total_entries": 100 if asked.get("state") == "failed" else 300}


def test_a_message_gains_count_log_and_what_it_blocks_while_it_is_sent(tmp_path):
    message = Message(
        kind="opened", severity="error", title="load: part[0] failed: ValueError", summary="", dedup_key="k",
        dag_id="load", run_id="r", task_id="part", map_index=0, details=(("Cause", "x"), ("Since", "y"), ("Run", "r")),
    )  # fmt: skip
    found = TaskContext(tmp_path, Api())(message)
    assert found.title == "load: part[0] failed: ValueError (100 of 300 mapped)"
    assert found.log == ("read 3 files",)
    assert found.details[2] == ("Blocks", "publish")
