"""``contrail logs``, ``contrail events``, ``contrail metrics``: read back from whatever store is configured."""

from __future__ import annotations

import re
import sys
import threading
from collections import deque
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from heapq import merge
from queue import SimpleQueue
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from observability import catalog
from observability.events import iteration_labels, task_name
from observability.settings import get_settings
from observability.store import Query, StoreError, open_store
from observability.store.search import matcher, with_context
from observability.timestamps import parsed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from observability.events import Document
    from observability.store import Store
    from observability.store.search import Line

__all__ = ["events", "logs", "metrics"]

_SPAN = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_COLOURS = {"warning": "yellow", "error": "red", "critical": "bright_red", "debug": "bright_black"}
_KNOWN = {
    "timestamp", "level", "event", "logger", "offset", "log_id", "filename", "lineno", "error_detail",
    "ti_id", "dag_id", "task_id", "run_id", "try_number", "map_index",
}  # fmt: skip

Json = Annotated[bool, typer.Option("--json", help="One JSON document per line.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on with what arrives, until Ctrl-C.")]
Since = Annotated[str, typer.Option(help="Not before this: 15m, 2h, 7d, or a moment like 2026-01-31T12:00.")]
Limit = Annotated[int, typer.Option("--limit", "-n", help="Only the newest so many; 0: all.")]
Grep = Annotated[str, typer.Option("--grep", "-g", help="Only lines with this pattern (RE2) in text or traceback.")]
_SEPARATOR = "--\n"
Run = Annotated[str, typer.Option(help="Only this run: its run id, or 'latest'.")]


def logs(  # noqa: PLR0913, PLR0917 - the options of a command
    dag: Annotated[str, typer.Argument(help="DAG id; empty with --component.")] = "",
    task: Annotated[str, typer.Argument(help="Task id; empty: every task.")] = "",
    run: Run = "",
    attempt: Annotated[int | None, typer.Option("--try", min=1, help="Only this attempt, from 1.")] = None,
    map_index: Annotated[int | None, typer.Option(help="Only this index of a mapped task; -1: not mapped.")] = None,
    iteration: Annotated[int | None, typer.Option(min=0, help="Only this iteration of a task loop, from 0.")] = None,
    level: Annotated[str, typer.Option(help="Only lines of this level: debug, info, warning, error, critical.")] = "",
    component: Annotated[
        str, typer.Option(help="A component's log instead of a DAG's: scheduler, dag-processor, …")
    ] = "",
    since: Since = "",
    limit: Limit = 0,
    follow: Follow = False,
    json: Json = False,
    grep: Grep = "",
    text: Annotated[bool, typer.Option("--text", "-F", help="--grep is a text, not a pattern.")] = False,
    ignore_case: Annotated[bool, typer.Option("--ignore-case", "-i", help="--grep finds small and capital.")] = False,
    after: Annotated[int, typer.Option("-A", min=0, max=1000, help="Lines after each match.")] = 0,
    before: Annotated[int, typer.Option("-B", min=0, max=1000, help="Lines before each match.")] = 0,
    context: Annotated[int, typer.Option("-C", min=0, max=1000, help="Lines before and after each match.")] = 0,
) -> None:
    """Task logs, oldest first.

    Examples:
      contrail logs flights_daily
      contrail logs flights_daily load --run latest --follow
      contrail logs --component scheduler --since 10m --level error --json
      contrail logs --grep 'disk (full|quota)' -C 3 --since 1d
    """
    if (dag and component) or not (dag or component or grep):
        raise typer.BadParameter("name a DAG (contrail logs flights_daily) or a component (--component scheduler)")
    if component and component not in catalog.COMPONENTS:
        raise typer.BadParameter(f"{component!r} is not a component; it must be one of {', '.join(catalog.COMPONENTS)}")
    where: dict[str, Any] = {"airflow.dag_id": dag} if dag else {"airflow.component": component} if component else {}
    where |= {"airflow.task_id": task} if task else {}
    where |= {"airflow.try_number": attempt} if attempt else {}
    where |= {} if map_index is None else {"airflow.map_index": map_index}
    where |= {} if iteration is None else {"airflow.iteration": iteration_labels(iteration)}
    where |= {"log.level": level.lower()} if level else {}
    whole = limit and not grep  # of a search the limit counts what was found
    query = Query(
        "airflow.component" if component else "airflow.task",
        where,
        since=_moment(since),
        limit=limit if whole else None,
        newest=bool(whole),
    )
    if not grep:
        _show([query], run, _line, follow=follow, json=json)
        return
    matches = matcher(grep, is_text=text, ignore_case=ignore_case)
    around = (before or context, after or context)
    _search(query, run, matches, around, limit=limit, follow=follow, json=json)


def _search(  # noqa: PLR0913 - the options of a command
    query: Query,
    run: str,
    matches: Callable[[Document], bool],
    around: tuple[int, int],
    *,
    limit: int,
    follow: bool,
    json: bool,
) -> None:
    """Print the lines that match and those around them; exit code 1 where nothing did, as grep has it."""
    found = 0

    def lines(store: Store, queries: list[Query]) -> Iterator[str]:
        nonlocal found
        documents = store.follow(queries[0]) if follow else store.documents(queries[0])
        searched: Iterable[Line] = with_context(documents, matches, *around)
        for line in deque(searched, limit * (1 + sum(around))) if limit and not follow else searched:
            found += line.is_match
            if json:
                yield orjson.dumps(line.document | {"contrail.match": line.is_match}).decode()
            else:
                yield f"{_SEPARATOR if line.is_apart else ''}{_line(line.document)}"

    _print_lines([query], run, lines, flush=follow, none=lambda _: "No stored line matches.")
    if not found:
        raise typer.Exit(1)


def events(  # noqa: PLR0913, PLR0917 - the options of a command
    action: Annotated[str, typer.Argument(help="Kind of event, for example task.failed; empty: every kind.")] = "",
    dag: Annotated[str, typer.Option(help="Only this DAG.")] = "",
    task: Annotated[str, typer.Option(help="Only this task.")] = "",
    run: Run = "",
    since: Since = "",
    limit: Limit = 0,
    follow: Follow = False,
    json: Json = False,
) -> None:
    """Events: what happened to runs, tasks, data and alerts.

    Examples:
      contrail events --since 1h
      contrail events task.failed --dag flights_daily --json
    """
    datasets = ["etl.event", "contrail.alert", "airflow.audit"]
    where: dict[str, Any] = {}
    if action:
        if action not in catalog.EVENTS:
            raise typer.BadParameter(
                f"{action!r} is not a kind of event; known are {', '.join(sorted(catalog.EVENTS))}"
            )
        where["event.action"] = action
        datasets = [catalog.EVENTS[action].dataset]
    where |= {"airflow.dag_id": dag} if dag else {}
    where |= {"airflow.task_id": task} if task else {}
    queries = [Query(name, where, since=_moment(since), limit=limit or None, newest=bool(limit)) for name in datasets]
    _show(queries, run, _event, follow=follow, json=json)


def metrics(  # noqa: PLR0913, PLR0917 - the options of a command
    name: Annotated[
        str, typer.Argument(help="Name of a metric, for example contrail.task.outcomes; empty: every metric.")
    ] = "",
    dag: Annotated[str, typer.Option(help="Only series of this DAG.")] = "",
    since: Since = "1h",
    limit: Limit = 0,
    follow: Follow = False,
    json: Json = False,
) -> None:
    """Metric series, one line per interval.

    Examples:
      contrail metrics contrail.task.outcomes --since 1d
      contrail metrics --dag flights_daily --json
    """
    where: dict[str, Any] = ({"metric.name": name} if name else {}) | ({"airflow.dag_id": dag} if dag else {})
    query = Query("airflow.statsd", where, since=_moment(since), limit=limit or None, newest=bool(limit))
    _show([query], "", _sample, follow=follow, json=json)


def _show(queries: list[Query], run: str, form: Callable[[Document], str], *, follow: bool, json: bool) -> None:
    def lines(store: Store, asked: list[Query]) -> Iterator[str]:
        for document in _following(store, asked) if follow else _merged(store, asked):
            yield orjson.dumps(document).decode() if json else form(document)

    _print_lines(queries, run, lines, flush=follow, none=_nothing)


def _print_lines(
    queries: list[Query],
    run: str,
    lines: Callable[[Store, list[Query]], Iterator[str]],
    *,
    flush: bool,
    none: Callable[[list[Query]], str],
) -> None:
    """Print ``lines`` of the configured store until they end, the reader goes, or Ctrl-C; say where none came."""
    store, printed = open_store(get_settings()), 0
    try:
        if run:
            chosen = _run_id(store, queries[0], run)
            queries = [replace(query, where={**query.where, "airflow.run_id": chosen}) for query in queries]
        for printed, line in enumerate(lines(store, queries), 1):  # noqa: B007 - read after the loop
            sys.stdout.write(line + "\n")
            if flush:
                sys.stdout.flush()
        sys.stdout.flush()
        if not printed:
            typer.echo(none(queries), err=True)
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:
        sys.stderr.close()
    finally:
        store.close()


def _nothing(queries: list[Query]) -> str:
    """Return the sentence that names what was asked for in vain."""
    asked = [f"{name.rpartition('.')[2]} {_inert(str(value))}" for name, value in queries[0].where.items()]
    since = queries[0].since
    asked += [f"since {since.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"] if since else []
    return (
        f"Nothing is stored{' of ' if asked else ''}{', '.join(asked)}. What still waits to be stored: contrail status"
    )


def _merged(store: Store, queries: list[Query]) -> Iterable[Document]:
    if len(queries) == 1:
        return store.documents(queries[0])
    found = merge(*(store.documents(query) for query in queries), key=lambda document: str(document.get("@timestamp")))
    limit = queries[0].limit
    return found if limit is None else deque(found, limit)


def _following(store: Store, queries: list[Query]) -> Iterator[Document]:
    """Yield what each query finds, as it comes; several are followed in threads, each with a store of its own."""
    if len(queries) == 1:
        yield from store.follow(queries[0])
        return
    arrived: SimpleQueue[Document | Exception] = SimpleQueue()
    for query in queries:
        threading.Thread(target=_feed, args=(query, arrived), daemon=True).start()
    while True:
        found = arrived.get()
        if isinstance(found, Exception):
            raise found
        yield found


def _feed(query: Query, arrived: SimpleQueue[Document | Exception]) -> None:
    """Put what arrives into the queue, and what ends it: the reader must not wait for a thread that is gone."""
    try:
        for document in open_store(get_settings()).follow(query):
            arrived.put(document)
    except Exception as error:  # noqa: BLE001 - raised again by the reader
        arrived.put(error)


def _run_id(store: Store, query: Query, run: str) -> str:
    if run != "latest":
        return run
    newest = next(iter(store.documents(replace(query, limit=1, newest=True))), None)
    if newest is None:
        raise StoreError("no run is in the store yet for this DAG; see contrail status for what still waits")
    return str(newest["airflow.run_id"])


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    if span := _SPAN.fullmatch(text):
        return datetime.now(timezone.utc) - timedelta(seconds=float(span[1]) * _SECONDS[span[2]])
    try:
        when = parsed(text)
    except ValueError:
        raise typer.BadParameter(f"--since {text!r} is not a time; write 15m, 2h, 7d or 2026-01-31T12:00") from None
    return when if when.tzinfo else when.astimezone()


def _line(document: Document) -> str:
    where = ".".join(str(document[key]) for key in ("airflow.task_id",) if key in document) or document.get(
        "airflow.component", ""
    )
    index, attempt = document.get("airflow.map_index", -1), document.get("airflow.try_number")
    where = task_name(where, index if isinstance(index, int) else None, document.get("airflow.iteration"))
    where += f"#{attempt}" if attempt else ""
    extra = {
        key: value for key, value in document.items() if key not in _KNOWN and "." not in key and key != "@timestamp"
    }
    text = str(document.get("event", document.get("message", "")))
    parts = [
        text,
        *(f"{key}={value if isinstance(value, str) else orjson.dumps(value).decode()}" for key, value in extra.items()),
    ]
    level = str(document.get("level", document.get("log.level", "")))
    return _styled(document, level, where, " ".join(parts) + _traceback(document))


def _event(document: Document) -> str:
    about = [str(document[key]) for key in ("airflow.dag_id", "airflow.run_id", "airflow.task_id") if key in document]
    text = f"{document.get('event.action', ''):<22} {document.get('message', '')}"
    return _styled(document, str(document.get("log.level", "")), "/".join(about) or "-", text)


def _sample(document: Document) -> str:
    tags = {
        key.rpartition(".")[2]: value
        for key, value in document.items()
        if key.startswith(("airflow.", "etl.", "incident.", "notification.", "telemetry.", "deadline."))
    }
    shown = " ".join(f"{key}={value}" for key, value in {**tags, **document.get("metric.tags", {})}.items())
    numbers = [f"{document.get('metric.value', 0):g}"]
    numbers += [
        f"{part}={document[f'metric.{part}']:g}" for part in ("p50", "p95", "p99") if f"metric.{part}" in document
    ]
    return _inert(f"{_clock(document)} {document.get('metric.name', '')} {' '.join(numbers)} {shown}".rstrip())


def _styled(document: Document, level: str, where: str, text: str) -> str:
    shown = f"{_clock(document)} {level[:8]:<8} {_inert(where, '')} │ "
    colour = _COLOURS.get(level) if sys.stdout.isatty() else None
    return typer.style(shown, fg=colour) + _inert(text) if colour else shown + _inert(text)


def _traceback(document: Document) -> str:
    lines: list[str] = []
    for problem in document.get("error_detail") or []:
        if isinstance(problem, dict):
            frames = [frame for frame in problem.get("frames") or [] if isinstance(frame, dict)]
            lines += [f"{frame.get('filename')}:{frame.get('lineno')} in {frame.get('name')}" for frame in frames]
            lines.append(f"{problem.get('exc_type')}: {problem.get('exc_value')}")
    return "".join(f"\n{line}" for line in lines)


def _clock(document: Document) -> str:
    return str(document.get("@timestamp", ""))[:23].replace("T", " ")


def _inert(text: str, indent: str = "\n    ") -> str:
    """``text`` without what could steer a terminal; a line of it that is not its first cannot pass for one of ours."""
    return _UNSAFE.sub("\ufffd", text).replace("\n", indent)
