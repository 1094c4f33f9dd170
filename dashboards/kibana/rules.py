"""Kibana alerting rules and connectors, as bodies of its API; free licence: ``.es-query``, ``.server-log``, ``.index``.

A rule tells through the alert index, which the watcher reads (ARCHITECTURE.md, "Kibana's rules").
Ids are UUIDs derived from names: Kibana refuses others, and a second install updates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dashboards.kibana.columns import kql
from dashboards.names import PREFIX, Names, object_id, stable_uuid
from dashboards.signals import UnknownName, metric_spec
from observability import catalog

if TYPE_CHECKING:
    from observability.catalog import AlertRule

__all__ = ["CONNECTORS", "connectors", "rule_problems", "rule_query", "rules", "threshold"]

CONNECTORS = {"server-log": stable_uuid("connector:server-log"), "index": stable_uuid("connector:index")}
_MATCHED, _OVER = "query matched", "recovered"
_MOST_GROUPS = 100


def connectors(names: Names) -> dict[str, dict[str, Any]]:
    """Bodies of the connectors by their id."""
    return {
        CONNECTORS["server-log"]: {"name": "Contrail: server log", "connector_type_id": ".server-log", "config": {}},
        CONNECTORS["index"]: {
            "name": "Contrail: alert index",
            "connector_type_id": ".index",
            "config": {"index": names.alert_index, "refresh": True, "executionTimeField": "@timestamp"},
        },
    }


def rules(names: Names) -> dict[str, dict[str, Any]]:
    """Bodies of the rules by their id."""
    return {stable_uuid(f"rule:{key}"): _rule(key, spec, names) for key, spec in catalog.RULES.items()}


def rule_query(spec: AlertRule) -> tuple[str, str, str, str]:
    """What a rule asks: data view, KQL, aggregate and the field it takes ('' for a count).

    Events are asked where the rule names one, because they are exact; a metric otherwise. Events whose
    metric adds up a field (rows, lost records) are added up, not counted.
    """
    if spec.event is None:
        name = spec.metric or ""
        if spec.absent:
            return "metrics", kql(_wanted(spec, name)), "count", ""
        aggregate = "sum" if metric_spec(name).type == "counter" else "max"
        return "metrics", kql(_wanted(spec, name)), aggregate, "metric.value"
    uses = {use.metric: use.field for use in catalog.EVENTS[spec.event].metrics}
    added = None if spec.absent else uses.get(spec.metric or "")
    query = kql((("event.action", (spec.event,)),))
    return ("events", query, "sum", added) if added else ("events", query, "count", "")


def threshold(spec: AlertRule) -> float:
    """What the answer is compared with; ``above`` is of the metric, so where events stand for a gauge, one will do."""
    if spec.absent:
        return 1
    stands_for_gauge = spec.event is not None and spec.metric is not None and metric_spec(spec.metric).type == "gauge"
    return 0 if stands_for_gauge else spec.above


def rule_problems(key: str, spec: AlertRule) -> list[str]:
    """What is wrong with a rule's names, one sentence each."""
    found = []
    if spec.metric is None and spec.event is None:
        found.append(f"rule {key} watches neither a metric nor an event")
    if spec.metric is not None:
        try:
            metric_spec(spec.metric)
        except UnknownName as error:
            found.append(f"rule {key}: {error}")
    if spec.event is not None and spec.event not in catalog.EVENTS:
        found.append(f"rule {key}: event {spec.event!r} is not in the catalogue")
    found += [f"rule {key}: tag {tag!r} is no tag" for tag, _ in spec.where if tag not in catalog.TAGS]
    if spec.group_by and spec.group_by not in catalog.TAGS:
        found.append(f"rule {key}: groups by {spec.group_by!r}, which is no tag")
    return found


def _wanted(spec: AlertRule, name: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return (("metric.name", (name,)), *((catalog.TAGS[tag], (value,)) for tag, value in spec.where))


def _rule(key: str, spec: AlertRule, names: Names) -> dict[str, Any]:
    return {
        "name": f"Contrail: {spec.title}",
        "rule_type_id": ".es-query",
        "consumer": "stackAlerts",
        "enabled": True,
        "tags": [PREFIX, key, spec.severity],
        "schedule": {"interval": "1m"},
        "params": _parameters(spec),
        "actions": _actions(key, spec, names),
    }


def _parameters(spec: AlertRule) -> dict[str, Any]:
    source, query, aggregate, field = rule_query(spec)
    grouped = spec.group_by is not None and not spec.absent
    return {
        "searchType": "searchSource",
        "searchConfiguration": {
            "query": {"query": query, "language": "kuery"},
            "index": object_id(source),
            "filter": [],
        },
        "timeField": "@timestamp",
        "timeWindowSize": spec.window_s // 60,
        "timeWindowUnit": "m",
        "threshold": [threshold(spec)],
        "thresholdComparator": "<" if spec.absent else ">",
        "size": 10,
        "excludeHitsFromPreviousRun": False,
        "aggType": aggregate,
        **({"aggField": field} if field else {}),
        "groupBy": "top" if grouped else "all",
        **({"termField": catalog.TAGS[spec.group_by or ""], "termSize": _MOST_GROUPS} if grouped else {}),
    }


def _actions(key: str, spec: AlertRule, names: Names) -> list[dict[str, Any]]:
    runbook = f"{names.runbook_url}/{spec.runbook}.md"
    document = {
        "rule": key,
        "group": "{{alert.actionGroup}}",
        "alert": "{{alert.id}}",
        "group_by": spec.group_by or "",
        "value": "{{context.value}}",
        "severity": spec.severity,
        "runbook": runbook,
        "title": spec.title,
        "kibana_rule_id": "{{rule.id}}",
    }
    level = "error" if spec.severity in {"error", "critical"} else "warn"
    said = {"level": level, "message": f"{spec.title}: {{{{alert.id}}}} has {{{{context.value}}}}; see {runbook}"}
    over = {"level": "info", "message": f"{spec.title}: {{{{alert.id}}}} is over"}
    return [
        _action("server-log", _MATCHED, said),
        _action("index", _MATCHED, {"documents": [document]}),
        _action("server-log", _OVER, over),
        _action("index", _OVER, {"documents": [document]}),
    ]


def _action(connector: str, group: str, params: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": CONNECTORS[connector],
        "group": group,
        "params": params,
        "frequency": {"summary": False, "notify_when": "onActionGroupChange", "throttle": None},
    }
