"""Kibana alerting rules and connectors, as bodies of its API; free licence: ``.es-query``, ``.server-log``, ``.index``.

A rule tells through the alert index, which the watcher reads (ARCHITECTURE.md, "Kibana's rules").
Ids are UUIDs derived from names: Kibana refuses others, and a second install updates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from observability import catalog
from observability.dashboards.kibana.columns import kql
from observability.dashboards.names import PREFIX, Names, object_id, spaced
from observability.dashboards.signals import UnknownName, metric_spec

if TYPE_CHECKING:
    from observability.catalog import AlertRule

__all__ = ["CONNECTORS", "GROUPS", "connectors", "group_field", "rule_problems", "rule_query", "rules", "threshold"]

CONNECTORS = ("server-log", "index")
GROUPS = {
    "dag-import-failed": "log.file.path",
    "rules-rejected": "log.file.path",
    "canary-missing": "service.environment",
}
"""Rules that the catalogue groups by no tag, and the field that says which thing it is."""
_MATCHED, _OVER = "query matched", "recovered"
_MOST_GROUPS = 100


def connectors(names: Names) -> dict[str, dict[str, Any]]:
    """Bodies of the connectors by their id."""
    return {
        _connector("server-log", names): {
            "name": "Contrail: server log",
            "connector_type_id": ".server-log",
            "config": {},
        },
        _connector("index", names): {
            "name": "Contrail: alert index",
            "connector_type_id": ".index",
            "config": {"index": names.alert_index, "refresh": True, "executionTimeField": "@timestamp"},
        },
    }


def _connector(key: str, names: Names) -> str:
    return names.uuid(f"connector:{key}")


def rules(names: Names) -> dict[str, dict[str, Any]]:
    """Bodies of the rules by their id."""
    return {names.uuid(f"rule:{key}"): _rule(key, spec, names) for key, spec in catalog.MONITORS.items()}


def rule_query(spec: AlertRule) -> tuple[str, str, str, str]:
    """The question of a rule: data view, KQL, aggregate and the field it takes ('' for a count).

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
    """The threshold of the answer; ``above`` is of the metric, so where events stand for a gauge, one will do."""
    if spec.absent:
        return 1
    stands_for_gauge = spec.event is not None and spec.metric is not None and metric_spec(spec.metric).type == "gauge"
    return 0 if stands_for_gauge else spec.above


def rule_problems(key: str, spec: AlertRule) -> list[str]:
    """The faults of a rule's names, one sentence each."""
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
        "params": _parameters(key, spec, names),
        "actions": _actions(key, spec, names),
    }


def group_field(key: str, spec: AlertRule) -> str:
    """The field that a rule is grouped by; '' for one about silence, which has no documents to group."""
    if spec.absent:
        return ""
    return catalog.TAGS[spec.group_by] if spec.group_by else GROUPS.get(key, "")


def _parameters(key: str, spec: AlertRule, names: Names) -> dict[str, Any]:
    source, query, aggregate, field = rule_query(spec)
    grouped = group_field(key, spec)
    return {
        "searchType": "searchSource",
        "searchConfiguration": {
            "query": {"query": query, "language": "kuery"},
            "index": spaced(object_id(source), names.space),
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
        **({"termField": grouped, "termSize": _MOST_GROUPS} if grouped else {}),
    }


def _actions(key: str, spec: AlertRule, names: Names) -> list[dict[str, Any]]:
    runbook = names.runbook(spec.runbook)
    about = "{{alert.id}}" if group_field(key, spec) else spec.title
    document = {
        "rule": key,
        "group": "{{alert.actionGroup}}",
        "alert": about,
        "group_by": spec.group_by or GROUPS.get(key, ""),
        "value": _value(spec),
        "limit": _limit(spec),
        "severity": spec.severity,
        "runbook": runbook,
        "title": spec.title,
        "link": "{{{context.link}}}",
        "rule_url": "{{{rule.url}}}",
        "kibana_rule_id": "{{rule.id}}",
    }
    level = "error" if spec.severity in {"error", "critical"} else "warn"
    words = f"{spec.title}: {about}: {_value(spec)} ({_limit(spec)} in {spec.window_s // 60} min); see {runbook}"
    over = {"level": "info", "message": f"{spec.title}: {about} is over"}
    return [
        _action("server-log", _MATCHED, {"level": level, "message": words}, names),
        _action("index", _MATCHED, {"documents": [document]}, names),
        _action("server-log", _OVER, over, names),
        _action("index", _OVER, {"documents": [document]}, names),
    ]


_UNITS = {"ms": ((3_600_000, "h"), (60_000, "min"), (1000, "s"))}
"""Parts of a unit, the largest first: a rule's values are written in the largest that its limit reaches."""


def _scale(spec: AlertRule) -> tuple[int, str]:
    """The divisor of a rule's value, and the unit that it then has."""
    source, _, _, field = rule_query(spec)
    measured = metric_spec(spec.metric).unit if spec.metric and source == "metrics" and field else ""
    parts = _UNITS.get(measured)
    if parts is None:
        return 1, measured
    return next((part for part in parts if spec.above >= part[0]), (1, measured))


def _value(spec: AlertRule) -> str:
    """The value with its unit, worked out by Kibana's own Mustache."""
    divisor, word = _scale(spec)
    if divisor == 1:
        return f"{{{{context.value}}}} {word or _counted(spec)}"
    return f"{{{{#EvalMath}}}}round(context.value / {divisor}, 1){{{{/EvalMath}}}} {word}"


def _limit(spec: AlertRule) -> str:
    divisor, word = _scale(spec)
    return f"{'below' if spec.absent else 'above'} {threshold(spec) / divisor:g} {word or _counted(spec)}".rstrip()


def _counted(spec: AlertRule) -> str:
    """The noun of a count that has no unit."""
    if spec.event is None:
        return "documents" if spec.absent else ""
    return "rows" if spec.event == "rows.rejected" else "events"


def _action(connector: str, group: str, params: dict[str, Any], names: Names) -> dict[str, Any]:
    return {
        "id": _connector(connector, names),
        "group": group,
        "params": params,
        "frequency": {"summary": False, "notify_when": "onActionGroupChange", "throttle": None},
    }
