"""Records made by the shape of a line are those that are made of its whole JSON."""

from __future__ import annotations

from operator import attrgetter

import orjson
from hypothesis import given, settings, strategies
from opentelemetry.proto.logs.v1.logs_pb2 import ScopeLogs
from otlp_receiver import attributes, strictly

from observability.relay.otlp import log_records
from observability.relay.otlp.attributes import Attributes
from observability.relay.otlp.line_shapes import LineShapes
from observability.relay.otlp.log_records import LogRecords
from observability.relay.sinks.sink import Batch
from observability.relay.sources.files.airflow_logs import log_stream
from observability.relay.sources.files.tailed_file import TailedFile
from observability.relay.steps.splice import splice

TRACE = "0af7651916cd43dd8448eb211c80319c"
TEXTS = strategies.sampled_from(
    [
        "",
        "a",
        "loaded 7 rows",
        'he said "no"',
        "back\\slash",
        "tab\tand\nline",
        "naïve ✓ 🛫",
        'x","logger":"y',
        "\x00",
        "n" * 200,
    ]
)
VALUES = TEXTS | strategies.sampled_from(
    [
        None,
        True,
        False,
        0,
        1,
        12,
        -1,
        4096,
        2**21,
        2**40,
        -(2**63),
        2**64,
        0.5,
        1e-7,
        [1, "b"],
        {"a": {"b": [None]}},
        TRACE,
    ]
)
OWN_NAMES = [
    "rows",
    "row",
    "trace.id",
    "message",
    "event.id",
    "event.action",
    "log.level",
    "logger",
    "service.name",
    "offset",
    "é",
]
LINES = strategies.fixed_dictionaries(
    {
        "event": TEXTS,
        "level": strategies.sampled_from(["info", "warning", "INFO", "odd level"]),
        "place": strategies.sampled_from(
            [("flights", "load.py", 4), ("flights", "load.py", 42), ("task", "runner.py", 42)]
        ),
        "before": strategies.dictionaries(strategies.sampled_from(OWN_NAMES), VALUES, max_size=2),
        "after": strategies.dictionaries(strategies.sampled_from(OWN_NAMES), VALUES, max_size=2),
        "torn": strategies.sampled_from([b"", b"", b"", b"", b"}", b',"x":', b"1"]),
    }
)


def line_of(told, number):
    logger, name, at = told["place"]
    whole = {
        "timestamp": f"2026-01-31T12:00:00.{number:06}Z",
        "level": told["level"],
        "event": told["event"],
        **told["before"],
        "task_id": "load",
        "trace.id": TRACE,
        "logger": logger,
        "filename": name,
        "lineno": at,
        **told["after"],
    }
    try:
        text = orjson.dumps(whole)
    except TypeError:
        text = orjson.dumps({name: str(content) for name, content in whole.items()})
    return text[:-1] + told["torn"] + b"}" if told["torn"] else text


def read(batch):
    """The records of a batch by id, as the official classes read them, and the ids of what is refused."""
    refused = {}
    made = LogRecords(Attributes({"service.name": "airflow"}), lambda _fields: b"t" * 16).encode(batch, refused)
    scope = strictly(ScopeLogs, b"".join(made))
    told = attrgetter("time_unix_nano", "severity_number", "severity_text", "body", "trace_id", "span_id", "event_name")
    by_id = {attributes(one)["log.record.uid"]: (told(one), attributes(one)) for one in scope.log_records}
    assert len(by_id) == len(scope.log_records) == len(batch.ids) - len(refused)
    return by_id, set(refused)


@given(strategies.lists(LINES, min_size=1, max_size=6), strategies.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_a_record_by_the_shape_of_its_line_says_what_the_whole_line_says(kinds, chance):
    content = b"".join(line_of(chance.choice(kinds), number) + b"\n" for number in range(70))
    stream = log_stream("dag_id=flights/run_id=r/task_id=load/attempt=1.log", "h", "test")
    made = splice(TailedFile(stream, None, 1, 1, "0" * 16), content, 0)
    batch = Batch("airflow.task", "a", "a", made.ids, made.documents, prefix=stream.prefix)
    by_shape = read(batch)
    many, log_records._MANY = log_records._MANY, 10**9
    try:
        assert by_shape == read(batch)
    finally:
        log_records._MANY = many


def test_a_line_that_differs_from_others_by_one_number_says_that_number():
    odd = ["0", "-1", "007", "1.5", "1e3", "1 ", " 1", "true", '"1"', '1,"rows":2', '12,"row":3', ""]
    odd += [str(base + more) for base in (10**17, 10**18, 2**63, 2**64) for more in (-1, 0, 1)]
    numbers = [one for at, one in enumerate(odd) for one in (str(3 * at), str(7**at), one, "5")]
    lines = [f'"lineno":4,"rows":{number}' for number in numbers]
    lines += ['"lineno":4', '"lineno":42', '"lineno":4,"rows":7', '"lineno":4,"cows":7', '"lineno":42,"rows":8']
    start = '{"timestamp":"2026-01-31T12:00:00.%06dZ","level":"info","event":"%s","task_id":"load",%s}\n'
    content = "".join(start % (at, "loaded" * at, line) for at, line in enumerate(lines)).encode()
    stream = log_stream("dag_id=flights/run_id=r/task_id=load/attempt=1.log", "h", "test")
    made = splice(TailedFile(stream, None, 1, 1, "0" * 16), content, 0)
    by_shape, refused = read(Batch("airflow.task", "a", "a", made.ids, made.documents, prefix=stream.prefix))
    whole, few = [], []
    for key, document in zip(made.ids, made.documents, strict=True):
        told, not_told = read(Batch("airflow.task", "a", "a", [key], [document], prefix=stream.prefix))
        whole += told.items()
        few += not_told
    assert by_shape == dict(whole)
    assert refused == set(few)
    assert len(by_shape) == len(lines) - 2  # neither 007 nor nothing is JSON


def test_members_of_a_line_s_own_may_stand_before_or_behind_those_of_its_shape():
    seen = []
    shapes = LineShapes(lambda fields: seen.append(fields) or b"", frozenset())
    for rows in (1, 2):
        shapes.learn(b',"rows":%d,"task_id":"load","lineno":4' % rows)
    assert shapes.of(b',"rows":33,"task_id":"load","lineno":4}', 0) is not None
    assert shapes.of(b',"rows":33,"task_id":"load","lineno":44}', 0) is None
    assert seen == [{"task_id": "load", "lineno": 4}]


def test_a_number_that_begins_as_that_of_the_line_before_is_another_number():
    shapes = LineShapes(lambda _fields: b"", frozenset())
    for _ in range(2):
        shapes.learn(b',"task_id":"load","lineno":4')
    assert shapes.of(b',"task_id":"load","lineno":4}', 0) is not None
    assert shapes.of(b',"task_id":"load","lineno":42}', 0) is None
