import os
import socket
import subprocess
import sys
from datetime import datetime, timezone
from importlib import import_module

import orjson
import pytest

from observability import identity, redact
from observability.contain import count_loss, take_losses
from observability.emit import emit, report_losses
from observability.events import (
    CanaryVerified,
    DeadlineMissed,
    Identity,
    RowsRejected,
    StepMeasured,
    TaskFailed,
    TaskStarted,
    TaskSucceeded,
)
from observability.journal import JournalError, frames
from observability.settings import get_settings

module = import_module("observability.emit")
ABOUT = Identity(dag_id="flights", task_id="load", run_id="r", try_number=2, map_index=-1, operator="PythonOperator")


@pytest.fixture
def sent(monkeypatch):
    """The metrics that were sent, as (name, kind, value, tags)."""
    found = []
    monkeypatch.setattr(module.metrics, "send", lambda *sample: found.append(sample))
    return found


def test_an_event_becomes_one_document_with_all_that_its_kind_implies(told):
    when = datetime(2013, 1, 1, tzinfo=timezone.utc)
    emit(TaskFailed(identity=ABOUT, time=when, cause="data", reason="12 rows", error_type="ValueError"))
    (found,) = told()
    assert found["event.id"] == TaskFailed(identity=ABOUT, cause="other", reason="other").id
    assert (found["host.name"], found["process.pid"]) == (socket.gethostname(), os.getpid())
    assert {
        key: found[key] for key in found if key not in {"event.id", "host.name", "process.pid", "event.sequence"}
    } == {
        "@timestamp": "2013-01-01T00:00:00.000000Z",
        "event.action": "task.failed",
        "event.kind": "event",
        "event.outcome": "failure",
        "log.level": "error",
        "message": "Task failed for good: bad data: 12 rows",
        "service.name": "airflow",
        "service.environment": "dev",
        "airflow.dag_id": "flights",
        "airflow.task_id": "load",
        "airflow.run_id": "r",
        "airflow.try_number": 2,
        "airflow.map_index": -1,
        "airflow.operator": "PythonOperator",
        "airflow.run_path": "dags/flights/runs/r/tasks/load",
        "airflow.cause": "data",
        "event.reason": "12 rows",
        "airflow.state": "failed",
        "event.provider": "callback",
        "error.type": "ValueError",
    }


def test_the_id_is_the_first_key_of_a_record(told):
    emit(TaskStarted(identity=ABOUT))
    (file,) = get_settings().journal_directory.iterdir()
    (record,) = frames(file.read_bytes())
    assert record.document.startswith(b'{"event.id":"')


def test_an_event_without_identity_gets_the_bound_one(told):
    with identity.bound(ABOUT):
        emit(StepMeasured(step="load"))
    (found,) = told()
    assert found["airflow.dag_id"] == "flights"
    assert found["event.id"] == StepMeasured(identity=ABOUT, step="load").id


def test_a_fact_is_recorded_once(told):
    first, second = emit(TaskStarted(identity=ABOUT)), emit(TaskStarted(identity=ABOUT))
    assert (first, second, len(told())) == (True, False, 1)


def test_the_next_attempt_is_another_fact(told):
    emit(TaskStarted(identity=ABOUT))
    emit(TaskStarted(identity=Identity(dag_id="flights", task_id="load", run_id="r", try_number=3, map_index=-1)))
    assert len(told()) == 2


def test_an_event_sends_the_metrics_of_its_kind_in_their_unit(told, sent):
    emit(TaskSucceeded(identity=ABOUT, duration_ns=1_500_000_000, peak_rss=1024))
    tags = {"dag_id": "flights", "task_id": "load", "operator": "PythonOperator", "state": "success", "env": "dev"}
    memory = {"dag_id": "flights", "task_id": "load", "env": "dev"}
    assert sent == [
        ("contrail.task.attempts", "counter", 1, tags),
        ("contrail.task.duration_ms", "timer", pytest.approx(1500), tags),
        ("contrail.task.peak_rss_bytes", "gauge", 1024, memory),
        ("contrail.task.outcomes", "counter", 1, tags),
    ]


def test_a_field_that_is_absent_sends_no_metric(told, sent):
    emit(StepMeasured(identity=ABOUT, step="load", rows_in=3))
    assert [name for name, *_ in sent] == ["contrail.step.rows_in"]


def test_an_alert_goes_to_the_stream_of_alerts(told):
    emit(DeadlineMissed(identity=ABOUT, deadline="d", reason="late"))
    (file,) = get_settings().journal_directory.iterdir()
    assert file.name.startswith("contrail.alert-")
    assert module.journal() is module.journal()  # each one would hold files open
    assert told()[0]["event.kind"] == "alert"


def test_an_event_of_a_kind_with_a_line_is_logged(told):
    lines = []
    emit(
        RowsRejected(identity=ABOUT, step="s", rule="r", rows_rejected=3),
        log=lambda *args, **keys: lines.append((args, keys)),
    )
    emit(TaskStarted(identity=ABOUT), log=lambda *args, **keys: lines.append((args, keys)))
    assert lines == [
        (("warning", "3 rows broke rule r"), {"event.id": told()[0]["event.id"], "event.action": "rows.rejected"})
    ]


def test_a_probe_is_recorded_but_neither_measured_nor_logged(told, sent):
    lines = []
    assert emit(CanaryVerified(sequence=1, probe=1), log=lines.append) is True
    assert (len(told()), sent, lines) == (1, [], [])


def test_a_secret_is_out_before_anything_is_written(told, sent, monkeypatch):
    monkeypatch.setattr(redact, "_secrets", {})
    redact.add_secret("s3cr3t-value")
    lines = []
    event = TaskFailed(identity=ABOUT, cause="app", reason="with s3cr3t-value", stack_trace="at s3cr3t-value")
    emit(event, log=lambda *args, **_: lines.append(args))
    redact._forget_rules()
    assert "s3cr3t-value" not in str((told(), sent, lines))
    assert told()[0]["event.id"] == event.id


@pytest.mark.parametrize("value", ["\udc80", "\x00\n", 2**70, float("nan"), object(), [object()]])
def test_whatever_an_event_holds_its_record_is_valid(told, value):
    emit(TaskFailed(identity=ABOUT, cause="app", reason=value))
    assert told()[0]["event.action"] == "task.failed"


def test_an_enormous_event_is_cut_to_what_every_sink_takes(told):
    emit(TaskFailed(identity=ABOUT, cause="app", reason="x" * 1_000_000, stack_trace="y" * 1_000_000))
    (found,) = told()
    assert len(orjson.dumps(found)) < 256_000
    assert found["event.reason"].endswith("x … 980000 characters more")


def test_losses_travel_with_the_next_event(told):
    count_loss("relay", "full", 3)
    emit(TaskStarted(identity=ABOUT))
    started, lost = told()
    assert (started["event.action"], lost["event.action"]) == ("task.started", "telemetry.lost")
    assert (lost["telemetry.stage"], lost["telemetry.reason"], lost["telemetry.count"]) == ("relay", "full", 3)
    assert take_losses() == {}


def test_losses_that_cannot_be_told_are_kept(told, monkeypatch):
    monkeypatch.setattr(module.Journal, "append", _full)
    count_loss("relay", "full", 3)
    count_loss("log", "torn", 1)
    report_losses()
    assert take_losses() == {("relay", "full"): 3, ("log", "torn"): 1}


def test_losses_that_the_last_moment_of_a_process_cannot_record_are_counted_by_the_metric(told, sent, monkeypatch):
    monkeypatch.setattr(module.Journal, "append", _full)
    count_loss("emit", "JournalError", 3)
    assert not report_losses(last=True)
    assert take_losses() == {}
    assert sent == [("contrail.telemetry.losses", "counter", 3, {"stage": "emit", "reason": "JournalError"})]


def test_the_same_loss_twice_is_told_twice(told):
    for _ in range(2):
        count_loss("relay", "full")
        report_losses()
    assert len(told()) == 2


def _full(*_):
    raise JournalError("disk full")


def test_a_full_disk_never_reaches_the_caller_and_is_told_when_there_is_room_again(tmp_path):
    program = f"""
import os, resource
os.environ["CONTRAIL_HOME"] = {str(tmp_path)!r}
os.environ["CONTRAIL_STATSD__ENABLED"] = "false"
from observability.emit import emit
from observability.events import Identity, TaskStarted
def started(number): return emit(TaskStarted(identity=Identity(dag_id="d", try_number=number)))
unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
before = started(1)
resource.setrlimit(resource.RLIMIT_FSIZE, (700, resource.RLIM_INFINITY))
during = [started(number) for number in range(2, 12)]
resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
after = started(12)
print(before, any(during[1:]), after)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True False True\n"
    assert "contrail: contained at emit: JournalError: " in done.stderr
    found = [
        orjson.loads(record.document)
        for path in sorted(tmp_path.glob("journal/*"))
        for record in frames(path.read_bytes())
        if record.document
    ]
    written = [document for document in found if document["event.action"] == "task.started"]
    lost = [document["telemetry.count"] for document in found if document["event.action"] == "telemetry.lost"]
    assert len(written) + sum(lost) == 12
    assert done.stderr.count("\n") == 1


def test_a_folder_that_cannot_be_written_costs_no_exception():
    program = """
import os
os.environ["CONTRAIL_HOME"] = "/proc/no-such-place"
from observability.emit import emit
from observability.events import TaskStarted
print(emit(TaskStarted()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    assert "cannot write event to /proc/no-such-place/journal/etl.event" in done.stderr


def test_broken_settings_cost_no_exception_and_are_said_once():
    program = """
import os
os.environ["CONTRAIL_STATSD__PORT"] = "x"
from observability.emit import emit
from observability.events import Identity, TaskStarted
for number in range(3): print(emit(TaskStarted(identity=Identity(dag_id=str(number)))))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n" * 3
    fault = "CONTRAIL_STATSD__PORT must be a whole number from 1 to 65,535; it is 'x'"
    assert done.stderr.splitlines() == [f"contrail: contained at emit: SettingsError: {fault}"]


def test_a_logger_that_raises_does_not_undo_the_record():
    program = """
import os, tempfile
os.environ["CONTRAIL_HOME"] = tempfile.mkdtemp()
from observability.emit import emit
from observability.events import CanaryVerified
def log(*args, **keys): raise RuntimeError("no log")
print(emit(CanaryVerified(sequence=1), log=log))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_a_fork_does_not_report_what_its_parent_lost(told):
    program = """
import os
from observability.contain import count_loss, take_losses
count_loss("relay", "full")
child = os.fork()
if child == 0:
    os._exit(len(take_losses()))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(take_losses()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "0 1\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(
    "where", ["in a home of its owner's only", "in a home for all", "elsewhere", "elsewhere, in a closed folder"]
)
def test_what_a_task_of_another_user_cannot_write_is_counted_by_a_metric(tmp_path, where):
    """As with ``run_as_user``: the settings are their owner's only, and so may be the home."""
    home = tmp_path / "home"
    (home / "journal").mkdir(parents=True, mode=0o700)
    home.chmod(0o700 if "owner" in where else 0o755)
    tmp_path.parent.chmod(0o711)
    tmp_path.chmod(0o700 if "closed" in where else 0o711)
    elsewhere = where.startswith("elsewhere")
    file = (tmp_path if elsewhere else home) / "contrail.toml"
    file.write_text("[core]\n" + (f'home = "{home}"\n' if elsewhere else ""))
    file.chmod(0o600)
    program = (
        "import os; from observability import events, metrics; from observability.settings import get_settings;"
        "from observability.emit import emit, report_losses;"
        "metrics.increment('contrail.canary.missing'); metrics.flush();"  # loads what the other user may not read
        "get_settings.cache_clear(); os.setgid(65534); os.setuid(65534);"  # and reads the settings as that user
        "about = events.Identity(dag_id='d', run_id='r', task_id='t', try_number=1);"
        "assert not emit(events.TaskStarted(identity=about)); report_losses(); metrics.flush()"
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as relay:
        relay.bind(("127.0.0.1", 0))
        relay.settimeout(30)
        variables = {
            "_AIRFLOW__REEXECUTED_PROCESS": "1",
            **({"CONTRAIL_CONFIG": str(file)} if elsewhere else {"CONTRAIL_HOME": str(home)}),
            "CONTRAIL_STATSD__PORT": str(relay.getsockname()[1]),
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        subprocess.run([sys.executable, "-c", program], env=variables, check=True, capture_output=True, timeout=60)
        said = "".join(relay.recv(65_536).decode() for _ in range(2))
    assert "contrail.telemetry.losses" in said
    assert "reason=journal_of_another_user:1|c" in said
