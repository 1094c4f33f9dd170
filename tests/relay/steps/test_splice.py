from types import SimpleNamespace

import orjson
import pytest
from relay_lines import TASK, line

from observability.relay.steps import splice as steps
from observability.relay.steps.own_keys import ADDED, is_unusual, user_keys
from observability.relay.steps.splice import MOST_LINE_BYTES, repair, splice

PARENTS = (b"airflow", b"host", b"service", b"log", b"log.file")
GAPS = (b"", b" ", b" \t\r ")


def documents(logs, content, offset=0):
    logs.write(content)
    made = splice(logs.tailed(), content, offset)
    return made, [orjson.loads(document) for document in made.documents]


def test_a_line_of_airflows_keeps_every_byte_behind_the_prefix(logs):
    content = line("hello", rows=3, nested={"a": [1, 2]})
    made, [document] = documents(logs, content)
    assert made.documents[0].endswith(content[1:-1])
    assert made.rewritten == 0
    assert document == {
        "airflow.dag_id": "flights",
        "airflow.task_id": "load",
        "airflow.run_id": "manual__2026-01-31T00:00:00+00:00",
        "airflow.try_number": 1,
        "airflow.map_index": -1,
        "airflow.component": "task",
        "log_id": "flights-load-manual__2026-01-31T00:00:00+00:00--1-1",
        "host.name": "host",
        "service.name": "airflow",
        "service.environment": "test",
        "log.file.path": TASK,
        "offset": 1769860800000000000,
        "@timestamp": "2026-01-31T12:00:00.000000Z",
        "timestamp": "2026-01-31T12:00:00.000000Z",
        "level": "info",
        "event": "hello",
        "rows": 3,
        "nested": {"a": [1, 2]},
    }


def test_a_line_that_may_hold_a_key_of_ours_is_looked_at_closely_and_no_other():
    ours = [*ADDED, "timestamp", "airflow.x", "extra.x"]
    spelled = [b',%b"%b" :%b' % (gap, name.encode(), value) for name in ours for gap in GAPS for value in (b"1", b"{}")]
    spelled += [b', "%b": %b' % (name, value) for name in PARENTS for value in (b"{}", b"[1]")]
    assert all(is_unusual(b'{"rows":1' + one + b"}") for one in spelled)
    others = [*(name + "s" for name in ADDED), "logger", "log", "host", "service", "airflow", "extra", "serving", "air"]
    assert not any(is_unusual(b'{"rows":1,"%b":1}' % name.encode()) for name in others if "." not in name)


def test_ids_are_the_file_and_the_byte_where_the_line_begins(logs):
    content = line("one") + line("two")
    logs.write(content)
    file = logs.tailed()
    assert splice(file, content, 0).ids == [
        b"%b-0" % file.identity.encode(),
        b"%b-%d" % (file.identity.encode(), len(line("one"))),
    ]
    assert splice(file, line("two"), len(line("one"))).ids == splice(file, content, 0).ids[1:]


@pytest.mark.parametrize("key", sorted(ADDED))
def test_a_key_of_ours_in_the_line_is_renamed_and_never_given_twice(logs, key):
    made, [document] = documents(logs, line("mine", **{key: "theirs"}))
    assert made.rewritten == 1
    assert document[f"extra.{key}"] == "theirs"
    assert made.documents[0].count(f'"{key}":'.encode()) == (key not in {"airflow.iteration", "log.part"})


def test_text_that_quotes_a_key_of_ours_is_left_alone(logs):
    _, [document] = documents(logs, line('said ,"offset":7 to me'))
    assert document["event"] == 'said ,"offset":7 to me'


@pytest.mark.parametrize(
    ("content", "event", "level", "when"),
    [
        (b"plain words\n", "plain words", "info", None),
        (b"2026-01-31T10:00:00.123456Z [warning  ] careful [x]\n", None, "warning", "2026-01-31T10:00:00.123456Z"),
        (b"[2026-01-31T10:00:00.123+0200] {a.py:1} ERROR - bad\n", None, "error", "2026-01-31T08:00:00.123000Z"),
        (b"INFO:     Started server process\n", None, "info", None),
        (b"\x1b[31mred\x1b[0m\n", "red", "info", None),
        (b"caf\xe9 \xff\n", "caf\ufffd \ufffd", "info", None),
        (b'{"timestamp":"2026-01-31T12:00:00.000000Z","event":"torn\n', None, "info", "2026-01-31T12:00:00.000000Z"),
        (b"[1,2]\n", "[1,2]", "info", None),
        (
            '{"event":"später","timestamp":"2026-01-31T12:00:00Z"}\n'.encode(),
            "später",
            "info",
            "2026-01-31T12:00:00.000000Z",
        ),
    ],
)
def test_what_airflow_did_not_write_becomes_a_document_all_the_same(logs, content, event, level, when):
    made, [document] = documents(logs, content)
    assert made.rewritten == 1
    assert document["event"] == (event or content[:-1].decode())
    assert document["level"] == level
    assert document["@timestamp"] == (when or document["timestamp"])


def test_invalid_utf8_inside_json_costs_the_byte_and_not_the_fields(logs):
    content = b'{"timestamp":"2026-01-31T12:00:00.000000Z","level":"error","event":"caf\xe9","rows":3}\n'
    _, [document] = documents(logs, content)
    assert (document["event"], document["rows"], document["level"]) == ("caf\ufffd", 3, "error")


def test_blank_lines_are_no_documents(logs):
    made, _ = documents(logs, b"\n  \n" + line("x"))
    assert made.ids == [b"%b-4" % made.ids[0].partition(b"-")[0]]


@pytest.mark.parametrize("filling", ["x", "é", "\U0001f600"])
def test_a_line_of_five_megabytes_is_split_and_its_pieces_are_the_line(logs, filling):
    content = line(filling * (5_000_000 // len(filling.encode())))
    made, found = documents(logs, content)
    assert made.split == 1
    assert [document["log.part"] for document in found] == list(range(len(found)))
    assert all(len(document["event"].encode()) <= MOST_LINE_BYTES for document in found)
    assert "".join(document["event"] for document in found) == content[:-1].decode()
    assert len(set(made.ids)) == len(made.ids)


def test_a_torn_line_that_passed_for_a_whole_one_is_mended_into_text(logs):
    torn = b'{"timestamp":"2026-01-31T12:00:00.000000Z","event":"cut he{"timestamp":"x"}\n'
    logs.write(torn)
    file = logs.tailed()
    made = splice(file, torn, 0)
    mended = orjson.loads(repair(made.documents[0], file.stream.prefix))
    assert mended["event"] == torn[:-1].decode()
    assert mended["offset"] == file.origin_ns
    assert mended["airflow.dag_id"] == "flights"


def test_a_sound_document_needs_no_mending(logs):
    content = line("fine")
    logs.write(content)
    file = logs.tailed()
    assert repair(splice(file, content, 0).documents[0], file.stream.prefix) is None


def test_a_percent_sign_in_a_name_is_just_a_percent_sign(logs):
    name = "dag_id=a%d/run_id=100%/task_id=%s/attempt=1.log"
    logs.write(line("x"), name)
    [document] = splice(logs.tailed(name), line("x"), 0).documents
    assert orjson.loads(document)["airflow.dag_id"] == "a%d"


def test_the_time_of_the_first_line_is_exact_to_the_nanosecond_unit():
    assert steps.origin_of(b'{"timestamp":"2026-11-23T17:31:38.791151Z"') == 1795455098791151000
    assert steps.origin_of(b"  ____ banner") == 0


@pytest.mark.parametrize(
    "forged",
    [
        rb'"airflow\u002edag_id":"other"',
        rb'"\u0061irflow.dag_id":"other"',
        rb'"log\u005fid":"other"',
        b'"airflow.dag_id" : "other"',
        b' \t"airflow.dag_id":"other"',
        b'"airflow":{"dag_id":"other"}',
        b'"airflow":[{"dag_id":"other"}]',
        b'"host":{"name":"other"}',
        b'"log":{"file":{"path":"other"}}',
        b'"airflow.dag_id":"a","airflow.dag_id":"b"',
        b'"airflow.Dag-Id.x":"other"',
    ],
)
def test_however_a_key_of_ours_is_spelled_there_is_one_identity(logs, forged):
    content = b'{"timestamp":"2026-01-31T12:00:00.000000Z","event":"x",' + forged + b"}\n"
    made, [document] = documents(logs, content)
    assert made.rewritten == 1
    assert (document["airflow.dag_id"], document["host.name"], document["log.file.path"]) == ("flights", "host", TASK)
    assert not isinstance(document.get("airflow"), (dict, list))
    assert made.documents[0].count(b'"airflow.dag_id"') == 1
    given = orjson.loads(content)
    assert user_keys(document).items() >= {name: given[name] for name in given if name != "timestamp"}.items()


@pytest.mark.parametrize(
    "key",
    ["offset", "offset_total", "log_id", "log_id_x", "host.name", "host.ip", "service.port", "airflow.x", "_x",
     "extra.offset", "extra.extra.offset", "extra.mine", "log.file.size", "data_stream.type", "timestamp_ms"],
)  # fmt: skip
def test_reading_back_drops_what_we_added_and_no_key_of_the_user(logs, key):
    _, [document] = documents(logs, line("x", **{key: "theirs", "rows": 1}))
    assert user_keys(document) == {**orjson.loads(line("x")), key: "theirs", "rows": 1}


PLAIN = b"""2026-01-31T10:00:00.123456Z [error    ] import failed of the row 2013-01-01T00:00:00
Traceback (most recent call last):
  File "x.py", line 1, in f

ValueError: 2013-05-05 12:00:00 is no date
2026-01-31T10:00:05.000000Z [info     ] well again
"""


@pytest.mark.parametrize("cut", [0, 82, 90, 117, 150])
def test_a_traceback_has_the_time_and_level_of_its_entry_wherever_it_is_cut(logs, cut):
    name = "dag_processor/2026-01-31/dags/x.py.log"
    logs.write(PLAIN, name)
    file = logs.tailed(name)
    cut = PLAIN.find(b"\n", cut) + 1 if cut else 0
    first = splice(file, PLAIN[:cut], 0)
    around = SimpleNamespace(before=lambda: PLAIN[:cut], top=lambda: PLAIN)
    second = splice(file, PLAIN[cut:], cut, around, first.latest)
    found = [orjson.loads(document) for document in first.documents + second.documents]
    assert [document["@timestamp"] for document in found] == ["2026-01-31T10:00:00.123456Z"] * 4 + [
        "2026-01-31T10:00:05.000000Z"
    ]
    assert [document["level"] for document in found] == ["error"] * 4 + ["info"]
    assert [document["offset"] for document in found] == sorted({document["offset"] for document in found})


def test_a_time_of_the_data_is_data_and_comes_back(logs):
    content = (
        line("first")
        + b'{"timestamp":"2013-01-01T00:00:00.000000Z","level":"info","event":"a row"}\n'
        + line("last", 5)
    )
    _, found = documents(logs, content)
    assert [document["@timestamp"][:4] for document in found] == ["2026"] * 3
    assert user_keys(found[1])["timestamp"] == "2013-01-01T00:00:00.000000Z"
    assert [document["offset"] for document in found] == sorted(document["offset"] for document in found)


@pytest.mark.parametrize("filling", ['"', "\x01", "é", "\ud800"])
def test_the_pieces_of_a_long_line_fit_every_sink_with_prefix_and_escapes(logs, filling):
    name = TASK.replace("load", "t" * 240).replace("flights", "d" * 240)
    content = (
        b"not json "
        + filling.encode("utf-8", "surrogatepass") * (2_000_000 // len(filling.encode("utf-8", "surrogatepass")))
        + b"\n"
    )
    logs.write(content, name)
    made = splice(logs.tailed(name), content, 0)
    assert max(map(len, made.documents)) <= 1_048_550
    found = [orjson.loads(document) for document in made.documents]
    assert "".join(one["event"] for one in found) == content[:-1].decode("utf-8", "replace")
    assert len({one["@timestamp"] for one in found}) == 1
