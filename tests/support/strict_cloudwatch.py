"""PutLogEvents as AWS documents it: every limit enforced, faults on request, over HTTP.

moto accepts what AWS refuses; this refuses it. What was accepted is kept in ``streams``.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from local_server import LocalServer

if TYPE_CHECKING:
    from collections.abc import Iterable
    from http.server import BaseHTTPRequestHandler

__all__ = ["FAULTS", "StrictCloudWatch"]

FAULTS = ("throttle", "refuse", "lose", "stall")
"""throttle: 400, nothing stored; refuse: 503, nothing stored; lose: stored, then 500; stall: stored, then silence."""

MOST_EVENTS, MOST_BYTES, OVERHEAD = 10_000, 1_048_576, 26
_HOUR = 3_600_000


class StrictCloudWatch(LocalServer):
    """A server; each PutLogEvents meets the next of ``faults`` (None: it is answered by the rules)."""

    def __init__(self, faults: Iterable[str | None] = (), *, stall_s: float = 1.5) -> None:
        self._faults = iter(faults)
        self._stall_s = stall_s
        self._lock = threading.Lock()
        self.now_ms: int | None = None
        self.groups: dict[str, int | None] = {}
        self.streams: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.calls: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.violations: list[str] = []

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one call by the rules, or as the next fault says."""
        call = request.headers["x-amz-target"].partition(".")[2]
        body = json.loads(request.rfile.read(int(request.headers["content-length"])))
        with self._lock:
            self.calls[call] += 1
            status, answer, silence = self._serve(call, body)
        if silence:
            time.sleep(silence)
            request.close_connection = True
            return
        reply = json.dumps(answer).encode()
        request.send_response(status)
        request.send_header("content-type", "application/x-amz-json-1.1")
        request.send_header("x-amzn-requestid", "strict")
        request.send_header("content-length", str(len(reply)))
        request.end_headers()
        request.wfile.write(reply)

    def messages(self) -> list[str]:
        """Every message stored, stream by stream in the order in which GetLogEvents shows them."""
        return [event["message"] for events in self.streams.values() for event in sorted(events, key=_time)]

    def client(self) -> InProcess:
        """The calls of botocore's client, without a connection: for very many requests."""
        return InProcess(self)

    def _serve(self, call: str, body: dict[str, Any]) -> tuple[int, dict[str, Any], float]:
        if call != "PutLogEvents":
            return (*getattr(self, "_" + re.sub(r"(?<!^)(?=[A-Z])", "_", call).lower())(body), 0.0)
        fault = next(self._faults, None)
        self.seen[fault or "passed"] += 1
        if fault == "throttle":
            return 400, {"__type": "ThrottlingException", "message": "Rate exceeded"}, 0.0
        if fault == "refuse":
            return 503, {"__type": "ServiceUnavailableException", "message": "no"}, 0.0
        status, answer = self._put_log_events(body)
        if fault == "lose" and status == 200:
            return 500, {"__type": "InternalFailure", "message": "stored, but you will not know"}, 0.0
        return status, answer, self._stall_s if fault == "stall" else 0.0

    def _put_log_events(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        where = body["logGroupName"], body["logStreamName"]
        if where not in self.streams:
            return 400, {"__type": "ResourceNotFoundException", "message": "The specified log stream does not exist."}
        events = body["logEvents"]
        now = self.now_ms or int(time.time() * 1000)
        if violation := _violation(events, now):
            self.violations.append(violation)
            return 400, {"__type": "InvalidParameterException", "message": violation}
        old = sum(event["timestamp"] < now - 14 * 24 * _HOUR for event in events)
        new = sum(event["timestamp"] > now + 2 * _HOUR for event in events)
        self.streams[where] += events[old : len(events) - new]
        refused = ({"tooOldLogEventEndIndex": old} if old else {}) | (
            {"tooNewLogEventStartIndex": len(events) - new} if new else {}
        )
        return 200, {"nextSequenceToken": "1"} | ({"rejectedLogEventsInfo": refused} if refused else {})

    def _create_log_group(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if body["logGroupName"] in self.groups:
            return 400, {"__type": "ResourceAlreadyExistsException", "message": "exists"}
        self.groups[body["logGroupName"]] = None
        return 200, {}

    def _create_log_stream(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if body["logGroupName"] not in self.groups:
            return 400, {"__type": "ResourceNotFoundException", "message": "no such group"}
        if (body["logGroupName"], body["logStreamName"]) in self.streams:
            return 400, {"__type": "ResourceAlreadyExistsException", "message": "exists"}
        self.streams[body["logGroupName"], body["logStreamName"]] = []
        return 200, {}

    def _put_retention_policy(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.groups[body["logGroupName"]] = body["retentionInDays"]
        return 200, {}

    def _describe_log_groups(self, _body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return 200, {"logGroups": [{"logGroupName": name} for name in self.groups]}

    def _get_log_events(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        where = body["logGroupName"], body["logStreamName"]
        if where not in self.streams:
            return 400, {"__type": "ResourceNotFoundException", "message": "no such stream"}
        found = [
            event for event in sorted(self.streams[where], key=_time) if event["timestamp"] >= body.get("startTime", 0)
        ]
        start = int(body.get("nextToken", "f/0")[2:])
        page = found[start : start + 1000]
        return 200, {"events": page, "nextForwardToken": f"f/{start + len(page)}", "nextBackwardToken": "b/0"}


class InProcess:
    """A client of CloudWatch Logs that asks a :class:`StrictCloudWatch` directly."""

    def __init__(self, fake: StrictCloudWatch) -> None:
        self.meta = self.events = self
        self._fake = fake
        self._hooks: list[Any] = []

    def register(self, _event: str, hook: Any) -> None:
        self._hooks.append(hook)

    def close(self) -> None: ...

    def __getattr__(self, name: str) -> Any:
        operation = "".join(part.title() for part in name.split("_"))

        def call(**named: Any) -> dict[str, Any]:
            params: dict[str, Any] = {"body": json.dumps(named)}
            if operation == "PutLogEvents":
                for hook in self._hooks:
                    hook(params=params)
            status, answer, _ = self._fake._serve(operation, json.loads(params["body"]))
            if status != 200:
                error = {"Code": answer["__type"], "Message": answer["message"]}
                raise ClientError({"Error": error, "ResponseMetadata": {"HTTPStatusCode": status}}, operation)
            return answer

        return call


def _time(event: dict[str, Any]) -> int:
    return int(event["timestamp"])


def _violation(events: list[dict[str, Any]], now: int) -> str:
    times = [event["timestamp"] for event in events]
    valid = [at for at in times if now - 14 * 24 * _HOUR <= at <= now + 2 * _HOUR]
    if not 1 <= len(events) <= MOST_EVENTS:
        return f"{len(events)} events"
    if (size := sum(len(event["message"].encode()) + OVERHEAD for event in events)) > MOST_BYTES:
        return f"{size} bytes"
    if times != sorted(times):
        return "not in chronological order"
    if valid and valid[-1] - valid[0] > 24 * _HOUR:
        return "spans more than 24 hours"
    return "" if all(event["message"] for event in events) else "an empty message"
