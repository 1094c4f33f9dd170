"""The reference pages in docs/reference, generated from the catalogue: what is sent, when, and who draws it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from observability import catalog
from observability.dashboards.boards import BOARDS
from observability.dashboards.cloudwatch.alarms import BANDS, GROUPS
from observability.dashboards.kibana.rules import rule_query
from observability.dashboards.usage import events_used, fields_used, metrics_used

if TYPE_CHECKING:
    from collections.abc import Iterable

    from observability.catalog import AlertRule, MetricSpec

__all__ = ["pages"]

_GENERATED = "<!-- Generated from observability/catalog/ and its boards by `make generate`; do not edit. -->\n"


def pages() -> dict[str, str]:
    """Markdown by file name."""
    return {
        "README.md": _index(),
        "events.md": _events(),
        "fields.md": _fields(),
        "metrics.md": _metrics(),
        "alerts.md": _alerts(),
        "boards.md": _boards(),
    }


def _page(title: str, *parts: str) -> str:
    return "\n".join([_GENERATED, f"# {title}\n", *parts]).rstrip() + "\n"


def _table(head: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> str:
    rows = ["| " + " | ".join(cell.replace("|", "\\|") or "-" for cell in line) + " |" for line in lines]
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *rows]) + "\n"


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _index() -> str:
    panels = sum(len(board.panels) for board in BOARDS)
    ours, airflows = len(catalog.METRICS), len(catalog.AIRFLOW_METRICS)
    return _page(
        "Reference",
        "Everything that Contrail sends, generated from the one catalogue.\n",
        f"* [Events](events.md): the {len(catalog.EVENTS)} kinds of facts, when each is sent and what it implies\n"
        f"* [Fields](fields.md): the {len(catalog.FIELDS)} fields that documents may have\n"
        f"* [Metrics](metrics.md): the {ours} metrics of ours and the {airflows} of Airflow that we use\n"
        f"* [Alert rules and alarms](alerts.md): the {len(catalog.MONITORS)} rules for Kibana and CloudWatch\n"
        f"* [Boards](boards.md): the {len(BOARDS)} boards and their {panels} panels\n\n"
        "Beside the catalogue: [commands](commands.md), [exit codes](exit-codes.md), "
        "[what a Connection means](connections.md), [chat services](chat-services.md), "
        "[who may see what](access.md).\n",
    )


def _events() -> str:
    used = events_used()
    parts = []
    for action, spec in catalog.EVENTS.items():
        parts.append(f"## {action}\n\n{spec.description}\n")
        facts = [
            ("Data stream", f"`{catalog.DATASETS[spec.dataset].stream('<env>')}`"),
            ("Level, outcome", f"{spec.level}, {spec.outcome}"),
            ("Message", f"`{spec.message}`"),
            ("Fields of its own", _names(spec.fields)),
            ("Metrics it feeds", _names(use.metric + (f" ← {use.field}" if use.field else "") for use in spec.metrics)),
            ("Line in the log", "yes" if spec.log else "no"),
            ("May become an incident", spec.alert or "no"),
            ("Panels", "; ".join(used.get(action, []))),
        ]
        parts.append(_table(("", ""), facts))
    return _page(
        "Events",
        "Besides its own fields an event has its identity (DAG, run, task, attempt …), `@timestamp`, "
        "`event.id`, `event.action`,\n"
        "`event.outcome`, `event.sequence`, `log.level`, `message`, and who wrote it. Equal facts have equal ids.\n",
        *parts,
    )


def _fields() -> str:
    used = fields_used()
    lines = (
        (f"`{name}`", spec.type, spec.unit, spec.description, "; ".join(used.get(name, [])))
        for name, spec in catalog.FIELDS.items()
    )
    return _page("Fields", _table(("Field", "Type", "Unit", "Meaning", "Panels"), lines))


def _metrics() -> str:
    return _page(
        "Metrics",
        "Each is a StatsD series; the relay adds series up per interval and stores one document each. In "
        "CloudWatch each is\n"
        "sent once per set of dimensions named here.\n",
        "## Ours\n",
        _metric_table(catalog.METRICS),
        "## Airflow's own that our boards use\n",
        "Named as Airflow's registry names them (`legacy_names_on = False`, tags in Influx form).\n",
        _metric_table(catalog.AIRFLOW_METRICS),
        "## Tags\n",
        _table(("Tag", "Field of the document"), ((f"`{tag}`", f"`{field}`") for tag, field in catalog.TAGS.items())),
    )


def _metric_table(metrics: dict[str, MetricSpec]) -> str:
    used = metrics_used()
    sent: dict[str, list[str]] = {}
    for action, event in catalog.EVENTS.items():
        for use in event.metrics:
            sent.setdefault(use.metric, []).append(action)
    lines = (
        (
            f"`{name}`",
            spec.type,
            spec.unit,
            spec.description + (f" From Airflow {spec.since} on." if spec.since else ""),
            _names(spec.tags),
            _names(sent.get(name, [])),
            "; ".join(f"{{{', '.join(one)}}}" for one in catalog.DIMENSIONS.get(name, ())),
            "; ".join(used.get(name, [])),
        )
        for name, spec in metrics.items()
    )
    head = ("Metric", "Type", "Unit", "Meaning", "Tags", "Sent with", "CloudWatch dimensions", "Panels")
    return _table(head, lines)


def _alerts() -> str:
    lines = (_rule(key, rule) for key, rule in catalog.MONITORS.items())
    bands = (
        (f"`{key}`", band.title, f"`{band.metric}`", band.statistic, f"{band.period_s} s")
        for key, band in BANDS.items()
    )
    groups = ((f"`{key}`", text, _names(members)) for key, (text, members) in GROUPS.items())
    return _page(
        "Alert rules and alarms",
        "The watcher finds what is wrong and notifies people. These rules watch beside it. Kibana writes to the alert "
        "index, which the\n"
        "watcher reads; in CloudWatch each alarm notifies the detail topic, and a composite alarm the topic that "
        "wakes people.\n",
        "## Rules\n",
        _table(("Rule", "When", "Kibana asks", "CloudWatch alarm on", "Severity", "Runbook"), lines),
        "## Anomaly bands (CloudWatch)\n",
        _table(("Alarm", "When", "Metric", "Statistic", "Period"), bands),
        "## Composite alarms (CloudWatch)\n",
        _table(("Alarm", "Means", "Of"), groups),
    )


def _rule(key: str, rule: AlertRule) -> tuple[str, ...]:
    _, query, aggregate, field = rule_query(rule)
    limit = "none" if rule.absent else f"more than {rule.above:,.0f}"
    grouped = f", by {rule.group_by}" if rule.group_by else ""
    when = f"{rule.description.rstrip('.')}: {limit} in {rule.window_s // 60} min{grouped}"
    dimensions = ", ".join(("env", *(f"{tag}={value}" for tag, value in rule.where)))
    return (
        f"`{key}`",
        when,
        f"{aggregate}({field}) of `{query}`" if field else f"number of `{query}`",
        f"`{rule.metric}` {{{dimensions}}}" if rule.metric else "",
        rule.severity,
        f"[{rule.runbook}](../runbooks/{rule.runbook}.md)",
    )


def _boards() -> str:
    parts = []
    for board in BOARDS:
        parts.append(f"## {board.title.removeprefix('Contrail: ').capitalize()}\n\n{board.description}\n")
        for row in board.rows:
            parts.append(f"**{row.title}** {row.text}\n")
            lines = ((panel.title, panel.kind, panel.quiet.reason if panel.quiet else "") for panel in row.panels)
            parts.append(_table(("Panel", "Kind", "Empty when"), lines))
    return _page("Boards", *parts)
