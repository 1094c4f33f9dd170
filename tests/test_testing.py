import os

import pytest

from observability import measure, metrics
from observability.contain import count_loss, take_losses
from observability.emit import emit
from observability.events import Identity, StepMeasured, TaskSkipped
from observability.settings import get_settings
from observability.testing import capture


def test_a_step_and_its_metrics_are_captured():
    with capture() as seen, measure("load", table="flights") as step:
        step.output(842)
    (measured,) = seen.events("step.measured")
    assert (measured["etl.table"], measured["etl.rows_out"]) == ("flights", 842)
    assert seen.metric("contrail.step.rows_out", step="load") == [842.0]


def test_events_come_in_the_order_in_which_they_were_emitted_whatever_their_dataset():
    with capture() as seen:
        for number in range(20):
            emit(TaskSkipped(identity=Identity(dag_id="d", task_id=f"t{number}", run_id="r")))
        assert [event["airflow.task_id"] for event in seen.events()] == [f"t{number}" for number in range(20)]


def test_a_fact_of_one_block_may_happen_again_in_the_next():
    event = StepMeasured(identity=Identity(dag_id="d"), step="load", discriminator="one")
    for _ in range(2):
        with capture() as seen:
            emit(event)
        assert len(seen.events()) == 1


def test_what_was_lost_before_a_block_is_reported_after_it():
    count_loss("relay", "full", 3)
    with capture() as seen:
        emit(TaskSkipped(identity=Identity(dag_id="d", task_id="t", run_id="r")))
    assert [event["event.action"] for event in seen.events()] == ["task.skipped"]
    assert take_losses() == {("relay", "full"): 3}


def test_a_block_leaves_the_settings_as_they_were():
    home, environ = get_settings().home, dict(os.environ)
    with capture():
        assert get_settings().home != home
    assert (get_settings().home, dict(os.environ)) == (home, environ)


def test_a_block_that_raises_can_still_be_asked():
    def failing():
        with measure("load"):
            raise ValueError("bad input")

    with pytest.raises(ValueError, match="bad input"), capture() as seen:
        failing()
    assert [event["error.message"] for event in seen.events("step.failed")] == ["bad input"]


def test_metrics_without_tags_and_of_others_are_told_apart():
    with capture() as seen:
        metrics.increment("contrail.step.rows_out", 5, step="a")
        metrics.increment("contrail.step.rows_out", 7, step="b")
        assert seen.metric("contrail.step.rows_out") == [5.0, 7.0]
        assert seen.metric("contrail.step.rows_out", step="b") == [7.0]
        assert seen.metric("contrail.step.rows_in") == []
