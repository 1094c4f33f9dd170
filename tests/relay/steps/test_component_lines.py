import orjson
import pytest

from observability.relay.sources.files.tail import Cursor, read
from observability.relay.steps.component_lines import without_echo

IDS = {"run_id": "r1", "try_number": 1, "ti_id": "01a21b5b-58f8-7488-827c-b1b532c2afb2", "task_id": "t", "dag_id": "d"}
PLAIN_IDS = "dag_id=d map_index=-1 run_id=r1 task_id=t ti_id=01a21b5b-58f8-7488-827c-b1b532c2afb2 try_number=1"
OLD_FORMAT = "[2026-01-31T12:00:00.000000Z] {say.py:13} INFO - "
ECHOES = {
    "printed": [{"event": "SAID", "logger": "task.stdout"}],
    "complained": [{"event": "SAID", "logger": "task.stderr"}],
    "the task runner's own": [{"event": "SAID", "logger": "task"}],
    "logged": [{"event": "SAID", "logger": "my.module", **IDS}],
    "printed, on a console": ["2026-01-31T12:00:00.000000Z [info     ] SAID   [task.stdout]"],
    "printed, in colour": [
        "\x1b[2m2026-01-31T12:00:00.000000Z\x1b[0m [\x1b[32minfo\x1b[0m ] SAID [\x1b[34mtask.stdout\x1b[0m]"
    ],
    "the runner's, on a console": ["2026-01-31T12:00:00.000000Z [info     ] SAID  [task] loc=task_runner.py:2412"],
    "logged, on a console": [f"2026-01-31 12:00:00.000000+00:00 [info     ] SAID  [my.module] {PLAIN_IDS}"],
    "several lines, on a console": [
        "2026-01-31 12:00:00.000000+00:00 [info ] SAID", f"SAID again   [my.module] {PLAIN_IDS}"
    ],
    "several lines, in the old format": [f"{OLD_FORMAT}SAID", f"SAID again {PLAIN_IDS}"],
}  # fmt: skip
OWN = [
    {"event": "1 tasks up:\n\t<TaskInstance: d.t r1 [scheduled] ti_id=01a21b5b-58f8-7488-827c-b1b532c2afb2>"},
    {"event": "Workload finished", "logger": "supervisor", "workload_id": IDS["ti_id"]},
    f"{OLD_FORMAT}TaskInstance FinishedFiles: dag_id=d, task_id=t, ti_id={IDS['ti_id']}, try_number=1, pid=3294",
    "2026-01-31T12:00:00.000000Z [info     ] task.stdout is mentioned   [airflow.jobs.x] loc=x.py:24",
    "2026-01-31T12:00:00.000000Z [error    ] std exc   [airflow.jobs.x] loc=x.py:26",
    "Traceback (most recent call last):",
    "ZeroDivisionError: division by zero",
]


def written(*lines):
    stamp = {"timestamp": "2026-01-31T12:00:00.000000Z", "level": "info"}
    return b"".join(
        (orjson.dumps({**stamp, **line}) if isinstance(line, dict) else line.encode()) + b"\n" for line in lines
    )


def stored(logs, content, name):
    logs.write(content, name)
    file = logs.tailed(name)
    found = read(file, Cursor(file.identity), 1 << 20)
    return [orjson.loads(document) for document in found.spliced.documents], found


@pytest.mark.parametrize("name", ["components/scheduler.log", "components/worker/host-1.log"])
@pytest.mark.parametrize("how", ECHOES)
def test_what_a_task_said_is_left_out_of_the_log_of_the_component_that_ran_it(logs, name, how):
    documents, found = stored(logs, written(*OWN[:2], *ECHOES[how], *OWN[2:]), name)
    assert "SAID" not in orjson.dumps(documents).decode()
    assert len(documents) == len(OWN)
    assert found.cursor.offset == logs.tailed(name).size


def test_offsets_and_ids_of_what_stays_are_those_of_the_whole_file(logs):
    prefix = logs.tailed().stream.prefix if logs.write(b"x\n") else b""
    content = written({"event": "SAID", "logger": "task.stdout"}, {"event": "own"})
    assert without_echo(content, prefix) == content
    found = without_echo(content, prefix.replace(b'component":"task"', b'component":"scheduler"'))
    assert (len(found), found.index(b'{"timestamp')) == (len(content), content.index(b"\n") + 1)


@pytest.mark.parametrize("component", ["triggerer", "api-server", "dag-processor"])
def test_a_component_that_runs_no_tasks_keeps_what_it_says_of_them(logs, component):
    documents, _ = stored(logs, written(*ECHOES["logged"]), f"components/{component}.log")
    assert [document["event"] for document in documents] == ["SAID"]


def test_a_tasks_own_log_keeps_every_line(logs):
    logs.write(written(*ECHOES["printed"], *ECHOES["logged"]))
    file = logs.tailed()
    assert len(read(file, Cursor(file.identity), 1 << 20).spliced.documents) == 2


SHOWN = {
    "a header": ({"event": "Authorization: Bearer abcdef123456"}, "abcdef123456"),
    "a key": ({"event": "connected", "password": "hunter2"}, "hunter2"),
    "an address": ("sqlalchemy.exc: postgresql://airflow:hunter2@db/airflow", "hunter2"),
    "an argument": ("['psql', '--password', 'hunter2', '-h']", "hunter2"),
    "a token, in a line that only looks like JSON": (
        '{"timestamp":"2026-01-31T12:00:00.000000Z","x" glpat-abcdefghij0123456789}', "glpat-abcdefghij0123456789"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ["components/api-server.log", "dag_processor/2026-01-31/dags-folder/x.py.log"])
@pytest.mark.parametrize("how", SHOWN)
def test_a_component_line_is_masked_before_any_sink_sees_it(logs, name, how):
    line, secret = SHOWN[how]
    logs.write(written({"event": "before"}, line, {"event": "after"}), name)
    file = logs.tailed(name)
    found = read(file, Cursor(file.identity), 1 << 20)
    assert secret not in b"".join(found.spliced.documents).decode()
    assert len(found.spliced.documents) == 3
    assert all(document.startswith(file.stream.prefix) for document in found.spliced.documents)


def test_clean_component_lines_travel_as_the_same_bytes(logs):
    content = written({"event": "one", "rows": 3}, {"event": "two"})
    _, found = stored(logs, content, "components/scheduler.log")
    lines = content.splitlines()
    assert all(document.endswith(line[43:]) for document, line in zip(found.spliced.documents, lines, strict=True))
