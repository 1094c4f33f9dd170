"""An attempt that Airflow ran again without a word about it has an end: at most one, and none that others tell."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select
from watch_office import failed

from observability.watch.ledger import schema

BEGAN = {"status": "noted", "cause": "platform", "reason": ""}


def began(number, **more):
    return failed(**BEGAN, try_number=number, time=1_000_000.0 + number, **more)


def waiting(office):
    """The events that wait to be emitted: what they are, and about which attempt."""
    with office.ledger.transaction() as connection:
        rows = connection.execute(select(schema.events.c.document)).scalars().all()
    return [(row["action"], row["event"]["identity"]["try_number"], row["event"].get("cause")) for row in rows]


def test_an_attempt_that_was_run_again_without_a_word_was_lost(office):
    office.see(began(1), began(2))
    assert waiting(office) == [("task.retried", 1, "lost_heartbeat")]
    assert office.incidents() == []


@pytest.mark.parametrize("status", ["attempt", "resolved", "suspected", "firing"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_nothing_is_added_where_somebody_says_how_it_ended(office, status, when):
    """``attempt`` is a retry, ``recovered`` a success that was cleared, ``suspected`` the relay's last words."""
    end = replace(
        failed(status=status, try_number=1), event_id="e1", provider="relay" if status == "suspected" else "journal"
    )
    office.see(*([began(1), end, began(2)] if when == "before" else [began(1), began(2), end]))
    assert [one for one in waiting(office) if one[0] == "task.retried"] == []


def test_each_instance_and_each_attempt_counts_by_itself(office):
    office.see(began(1), began(1, map_index=3), began(2, map_index=3), began(1), began(3, map_index=3))
    assert waiting(office) == [("task.retried", 1, "lost_heartbeat"), ("task.retried", 2, "lost_heartbeat")]


def test_an_iteration_of_a_task_loop_has_no_attempt_before_it(office):
    office.see(began(1, iteration="1", ti_id="a"), began(2, iteration="2", ti_id="b"))
    assert waiting(office) == []
