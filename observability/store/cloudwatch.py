"""Reading the log groups back; what the service cannot be asked for is sorted out here, line by line."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict, deque
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import orjson
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from observability import catalog
from observability.credentials import CredentialsError
from observability.store.aws import group_name, logs_client, stream_name
from observability.store.elasticsearch_templates import ALIASES
from observability.store.tables import queries, tabulated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from observability.events import Document
    from observability.settings import Settings
    from observability.store.store import Position, Query
    from observability.store.tables import Ask, Table

__all__ = ["CloudWatchStore", "open_store"]

_LINES = ("airflow.task", "airflow.component")
_PATH = (("airflow.dag_id", "dag_id={}/"), ("airflow.run_id", "run_id={}/"), ("airflow.task_id", "task_id={}/"))
_OVERLAP = timedelta(minutes=5)
"""A line can carry a time this much older than one that was read before it, and is still followed."""
_SWEEP_S, _REST = 300.0, 20.0
_REMEMBERED = 100_000
_SERIES = frozenset({"metric.name", "metric.tags", *catalog.TAGS.values()})


class CloudWatchStore:
    """The account behind ``connect``, which is called at the first question."""

    def __init__(self, connect: Callable[[], Any], settings: Settings) -> None:
        self._connect = connect
        self._settings = settings
        self._client: Any = None

    def documents(self, query: Query) -> Iterator[Document]:
        """The matching documents, oldest first. Raises ``StoreError``."""
        found = (document for _, document in self._matching(query))
        if query.limit is None:
            yield from found
        elif query.newest:
            yield from deque(found, query.limit)
        else:
            yield from (document for _, document in zip(range(query.limit), found, strict=False))

    def follow(self, query: Query, *, poll_s: float = 0.5) -> Iterator[Document]:
        """The matching documents, and those that arrive later, until the caller stops."""
        seen: OrderedDict[str, None] = OrderedDict()
        newest = query.since
        first = True
        while True:
            since = newest and (newest if first else newest - _OVERLAP)
            fresh = []
            for key, document in self._matching(replace(query, since=since)):
                if key not in seen:
                    seen[key] = None
                    fresh.append(document)
                    newest = max(filter(None, (newest, _when(document))), default=None)
            while len(seen) > _REMEMBERED:
                seen.popitem(last=False)
            if first and query.limit is not None:
                fresh = fresh[-query.limit :] if query.newest else fresh[: query.limit]
            yield from fresh
            first = False
            time.sleep(poll_s)

    def arrivals(self, query: Query, position: Position) -> Iterator[Document]:
        """The matching documents after ``position``, which moves with them; CloudWatch knows no order of arrival.

        What is recent is read each time, everything since ``query.since`` now and then: what arrives late is found
        by the next of these sweeps, each of which rests for twenty times as long as it took, five minutes at least.
        """
        began = time.time()
        sweep = began >= float(position.get("sweep_at", 0.0)) or "newest" not in position
        newest = float(position.get("newest", 0.0))
        recent = datetime.fromtimestamp(newest, timezone.utc) - _OVERLAP
        since = query.since if sweep else max(filter(None, (query.since, recent)))
        for _, document in self._matching(replace(query, since=since)):
            if (when := _when(document)) is not None:
                newest = max(newest, min(when.timestamp(), began))
            yield document
        position["newest"] = newest
        if sweep:
            ended = time.time()
            position["sweep_at"] = ended + max(_SWEEP_S, _REST * (ended - began))

    def count(self, query: Query, by: str | None = None) -> dict[str, int]:
        """How many match, by the value of the field ``by``; under ``""`` where none is given or there is no value."""
        number: Counter[str] = Counter()
        for _, document in self._matching(query):
            value = "" if by is None else _field(document, query.dataset, by)
            for one in value if isinstance(value, list) else [value]:
                number["" if one is None else str(one)] += 1
        return dict(sorted(number.items())) if by is not None else {"": number[""]}

    def table(self, ask: Ask) -> Table:
        """One number for each combination of fields and stretch of time, counted here."""
        return tabulated((document for query in queries(ask) for document in self.documents(query)), ask)

    def series(self) -> int:
        """How many metric series (name and tags) the store holds."""
        from observability.store.store import Query

        documents = self.documents(Query("airflow.statsd"))
        return len(
            {
                orjson.dumps({k: v for k, v in one.items() if k in _SERIES}, option=orjson.OPT_SORT_KEYS)
                for one in documents
            }
        )

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

    def _matching(self, query: Query) -> Iterator[tuple[str, Document]]:
        limits: dict[str, Any] = {}
        if query.since is not None:
            limits["startTime"] = int(query.since.timestamp() * 1000)
        if query.dataset == "airflow.task" and (prefix := _stream_prefix(query)):
            limits["logStreamNamePrefix"] = prefix
        for event in self._events(group_name(self._settings, query.dataset), limits):
            document = _document(event["message"])
            if _matches(document, query):
                yield event["eventId"], document

    def _events(self, group: str, limits: dict[str, Any]) -> Iterator[Any]:
        from observability.store.store import StoreError

        token: dict[str, str] = {}
        while True:
            try:
                if self._client is None:
                    self._client = self._connect()
                page = self._client.filter_log_events(logGroupName=group, **limits, **token)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") == "ResourceNotFoundException":
                    return  # nothing was sent yet
                raise StoreError(f"CloudWatch cannot answer for {group}: {error}") from error
            except (BotoCoreError, HTTPClientError, CredentialsError) as error:
                raise StoreError(f"CloudWatch cannot answer for {group}: {error}") from error
            yield from page["events"]
            if "nextToken" not in page:
                return
            token = {"nextToken": page["nextToken"]}


def open_store(settings: Settings) -> CloudWatchStore:
    """The store of ``[cloudwatch]``."""
    return CloudWatchStore(lambda: logs_client(settings), settings)


def _stream_prefix(query: Query) -> str:
    """How the names of the streams begin that can hold an answer."""
    if isinstance(path := query.where.get("log.file.path"), str):
        return stream_name(path, "dag_id=")
    prefix = ""
    for field, part in _PATH:
        value = query.where.get(field)
        if not isinstance(value, str):
            return _prefix_of_name(prefix)
        prefix += part.format(value)
    index, number = query.where.get("airflow.map_index"), query.where.get("airflow.try_number")
    if isinstance(index, int):
        prefix += f"map_index={index}/" if index >= 0 else ""
        prefix += f"attempt={number}.log" if isinstance(number, int) else ""
    return _prefix_of_name(prefix)


def _prefix_of_name(prefix: str) -> str:
    return prefix.replace(":", "_").replace("*", "_")[:400]


def _document(message: str) -> Document:
    text, _, metrics = message.rpartition(',"_aws":')
    document: Document = orjson.loads(f"{text}}}" if metrics and text else message)
    return document


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


def _when(document: Document) -> Any:
    try:
        return datetime.fromisoformat(str(document.get("@timestamp", "")).replace("Z", "+00:00"))
    except ValueError:
        return None
