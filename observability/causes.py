"""Why something failed: an exception told as one of :data:`observability.catalog.CAUSES`, with its fingerprint.

Types are recognised by their names, so no client library is imported to know its errors. An exception
class that knows better says so with an attribute ``contrail_cause``.
"""

from __future__ import annotations

import hashlib
import re
import sys
import sysconfig
import traceback
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from observability import redact
from observability.catalog import CAUSES

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Failure", "bounded_trace", "cause_of", "describe", "fingerprint_of", "normalise"]

_TRACE_MOST = 8192
_REASON_MOST = 300
_FRAMES_MOST = 12
_DAG_FILE = re.compile(r"^unusual_prefix_[0-9a-f]{40}_")
"""What Airflow puts before the name of a DAG file's module."""

_BY_TYPE = {
    "airflow.sdk.exceptions.AirflowTaskTimeout": "timeout",
    "airflow.sdk.exceptions.AirflowSensorTimeout": "timeout",
    "airflow.sdk.exceptions.TaskDeferralTimeout": "timeout",
    "airflow.sdk.exceptions.AirflowTaskTerminated": "killed",
    "airflow.sdk.exceptions.AirflowRuntimeError": "platform",
    "airflow.sdk.exceptions.AirflowNotFoundException": "dependency",
    "airflow.sdk.exceptions.XComNotFound": "upstream",
    "airflow.exceptions.AirflowTaskTimeout": "timeout",
    "airflow.exceptions.AirflowSensorTimeout": "timeout",
    "builtins.MemoryError": "oom",
    "builtins.KeyboardInterrupt": "cancelled",
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
_LIBRARY = (
    str(Path(__file__).parent),
    *{path for name in ("stdlib", "platstdlib", "purelib", "platlib") if (path := sysconfig.get_paths().get(name))},
)
_SIGKILL = (-9, 137)
"""How a command that was killed is told: by Python, and by a shell whose child it was."""
_BASH_FAILED = re.compile(r"Bash command failed\. The command returned a non-zero exit code (-?\d+)")
"""``BashOperator`` has no other place for its exit code than these words."""
_ERROR = re.compile(r"[A-Za-z_][\w.]*(: |$)")
"""The line of a traceback that names the error, as :mod:`traceback` prints it: at the left edge."""
_FRAME = re.compile(r'^ *File "([^"]+)", line (\d+), in (.+)$', re.MULTILINE)
_VARIABLE = re.compile(r"0x[0-9a-f]+|[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{12,}|'[^']*'|\"[^\"]*\"|\d+", re.IGNORECASE)


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
    """What an event says about ``error``; never raises for an exception that cannot even be printed."""
    if trace := _of_trigger(error):
        return _described_by(trace)
    told = traceback.TracebackException.from_exception(error, limit=-_FRAMES_MOST * 4)
    kind = type(error).__name__
    message = redact.text(str(told))
    first = message.strip().partition("\n")[0]
    code = _exit_code(error, message)
    return Failure(
        cause="killed" if code in _SIGKILL else cause_of(error),
        reason=_bounded(f"{kind}: {first}" if first else kind, _REASON_MOST),
        error_type=_name(type(error)),
        error_message=_bounded(message, _TRACE_MOST // 2),
        stack_trace=_bounded(redact.text("".join(told.format())), _TRACE_MOST),
        fingerprint=fingerprint_of(error, message),
        frame=_own_frame(error),
        exit_code=code,
    )


def _exit_code(error: BaseException, message: str) -> int | None:
    """With what the process left, or the command that it had started."""
    if command := _BASH_FAILED.match(message):
        return int(command[1])
    code = getattr(error, "code" if isinstance(error, SystemExit) else "returncode", None)
    return code if isinstance(code, int) else None


def _of_trigger(error: BaseException) -> str:
    """The traceback of the trigger that failed, which Airflow hands to the resumed task's frame and to nothing else."""
    step = error.__traceback__ if type(error).__name__ == "TaskDeferralError" else None
    while step is not None:
        if step.tb_frame.f_code.co_name == "resume_execution":
            lines = (step.tb_frame.f_locals.get("next_kwargs") or {}).get("traceback")
            return "".join(map(str, lines)) if isinstance(lines, (list, tuple)) else ""
        step = step.tb_next
    return ""


def _described_by(trace: str) -> Failure:
    """What an event says about the error whose traceback is ``trace``."""
    trace = redact.text(trace).rstrip()
    after = trace[trace.rfind('\n  File "') + 1 :].split("\n")
    last = next((line for line in after if _ERROR.match(line)), after[-1])
    name, _, message = last.partition(": ")
    own = [found for found in _FRAME.findall(trace) if _is_own(found[0])]
    file, line, function = own[-1] if own else ("", "", "")
    parts = [name, *(f"{PurePath(file).name}:{function}" for file, _, function in own[-_FRAMES_MOST:])]
    return Failure(
        cause=_cause_of_named(name) or "app",
        reason=_bounded(f"the trigger failed: {last}", _REASON_MOST),
        error_type=name,
        error_message=_bounded(message, _TRACE_MOST // 2),
        stack_trace=_bounded(trace, _TRACE_MOST),
        fingerprint=_digest(parts if own else [name, normalise(message)]),
        frame=f"{PurePath(file).name}:{line} in {function}" if own else None,
    )


def cause_of(error: BaseException) -> str:
    """The cause that ``error``, or what it was raised from, speaks of; ``app`` where nothing better is known."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        if cause := _cause_of_type(type(current)):
            return cause
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "app"


def _cause_of_type(kind: type[BaseException]) -> str | None:
    if (own := getattr(kind, "contrail_cause", None)) in CAUSES:
        return str(own)
    for ancestor in kind.__mro__:
        if cause := _cause_of_name(ancestor.__module__, ancestor.__qualname__):
            return cause
    return None


def _cause_of_named(name: str) -> str | None:
    """The cause that a type's name in a traceback speaks of; its ancestors are known where its module is imported."""
    module, _, own = name.rpartition(".")
    kind = getattr(sys.modules.get(module or "builtins"), own, None)
    return _cause_of_type(kind) if isinstance(kind, type) else _cause_of_name(module, own)


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
    places = [f"{PurePath(file).name}:{function}" for file, _, function in _frames(error) if _is_own(file)]
    parts = [_name(type(error)), *(places[-_FRAMES_MOST:] or [normalise(message)])]
    return _digest(parts)


def _digest(parts: list[str]) -> str:
    return hashlib.blake2b("\x1f".join(parts).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def bounded_trace(trace: str) -> str:
    """A traceback that came as text, redacted and bounded."""
    return _bounded(redact.text(trace), _TRACE_MOST)


def normalise(message: str) -> str:
    """``message`` without what differs from one occurrence to the next, on one line."""
    return " ".join(_VARIABLE.sub("#", message[:2000]).split())


def _frames(error: BaseException) -> Iterator[tuple[str, int, str]]:
    step = error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        yield code.co_filename, step.tb_lineno, code.co_name
        step = step.tb_next


def _own_frame(error: BaseException) -> str | None:
    own = [entry for entry in _frames(error) if _is_own(entry[0])]
    if not own:
        return None
    file, line, function = own[-1]
    return f"{PurePath(file).name}:{line} in {function}"


def _is_own(file: str) -> bool:
    return not file.startswith(("<", *_LIBRARY)) and "site-packages" not in file


def _name(kind: type[BaseException]) -> str:
    module = _DAG_FILE.sub("", kind.__module__)
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"


def _bounded(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    half = (most - 40) // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"
