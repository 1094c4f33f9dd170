from itertools import islice

import orjson
import pytest
from typer.testing import CliRunner

from observability.cli import app
from observability.cli import read as reading
from observability.errors import ArgumentError
from observability.relay.sinks.embedded import EmbeddedSink
from observability.relay.sinks.sink import Batch
from observability.settings import get_settings
from observability.store import Query, open_store


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTRAIL_CORE__HOME", str(tmp_path))
    get_settings.cache_clear()
    sink = EmbeddedSink(tmp_path / "store.db")
    for run, task, events in (
        ("r1", "load", ["one", "two"]),
        ("r2", "load", ["three\x1b[31m\u202e"]),
        ("r2", "other", ["four"]),
    ):
        prefix = orjson.dumps(
            {"airflow.dag_id": "flights", "airflow.task_id": task, "airflow.run_id": run, "airflow.try_number": 1}
        )
        documents = [
            prefix[:-1]
            + b","
            + orjson.dumps(
                {"@timestamp": f"2026-01-31T12:00:0{run[1]}.00000{n}Z", "level": "info", "event": event, "rows": n}
            )[1:]
            for n, event in enumerate(events)
        ]
        ids = [b"%b-%d" % (f"{run}{task}".encode(), number) for number in range(len(events))]
        sink.send(Batch("airflow.task", "a.log", "g", ids, documents, prefix=prefix[:-1] + b","))
    event = {
        "event.id": "1" * 16,
        "@timestamp": "2026-01-31T12:00:00.000000Z",
        "event.action": "task.failed",
        "airflow.dag_id": "flights",
        "message": "Task failed for good",
    }
    sink.send(Batch("etl.event", "j", "journal", [b"1" * 16], [orjson.dumps(event)]))
    sample = {
        "event.id": "2" * 16,
        "@timestamp": "2026-01-31T12:00:00.000000Z",
        "metric.name": "x",
        "metric.value": 2.0,
        "airflow.dag_id": "d",
    }
    sink.send(Batch("airflow.statsd", "j", "journal", [b"2" * 16], [orjson.dumps(sample)]))
    sink.close()
    yield
    get_settings.cache_clear()


def run(*arguments):
    return CliRunner().invoke(app, arguments)


@pytest.mark.parametrize(
    ("arguments", "events"),
    [
        (("flights",), ["one", "two", "three\x1b[31m\u202e", "four"]),
        (("flights", "load"), ["one", "two", "three\x1b[31m\u202e"]),
        (("flights", "--run", "r1"), ["one", "two"]),
        (("flights", "other", "--run", "latest"), ["four"]),
        (("flights", "-n", "1"), ["four"]),
        (("nobody",), []),
    ],
)
def test_logs_gives_the_lines_asked_for_as_json(store, arguments, events):
    shown = run("logs", *arguments, "--json")
    assert shown.exit_code == 0
    assert [orjson.loads(line)["event"] for line in shown.stdout.splitlines()] == events


def test_logs_for_people_says_who_when_and_what_and_steers_no_terminal(store):
    shown = run("logs", "flights", "load").stdout
    assert "load#1 │ two rows=1" in shown
    assert "three\ufffd[31m\ufffd" in shown
    assert "\x1b" not in shown


def test_a_search_prints_what_it_finds_with_the_lines_around_it(store):
    def found(*arguments):
        return [orjson.loads(line) for line in run("logs", *arguments, "--json").stdout.splitlines()]

    texts = [one["event"] for one in found("--grep", "^t|four")]
    assert texts == ["two", "three\x1b[31m\u202e", "four"]
    around = run("logs", "flights", "-g", "TWO", "-i", "-C", "1", "--json").stdout.splitlines()
    assert [(one["event"], one["contrail.match"]) for one in map(orjson.loads, around)] == [
        ("one", False),
        ("two", True),
    ]
    assert run("logs", "flights", "--grep", "o|four", "-B", "1").stdout.count("--\n") == 1
    assert run("logs", "--grep", "nowhere").exit_code == 1
    assert [orjson.loads(one)["event"] for one in run("logs", "-g", "o", "-n", "1", "--json").stdout.splitlines()] == [
        "four"
    ]


def test_a_pattern_cannot_hang_and_one_that_could_is_refused(store):
    assert run("logs", "--grep", "(a+)+$").exit_code == 1
    for pattern in ("(?=x)", "(x)\\1", "(", "x" * 501):
        assert isinstance(run("logs", "--grep", pattern).exception, ArgumentError), pattern
    assert run("logs", "--grep", "(", "--text").exit_code == 1


def test_events_and_metrics_are_read_back(store):
    assert "task.failed" in run("events").stdout
    assert (
        orjson.loads(run("events", "task.failed", "--dag", "flights", "--json").stdout)["message"]
        == "Task failed for good"
    )
    assert "x 2 dag_id=d" in run("metrics", "--since", "2026-01-01").stdout


def test_events_of_both_kinds_are_mixed_by_time_and_followed_together(store, tmp_path):
    sink = EmbeddedSink(tmp_path / "store.db")
    for number, second in ((3, 5), (4, 0)):
        alert = {"event.id": str(number) * 16, "@timestamp": f"2026-01-31T11:59:0{second}.000000Z", "event": number}
        sink.send(Batch("contrail.alert", "j", "journal", [str(number).encode() * 16], [orjson.dumps(alert)]))
    sink.close()
    shown = [orjson.loads(line)["event.id"][0] for line in run("events", "--json").stdout.splitlines()]
    assert shown == ["4", "3", "1"]
    assert run("events", "-n", "1", "--json").stdout.startswith('{"event.id":"1')
    queries = [Query("etl.event"), Query("contrail.alert")]
    followed = islice(reading._following(open_store(get_settings()), queries), 3)
    assert {document["event.id"][0] for document in followed} == {"1", "3", "4"}


def test_following_ends_with_the_reason_where_a_store_cannot_be_read(store, tmp_path):
    for path in tmp_path.glob("store.db*"):
        path.unlink()
    (tmp_path / "store.db").write_bytes(b"no database " * 1000)
    shown = run("events", "--follow")
    assert shown.exit_code != 0
    assert "store.db" in f"{shown.output}{shown.exception}"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("logs",), "name a DAG"),
        (("logs", "--component", "nonsense"), "is not a component"),
        (("events", "task.exploded"), "is not a kind of event"),
        (("logs", "x", "--since", "yesterday"), "is not a time"),
    ],
)
def test_what_cannot_be_asked_is_answered_with_the_remedy(store, arguments, said):
    shown = run(*arguments)
    assert shown.exit_code == 2
    assert said in shown.output


@pytest.mark.parametrize("command", ["logs", "events", "metrics", "relay"])
def test_help_shows_examples(command):
    assert f"contrail {command}" in run(command, "--help").output


def test_a_moment_is_a_span_or_a_date():
    assert reading._moment("") is None
    assert reading._moment("2026-01-31T12:00Z").isoformat() == "2026-01-31T12:00:00+00:00"
    assert reading._moment("90m") < reading._moment("1h")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["logs", "fligths"], "of dag_id fligths. What still waits to be stored: contrail status\n"),
        (["logs", "flights", "lo\x1bad", "--level", "loud"], "of dag_id flights, task_id lo\ufffdad, level loud."),
        (["events", "--dag", "d", "--since", "2026-01-31T12:00+02:00"], "of dag_id d, since 2026-01-31 10:00 UTC."),
        (["metrics", "contrail.task.outcome"], "Nothing is stored of name contrail.task.outcome, since "),
        (["logs", "--grep", "no such text"], "No stored line matches.\n"),
    ],
    ids=["a DAG misspelt", "a task and a level", "events of another DAG", "a metric misspelt", "a word"],
)
def test_what_was_asked_for_in_vain_is_named_on_stderr(store, asked, said):
    found = run(*asked)
    assert (found.stdout, said in found.stderr) == ("", True), found.stderr
