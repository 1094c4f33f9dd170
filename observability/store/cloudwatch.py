"""Reading the log groups back; what the service cannot be asked for is sorted out here, line by line."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from heapq import heappush, heappushpop
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

import orjson
from botocore.exceptions import ClientError

from observability import catalog
from observability.credentials import CredentialsError
from observability.log_template import templates
from observability.store.aws import AwsUnanswered, ask, group_name, logs_client, stream_name
from observability.store.elasticsearch_templates import ALIASES
from observability.store.following import arriving
from observability.store.tables import queries, tabulated
from observability.timestamps import parsed, utc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from observability.events import Document
    from observability.settings import Settings
    from observability.store.questions import Ask, Position, Query, Table

__all__ = ["CloudWatchStore", "open_store"]

_LINES = ("airflow.task", "airflow.component")
_OVERLAP = timedelta(minutes=5)
"""A line can carry a time this much older than one that was read before it, and is still followed."""
_SWEEP_S, _REST = 300.0, 20.0
_FOLLOWED_SWEEP_S = 2.0
_TAKEN_IN_S = 600.0
"""Our clock and the service's differ by less, else it refuses our signatures; so long a line may wait to be found."""
_MOST_BYTES, _DOCUMENT = 256 * 1024 * 1024, 1024
"""Bytes that the newest documents of an answer may take, and bytes of one beside its texts."""
_VALUE = 200
"""Bytes that a counted value takes at the most, beside its text."""
_MOST_SERIES = 1_000_000
_LONGEST_S = 120.0
"""The longest wait for a number; a year of lines takes hours to be read."""
_MOST_OF_ONE_MS = 10_000
"""So many lines of one millisecond are held to be sorted; CloudWatch gives those of one log in order anyway."""
_SERIES = frozenset({"metric.name", "metric.tags", *catalog.TAGS.values()})


class CloudWatchStore:
    """The account behind ``connect``, which is called at the first question."""

    def __init__(self, connect: Callable[[], Any], settings: Settings) -> None:
        self._connect = connect
        self._settings = settings
        self._client: Any = None

    def documents(self, query: Query) -> Iterator[Document]:
        """The matching documents, oldest first. Raises ``StoreError``."""
        if query.limit is not None and query.newest:
            yield from _newest(self._matching(query), query.limit)
        else:
            yield from (document for _, document in islice(self._matching(query), query.limit))

    def follow(self, query: Query, *, poll_s: float = 0.5) -> Iterator[Document]:
        """The matching documents, and those that arrive later, until the caller stops.

        What is recent is read each time. What arrives with an older time is found by reading everything again,
        which takes a twentieth of the time at most; what is new there is told by the moment CloudWatch took it in.
        """
        following = _Following(query)

        def read() -> Iterator[tuple[dict[str, Any], Document]]:
            return following.given(self._matching(following.next()))

        if query.limit is not None and query.newest:
            yield from _newest(read(), query.limit)
        else:  # read to the end all the same: what is beyond the limit is known from now on
            limit = float("inf") if query.limit is None else query.limit
            yield from (document for number, (_, document) in enumerate(read()) if number < limit)
        yield from arriving(lambda: (document for _, document in read()), poll_s)

    def arrivals(self, query: Query, position: Position) -> Iterator[Document]:
        """The matching documents after ``position``, which moves with them; CloudWatch knows no order of arrival.

        What is recent is read each time, everything since ``query.since`` now and then: what arrives late is found
        by the next of these sweeps, each of which rests for twenty times as long as it took, five minutes at least.
        A reader that stops within a sweep goes on there with the next call.
        """
        began = time.time()
        if began >= float(position.get("sweep_at", 0.0)) or "newest" not in position:
            position.setdefault("sweep_began", began)
        sweeps = "sweep_began" in position
        since = query.since
        if not sweeps:
            recent = utc(float(position["newest"])) - _OVERLAP
            since = max(filter(None, (query.since, recent)))
        from_ms, given = position.get("swept_to", (0, 0)) if sweeps else (0, 0)
        at, number = from_ms, 0
        for event, document in self._matching(replace(query, since=since), from_ms=from_ms):
            at, number = event["timestamp"], number + 1 if event["timestamp"] == at else 1
            if at == from_ms and number <= given:
                continue
            if sweeps:
                position["swept_to"] = (at, number)
            if (when := _when(document)) is not None:
                position["newest"] = max(float(position.get("newest", 0.0)), min(when.timestamp(), began))
            yield document
        position.setdefault("newest", 0.0)
        if sweeps:
            ended = time.time()
            took = ended - float(position.pop("sweep_began"))
            position.pop("swept_to", None)
            position["sweep_at"] = ended + max(_SWEEP_S, _REST * took)

    def count(self, query: Query, by: str | None = None) -> dict[str, int]:
        """Count the matches by the value of the field ``by``; under ``""`` where none is given or there is no value."""
        number: Counter[str] = Counter()
        held = 0
        for _, document in self._matching(query, counts=True):
            value = "" if by is None else _field(document, query.dataset, by)
            for one in value if isinstance(value, list) else [value]:
                name = "" if one is None else str(one)
                held += 0 if name in number else _VALUE + 4 * len(name)
                number[name] += 1
            if held > _MOST_BYTES:
                raise _too_much(f"the values of {by} take more than {_MOST_BYTES >> 20} MiB")
        return dict(sorted(number.items())) if by is not None else {"": number[""]}

    def table(self, ask: Ask) -> Table:
        """One number for each combination of fields and stretch of time, counted here."""
        found = (document for query in queries(ask) for _, document in self._matching(query, counts=True))
        return tabulated(found, ask)

    def series(self) -> int:
        """Count the metric series (name and tags) that the store holds."""
        from observability.store.store import Query

        known: set[int] = set()
        for _, document in self._matching(Query("airflow.statsd"), counts=True):
            about = {key: value for key, value in document.items() if key in _SERIES}
            text = orjson.dumps(about, option=orjson.OPT_SORT_KEYS)
            known.add(int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big"))
            if len(known) > _MOST_SERIES:
                raise _too_much(f"there are more than {_MOST_SERIES} series")
        return len(known)

    def health(self) -> str | None:
        """None when the store answers, else what is wrong with it and the remedy."""
        from observability.store.store import StoreError

        try:
            next(self._events(group_name(self._settings, "etl.event"), {"limit": 1}), None)
        except StoreError as error:
            return str(error)
        return None

    def close(self) -> None:
        """Let go of the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _matching(
        self, query: Query, *, from_ms: int = 0, counts: bool = False
    ) -> Iterator[tuple[dict[str, Any], Document]]:
        """Events, from that of ``from_ms`` on, with their documents; what is no document of ours is left out.

        ``counts``: only a number is wanted. Raises ``StoreError`` where reading for it takes longer than anybody waits.
        """
        limits: dict[str, Any] = {}
        if query.since is not None or from_ms:
            limits["startTime"] = max(from_ms, int(query.since.timestamp() * 1000) if query.since else 0)
        group = group_name(self._settings, query.dataset)
        template = self._settings.log_filename_template
        for prefix in _stream_prefixes(query, template) if query.dataset == "airflow.task" else ("",):
            events = self._events(group, {**limits, "logStreamNamePrefix": prefix} if prefix else limits)
            found = False
            for event, document in _in_order(_in_time(events) if counts else events, query.dataset):
                if _matches(document, query):
                    yield event, document
                    found = True
            if found:  # else it may be called by an earlier template
                return

    def _events(self, group: str, limits: dict[str, Any]) -> Iterator[Any]:
        from observability.store.store import StoreError

        token: dict[str, str] = {}
        while True:
            try:
                if self._client is None:
                    self._client = self._connect()
                page = ask(self._client, "filter_log_events", logGroupName=group, **limits, **token)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") == "ResourceNotFoundException":
                    return  # nothing was sent yet
                raise StoreError(f"CloudWatch cannot answer for {group}: {error}") from error
            except (AwsUnanswered, CredentialsError) as error:
                raise StoreError(f"CloudWatch cannot answer for {group}: {error}") from error
            events, following = page.get("events", []), page.get("nextToken")
            if not isinstance(events, list) or not all(map(_is_event, events)) or following in token.values():
                raise StoreError(
                    f"CloudWatch cannot answer for {group}: what came back is not an answer of CloudWatch's;"
                    " correct [cloudwatch] endpoint_url, or the proxy in between"
                )
            yield from events
            if following is None:
                return
            token = {"nextToken": following}


class _Following:
    """The position of a reader that follows: by time, by the moment of arrival, and by identity near both."""

    def __init__(self, query: Query) -> None:
        self._query = replace(query, limit=None, newest=False)
        self._newest: float | None = None
        self._complete_to = 0.0
        self._known: dict[str, float] = {}
        self._sweep_at = 0.0

    def next(self) -> Query:
        """The question of the next round: everything, or what is recent."""
        self._began = time.time()
        self._sweeps = self._newest is None or self._began >= self._sweep_at
        if self._sweeps or self._newest is None:
            return self._query
        recent = utc(self._newest) - _OVERLAP
        return replace(self._query, since=max(filter(None, (self._query.since, recent))))

    def given(self, found: Iterator[tuple[dict[str, Any], Document]]) -> Iterator[tuple[dict[str, Any], Document]]:
        """Those of a round that were not given before; a round that fails is read again."""
        newest = self._newest or 0.0
        for event, document in found:
            identity, taken_in = event["eventId"], event["ingestionTime"] / 1000
            if (when := _when(document)) is not None:
                newest = max(newest, min(when.timestamp(), self._began))
            if taken_in < self._complete_to or identity in self._known:
                continue
            if taken_in >= self._began - _TAKEN_IN_S or self._newest is not None:
                self._known[identity] = taken_in
            yield event, document
        self._newest = newest or None
        if self._sweeps:
            self._complete_to = self._began - _TAKEN_IN_S
            self._known = {key: moment for key, moment in self._known.items() if moment >= self._complete_to}
            self._sweep_at = time.time() + max(_FOLLOWED_SWEEP_S, _REST * (time.time() - self._began))


def open_store(settings: Settings) -> CloudWatchStore:
    """The store of ``[cloudwatch]``."""
    return CloudWatchStore(lambda: logs_client(settings), settings)


def _too_much(what: str) -> Exception:
    from observability.store.store import StoreError

    return StoreError(f"CloudWatch cannot answer: {what}, so the rest was not read; choose a shorter time, or one DAG")


def _in_time(events: Iterator[Any]) -> Iterator[Any]:
    ends_at = time.monotonic() + _LONGEST_S
    for number, event in enumerate(events):
        if time.monotonic() > ends_at:
            upto = utc(event["timestamp"] / 1000)
            raise _too_much(f"after {number} documents (up to {upto:%Y-%m-%d %H:%M}) {_LONGEST_S:.0f} s were over")
        yield event


def _newest(found: Iterator[tuple[dict[str, Any], Document]], number: int) -> Iterator[Document]:
    """The newest ``number`` documents by the time of their events, oldest first, in whatever order the logs are given.

    Raises ``StoreError`` where they are too many bytes to be held.
    """
    from observability.store.store import StoreError

    kept: list[tuple[int, int, int, Document]] = []  # a heap: time, place in the answer, bytes, document
    held = 0
    for place, (event, document) in enumerate(found):
        size = sum(len(value) for value in document.values() if isinstance(value, str)) + _DOCUMENT
        held += size
        one = (event["timestamp"], place, size, document)
        if len(kept) < number:
            heappush(kept, one)
        else:
            held -= heappushpop(kept, one)[2]
        if held > _MOST_BYTES:
            raise StoreError(
                f"CloudWatch cannot answer: the newest {number} documents take more than {_MOST_BYTES >> 20} MiB;"
                " choose a shorter time or fewer documents"
            )
    yield from (document for *_, document in sorted(kept))


def _stream_prefixes(query: Query, template: str) -> tuple[str, ...]:
    """The prefixes of the streams that can hold an answer."""
    if isinstance(path := query.where.get("log.file.path"), str):
        return (stream_name(path, "dag_id="),)
    kinds = {"dag_id": str, "run_id": str, "task_id": str, "map_index": int, "try_number": int}
    asked = {name: query.where.get(f"airflow.{name}") for name in kinds}
    about = {name: value for name, value in asked.items() if isinstance(value, kinds[name])}
    if "dag_id" not in about:
        return ("",)
    begun = [one.begin(about) for one in templates(template)]
    if "airflow.iteration" in query.where:  # a task loop puts its parts before the last one
        about = {name: value for name, value in about.items() if name not in {"map_index", "try_number"}}
        begun = [one.begin(about).rpartition("/")[0] for one in templates(template)]
    found = [_prefix_of_name(one) for one in begun]
    return tuple(dict.fromkeys(found)) if all(found) else ("",)


def _prefix_of_name(prefix: str) -> str:
    return prefix.replace(":", "_").replace("*", "_")[:400]


def _in_order(events: Iterator[Any], dataset: str) -> Iterator[tuple[Any, Document]]:
    """Each event with its document; the lines of one millisecond by their place in their logs."""
    for _, some in groupby(events, key=lambda event: event["timestamp"]):
        while held := list(islice(some, _MOST_OF_ONE_MS)):
            found = [(event, document) for event in held if (document := _document(event["message"])) is not None]
            if len(found) > 1 and dataset in _LINES:
                found.sort(key=lambda one: _place(one[1]))
            yield from found


def _place(document: Document) -> int:
    place = document.get("offset")
    return place if isinstance(place, int) else 0


def _document(message: str) -> Document | None:
    """The document of a message; None where somebody else wrote it into our log group."""
    text, _, metrics = message.rpartition(',"_aws":')
    try:
        document: Any = orjson.loads(f"{text}}}" if metrics and text else message)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) and isinstance(document.get("@timestamp"), str) else None


def _is_event(event: Any) -> bool:
    return (
        isinstance(event, dict)
        and isinstance(event.get("message"), str)
        and isinstance(event.get("eventId"), str)
        and isinstance(event.get("timestamp"), int)
        and isinstance(event.get("ingestionTime"), int)
    )


def _matches(document: Document, query: Query) -> bool:
    when = _when(document)
    if when is not None and ((query.since and when < query.since) or (query.until and when >= query.until)):
        return False
    for field, wanted in query.where.items():
        value = _field(document, query.dataset, field)
        values = value if isinstance(value, list) else [value]
        if not any(one in values for one in (wanted if isinstance(wanted, tuple) else (wanted,))):
            return False
    return True


def _field(document: Document, dataset: str, name: str) -> Any:
    return document.get(ALIASES.get(name, name) if dataset in _LINES else name)


def _when(document: Document) -> datetime | None:
    """The moment of a document, within the years that can be reckoned with."""
    try:
        when = parsed(str(document.get("@timestamp", "")))
        when = when if when.tzinfo else when.replace(tzinfo=timezone.utc)
        return when.astimezone(timezone.utc)
    except (OverflowError, ValueError):
        return None
