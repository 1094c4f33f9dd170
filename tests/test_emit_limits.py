"""The numbers of an event: what it is cut to, what is remembered of it, and how losses are told."""

import errno
from importlib import import_module
from types import SimpleNamespace

import pytest

from observability import identity
from observability.catalog import MetricUse
from observability.contain import count_loss, take_losses
from observability.emit import emit, forget, is_recorded, report_losses
from observability.events import Identity, StepMeasured, TaskFailed, TaskStarted
from observability.journal import JournalError

module = import_module("observability.emit")
ABOUT = Identity(dag_id="flights", task_id="load", run_id="r", try_number=2, map_index=-1, operator="PythonOperator")


def attempt(number):
    return TaskStarted(identity=Identity(dag_id="d", task_id="t", run_id="r", try_number=number, map_index=-1))


@pytest.fixture
def sent(monkeypatch):
    """The metrics that were sent, as (name, kind, value, tags)."""
    found = []
    monkeypatch.setattr(module.metrics, "send", lambda *sample: found.append(sample))
    return found


def test_only_the_latest_facts_are_remembered(told, monkeypatch):
    monkeypatch.setattr(module, "_SEEN_MOST", 3)
    events = [attempt(number) for number in range(4)]
    for event in events[:3]:
        emit(event)
    assert [is_recorded(event.id) for event in events] == [True, True, True, False]
    emit(events[3])
    assert [is_recorded(event.id) for event in events] == [False, True, True, True]
    assert (emit(events[3]), emit(events[0]), len(told())) == (False, True, 5)
    forget()
    assert not any(is_recorded(event.id) for event in events)


def test_records_of_a_process_are_numbered_without_a_hole(told):
    for number in range(3):
        emit(attempt(number))
    numbers = [document["event.sequence"] for document in told()]
    assert [one - numbers[0] for one in numbers] == [0, 1, 2]


@pytest.mark.parametrize(
    ("value", "cut"),
    [
        ("x" * 20_000, "x" * 20_000),
        ("x" * 20_001, "x" * 20_000 + " … 1 characters more"),
        ([1] * 200, [1] * 200),
        ([1] * 201, [1] * 200),
        ((1,) * 201, [1] * 200),
        (7, 7),
        (None, None),
    ],
    ids=["text", "long text", "list", "long list", "long tuple", "number", "none"],
)
def test_a_value_that_is_too_long_is_cut_and_says_how_much_is_gone(value, cut):
    assert module._shortened(value) == cut


@pytest.mark.parametrize(("most", "is_cut"), [(10, True), (1_000_000, False)])
def test_values_are_cut_only_where_the_record_is_too_long(told, monkeypatch, most, is_cut):
    monkeypatch.setattr(module, "_LONGEST_RECORD", most)
    emit(TaskFailed(identity=ABOUT, cause="app", reason="x" * 20_001))
    assert (len(told()[0]["event.reason"]) > 20_001) is is_cut


def test_a_record_of_just_the_longest_is_not_cut(told, monkeypatch):
    event = TaskFailed(identity=ABOUT, cause="app", reason="x" * 30_000)
    lengths = []
    real = module.to_json
    monkeypatch.setattr(module, "to_json", lambda document: lengths.append(real(document)) or lengths[-1])
    monkeypatch.setattr(module, "_sequence", iter([5, 5, 5, 5]))
    emit(event)
    forget()
    monkeypatch.setattr(module, "_LONGEST_RECORD", len(lengths[0]))
    emit(event)
    assert len(lengths) == 2  # neither time it was written a second time
    forget()
    monkeypatch.setattr(module, "_LONGEST_RECORD", len(lengths[0]) - 1)
    emit(event)
    assert len(lengths) == 4


@pytest.mark.parametrize(
    ("value", "words"), [(["a", 1], "a, 1"), ((), "none"), ([], "none"), ("text", "text"), (0, 0), (None, None)]
)
def test_a_list_reads_as_its_words(value, words):
    assert module._in_words(value) == words
    assert module._Words({"a.b": value})["a_b"] == words


def test_words_that_an_event_does_not_have_are_a_question_mark():
    words = module._Words({"airflow.cause": "data"})
    assert (words["cause_label"], words["no_such"], "deed" in words) == ("bad data", "?", False)
    assert module._Words({})["cause_label"] == "?"
    assert module._Words({"airflow.cause": "of a newer Contrail"})["cause_label"] == "of a newer Contrail"


@pytest.mark.parametrize(
    ("use", "document", "value"),
    [
        (MetricUse("contrail.step.rows_in"), {}, 1),
        (MetricUse("contrail.step.rows_in", field="n"), {"n": 5}, 5),
        (MetricUse("contrail.step.rows_in", field="n", scale=0.5), {"n": 5}, 2.5),
        (MetricUse("contrail.step.rows_in", field="n"), {"n": 0}, 0),
        (MetricUse("contrail.step.rows_in", field="n"), {}, None),
        (MetricUse("contrail.step.rows_in", unless=("state", "bad")), {"state": "bad"}, None),
        (MetricUse("contrail.step.rows_in", unless=("state", "bad")), {"state": "good"}, 1),
        (MetricUse("contrail.step.rows_in", unless=("state", "bad")), {}, 1),
    ],
)
def test_a_metric_is_fed_by_its_field_in_its_unit_unless_something_speaks_against_it(sent, use, document, value):
    module._measure(use, {**document, "airflow.dag_id": "d", "etl.step": 7})
    tags = {"dag_id": "d", "step": "7"}
    assert sent == ([] if value is None else [("contrail.step.rows_in", "counter", value, tags)])


def test_who_reports_losses_hears_whether_there_were_any(told):
    take_losses()
    assert report_losses() is False
    count_loss("relay", "full", 3)
    count_loss("log", "torn", 1)
    assert report_losses() is True
    assert sorted((one["telemetry.stage"], one["telemetry.count"]) for one in told()) == [("log", 1), ("relay", 3)]
    assert report_losses() is False
    assert len({one["event.id"] for one in told()}) == 2


@pytest.mark.parametrize(
    ("error", "last", "kept", "reason"),
    [
        (errno.ENOSPC, False, True, None),
        (errno.ENOSPC, True, False, "full"),
        (errno.EACCES, False, False, "journal_of_another_user"),
        (errno.EPERM, False, False, "journal_of_another_user"),
        (errno.EACCES, True, False, "journal_of_another_user"),
    ],
)
def test_losses_that_cannot_be_recorded_wait_unless_nothing_will_record_them(  # noqa: PLR0913, PLR0917 - its table
    told, sent, monkeypatch, error, last, kept, reason
):
    def refuse(*_):
        raise JournalError(error, "no")

    monkeypatch.setattr(module.Journal, "append", refuse)
    take_losses()
    count_loss("relay", "full", 3)
    assert report_losses(last=last) is False
    assert take_losses() == ({("relay", "full"): 3} if kept else {})
    metric = ("contrail.telemetry.losses", "counter", 3, {"stage": "relay", "reason": reason})
    assert sent == ([] if kept else [metric])


def test_what_was_lost_before_an_event_is_told_with_it_and_not_with_one_that_is_known(told):
    take_losses()
    emit(attempt(1))
    count_loss("relay", "full")
    assert emit(attempt(1)) is False
    assert len(told()) == 1
    assert emit(attempt(2)) is True
    assert [one["event.action"] for one in told()] == ["task.started", "task.started", "telemetry.lost"]


def test_an_identity_of_its_own_is_kept_though_another_is_bound(told):
    with identity.bound(ABOUT):
        emit(attempt(5))
        emit(StepMeasured(step="s", discriminator="x"))
    own, bound = told()
    assert (own["airflow.dag_id"], bound["airflow.dag_id"]) == ("d", "flights")
    assert bound["event.id"] == StepMeasured(identity=ABOUT, step="s", discriminator="x").id


def test_a_service_that_an_event_names_is_kept(monkeypatch):
    monkeypatch.setattr(module, "get_settings", lambda: SimpleNamespace(core=SimpleNamespace(environment="prod")))
    spec = SimpleNamespace(dataset="etl.event", outcome="success", level="info", message="{a_b}")
    named = module._complete({"service.name": "mine", "a.b": 1}, spec)
    assert (named["service.name"], named["message"], named["event.kind"]) == ("mine", "1", "event")
    plain = module._complete({}, spec)
    assert (plain["service.name"], plain["service.environment"], plain["message"]) == ("airflow", "prod", "?")
