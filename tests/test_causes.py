"""Causes of failures, told from the exception."""

from __future__ import annotations

import asyncio
import builtins
import errno
import json
import re
import sqlite3
import subprocess
import traceback

import pytest
from airflow.providers.standard.exceptions import HITLRejectException, HITLTimeoutError
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowSensorTimeout, AirflowTaskTimeout

from observability import causes
from observability.catalog import CAUSES
from observability.durations import lasting


class OpinionatedError(Exception):
    contrail_cause = "data"


class UnprintableError(Exception):
    def __str__(self):
        raise RuntimeError


def raised(function, *arguments):
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - any error will do
        function(*arguments)
    return caught.value


def fail(error, cause=None):
    raise error from cause


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (KeyError("x"), "app"),
        (AirflowTaskTimeout("too long"), "timeout"),
        (AirflowSensorTimeout("too long"), "timeout"),
        (subprocess.TimeoutExpired("ls", 1), "timeout"),
        (ConnectionResetError("peer"), "dependency"),
        (TimeoutError("socket"), "dependency"),
        (sqlite3.OperationalError("database is locked"), "dependency"),
        (sqlite3.IntegrityError("unique"), "data"),
        (json.JSONDecodeError("no", "", 0), "data"),
        (MemoryError(), "oom"),
        (OpinionatedError(), "data"),
        (HITLTimeoutError("nobody answered"), "timeout"),
        (HITLRejectException("a person said no"), "cancelled"),
        (KeyboardInterrupt(), "app"),  # a person's Ctrl-C reaches no task: Airflow's supervisor has SIGINT kill it
        (GeneratorExit(), "app"),
        (asyncio.CancelledError(), "app"),
        (type("StopLoad", (BaseException,), {})("enough"), "app"),
        (type("Quit", (SystemExit,), {})(3), "app"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "oom"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "dependency"),
        (OSError(errno.ENOSPC, "No space left on device"), "app"),
    ],
)
def test_the_type_of_an_exception_tells_its_cause(error, cause):
    assert causes.cause_of(error) == cause
    assert cause in CAUSES


def test_an_error_is_blamed_on_what_it_was_raised_from():
    error = raised(fail, RuntimeError("load failed"), ConnectionRefusedError("warehouse"))
    assert causes.cause_of(error) == "dependency"


Group = getattr(builtins, "ExceptionGroup", None)
with_groups = pytest.mark.skipif(Group is None, reason="Python 3.10 has no groups of errors")
DISK = OSError(errno.ENOSPC, "No space left on device")
GIT = subprocess.CalledProcessError(128, "git pull", stderr=b"Cloning\nfatal: password=hunter22 refused\n")
SAID_BY_GIT = "CalledProcessError: fatal: password=*** refused (Command 'git pull' returned non-zero exit status 128.)"


def while_handling(first, second):
    try:
        fail(first)
    except Exception:  # noqa: BLE001
        raise second  # noqa: B904 - the context is what is tried


@with_groups
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: fail(Group("unhandled errors in a TaskGroup", [DISK])),
         "OSError: [Errno 28] No space left on device (ExceptionGroup: unhandled errors in a TaskGroup)"),
        (lambda: fail(Group("load", [ValueError("a"), Group("in", [DISK, ConnectionError("db")])])),
         "ConnectionError: db (1 of 3 errors of ExceptionGroup: load)"),
        (lambda: fail(Group("load", [ValueError(f"part {number}") for number in range(300)])),
         "ValueError: part 0 (1 of 300 errors of ExceptionGroup: load)"),
        (lambda: fail(AirflowException("load failed"), Group("in", [DISK])),
         "AirflowException: load failed, caused by OSError: [Errno 28] No space left on device (ExceptionGroup: in)"),
        (lambda: fail(AirflowException("load failed"), raised(fail, AirflowException("copy failed"), DISK)),
         "AirflowException: load failed, caused by OSError: [Errno 28] No space left on device"),
        (lambda: while_handling(KeyError("carrier"), RuntimeError("gave up")),
         "RuntimeError: gave up, while handling KeyError: 'carrier'"),
        (lambda: fail(RuntimeError("gave up: no such host"), OSError("no such host")),
         "RuntimeError: gave up: no such host"),
        (lambda: fail(GIT), SAID_BY_GIT),
        (lambda: fail(AirflowException("load failed"), GIT), f"AirflowException: load failed, caused by {SAID_BY_GIT}"),
    ],
    ids=["one in a group", "group in group", "many", "from a group", "two wrappers", "context", "said already",
         "stderr", "stderr below"],
)  # fmt: skip
def test_a_reason_names_the_error_that_lies_below(make, said):
    assert causes.describe(raised(make)).reason == said


@with_groups
def test_a_group_lists_its_errors_and_says_how_many_are_left_out():
    error = Group("load", [ValueError(f"part {number}") for number in range(300)])
    message = causes.describe(error).error_message
    assert message.startswith("load (300 sub-exceptions): ValueError: part 0; ValueError: part 1; ")
    assert message.endswith("ValueError: part 9; and 290 more")


@with_groups
def test_groups_of_other_errors_are_other_errors():
    def load(error):
        raise Group("unhandled errors in a TaskGroup", [error])

    values, again, disk = (causes.describe(raised(load, one)) for one in (ValueError("1"), ValueError("2"), DISK))
    assert values.fingerprint == again.fingerprint != disk.fingerprint


@with_groups
def test_the_frame_of_a_group_is_that_of_the_error_in_it():
    failure = causes.describe(raised(fail, Group("load", [raised(while_handling, KeyError(), DISK)])))
    assert failure.frame.endswith(" in while_handling")


@with_groups
def test_an_error_that_holds_itself_is_told_all_the_same():
    inner = ValueError("a")
    error = Group("load", [inner])
    inner.__cause__ = error
    assert causes.describe(error).reason == "ValueError: a (ExceptionGroup: load)"
    deep = ValueError("z")
    for _ in range(400):
        deep = Group("deep", [deep])
    assert causes.describe(deep).error_type == "ExceptionGroup"


def test_a_suppressed_context_is_not_blamed():
    def suppress():
        try:
            fail(ConnectionError())
        except ConnectionError:
            raise ValueError("our own") from None

    assert causes.cause_of(raised(suppress)) == "app"


def test_libraries_that_are_not_installed_are_recognised_by_their_names():
    timeout = type("ReadTimeout", (Exception,), {"__module__": "requests.exceptions"})
    invalid = type("SchemaErrors", (Exception,), {"__module__": "pandera.errors"})
    syntax = type("SyntaxError", (Exception,), {"__module__": "psycopg2.errors"})
    lost = type("OperationalError", (Exception,), {"__module__": "psycopg2"})
    assert [causes.cause_of(kind()) for kind in (timeout, invalid, syntax, lost)] == [
        "dependency",
        "data",
        "app",
        "dependency",
    ]


def test_the_fingerprint_ignores_values_and_keeps_the_place():
    first, second = raised(fail, ValueError("row 17 of 'a'")), raised(fail, ValueError("row 18 of 'b'"))
    elsewhere = raised(lambda: fail(ValueError("row 17 of 'a'")))
    prints = [causes.describe(error).fingerprint for error in (first, second, elsewhere)]
    assert prints[0] == prints[1] != prints[2]
    assert [one for one in prints if not re.fullmatch("[0-9a-f]{16}", one)] == []


def test_the_frame_is_the_last_of_the_users_own():
    failure = causes.describe(raised(json.loads, "{"))
    assert failure.frame.startswith("test_causes.py:")
    assert failure.frame.endswith(" in raised")


def test_an_exception_that_cannot_be_printed_is_told_all_the_same():
    failure = causes.describe(raised(fail, UnprintableError()))
    assert failure.error_type == "UnprintableError"
    assert failure.cause == "app"


def test_a_recursion_of_a_thousand_frames_makes_a_bounded_trace():
    def deeper():
        deeper()

    failure = causes.describe(raised(deeper))
    assert len(failure.stack_trace) <= 8192
    assert failure.reason.startswith("RecursionError: maximum recursion depth")


def test_a_message_of_a_megabyte_is_bounded():
    failure = causes.describe(ValueError("x" * 1_000_000))
    assert len(failure.reason) <= 300
    assert len(failure.error_message) <= 4096


def test_an_exit_code_is_kept():
    assert causes.describe(SystemExit(3)).exit_code == 3
    assert causes.describe(subprocess.CalledProcessError(5, "load")).exit_code == 5


@pytest.mark.parametrize(
    ("command", "code", "cause"),
    [
        ("exit 5", 5, "app"),
        ("kill -9 $$", -9, "killed"),
        ("exec env --default-signal=INT sh -c 'kill -2 $$'", -2, "killed"),  # a job in the background ignores it
        ("sh -c 'kill $$'; exit $?", 143, "killed"),
    ],
)
def test_a_command_tells_its_exit_code_and_whether_it_was_killed(command, code, cause):
    failure = causes.describe(raised(BashOperator(task_id="load", bash_command=command).execute, {}))
    assert (failure.exit_code, failure.cause) == (code, cause)


def test_a_trigger_that_failed_is_the_cause_not_the_task_that_waited_for_it():
    class Warehouse:
        def ask(self):
            raise ConnectionRefusedError("no answer\nfrom: the warehouse")

    trace = traceback.format_exception(raised(Warehouse().ask))
    waiting = BaseOperator(task_id="load")
    told = {"error": "Trigger failure", "traceback": trace}
    failure = causes.describe(raised(waiting.resume_execution, "__fail__", told, {}))
    assert (failure.cause, failure.error_type) == ("dependency", "ConnectionRefusedError")
    assert failure.reason == "the trigger failed: ConnectionRefusedError: no answer"
    assert failure.frame.startswith("test_causes.py:")
    assert failure.frame.endswith(" in ask")
    assert failure.stack_trace == "".join(trace).rstrip()


@pytest.mark.parametrize("told", [{}, {"traceback": None}, {"traceback": ["nothing that is a traceback"]}])
def test_a_trigger_that_left_no_traceback_is_told_all_the_same(told):
    error = raised(BaseOperator(task_id="load").resume_execution, "__fail__", told, {})
    assert causes.describe(error).cause == "app"


def test_what_differs_between_occurrences_is_normalised_away():
    message = "run 0b1f4c55-07d1-4cde-a6a4-6b9e4a9a5d10 of 'flights' failed at 0x7f33 after 12.5 s\nin line 3"
    assert causes.normalise(message) == "run # of # failed at # after #.# s in line #"


@pytest.mark.parametrize("seconds", [59, 60, 61, 3600, 3661, 90_000, 200_000])
def test_a_span_of_any_length_is_the_same_error(seconds):
    assert causes.normalise(f"it ran {lasting(seconds)}, of 3 parts") == "it ran # s, of # parts"
