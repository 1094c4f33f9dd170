"""Classify an error as one of :data:`observability.catalog.CAUSES`, with its fingerprint.

The one classifier, for callbacks (:func:`describe`), for readers of task logs (:func:`describe_detail`) and for
tracebacks that came as text. Cause, type, frame and fingerprint are those that each of them can see. Types are
recognised by their names, so no client library is imported to know its errors. Only the exception itself shows that its
class descends from one that is known, or names its own cause in an attribute ``contrail_cause``: the callback's line
in the task's log says so, and a reader of the log takes it over.
"""

from __future__ import annotations

import builtins
import hashlib
import re
import sys
import traceback
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from observability import exception_chain, redact
from observability.catalog import CAUSES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from observability.exception_chain import Raised

__all__ = [
    "Failure",
    "bounded_trace",
    "cause_of",
    "describe",
    "describe_detail",
    "describe_trigger",
    "fingerprint_of",
    "is_airflow_away",
    "normalise",
]

_TRACE_MOST = 8192
_SERVER_ERROR = 500
_CHAIN_MOST = 20
_REASON_MOST = 300
_FRAMES_MOST = 12
_LEAVES_MOST = 10
"""Errors of a group that its message names."""
_BY_TYPE = {
    "airflow.sdk.exceptions.AirflowTaskTimeout": "timeout",
    "airflow.sdk.exceptions.AirflowSensorTimeout": "timeout",
    "airflow.sdk.exceptions.TaskDeferralTimeout": "timeout",
    "airflow.providers.standard.exceptions.HITLTimeoutError": "timeout",
    "airflow.providers.standard.exceptions.HITLRejectException": "cancelled",
    **dict.fromkeys(
        (
            f"airflow.providers.standard.exceptions.External{what}Error"
            for what in ("TaskFailed", "TaskGroupFailed", "DagFailed")
        ),
        "upstream",
    ),
    "airflow.sdk.exceptions.AirflowTaskTerminated": "killed",
    "airflow.sdk.exceptions.AirflowRuntimeError": "platform",
    "airflow.sdk.exceptions.AirflowNotFoundException": "dependency",
    "airflow.sdk.exceptions.XComNotFound": "upstream",
    "airflow.exceptions.AirflowTaskTimeout": "timeout",
    "airflow.exceptions.AirflowSensorTimeout": "timeout",
    "builtins.MemoryError": "oom",
    "builtins.ConnectionError": "dependency",
    "builtins.TimeoutError": "dependency",
    "builtins.UnicodeDecodeError": "data",
    "_csv.Error": "data",
    "json.decoder.JSONDecodeError": "data",
    "subprocess.TimeoutExpired": "timeout",
    "asyncio.exceptions.TimeoutError": "dependency",
    "concurrent.futures._base.TimeoutError": "dependency",
    "sqlite3.OperationalError": "dependency",
    "sqlite3.IntegrityError": "data",
    "sqlite3.DataError": "data",
    "pandas.errors.ParserError": "data",
    "pandas.errors.MergeError": "data",
    "pandas.errors.EmptyDataError": "data",
    "pydantic_core._pydantic_core.ValidationError": "data",
    "socket.gaierror": "dependency",
    "ssl.SSLError": "dependency",
}
_BY_MODULE = (
    (re.compile(r"^(pandera|great_expectations|jsonschema|marshmallow|cerberus)\b"), "data"),
    (re.compile(r"^(pyarrow|fastavro|pyarrow\.lib)\b"), "data"),
    (
        re.compile(
            r"^(requests|urllib3|urllib\.error|httpx|httpcore|aiohttp|http\.client|botocore|boto3|s3transfer|google\.(api_core|cloud|auth)"
            r"|azure|elasticsearch|elastic_transport|opensearchpy|redis|kafka|confluent_kafka|pymongo|paramiko|smtplib|ftplib"
            r"|snowflake\.connector|databricks|trino|clickhouse_connect|kubernetes|grpc|docker)\b"
        ),
        "dependency",
    ),
)
_DATABASE = re.compile(r"^(psycopg2?|sqlalchemy\.exc|pymysql|MySQLdb|oracledb|pyodbc|pymssql|asyncpg|duckdb)\b")
_DATABASE_DATA = ("IntegrityError", "DataError", "ConstraintException", "ConversionException", "InvalidInputException")
_DATABASE_DOWN = (
    "OperationalError",
    "InterfaceError",
    "TimeoutError",
    "DisconnectionError",
    "IOException",
    "HTTPException",
)
_BY_BARE_NAME = {
    **{name.rpartition(".")[2]: cause for name, cause in _BY_TYPE.items() if name != "_csv.Error"},
    **dict.fromkeys((*_DATABASE_DATA, "ArrowInvalid", "SchemaError", "SchemaErrors", "ValidationError"), "data"),
    **{name: "dependency" for name in _DATABASE_DOWN if name != "IOException"},
    **dict.fromkeys(
        ("ClientError", "ConnectError", "ConnectionTimeout", "ConnectTimeout", "EndpointConnectionError", "HTTPError",
         "HTTPStatusError", "NoCredentialsError", "ReadTimeout", "SSLCertVerificationError"), "dependency",
    ),
}  # fmt: skip
"""The cause of a class without its module: Airflow's log has no more of it than that."""
_MODULE_OF_FILE = re.compile(r"[/\\](?:site|dist)-packages[/\\](.+?)\.py$")
_KILLED = {code for number in (2, 9, 15) for code in (-number, 128 + number)}
"""The exit codes of a command that was ended by SIGINT, SIGKILL or SIGTERM: by Python, and by a shell over it."""
_BY_ERRNO = {"12": "oom", **dict.fromkeys(("100", "101", "112", "113"), "dependency")}
"""No memory; the network or the host is down, or there is no way to it (Linux)."""
_ERRNO = re.compile(r"\[Errno (\d+)\]")
_GROUP_COUNT = re.compile(r" \(\d+ sub-exceptions?\)$")
_BASH_FAILED = re.compile(r"Bash command failed\. The command returned a non-zero exit code (-?\d+)")
"""``BashOperator`` has no other place for its exit code than these words."""
_EXIT_STATUS = re.compile(
    r"Command .* (?:returned non-zero exit status (-?\d+)|died with <Signals\.\w+: (\d+)>)\.", re.DOTALL
)
"""The words of ``subprocess.CalledProcessError``."""
_VARIABLE = re.compile(r"0x[0-9a-f]+|[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{12,}|'[^']*'|\"[^\"]*\"|\d+", re.IGNORECASE)
_SPAN = re.compile(r"(?<!\.)# (?:d|h|min|s)\b(?: # (?:h|min|s)\b)?")
"""A span of time as :mod:`observability.durations` writes it, its numbers taken away; all become one of seconds."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception as an event tells it; every text is redacted and bounded."""

    cause: str
    reason: str
    error_type: str | None = None
    error_message: str | None = None
    stack_trace: str | None = None
    fingerprint: str | None = None
    frame: str | None = None
    exit_code: int | None = None


def describe(error: BaseException) -> Failure:
    """The fields of an event about ``error``; never raises for an exception that cannot even be printed."""
    if trace := _of_trigger(error):
        return describe_trigger(trace)
    formatted = traceback.TracebackException.from_exception(error, limit=-_FRAMES_MOST * 4)
    chain = exception_chain.of_error(error)
    return _described(chain, "".join(formatted.format()))


def is_airflow_away(error: BaseException) -> bool:
    """Tell whether ``error`` came of an API server of Airflow that did not answer the task's process.

    Then Airflow did not hear of the failure either, and it alone knows what becomes of the attempt.
    """
    one: BaseException | None = error
    for _ in range(_CHAIN_MOST):
        if one is None:
            return False
        if type(one).__name__ == "AirflowRuntimeError" and _is_without_answer(getattr(one, "error", None)):
            return True
        one = one.__cause__ or one.__context__
    return False


def _is_without_answer(response: Any) -> bool:
    """Tell whether the supervisor's ``ErrorResponse`` stands for no answer, or for one of a server that is broken."""
    if getattr(getattr(response, "error", None), "value", None) != "API_SERVER_ERROR":
        return False
    detail = getattr(response, "detail", None)
    status = detail.get("status_code") if isinstance(detail, dict) else None
    return status is None or (isinstance(status, int) and status >= _SERVER_ERROR)


def describe_trigger(trace: str) -> Failure:
    """The fields of an event about the traceback of a trigger that failed, whose task was resumed to fail."""
    return _described(exception_chain.of_text(trace), trace, "the trigger failed: ")


def describe_detail(details: Any) -> Failure | None:
    """The fields of an event about the ``error_detail`` of a line of a task's log; None where there is none."""
    chain = exception_chain.of_detail(details)
    return _described(chain) if chain else None


def _described(chain: Sequence[Raised], trace: str = "", before: str = "") -> Failure:
    chain = chain or [exception_chain.Raised("Exception", "")]
    outer, told = chain[0], _told_leaf(chain[0])[0]
    own = told.own or outer.own
    codes = (code for one in _all_of(chain) if (code := _exit_code(one)) is not None)
    return Failure(
        cause=_cause_of_chain(chain),
        reason=_bounded(redact.text(before + _said(chain)), _REASON_MOST),
        error_type=outer.name,
        error_message=_bounded(redact.text(_message(outer)), _TRACE_MOST // 2),
        stack_trace=bounded_trace(trace.rstrip() if before else trace) if trace else None,
        fingerprint=_fingerprint(outer, redact.text(outer.message)),
        frame=str(own[-1]) if own else None,
        exit_code=next(codes, None),
    )


def _all_of(chain: Iterable[Raised]) -> Iterator[Raised]:
    """Each error of a chain, and below each group those that it holds."""
    for one in chain:
        yield one
        for member in one.members:
            yield from _all_of(member)


def _said(chain: Sequence[Raised]) -> str:
    """The sentence about a chain: what happened, then what it is wrapped in, or came of."""
    outer = chain[0]
    if outer.members:
        told = _told_leaf(outer)
        number = sum(1 for _ in outer.leaves()) + outer.left_out()
        wrap = _said_alone(outer)
        return f"{_said(told)} ({wrap if number == 1 else f'1 of {number} errors of {wrap}'})"
    said = _said_alone(outer)
    if not (rest := chain[1:]):
        return said
    at = next((number for number, one in enumerate(rest) if _cause_of_chain([one]) != "app"), len(rest) - 1)
    if _cause_of(outer):
        at = len(rest) - 1
    first = _said([rest[at]])
    if (rest[at].message and rest[at].message in outer.message) or first == said:
        return said
    return f"{said}, {'caused by' if all(one.is_cause for one in rest[: at + 1]) else 'while handling'} {first}"


def _told_leaf(outer: Raised) -> tuple[Raised, ...]:
    """The chain of the error of a group that its cause comes of, else of its first; an error that is no group alone."""
    leaves = list(outer.leaves())
    return next((one for one in leaves if _cause_of_chain(one) != "app"), leaves[0])


def _said_alone(one: Raised) -> str:
    """The first line of an error with its class; plain words where Airflow's own are the text of a dict."""
    if one.name == "HITLTimeoutError":
        return "HITLTimeoutError: nobody answered in time"
    first = _GROUP_COUNT.sub("", one.message.strip().partition("\n")[0])
    if one.stderr and one.stderr not in first:
        first = f"{one.stderr} ({first})"
    return f"{one.name}: {first}" if first else one.name


def _message(outer: Raised) -> str:
    """The message of an error; a group names its errors."""
    if not outer.members:
        return outer.message
    leaves = list(outer.leaves())
    said = [_said(one) for one in leaves[:_LEAVES_MOST]]
    left = len(leaves) - len(said) + outer.left_out()
    return f"{outer.message}: {'; '.join(said)}{f'; and {left} more' if left else ''}"


def _exit_code(one: Raised) -> int | None:
    """With what the process left, or the command that it had started."""
    if one.code is not None:
        return one.code
    if command := _BASH_FAILED.match(one.message):
        return int(command[1])
    if one.name == "SystemExit":
        return int(one.message) if one.message.lstrip("-").isdecimal() else None
    if one.name == "CalledProcessError" and (status := _EXIT_STATUS.match(one.message)):
        return int(status[1]) if status[1] else -int(status[2])
    return None


def _of_trigger(error: BaseException) -> str:
    """The traceback of the trigger that failed, which Airflow hands to the resumed task's frame and to nothing else."""
    step = error.__traceback__ if type(error).__name__ == "TaskDeferralError" else None
    while step is not None:
        if step.tb_frame.f_code.co_name == "resume_execution":
            lines = (step.tb_frame.f_locals.get("next_kwargs") or {}).get("traceback")
            return "".join(map(str, lines)) if isinstance(lines, (list, tuple)) else ""
        step = step.tb_next
    return ""


def cause_of(error: BaseException) -> str:
    """The cause that ``error``, or what it was raised from, speaks of; ``app`` where nothing better is known."""
    return _cause_of_chain(exception_chain.of_error(error))


def _cause_of_chain(chain: Iterable[Raised]) -> str:
    return next((cause for one in _all_of(chain) if (cause := _cause_of(one))), "app")


def _cause_of(one: Raised) -> str | None:
    """By its exit code; by its class, if that is at hand; else, or if that says nothing, by name and who raised it."""
    return "killed" if _exit_code(one) in _KILLED else _cause_by_class(one) or _cause_by_number(one)


def _cause_by_number(one: Raised) -> str | None:
    number = _ERRNO.match(one.message)
    return _BY_ERRNO.get(number[1]) if number else None


def _cause_by_class(one: Raised) -> str | None:
    kind = one.kind
    if kind is None and one.module:
        kind = getattr(sys.modules.get(one.module), one.name, None)
    if isinstance(kind, type) and (cause := _cause_of_type(kind)):
        return cause
    builtin = getattr(builtins, one.name, None)
    if isinstance(builtin, type):
        return _cause_of_type(builtin)
    module = one.module or _module_that_raised(one)
    return _cause_of_name(module, one.name) or _BY_BARE_NAME.get(one.name)


def _module_that_raised(one: Raised) -> str:
    found = _MODULE_OF_FILE.search(one.frames[-1].file) if one.frames else None
    return re.sub(r"[/\\]", ".", found[1]) if found else ""


def _cause_of_type(kind: type[BaseException]) -> str | None:
    if (own := getattr(kind, "contrail_cause", None)) in CAUSES:
        return str(own)
    for ancestor in kind.__mro__:
        if cause := _cause_of_name(ancestor.__module__, ancestor.__qualname__):
            return cause
    return None


def _cause_of_name(module: str, name: str) -> str | None:
    if cause := _BY_TYPE.get(f"{module}.{name}"):
        return cause
    if _DATABASE.match(module) and (cause := _database_cause(name)):
        return cause
    return next((cause for pattern, cause in _BY_MODULE if pattern.match(module)), None)


def _database_cause(name: str) -> str | None:
    if name in _DATABASE_DATA:
        return "data"
    return "dependency" if name in _DATABASE_DOWN else None


def fingerprint_of(error: BaseException, message: str) -> str:
    """16 hex digits, equal for the same type raised by way of the same functions.

    Line numbers do not count, so that an edit elsewhere in the file keeps it; where there are no frames of
    the user's own, the message without its numbers, ids and quoted parts does.
    """
    return _fingerprint(exception_chain.of_error(error)[0], message)


def _fingerprint(one: Raised, message: str) -> str:
    """Of a group, the classes in it count as well, and where they were raised: its own frames say where it was made."""
    text = "\x1f".join([one.name, *(_functions(one) or [normalise(message)]), *_of_members(one)])
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _of_members(one: Raised) -> list[str]:
    if not one.members:
        return []
    return sorted({f"{leaf[0].name} {(_functions(leaf[0]) or [''])[-1]}" for leaf in one.leaves()})


def _functions(one: Raised) -> list[str]:
    return [f"{PurePath(frame.file).name}:{frame.function}" for frame in one.own[-_FRAMES_MOST:]]


def bounded_trace(trace: str) -> str:
    """A traceback that came as text, redacted and bounded."""
    return _bounded(redact.text(trace), _TRACE_MOST)


def normalise(message: str) -> str:
    """``message`` without what differs from one occurrence to the next, on one line."""
    return " ".join(_SPAN.sub("# s", _VARIABLE.sub("#", message[:2000])).split())


def _bounded(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    half = (most - 40) // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"
