"""Every place where a finding must show: each is asked its own question of what really arrived."""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from benchmarks.everywhere_findings import CONTROLS
from observability import catalog
from observability.dashboards.boards import BOARDS
from observability.dashboards.cloudwatch.alarms import metric_alarms
from observability.dashboards.kibana.kql import to_query
from observability.dashboards.kibana.objects import saved_objects
from observability.dashboards.kibana.rules import rules as kibana_rules
from observability.dashboards.kibana.translate import rows, searches
from observability.dashboards.names import Account, Names, index_pattern
from observability.dashboards.panels import signals_of
from observability.dashboards.signals import conditions, measure
from observability.store import Query
from observability.store.aws import group_name, logs_client
from observability.store.cluster import open_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.everywhere_findings import Finding
    from benchmarks.everywhere_hosts import Hosts
    from observability.events import Document
    from observability.store.cluster import Cluster

__all__ = ["PLACES", "Places", "about_controls"]

PLACES = ("embedded", "elasticsearch", "cloudwatch", "metric", "page", "panels", "kibana rule", "alarm", "message")
"""The columns of the table, in the order in which a finding gets there."""
_FAILING = tuple(action for action, spec in catalog.EVENTS.items() if spec.alert is not None)
_LONG = timedelta(hours=2)


@dataclass
class Places:
    """Questions to one deployment; documents and objects that many of them need are read once a round."""

    hosts: Hosts
    stores: tuple[str, ...]
    _emf: list[dict[str, Any]] = field(default_factory=list)
    _read: dict[str, Any] = field(default_factory=dict)

    def begin_round(self) -> None:
        """Forget what was read for the last round of questions."""
        self._read.clear()

    def ask(self, finding: Finding, place: str) -> bool | None:
        """True where ``finding`` shows at ``place``; None where nothing of its kind belongs there."""
        if place in {"embedded", "elasticsearch", "cloudwatch"}:
            return bool(self._events(finding, place)) if place in self.stores else None
        question = {
            "metric": self._metric, "page": self._page, "panels": self._panels, "kibana rule": self._rule,
            "alarm": self._alarm, "message": self._message,
        }[place]  # fmt: skip
        return question(finding)

    def why_not(self, finding: Finding, place: str) -> str:
        """The findings that are missing at a place, for the person who mends it."""
        if place == "panels":
            return ", ".join(f"{board}/{title}" for board, title, shown in self._panel_rows(finding) if not shown)
        if place == "metric":
            return ", ".join(name for name in self._metrics(finding) if not self._series(finding, name))
        return ""

    def _events(self, finding: Finding, backend: str) -> list[Document]:
        key = f"events:{backend}:{finding.action}"
        if key not in self._read:
            dataset = catalog.EVENTS[finding.action].dataset
            since = datetime.now(timezone.utc) - _LONG
            with self.hosts.stores(backend) as stores:
                asked = Query(dataset, {"event.action": finding.action}, since=since)
                found = [one for store in stores for one in store.documents(asked)]
            self._read[key] = [one for one in found if "canary.probe" not in one]
        return [one for one in self._read[key] if _is_about(one, finding)]

    def _series(self, finding: Finding, name: str) -> list[Document]:
        key = f"series:{name}"
        if key not in self._read:
            with self.hosts.stores(self._main) as stores:
                asked = Query("airflow.statsd", {"metric.name": name}, since=datetime.now(timezone.utc) - _LONG)
                self._read[key] = [one for store in stores for one in store.documents(asked)]
        wanted = {name: value for name, value in finding.where.items() if name in catalog.TAGS.values()}
        return [one for one in self._read[key] if all(one.get(name) == value for name, value in wanted.items())]

    @property
    def _main(self) -> str:
        return "elasticsearch" if "elasticsearch" in self.stores else self.stores[0]

    def _metrics(self, finding: Finding) -> list[str]:
        """The metrics that the finding's events imply, without those of fields that they do not have."""
        documents = self._events(finding, self._main)
        uses = catalog.EVENTS[finding.action].metrics
        return [use.metric for use in uses if not use.field or any(use.field in one for one in documents)]

    def _metric(self, finding: Finding) -> bool | None:
        names = self._metrics(finding)
        if not names and catalog.EVENTS[finding.action].metrics:
            return False
        return all(self._series(finding, name) for name in names) if names else None

    def _page(self, finding: Finding) -> bool | None:
        """The first page, or that of the DAG, says it: by an event's reason, or the title of its message."""
        if not finding.told and catalog.EVENTS[finding.action].alert is None:
            return None
        events = self._events(finding, self._main)
        if not events:
            return False
        if "first page" not in self._read:
            self._read["first page"] = self.hosts.page("/")
        text = self._read["first page"]
        if finding.dag_id:
            text += self.hosts.page(f"/dags/{quote(finding.dag_id)}")
        said = html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text)))
        reasons = {str(event.get("event.reason") or event.get("message") or "") for event in events}
        messages = [one for one in self.hosts.messages() if one.get("summary") in reasons]
        titles = {str(one["title"]).partition(", now ")[0] for one in messages}  # a page leaves out when it was told
        return any(words in said for one in reasons | titles if (words := re.sub(r"\s+", " ", one)[:60].strip()))

    def _panels(self, finding: Finding) -> bool | None:
        found = list(self._panel_rows(finding))
        return all(shown for *_, shown in found) if found else False

    def _panel_rows(self, finding: Finding) -> Iterator[tuple[str, str, bool]]:
        """Each panel whose question is about this finding, and whether Kibana's search for it has rows about it."""
        if "elasticsearch" not in self.stores:
            return
        wanted = self._concerned(finding)
        shown = dict.fromkeys(wanted, False)
        for asked in self._searches():
            if (asked.board, asked.panel) in wanted and not shown[asked.board, asked.panel]:
                answer = self._search(asked.index, _about(asked.body, finding))
                shown[asked.board, asked.panel] = bool(rows(asked, answer))
        yield from ((board, panel, there) for (board, panel), there in shown.items())

    def _concerned(self, finding: Finding) -> set[tuple[str, str]]:
        documents = self._events(finding, self._main)
        names = self._metrics(finding)
        series = [one for name in names for one in self._series(finding, name)]
        found = set()
        for board in BOARDS:
            for panel in board.panels:
                for signal in signals_of(panel):
                    told = documents if signal.source == "events" else series if signal.source == "metrics" else []
                    named = finding.action in signal.actions or signal.metric in names
                    needed = {*panel.by, *filter(None, (measure(signal)[1],))}
                    if named and any(_fits(one, conditions(signal)) and needed <= one.keys() for one in told):
                        found.add((board.title, panel.title))
        return found

    def _searches(self) -> list[Any]:
        if "searches" not in self._read:
            until = datetime.now(timezone.utc) + timedelta(minutes=1)
            self._read["searches"] = list(searches(saved_objects(Names()), until - _LONG, until))
        found: list[Any] = self._read["searches"]
        return found

    def _search(self, pattern: str, body: dict[str, Any]) -> Any:
        index = re.sub(r"-\*(?=,|$)", f"-{self.hosts.environment}", pattern)
        path = f"/{quote(index, safe=',*')}/_search?ignore_unavailable=true&allow_no_indices=true"
        return self._cluster.ask("POST", path, body)

    @property
    def _cluster(self) -> Cluster:
        if "cluster" not in self._read:
            self._read["cluster"] = open_cluster(self.hosts.settings("watch", "elasticsearch"))
        found: Cluster = self._read["cluster"]
        return found

    def _rule(self, finding: Finding) -> bool | None:
        """Kibana's own query of each rule about this kind of event is above its threshold, for this group."""
        keys = [key for key, rule in catalog.MONITORS.items() if rule.event == finding.action and not rule.absent]
        if not keys or "elasticsearch" not in self.stores:
            return None
        return all(self._is_set_off(key, finding) for key in keys)

    def _is_set_off(self, key: str, finding: Finding) -> bool:
        rule = catalog.MONITORS[key]
        params = next(body for body in kibana_rules(Names()).values() if key in body["tags"])["params"]
        view = params["searchConfiguration"]["index"].removeprefix("contrail-")
        added = {"value": {params["aggType"]: {"field": params["aggField"]}}} if "aggField" in params else {}
        terms = {"field": params.get("termField", "event.kind"), "size": params.get("termSize", 1)}
        body = {
            "size": 0, "track_total_hits": True, "query": to_query(params["searchConfiguration"]["query"]["query"]),
            "aggs": {"groups": {"terms": terms, "aggs": added}, **added},
        }  # fmt: skip
        answer = self._search(index_pattern(view), body)
        group = finding.where.get(catalog.TAGS.get(rule.group_by or "", ""))
        (limit,) = params["threshold"]
        if "termField" not in params:
            value = answer["aggregations"]["value"]["value"] if added else answer["hits"]["total"]["value"]
            return bool((value or 0) > limit)
        buckets = answer["aggregations"]["groups"]["buckets"]
        return any(
            (one["value"]["value"] if added else one["doc_count"]) > limit
            for one in buckets
            if group is None or one["key"] == group
        )

    def _alarm(self, finding: Finding) -> bool | None:
        """Each alarm about this kind of event, computed over the metrics that CloudWatch really received."""
        settings = self.hosts.settings("watch", "cloudwatch")
        keys = [key for key, rule in catalog.MONITORS.items() if rule.event == finding.action and not rule.absent]
        if not keys or "cloudwatch" not in self.stores:
            return None
        where = Account(
            environment=self.hosts.environment, namespace=settings.cloudwatch.namespace, region="eu-central-1",
            log_group_prefix=settings.cloudwatch.log_group_prefix,
        )  # fmt: skip
        alarms = metric_alarms(where)
        component = finding.where.get("airflow.component", "")
        wanted = [
            alarm
            for name, alarm in alarms.items()
            for key in keys
            if name in {where.name(key), where.name(f"{key}-{component}")} and "MetricName" in alarm
        ]
        return all(self._goes_off(alarm) for alarm in wanted) if wanted else None

    def _goes_off(self, alarm: dict[str, Any]) -> bool:
        dimensions = {one["Name"]: one["Value"] for one in alarm["Dimensions"]}
        values: list[float] = []
        for document in self._received():
            for directive in document["_aws"]["CloudWatchMetrics"]:
                sets = [{name: document[name] for name in names} for names in directive["Dimensions"]]
                if dimensions in sets and any(one["Name"] == alarm["MetricName"] for one in directive["Metrics"]):
                    value = document[alarm["MetricName"]]
                    values += value if isinstance(value, list) else [value]
        found = {"Sum": sum(values), "Maximum": max(values, default=0), "SampleCount": len(values)}[alarm["Statistic"]]
        return bool(found > alarm["Threshold"])

    def _received(self) -> list[dict[str, Any]]:
        """The documents with metrics in CloudWatch's embedded format."""
        if "emf" not in self._read:
            settings = self.hosts.settings("watch", "cloudwatch")
            pages = logs_client(settings).get_paginator("filter_log_events")
            group = group_name(settings, "airflow.statsd")
            read = [event["message"] for page in pages.paginate(logGroupName=group) for event in page["events"]]
            self._read["emf"] = [json.loads(one) for one in read if '"_aws"' in one]
        found: list[dict[str, Any]] = self._read["emf"]
        return found

    def _message(self, finding: Finding) -> bool | None:
        if not finding.told:
            return None
        words = finding.words or (finding.dag_id,)
        opened = [one for one in self.hosts.messages() if one["kind"] in {"opened", "escalated", "digest"}]
        return any(all(word in json.dumps(one) for word in words) for one in opened)


def about_controls(places: Places) -> list[str]:
    """The places that report a healthy DAG as ill."""
    hosts, found = places.hosts, []
    for dag_id in CONTROLS:
        for backend in places.stores:
            with hosts.stores(backend) as stores:
                for dataset in ("etl.event", "contrail.alert"):
                    asked = Query(dataset, {"airflow.dag_id": dag_id})
                    said = {one["event.action"] for store in stores for one in store.documents(asked)}
                    wrong = said & {*_FAILING, "incident.opened", "notification.sent"}
                    found += [f"{dag_id} in {backend}: {action}" for action in sorted(wrong)]
        if any(one.get("dag_id") == dag_id for one in hosts.messages()):
            found.append(f"{dag_id} in a message")
        if dag_id in hosts.page("/"):
            found.append(f"{dag_id} on the first page")
    if any("late/control" in json.dumps(one) for one in hosts.messages()):
        found.append("the control's asset in a message")
    return found


def _is_about(document: Document, finding: Finding) -> bool:
    return all(document.get(name) == value for name, value in finding.where.items())


def _fits(document: Document, wanted: Any) -> bool:
    for name, values in wanted:
        have = document.get(name)
        if not any(value in values for value in (have if isinstance(have, list) else [have])):
            return False
    return True


def _about(body: dict[str, Any], finding: Finding) -> dict[str, Any]:
    """A search, of what is about this finding only."""
    own = {name: value for name, value in finding.where.items() if name in catalog.FIELDS}
    terms = [{"term": {name: value}} for name, value in own.items() if name in catalog.TAGS.values()]
    return {**body, "query": {"bool": {"filter": [body["query"], *terms]}}}
