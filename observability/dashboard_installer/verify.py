"""Ask every panel's question of the configured store, and say of each that has no answer why that may be.

For Elasticsearch the searches are translated from the saved objects themselves, for CloudWatch the metrics
are read out of the dashboards: what is verified is what is installed, not a list beside it.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from observability.dashboards import embedded
from observability.dashboards.boards import BOARDS
from observability.dashboards.cloudwatch.boards import dashboards
from observability.dashboards.kibana.objects import saved_objects
from observability.dashboards.kibana.translate import rows, searches
from observability.dashboards.names import Names
from observability.dashboards.panels import signals_of
from observability.store.cluster import Cluster, ClusterError
from observability.store.store import Query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from observability.dashboards.names import Account
    from observability.dashboards.panels import Panel
    from observability.events import Document
    from observability.store.store import Store

__all__ = ["Verdict", "verify_cloudwatch", "verify_elasticsearch", "verify_store"]

_SENDERS = (
    ("contrail.relay.", "the relay sends it: is it running (contrail status)?"),
    ("contrail.component.heartbeat", "the watcher sends it: is it running (contrail status)?"),
    ("contrail.component.", "the relay sends it where [relay] component_metrics asks for it"),
    ("contrail.database.", "the relay sends it where [relay] component_metrics asks for it"),
    ("contrail.broker.", "the relay sends it where [relay] component_metrics asks for it"),
    ("contrail.queue.", "the relay sends it where [relay] component_metrics asks for it"),
    ("contrail.incident.", "the watcher sends it: is it running (contrail status)?"),
    ("contrail.watcher.", "the watcher sends it: is it running (contrail status)?"),
    ("contrail.notification.", "the watcher sends it when it has notified somebody"),
    ("contrail.canary.", "the canary DAG sends it: is it paused?"),
    ("contrail.", "a task sends it: has one run since then?"),
    ("", "Airflow sends it: is AIRFLOW__METRICS__STATSD_ON set, and does its port lead to the relay?"),
)
_SEARCH = re.compile(r"SEARCH\('\{([^}]+)\} MetricName=\"([^\"]+)\" env=\"([^\"]+)\"((?: \w+=\"[^\"]*\")*)'")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The number of rows of a panel, and why it shows none; ``quiet``: none is what a healthy system has."""

    board: str
    panel: str
    rows: int
    quiet: bool
    reason: str


def verify_elasticsearch(
    cluster: Cluster, environment: str, since: datetime, until: datetime, *, prefix: str = ""
) -> list[Verdict]:
    """Run the searches of every panel of the saved objects over the data streams of one environment."""
    found: defaultdict[tuple[str, str], int] = defaultdict(int)
    refused: dict[tuple[str, str], str] = {}
    for asked in searches(saved_objects(Names(index_prefix=prefix)), since, until):
        place = asked.board, asked.panel
        index = re.sub(r"-\*(?=,|$)", f"-{environment}", asked.index)
        path = f"/{quote(index, safe=',*')}/_search?ignore_unavailable=true&allow_no_indices=true"
        try:
            found[place] += len(rows(asked, cluster.ask("POST", path, asked.body)))
        except ClusterError as error:
            refused[place] = f"Elasticsearch refuses the search: {error}"
    return [
        _verdict(board, panel, found[board, panel.title], refused.get((board, panel.title), ""))
        for board, panel in _panels()
    ]


def verify_store(store: Store, since: datetime, until: datetime) -> list[Verdict]:
    """Ask the embedded form of every panel of any store."""
    panels = {
        (board["title"], panel["key"]): panel for board in embedded.boards()["boards"] for panel in _inside(board)
    }
    verdicts = []
    for board, panel in _panels():
        asked = panels[board, panel.key]
        verdicts.append(_verdict(board, panel, int(_answered(store, asked, since, until)), ""))
    return verdicts


def verify_cloudwatch(client: Callable[[str], Any], account: Account) -> list[Verdict]:
    """Look for the metrics of every widget among those that CloudWatch has; for the log groups of those over logs."""
    known = {(name, dimensions) for name, dimensions in _known(client("cloudwatch"), account.namespace)}
    groups = _groups(client("logs"), account.log_group_prefix)
    widgets = {
        (board.title, widget["properties"].get("title", "")): widget["properties"]
        for board, body in zip(BOARDS, dashboards(account).values(), strict=True)
        for widget in body["widgets"]
    }
    return [
        _verdict(board, panel, _received(widgets[board, panel.title], known, groups), "") for board, panel in _panels()
    ]


def metrics_of(properties: dict[str, Any]) -> Iterator[tuple[str, frozenset[tuple[str, str]]]]:
    """The metrics of a widget: name, and dimensions with their values ('*' where the widget takes any)."""
    for entry in properties.get("metrics", []):
        if isinstance(entry[0], str):
            words = [word for word in entry[1:] if isinstance(word, str)]
            yield words[0], frozenset(zip(words[1::2], words[2::2], strict=True))
        elif found := _SEARCH.match(entry[0].get("expression", "")):
            fixed = dict(re.findall(r'(\w+)="([^"]*)"', found[4])) | {"env": found[3]}
            yield found[2], frozenset((tag, fixed.get(tag, "*")) for tag in found[1].split(",")[1:])


def _received(properties: dict[str, Any], known: set[tuple[str, frozenset[tuple[str, str]]]], groups: set[str]) -> int:
    if "query" in properties:
        return sum(1 for group in re.findall(r"SOURCE '([^']+)'", properties["query"]) if group in groups)
    return sum(1 for name, wanted in metrics_of(properties) if any(_matches(name, wanted, one) for one in known))


def _matches(name: str, wanted: frozenset[tuple[str, str]], one: tuple[str, frozenset[tuple[str, str]]]) -> bool:
    there = dict(one[1])
    return (
        name == one[0]
        and there.keys() == dict(wanted).keys()
        and all(value in {"*", there[tag]} for tag, value in wanted)
    )


def _known(cloudwatch: Any, namespace: str) -> Iterator[tuple[str, frozenset[tuple[str, str]]]]:
    for page in cloudwatch.get_paginator("list_metrics").paginate(Namespace=namespace):
        for metric in page["Metrics"]:
            yield metric["MetricName"], frozenset((one["Name"], one["Value"]) for one in metric["Dimensions"])


def _groups(logs: Any, prefix: str) -> set[str]:
    pages = logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=prefix)
    return {group["logGroupName"] for page in pages for group in page["logGroups"]}


def _panels() -> Iterator[tuple[str, Panel]]:
    for board in BOARDS:
        yield from ((board.title, panel) for panel in board.panels)


def _inside(board: dict[str, Any]) -> Iterable[dict[str, Any]]:
    return [panel for row in board["rows"] for panel in row["panels"]]


def _answered(store: Store, asked: dict[str, Any], since: datetime, until: datetime) -> bool:
    parts = [
        part
        for question in asked.get("questions", [])
        for part in (question.get("top"), question.get("bottom"), question)
    ]
    wanted = [part for part in parts if part and "where" in part] or [{"where": asked["where"], "field": ""}]
    seen: set[str] = set()
    for part in wanted:
        needed = [*asked.get("by", []), *([part["field"]] if part["field"] else [])]
        if (key := json.dumps([part["where"], needed])) in seen:
            continue
        seen.add(key)
        for dataset in asked["datasets"]:
            query = Query(dataset, {field: tuple(values) for field, values in part["where"].items()}, since, until)
            if any(_counts(document, needed) for document in store.documents(query)):
                return True
    return False


def _counts(document: Document, needed: list[str]) -> bool:
    return all(document.get(field) is not None for field in needed)


def _verdict(board: str, panel: Panel, number: int, refused: str) -> Verdict:
    if number:
        return Verdict(board, panel.title, number, quiet=False, reason="")
    quiet = panel.quiet is not None and not refused
    return Verdict(board, panel.title, 0, quiet=quiet, reason=refused or _reason(panel))


def _reason(panel: Panel) -> str:
    if panel.quiet is not None:
        return panel.quiet.reason
    signals = signals_of(panel)
    names = [signal.metric for signal in signals if signal.metric]
    if names:
        why = next(text for prefix, text in _SENDERS if names[0].startswith(prefix))
        return f"no {names[0]} arrived; {why}"
    actions = sorted({action for signal in signals for action in signal.actions})
    if actions:
        return f"none of {', '.join(actions)} was recorded; has a DAG run since then, and does the relay deliver?"
    return "no log line arrived; does the relay read the right log folder ([relay] log_folder)?"
