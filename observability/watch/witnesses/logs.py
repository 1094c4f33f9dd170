"""The log folder as a witness: the last words in an attempt's log say how it ended, plugin or not."""

from __future__ import annotations

import hashlib
import signal
import sysconfig
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from observability import causes
from observability.catalog import CAUSES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["LastWords", "last_words", "log_path", "words_in"]

_TAIL_BYTES = 131_072
_TAIL_LINES = 12
_CAUSE = {
    "AirflowTaskTimeout": "timeout",
    "AirflowSensorTimeout": "timeout",
    "TaskDeferralTimeout": "timeout",
    "TaskDeferralError": "platform",
    "MemoryError": "oom",
    "ConnectionError": "dependency",
    "ConnectionRefusedError": "dependency",
    "ConnectionResetError": "dependency",
    "ConnectTimeout": "dependency",
    "ConnectError": "dependency",
    "TimeoutError": "dependency",
    "OperationalError": "dependency",
    "ClientError": "dependency",
    "HTTPError": "dependency",
    "HTTPStatusError": "dependency",
    "ReadTimeout": "dependency",
    "ConnectionTimeout": "dependency",
    "EndpointConnectionError": "dependency",
    "NoCredentialsError": "dependency",
    "InterfaceError": "dependency",
    "gaierror": "dependency",
    "SSLError": "dependency",
    "SSLCertVerificationError": "dependency",
    "AirflowNotFoundException": "dependency",
    "AirflowRuntimeError": "platform",
    "TimeoutExpired": "timeout",
    "KeyboardInterrupt": "cancelled",
    "JSONDecodeError": "data",
    "ParserError": "data",
    "EmptyDataError": "data",
    "MergeError": "data",
    "DataError": "data",
    "SchemaError": "data",
    "SchemaErrors": "data",
    "ValidationError": "data",
    "UnicodeDecodeError": "data",
    "IntegrityError": "data",
    "XComNotFound": "upstream",
    "AirflowTaskTerminated": "killed",
}
_LIBRARY = tuple(
    {path for name in ("stdlib", "platstdlib", "purelib", "platlib") if (path := sysconfig.get_paths().get(name))}
)


@dataclass(frozen=True, slots=True)
class LastWords:
    """How an attempt ended by its own log: the cause if it says so, a sentence, ECS fields, the last lines."""

    cause: str | None = None
    reason: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)


def log_path(folder: Path, dag_id: str, run_id: str, task_id: str, map_index: int, attempt: int) -> Path:  # noqa: PLR0913, PLR0917 - each is a column of what it is about
    """Where Airflow's default template puts the log of an attempt."""
    mapped = f"map_index={map_index}/" if map_index >= 0 else ""
    return folder / f"dag_id={dag_id}/run_id={run_id}/task_id={task_id}/{mapped}attempt={attempt}.log"


def last_words(path: Path) -> LastWords:
    """What the end of the log at ``path`` says; nothing where there is no such file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return LastWords()
    return words_in(record for line in lines if (record := _record(line)) is not None)


def words_in(records: Iterable[dict[str, Any]]) -> LastWords:
    """What these records of an attempt's log say, oldest first."""
    tail: list[str] = []
    found = LastWords()
    for record in records:
        if not str(record.get("event", "")).startswith("::"):
            tail.append(f"{record.get('timestamp', '')} {record.get('level', '')} {record.get('event', '')}".strip())
        found = _by_exception(record) or _by_supervisor(record, found) or found
    return LastWords(found.cause, found.reason, {**found.evidence, "log_tail": tail[-_TAIL_LINES:]})


def _by_exception(record: dict[str, Any]) -> LastWords | None:
    details = record.get("error_detail")
    if not isinstance(details, list) or not details or record.get("event") != "Task failed with exception":
        return None
    last = details[0]
    kind, text = str(last.get("exc_type", "Exception")), str(last.get("exc_value", ""))
    named = next((_CAUSE[one["exc_type"]] for one in details if one.get("exc_type") in _CAUSE), "app")
    frame = _own_frame(last.get("frames") or ())
    evidence = {"error.type": kind, "error.message": text[:2000], "error.frame": frame}
    evidence["error.fingerprint"] = _fingerprint(kind, text, frame)
    reason = f"{kind}: {text.splitlines()[0][:300]}" if text else kind
    return LastWords(named if named in CAUSES else "app", reason, evidence)


def _by_supervisor(record: dict[str, Any], before: LastWords) -> LastWords | None:
    said = str(record.get("event", ""))
    if said.startswith("Process terminated by signal"):
        number = abs(int(record.get("signal", 0)))
        name = str(record.get("signal_name") or _signal_name(number))
        evidence = {**before.evidence, "airflow.signal": name, "process.exit_code": -number}
        if before.cause in {"timeout", "oom"}:
            return LastWords(before.cause, before.reason, evidence)
        return LastWords("killed", f"its process was ended by {name}", evidence)
    if said.startswith("Process exited abnormally") and before.cause is None:
        code = int(record.get("exit_code", 1))
        return LastWords(
            "killed", f"its process left with exit code {code} without reporting", {"process.exit_code": code}
        )
    return None


def _own_frame(frames: Iterable[dict[str, Any]]) -> str:
    own = [
        frame
        for frame in frames
        if not str(frame.get("filename", "")).startswith(_LIBRARY) and "site-packages" not in frame["filename"]
    ]
    if not own:
        return ""
    last = own[-1]
    return f"{str(last['filename']).rpartition('/')[2]}:{last.get('lineno')} in {last.get('name')}"


def _fingerprint(kind: str, text: str, frame: str) -> str:
    place = frame.partition(":")[0] + frame.rpartition(" in ")[2]
    return hashlib.blake2b(
        f"{kind}|{place}|{causes.normalise(text)}".encode("utf-8", "replace"), digest_size=8
    ).hexdigest()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {"event": line.decode("utf-8", "replace")} if line.strip() else None
    return found if isinstance(found, dict) else None
