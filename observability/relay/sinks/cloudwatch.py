"""CloudWatch Logs: each document once, in order, within every limit of PutLogEvents.

PutLogEvents has no idempotency. What may have been stored before (``Batch.resent``) is read back from the
stream and compared, document by document; a refusal that is certain (throttling) needs no reading back.
Metric documents carry EMF, so CloudWatch makes its metrics of the same events.
"""

from __future__ import annotations

import gc
import re
import time
from typing import TYPE_CHECKING, Any

import orjson
from botocore.exceptions import ClientError

from observability.credentials import CredentialsError
from observability.owner_only_files import make_folder, replace_file
from observability.regular_files import read_regular
from observability.relay.sinks.put_log_events import (
    FURTHEST_AHEAD_MS,
    MOST_BYTES,
    OVERHEAD,
    Chunk,
    chunks,
    in_order,
    is_events,
    milliseconds,
    moments,
    request_body,
    sound,
    taken,
)
from observability.relay.sinks.sink import Batch, Rejected, SendResult, Sink, SinkUnavailable
from observability.store.aws import AwsUnanswered, ask, group_name, logs_client, metrics_part, stream_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from observability.settings import Settings

__all__ = ["CloudWatchSink", "open_sink"]

RETENTIONS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)

_SETTLE_S = 5.0
"""Time in which an event that was taken becomes readable; what was sent later than that is not judged by reading."""
_STREAMS_MOST = 10_000
_REMEMBERED_MOST = 100_000
_PAGES_MOST = 10_000
"""A stream that has more pages than this since the first document of a batch is none that AWS would keep."""
_STORED, _DUPLICATE = "stored", "duplicate"
_TOO_OLD = "older than 14 days or than the retention of its log group"
_LINES = ("airflow.task", "airflow.component")
_TIMES = re.compile(rb'"@?timestamp":"[^"]*",')
_PUT = "before-call.cloudwatch-logs.PutLogEvents"


class CloudWatchSink(Sink):
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
        self._notes = settings.home / "checkpoints" / "cloudwatch-groups.json"
        self._unkept = self._unfinished()
        self._unsure: dict[tuple[str, str], float] = {}
        self._newest: dict[tuple[str, str], int] = {}
        self._settled: dict[bytes, str] = {}
        self._absent: set[bytes] = set()

    def send(self, batch: Batch) -> SendResult:
        """Put the events of the batch that are not in their stream yet. Raises :class:`SinkUnavailable`."""
        where = group_name(self._settings, batch.dataset), stream_name(batch.source, batch.group)
        if len(self._settled) + len(self._absent) > _REMEMBERED_MOST:  # batches that never came again
            self._settled.clear()
            self._absent.clear()
        for group in sorted(self._unkept):
            self._keep(group)
        todo = list(range(len(batch.ids)))
        if self._settled:
            todo = [index for index in todo if batch.ids[index] not in self._settled]
        if batch.resent and any(batch.ids[index] not in self._absent for index in todo):
            todo = self._read_back(where, batch, todo)
        done = 0
        try:
            for chunk in self._chunks(where, batch, todo):
                self._put(where, batch, chunk)
                done = todo.index(chunk.places[-1], done) + 1
        except SinkUnavailable:
            self._remember(batch, todo[:done], todo[done:], sure=where not in self._unsure)
            raise
        return self._answer(batch)

    def close(self) -> None:
        """Let go of the connections."""
        if self._client is not None:
            self._client.meta.events.unregister(_PUT, self._put_body)
            self._client.close()
            self._client = None
            gc.unfreeze()

    def _remember(self, batch: Batch, stored: list[int], left: list[int], *, sure: bool) -> None:
        """The facts about a batch that will come again; ``sure``: what is left is certainly not stored."""
        for index in stored:
            self._settled.setdefault(batch.ids[index], _STORED)
        if sure:
            self._absent.update(batch.ids[index] for index in left)
        else:
            self._absent.clear()

    def _chunks(self, where: tuple[str, str], batch: Batch, todo: list[int]) -> Iterator[Chunk]:
        """Requests for these documents."""
        now = int(self._clock() * 1000)
        documents = [batch.documents[index] for index in todo] if len(todo) < len(batch.ids) else batch.documents
        documents = sound(documents)
        times = self._times(where, batch, documents, now)
        documents = self._messages(batch, documents, now)
        if max(map(len, documents), default=0) > MOST_BYTES - OVERHEAD:
            for index, document in zip(todo, documents, strict=True):
                if len(document) > MOST_BYTES - OVERHEAD:
                    self._settled[batch.ids[index]] = f"larger than CloudWatch takes ({len(document)} bytes)"
        return chunks(Chunk(todo, times, documents), now + FURTHEST_AHEAD_MS)

    def _times(self, where: tuple[str, str], batch: Batch, documents: list[bytes], now: int) -> list[int]:
        """The times of events in ms: CloudWatch shows events by time, while their documents keep their own.

        A line's is that of its place in its log (``offset``), so a deferred task's lines stand between those of its
        trigger, which are in the same stream. Of anything else, what is older than the event before it takes that
        one's time.
        """
        latest = now + FURTHEST_AHEAD_MS
        places = moments(documents, len(batch.prefix)) if batch.dataset in _LINES else None
        if places and max(places) <= latest:
            return in_order(places, latest, 0)
        newest = 0 if places else self._newest.get(where, 0)
        return in_order(milliseconds(documents, now, len(batch.prefix)), latest, newest)

    def _put(self, where: tuple[str, str], batch: Batch, chunk: Chunk) -> None:
        reply = self._call(where, chunk)
        if reply is None:
            self._put_halves(where, batch, chunk)
            return
        try:
            old, new = taken(reply, len(chunk.places))
        except ValueError as error:
            raise self._unavailable(where, error) from error
        for place in chunk.places[:old]:
            self._settled[batch.ids[place]] = _TOO_OLD
        for place in chunk.places[new:]:
            self._settled[batch.ids[place]] = "more than 2 hours in the future"
        if old < new:
            if len(self._newest) > _STREAMS_MOST:
                self._newest.clear()
            self._newest[where] = chunk.times[new - 1]

    def _put_halves(self, where: tuple[str, str], batch: Batch, chunk: Chunk) -> None:
        """Find the event that makes the request invalid."""
        if len(chunk.places) == 1:
            self._settled[batch.ids[chunk.places[0]]] = "CloudWatch calls it an invalid event"
            return
        middle = len(chunk.places) // 2
        self._put(where, batch, chunk.part(0, middle))
        self._put(where, batch, chunk.part(middle, len(chunk.places)))

    def _call(self, where: tuple[str, str], chunk: Chunk) -> dict[str, Any] | None:
        """The reply to one PutLogEvents; None where the request is invalid for what is in it."""
        group, stream = where
        self._body = request_body(group, stream, chunk)
        self._unsure.pop(where, None)
        for _ in range(2):
            try:
                nothing = [{"timestamp": 0, "message": "-"}]
                return ask(self._open(), "put_log_events", logGroupName=group, logStreamName=stream, logEvents=nothing)
            except ClientError as error:
                code = error.response.get("Error", {}).get("Code", "")
                if code == "ResourceNotFoundException":
                    self._create(group, stream)
                    continue
                if code == "InvalidParameterException":
                    return None
                raise self._unavailable(where, error) from error
            except (AwsUnanswered, CredentialsError) as error:
                raise self._unavailable(where, error) from error
        raise SinkUnavailable(f"CloudWatch has no stream {stream} in {group}, though it was just created")

    def _create(self, group: str, stream: str) -> None:
        if not self._made("create_log_stream", logGroupName=group, logStreamName=stream):
            # Noted before the group is there: whatever ends us between the calls, the next try goes on.
            self._note(self._unfinished() | {group})
            self._made("create_log_group", logGroupName=group)
            self._keep(group)
            self._made("create_log_stream", logGroupName=group, logStreamName=stream)

    def _keep(self, group: str) -> None:
        """Set the retention of a group that we made."""
        days = next((one for one in RETENTIONS if one >= self._settings.cloudwatch.retention_days), RETENTIONS[-1])
        if self._made("put_retention_policy", logGroupName=group, retentionInDays=days):
            self._note(self._unfinished() - {group})

    def _unfinished(self) -> set[str]:
        """The groups that were made, or about to be, and have no retention yet."""
        try:
            return set(orjson.loads(read_regular(self._notes)))
        except (OSError, orjson.JSONDecodeError):
            return set()

    def _note(self, groups: set[str]) -> None:
        self._unkept = groups
        make_folder(self._notes.parent)
        replace_file(self._notes, orjson.dumps(sorted(groups)))

    def _made(self, call: str, **named: Any) -> bool:
        """False where what it should be made in is not there."""
        try:
            ask(self._open(), call, **named)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code == "ResourceNotFoundException":
                return False
            if code not in {"ResourceAlreadyExistsException", "OperationAbortedException"}:
                raise _refusal(error) from error
        except (AwsUnanswered, CredentialsError) as error:
            raise SinkUnavailable(f"CloudWatch gave no answer to {call}: {error}") from error
        return True

    def _read_back(self, where: tuple[str, str], batch: Batch, todo: list[int]) -> list[int]:
        """The documents that the stream does not hold."""
        left = self._unsure.get(where, self._opened) + self._settle_s - self._clock()
        if left > 0:
            self._sleep(left)
        now = int(self._clock() * 1000)
        documents = sound([batch.documents[index] for index in todo])
        first = min(milliseconds(documents, now, len(batch.prefix)))
        if batch.dataset in _LINES:
            first = min([first, *(moments(documents, len(batch.prefix)) or ())])
        messages = self._messages(batch, documents, now)
        open_ = dict(zip((_known_by(batch, message) for message in messages), todo, strict=True))
        for page in self._pages(where, first):
            times = [event["timestamp"] for event in page if event["timestamp"] <= now + FURTHEST_AHEAD_MS]
            self._newest[where] = max([self._newest.get(where, 0), *times])
            for event in page:
                if (
                    index := open_.pop(_known_by(batch, event["message"].encode("utf-8", "replace")), None)
                ) is not None:
                    self._settled[batch.ids[index]] = _DUPLICATE
            if not open_:
                break
        return [index for index in todo if batch.ids[index] not in self._settled]

    def _pages(self, where: tuple[str, str], first: int) -> Iterator[list[dict[str, Any]]]:
        """The pages of events of a stream from the time ``first`` (in ms) on. Raises :class:`SinkUnavailable`."""
        group, stream = where
        token: dict[str, str] = {}
        for _ in range(_PAGES_MOST):
            try:
                page = ask(
                    self._open(), "get_log_events",
                    logGroupName=group, logStreamName=stream, startTime=first, startFromHead=True, **token,
                )  # fmt: skip
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") == "ResourceNotFoundException":
                    return
                raise _refusal(error) from error
            except (AwsUnanswered, CredentialsError) as error:
                raise SinkUnavailable(f"CloudWatch did not say what {stream} holds: {error}") from error
            events, following = page.get("events"), page.get("nextForwardToken")
            if not isinstance(following, str) or not is_events(events):
                raise SinkUnavailable(f"CloudWatch did not say what {stream} holds; asking again")
            yield events
            if following == token.get("nextToken"):
                return
            token = {"nextToken": following}
        raise SinkUnavailable(f"{stream} of {group} has no end after {_PAGES_MOST} pages; asking again")

    def _messages(self, batch: Batch, documents: list[bytes], now: int) -> list[bytes]:
        """The documents as they stand in their stream: a metric carries what makes CloudWatch read it."""
        if batch.dataset != "airflow.statsd":
            return documents
        namespace = self._settings.cloudwatch.namespace
        times = milliseconds(documents, now, len(batch.prefix))
        return [_with_metrics(document, namespace, at) for document, at in zip(documents, times, strict=True)]

    def _answer(self, batch: Batch) -> SendResult:
        if not self._settled and not self._absent:
            return SendResult(len(batch.ids))
        outcomes = [self._settled.pop(key, _STORED) for key in batch.ids]
        self._absent.difference_update(batch.ids)
        rejected = [
            Rejected(at, why, _written(batch, at) if why == _TOO_OLD else None)
            for at, why in enumerate(outcomes)
            if why not in {_STORED, _DUPLICATE}
        ]
        return SendResult(outcomes.count(_STORED), outcomes.count(_DUPLICATE), rejected)

    def _open(self) -> Any:
        if self._client is None:
            self._client = self._connect()
            self._client.meta.events.register(_PUT, self._put_body)
            gc.freeze()  # a client is made of so many objects that looking at them again costs a fifth of the rate
        return self._client

    def _put_body(self, params: dict[str, Any], **_: Any) -> None:
        """Send the body that is ready: botocore's serializer would cost ten times the rest."""
        params["body"] = self._body

    def _unavailable(self, where: tuple[str, str], error: Exception) -> SinkUnavailable:
        status = 0
        if isinstance(error, ClientError):
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if not 400 <= status < 500:  # noqa: PLR2004 - HTTP: only then is it certain that nothing was stored
            self._unsure[where] = self._clock()
        return _refusal(error)


def open_sink(settings: Settings) -> CloudWatchSink:
    """The sink of ``[cloudwatch]``."""
    return CloudWatchSink(lambda: logs_client(settings), settings)


def _written(batch: Batch, place: int) -> float | None:
    """The time of a document in s since 1970; None where it does not say."""
    found = milliseconds(sound([batch.documents[place]]), -1, len(batch.prefix))[0]
    return found / 1000 if found >= 0 else None


def _known_by(batch: Batch, message: bytes) -> bytes:
    """The key of a message in its stream: all of it but the time at which a line without a date was read."""
    return _TIMES.sub(b"", message, 2) if batch.dataset in _LINES else message


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
