"""CloudWatch Logs: each document once, in order, within every limit of PutLogEvents.

PutLogEvents has no idempotency. What may have been stored before (``Batch.resent``) is read back from the
stream and compared, document by document; a refusal that is certain (throttling) needs no reading back.
Metric documents carry EMF, so CloudWatch makes its metrics of the same events.
"""

from __future__ import annotations

import time
from calendar import timegm
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from observability.credentials import CredentialsError
from observability.relay.sinks.sink import Answer, Batch, Rejected, SinkUnavailable
from observability.store.aws import group_name, logs_client, metrics_part, stream_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from observability.settings import Settings

__all__ = ["CloudWatchSink", "chunks", "open_sink"]

# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html
MOST_EVENTS = 10_000
MOST_BYTES = 1_048_576
OVERHEAD = 26
LONGEST_SPAN_MS = 24 * 3600 * 1000 - 1
FURTHEST_AHEAD_MS = 2 * 3600 * 1000
RETENTIONS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)

_STAMP = b'"@timestamp":"'
_SETTLE_S = 5.0
"""Time in which an event that was taken becomes readable; what was sent later than that is not judged by reading."""
_STREAMS_MOST = 10_000
_STORED, _DUPLICATE = "stored", "duplicate"
_PUT = "before-call.cloudwatch-logs.PutLogEvents"


class Event(NamedTuple):
    """One event to be put: its place in the batch, its time in ms since 1970, and its message."""

    place: int
    at: int
    message: bytes


class CloudWatchSink:
    """The account behind ``connect``, which is called when the first batch comes."""

    name = "cloudwatch"

    def __init__(
        self,
        connect: Callable[[], Any],
        settings: Settings,
        *,
        settle_s: float = _SETTLE_S,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._connect = connect
        self._settings = settings
        self._settle_s = settle_s
        self._clock = clock
        self._sleep = sleep
        self._client: Any = None
        self._body = b""
        self._opened = clock()
        self._unsure: dict[tuple[str, str], float] = {}
        self._newest: dict[tuple[str, str], int] = {}
        self._settled: dict[bytes, str] = {}
        self._absent: set[bytes] = set()

    def send(self, batch: Batch) -> Answer:
        """Put the events of the batch that are not in their stream yet. Raises :class:`SinkUnavailable`."""
        where = group_name(self._settings, batch.dataset), stream_name(batch.source, batch.group)
        todo = [index for index, key in enumerate(batch.ids) if key not in self._settled]
        if batch.resent and any(batch.ids[index] not in self._absent for index in todo):
            todo = self._read_back(where, batch, todo)
        self._absent.update(batch.ids[index] for index in todo)
        for chunk in chunks(self._events(where, batch, todo), int(self._clock() * 1000)):
            self._put(where, batch, chunk)
        return self._answer(batch)

    def close(self) -> None:
        """Let go of the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _events(self, where: tuple[str, str], batch: Batch, todo: list[int]) -> Iterator[Event]:
        """In order: an event that is older than the one before it takes that one's time, its document keeps its own."""
        now = int(self._clock() * 1000)
        newest = self._newest.get(where, 0)
        for index in todo:
            document = batch.documents[index]
            own = _milliseconds(document, now)
            if batch.dataset == "airflow.statsd":
                document = _with_metrics(document, self._settings.cloudwatch.namespace, own)
            if len(document) + OVERHEAD > MOST_BYTES:
                self._settled[batch.ids[index]] = f"larger than CloudWatch takes ({len(document)} bytes)"
                continue
            if own <= now + FURTHEST_AHEAD_MS:
                own = newest = max(own, newest)
            yield Event(index, own, document)

    def _put(self, where: tuple[str, str], batch: Batch, chunk: list[Event]) -> None:
        reply = self._call(where, chunk)
        if reply is None:
            self._put_halves(where, batch, chunk)
            return
        if len(self._newest) > _STREAMS_MOST:
            self._newest.clear()
        refused = reply.get("rejectedLogEventsInfo", {})
        old = max(refused.get("tooOldLogEventEndIndex", 0), refused.get("expiredLogEventEndIndex", 0))
        new = refused.get("tooNewLogEventStartIndex", len(chunk))
        for number, event in enumerate(chunk):
            outcome = _STORED
            if number < old:
                outcome = "older than 14 days or than the retention of its log group"
            elif number >= new:
                outcome = "more than 2 hours in the future"
            else:
                self._newest[where] = event.at
            self._settled[batch.ids[event.place]] = outcome
            self._absent.discard(batch.ids[event.place])

    def _put_halves(self, where: tuple[str, str], batch: Batch, chunk: list[Event]) -> None:
        """Find the event that makes the request invalid."""
        if len(chunk) == 1:
            self._settled[batch.ids[chunk[0].place]] = "CloudWatch calls it an invalid event"
            return
        middle = len(chunk) // 2
        self._put(where, batch, chunk[:middle])
        self._put(where, batch, chunk[middle:])

    def _call(self, where: tuple[str, str], chunk: list[Event]) -> dict[str, Any] | None:
        """The reply to one PutLogEvents; None where the request is invalid for what is in it."""
        group, stream = where
        self._body = _request(group, stream, chunk)
        for _ in range(2):
            try:
                reply: dict[str, Any] = self._open().put_log_events(
                    logGroupName=group, logStreamName=stream, logEvents=[{"timestamp": 0, "message": "-"}]
                )
                return reply
            except ClientError as error:
                code = error.response.get("Error", {}).get("Code", "")
                if code == "ResourceNotFoundException":
                    self._create(group, stream)
                    continue
                if code == "InvalidParameterException":
                    return None
                raise self._unavailable(where, error) from error
            except (BotoCoreError, HTTPClientError, CredentialsError) as error:
                raise self._unavailable(where, error) from error
        raise SinkUnavailable(f"CloudWatch has no stream {stream} in {group}, though it was just created")

    def _create(self, group: str, stream: str) -> None:
        if not self._made("create_log_stream", logGroupName=group, logStreamName=stream):
            self._made("create_log_group", logGroupName=group)
            days = next((one for one in RETENTIONS if one >= self._settings.cloudwatch.retention_days), RETENTIONS[-1])
            self._made("put_retention_policy", logGroupName=group, retentionInDays=days)
            self._made("create_log_stream", logGroupName=group, logStreamName=stream)

    def _made(self, call: str, **named: Any) -> bool:
        """False where what it should be made in is not there."""
        try:
            getattr(self._open(), call)(**named)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code == "ResourceNotFoundException":
                return False
            if code not in {"ResourceAlreadyExistsException", "OperationAbortedException"}:
                raise _refusal(error) from error
        except (BotoCoreError, HTTPClientError) as error:
            raise SinkUnavailable(f"CloudWatch gave no answer to {call}: {error}") from error
        return True

    def _read_back(self, where: tuple[str, str], batch: Batch, todo: list[int]) -> list[int]:
        """The documents that the stream does not hold."""
        group, stream = where
        left = self._unsure.pop(where, self._opened) + self._settle_s - self._clock()
        if left > 0:
            self._sleep(left)
        now = int(self._clock() * 1000)
        open_ = {self._message(batch, index, now): index for index in todo}
        first = min(_milliseconds(batch.documents[index], now) for index in todo)
        token: dict[str, str] = {}
        while open_:
            try:
                page = self._open().get_log_events(
                    logGroupName=group, logStreamName=stream, startTime=first, startFromHead=True, **token
                )
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") == "ResourceNotFoundException":
                    break
                raise _refusal(error) from error
            except (BotoCoreError, HTTPClientError, CredentialsError) as error:
                raise SinkUnavailable(f"CloudWatch did not say what {stream} holds: {error}") from error
            for event in page["events"]:
                if (index := open_.pop(event["message"].encode(), None)) is not None:
                    self._settled[batch.ids[index]] = _DUPLICATE
            if page["nextForwardToken"] == token.get("nextToken"):
                break
            token = {"nextToken": page["nextForwardToken"]}
        return [index for index in todo if batch.ids[index] not in self._settled]

    def _message(self, batch: Batch, index: int, now: int) -> bytes:
        document = batch.documents[index]
        if batch.dataset != "airflow.statsd":
            return document
        return _with_metrics(document, self._settings.cloudwatch.namespace, _milliseconds(document, now))

    def _answer(self, batch: Batch) -> Answer:
        outcomes = [self._settled.pop(key) for key in batch.ids]
        self._absent.difference_update(batch.ids)
        rejected = [Rejected(at, why) for at, why in enumerate(outcomes) if why not in {_STORED, _DUPLICATE}]
        return Answer(outcomes.count(_STORED), outcomes.count(_DUPLICATE), rejected)

    def _open(self) -> Any:
        if self._client is None:
            self._client = self._connect()
            self._client.meta.events.register(_PUT, self._put_body)
        return self._client

    def _put_body(self, params: dict[str, Any], **_: Any) -> None:
        """Send the body that is ready: botocore's serializer would cost ten times the rest."""
        params["body"] = self._body

    def _unavailable(self, where: tuple[str, str], error: Exception) -> SinkUnavailable:
        status = 0
        if isinstance(error, ClientError):
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if not 400 <= status < 500:  # noqa: PLR2004 - HTTP: only then is it certain that nothing was stored
            self._absent.clear()
            self._unsure[where] = self._clock()
        return _refusal(error)


def open_sink(settings: Settings) -> CloudWatchSink:
    """The sink of ``[cloudwatch]``."""
    return CloudWatchSink(lambda: logs_client(settings), settings)


def chunks(events: Iterator[Event], now: int) -> Iterator[list[Event]]:
    """Requests within every limit: number, bytes, span and order; what is too far ahead goes by itself."""
    chunk: list[Event] = []
    size = 0
    for event in events:
        cost = len(event.message) + OVERHEAD
        ahead = event.at > now + FURTHEST_AHEAD_MS
        full = len(chunk) == MOST_EVENTS or size + cost > MOST_BYTES
        if chunk and (full or ahead or event.at - chunk[0].at > LONGEST_SPAN_MS):
            yield chunk
            chunk, size = [], 0
        chunk.append(event)
        size += cost
        if ahead:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _request(group: str, stream: str, chunk: list[Event]) -> bytes:
    events = b",".join(
        [b'{"timestamp":%d,"message":%b}' % (event.at, orjson.dumps(event.message.decode())) for event in chunk]
    )
    names = orjson.dumps({"logGroupName": group, "logStreamName": stream})
    return b'%b,"logEvents":[%b]}' % (names[:-1], events)


def _milliseconds(document: bytes, otherwise: int) -> int:
    """The document's ``@timestamp``; ``otherwise`` where it has none that can be read."""
    start = document.find(_STAMP) + len(_STAMP)
    stamp = document[start : start + 27]
    try:
        return _second(stamp[:19]) * 1000 + int(stamp[20:23] if stamp[19:20] == b"." else b"0")
    except ValueError:
        return otherwise


@lru_cache(maxsize=256)
def _second(stamp: bytes) -> int:
    return timegm(time.strptime(stamp.decode(), "%Y-%m-%dT%H:%M:%S"))


def _with_metrics(document: bytes, namespace: str, at: int) -> bytes:
    try:
        part = metrics_part(orjson.loads(document), namespace, at)
    except orjson.JSONDecodeError:
        return document
    return document[:-1] + b"," + orjson.dumps(part)[1:] if part else document


def _refusal(error: Exception) -> SinkUnavailable:
    code = error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else ""
    remedy = {
        "AccessDeniedException": "; grant it the actions of config/cloudwatch/iam-policy.json",
        "UnrecognizedClientException": "; correct the keys of the AWS Connection",
        "ExpiredTokenException": "; renew the token of the AWS Connection",
    }.get(code, "")
    return SinkUnavailable(f"CloudWatch does not take events now: {error}{remedy}", 1.0 if "Throttl" in code else None)
