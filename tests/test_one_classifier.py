"""One error has one cause, type, fingerprint and frame, whether a callback, a log's reader or a trigger tells of it."""

from __future__ import annotations

import asyncio
import builtins
import errno
import json
import sqlite3
import subprocess
import sys
import traceback
from pathlib import Path

import orjson
import pytest
import structlog
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import BaseOperator
from airflow.sdk._shared.logging.structlog import structlog_processors
from airflow.sdk.exceptions import AirflowException, AirflowTaskTimeout
from hypothesis import given, settings
from hypothesis import strategies as st

from observability import causes, exception_chain
from observability.catalog import CAUSES, EVENTS
from observability.watch.sources.logs import words_in


class MartError(ConnectionError):
    """Of a DAG file, and a kind of something that is known."""


class OpinionatedError(Exception):
    contrail_cause = "data"


class QuitError(SystemExit):
    pass


class StopLoadError(BaseException):
    pass


class Outer:
    class InnerError(ValueError):
        pass


def written(error, **more):
    """The line that Airflow 3.3's task runner and supervisor write about ``error``, by their own processors."""
    shared, _, render = structlog_processors(json_output=True)
    lines = []
    logger = structlog.wrap_logger(
        structlog.testing.CapturingLogger(),
        processors=[*shared[1:], render, lambda _logger, _name, line: lines.append(line) or ("", {})],
        logger_name="task",
    )
    logger.error("Task failed with exception", exc_info=error, **more)
    line = orjson.loads(lines[0])
    return {**line, "error_detail": line.pop("exception"), "logger": "task", "level": "error"}


def by_reader(error, *more):
    found = words_in([written(error), *more])
    return (found.cause, *(found.evidence[f"error.{name}"] or None for name in ("type", "fingerprint", "frame")))


def by_callback(error):
    told = causes.describe(error)
    return told.cause, told.error_type, told.fingerprint, told.frame


def said_by_callback(error):
    """The line that the callback writes beside it."""
    told = causes.describe(error)
    keys = {"airflow.cause": told.cause, "error.type": told.error_type, "error.fingerprint": told.fingerprint}
    return {"event": "Task failed for good", "event.action": "task.failed", "logger": "observability", **keys,
            "error.frame": told.frame}  # fmt: skip


def caught(function, *arguments):
    try:
        function(*arguments)
    except BaseException as error:  # noqa: BLE001 - every kind is meant
        return error
    raise AssertionError("nothing was raised")


def fail(error, cause=None):
    raise error from cause


def while_handling(first, second, *, suppress=False):
    try:
        fail(first)
    except BaseException:  # noqa: BLE001
        if suppress:
            raise second from None
        raise second  # noqa: B904 - the context is what is tried


def from_another(first, second):
    try:
        fail(first)
    except BaseException as error:
        raise second from error


def deeper():
    deeper()


def in_a_dag_file(folder):
    path = Path(folder) / "load.py"
    path.write_text("class LoadError(Exception):\n    pass\n\ndef load():\n    raise LoadError('row 7')\n")
    import importlib.util

    spec = importlib.util.spec_from_file_location("unusual_prefix_" + "0" * 40 + "_load", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load


ERRORS = {
    "key": lambda: fail(KeyError("x")),
    "no message": lambda: fail(ValueError()),
    "two lines": lambda: fail(ValueError("first\nsecond: x")),
    "nested class": lambda: fail(Outer.InnerError("x")),
    "system exit": lambda: sys.exit(3),
    "system exit with words": lambda: sys.exit("no input"),
    "keyboard": lambda: fail(KeyboardInterrupt()),
    "memory": lambda: fail(MemoryError()),
    "timeout": lambda: fail(AirflowTaskTimeout("Timeout")),
    "connection": lambda: fail(ConnectionResetError("peer")),
    "database": lambda: sqlite3.connect(":memory:").execute("select * from nothing"),
    "json": lambda: json.loads("{"),
    "syntax": lambda: compile("x = (", "f.py", "exec"),
    "unicode": lambda: b"\xff".decode("utf-8"),
    "recursion": deeper,
    "command": lambda: subprocess.run(["false"], check=True),
    "command killed": lambda: subprocess.run(["sh", "-c", "kill -9 $$"], check=True),
    "command too slow": lambda: subprocess.run(["sleep", "9"], timeout=0.01, check=False),
    "bash": lambda: BashOperator(task_id="t", bash_command="exit 5").execute({}),
    "bash killed": lambda: BashOperator(task_id="t", bash_command="kill -9 $$").execute({}),
    "from": lambda: from_another(ConnectionRefusedError("warehouse"), AirflowException("load failed")),
    "while": lambda: while_handling(TimeoutError("slow"), RuntimeError("x")),
    "suppressed": lambda: while_handling(ConnectionError("x"), RuntimeError("y"), suppress=True),
    "lambda": lambda: 1 / 0,
    "secret": lambda: fail(ValueError("postgres://ann:hunter22@db/x failed")),
    "exit of its own kind": lambda: fail(QuitError(3)),
    "generator exit": lambda: fail(GeneratorExit()),
    "cancelled by asyncio": lambda: fail(asyncio.CancelledError("stop")),
    "no Exception": lambda: fail(StopLoadError("stop")),
    "no memory left": lambda: fail(OSError(errno.ENOMEM, "Cannot allocate memory")),
    "no route": lambda: from_another(OSError(errno.EHOSTUNREACH, "No route to host"), AirflowException("load failed")),
    "command interrupted": lambda: subprocess.run(
        ["env", "--default-signal=INT", "sh", "-c", "kill -2 $$"],  # a job in the background ignores it
        check=True,
    ),
    "killed below": lambda: from_another(subprocess.CalledProcessError(-9, "load"), AirflowException("load failed")),
}
if sys.version_info >= (3, 11):
    Group, disk = builtins.ExceptionGroup, OSError(errno.ENOSPC, "No space left on device")
    ERRORS |= {
        "group": lambda: fail(Group("two", [ValueError("a"), ConnectionError("b")])),
        "group of one": lambda: fail(Group("one", [disk])),
        "group in group": lambda: fail(Group("all", [ValueError("a"), Group("in", [KeyError("k"), MemoryError()])])),
        "group of what was raised": lambda: fail(Group("one", [caught(ERRORS[name]) for name in ("key", "while")])),
        "group of chains": lambda: fail(Group("one", [caught(ERRORS["from"]), caught(ERRORS["no route"])])),
        "from a group": lambda: from_another(Group("two", [disk, TimeoutError("slow")]), AirflowException("failed")),
        "large group": lambda: fail(Group("many", [ValueError(f"part {number}") for number in range(12)])),
    }


@pytest.mark.parametrize("name", ERRORS)
def test_a_callback_and_a_reader_of_the_log_give_one_verdict(name):
    error = caught(ERRORS[name])
    assert by_reader(error) == by_callback(error)
    assert causes.describe(error).cause in CAUSES


@pytest.mark.parametrize("name", [name for name in ERRORS if name != "syntax"])
def test_the_traceback_as_text_gives_the_same_verdict(name):
    error = caught(ERRORS[name])
    told = causes.describe_trigger("".join(traceback.format_exception(error)))
    verdict = (told.cause, told.error_type, told.fingerprint, told.frame)
    if name == "recursion":  # Python leaves out what repeats when it prints it
        assert verdict[:2] == by_callback(error)[:2]
    else:
        assert verdict == by_callback(error)


def test_an_error_of_a_dag_file_has_one_name(tmp_path):
    error = caught(in_a_dag_file(tmp_path))
    assert by_reader(error) == by_callback(error)
    assert by_callback(error)[1] == "LoadError"
    assert by_callback(error)[3] == "load.py:5 in load"


@pytest.mark.parametrize(("error", "cause"), [(MartError("x"), "dependency"), (OpinionatedError("x"), "data")])
def test_what_only_the_exception_knows_stands_in_the_callbacks_line(error, cause):
    error = caught(fail, error)
    assert by_callback(error)[0] == cause
    assert by_reader(error, said_by_callback(error)) == by_callback(error)


def test_a_trigger_that_failed_is_one_error_to_the_callback_and_the_reader():
    trace = traceback.format_exception(caught(fail, ConnectionRefusedError("no answer")))
    waiting = BaseOperator(task_id="load")
    error = caught(waiting.resume_execution, "__fail__", {"error": "Trigger failure", "traceback": trace}, {})
    lines = [{"event": "Trigger failed:\n" + "\n".join(trace), "logger": "airflow.task"}, written(error)]
    found = words_in(lines)
    told = causes.describe(error)
    assert (found.cause, found.reason) == (told.cause, told.reason) == (
        "dependency", "the trigger failed: ConnectionRefusedError: no answer",
    )  # fmt: skip
    assert found.evidence["error.fingerprint"] == told.fingerprint
    assert found.evidence["error.frame"] == told.frame


@settings(deadline=None)  # a machine with much to do is slow
@given(st.data())
def test_any_chain_of_errors_has_one_verdict(data):
    builtin = [ValueError, KeyError, OSError, ConnectionError, TimeoutError, UnicodeError, MemoryError, ArithmeticError]
    kinds = st.sampled_from([*builtin, sqlite3.DataError, AirflowException, Outer.InnerError])
    text = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)
    error = caught(fail, data.draw(kinds)(data.draw(text)))
    for _ in range(data.draw(st.integers(0, 4))):
        link = data.draw(st.sampled_from([from_another, while_handling]))
        error = caught(link, error, data.draw(kinds)(data.draw(text)))
    assert by_reader(error) == by_callback(error)


KEYS = st.sampled_from(["exc_type", "exc_value", "frames", "exceptions", "filename", "lineno", "name"])


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner))
)
def test_no_error_detail_stops_the_reader(detail):
    words_in([{"event": "Task failed with exception", "logger": "task", "error_detail": detail}])


@given(st.text())
def test_no_text_stops_the_reader_of_tracebacks(text):
    for one in exception_chain.of_text(text):
        assert isinstance(one.message, str)
    assert causes.describe_trigger(text).cause in CAUSES


def test_the_log_line_of_a_failure_says_its_verdict(monkeypatch, tmp_path):
    from importlib import import_module

    from observability.events import Identity, TaskFailed

    emit = import_module("observability.emit")
    monkeypatch.setenv("CONTRAIL_CORE__HOME", str(tmp_path))
    emit.get_settings.cache_clear()
    emit.journal.cache_clear()
    lines = []
    about = Identity(dag_id="d", task_id="verdict", run_id="r", try_number=1)
    event = TaskFailed(identity=about, cause="data", reason="x", error_type="E", fingerprint="f", frame="a.py:1 in b")
    emit.emit(event, log=lambda level, message, **keys: lines.append({"level": level, "event": message, **keys}))
    emit.get_settings.cache_clear()
    emit.journal.cache_clear()
    found = words_in([{**lines[0], "logger": "observability"}])
    assert (found.cause, found.evidence["error.fingerprint"], found.evidence["error.frame"]) == (
        "data", "f", "a.py:1 in b",
    )  # fmt: skip
    assert EVENTS["task.failed"].log
