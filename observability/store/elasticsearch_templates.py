"""Elasticsearch's component and index templates for our documents, from the catalogue alone.

``subobjects: false`` everywhere: a dotted name is one key, so that ``event`` and ``event.action`` live side
by side, as in the lines that Airflow writes. A field that nobody declared is kept and searchable, whatever
its type is from one line to the next: text and booleans are keywords, a number that turns into a word is
kept in the document and left out of the index.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import orjson

from observability import catalog

if TYPE_CHECKING:
    from observability.catalog import Dataset, FieldSpec

__all__ = [
    "ALIASES",
    "MARK",
    "alert_template",
    "component_templates",
    "digest",
    "index_templates",
    "lifecycle_policies",
]

ALIASES: Final = {"log.level": "level", "message": "event", "log.logger": "logger"}
"""ECS names of what Airflow names its own way in its log lines."""

_LINES: Final = ("airflow.task", "airflow.component")
_STRUCTURED: Final = {"type": "flattened", "index": False, "doc_values": False}
_SAID_TWICE: Final = ("dag_id", "task_id", "run_id", "try_number", "map_index")
"""The fields that Airflow puts into each line and we into ``airflow.*``, by which one searches."""
_KEPT_ONLY: Final = {"type": "keyword", "index": False, "doc_values": False}
_SORTED_ONLY: Final = ("timestamp", "offset")
"""Their values are there to sort and compare by, without an index beside them."""
_LONGEST_KEYWORD: Final = 1024
_AIRFLOWS_OWN: Final = frozenset({"log_id", "offset", "event", "level", "logger", "timestamp"})
_PRIORITY: Final = 250
"""Above the templates that ship with Elasticsearch for logs-*-* and metrics-*-* (100)."""


MARK: Final = {"managed_by": "contrail"}
"""Stands in the mappings of each index that our templates make: it tells our streams from other people's."""


def digest(*bodies: Any) -> str:
    """16 hex digits that change with what is in the bodies."""
    text = orjson.dumps(bodies, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def component_templates(prefix: str = "") -> dict[str, Any]:
    """The parts that index templates are made of, by name."""
    parts = {
        "contrail-settings": {"template": {"settings": _settings()}, "_meta": _meta("What every data stream has.")},
        "contrail-mappings": {
            "template": {"mappings": {"subobjects": False, "date_detection": False, "dynamic_templates": _unknown()}},
            "_meta": _meta("How fields are treated that the catalogue does not name."),
        },
        "contrail-lines": {
            "template": {"mappings": {"subobjects": False, "properties": _line_properties()}},
            "_meta": _meta("Lines that Airflow wrote."),
        },
        "contrail-events": {
            "template": {"mappings": {"subobjects": False, "properties": _properties(aliased=False)}},
            "_meta": _meta("Documents that Contrail wrote."),
        },
    }
    return {f"{prefix}{name}": body for name, body in parts.items()}


def index_templates(*, retention: str = "", prefix: str = "") -> dict[str, Any]:
    """One template per data stream, by name.

    ``retention`` is how this cluster forgets: ``lifecycle`` (data stream lifecycle), ``ilm`` or ``""`` (it cannot).
    ``prefix`` begins the names of streams, templates and policies.
    """
    made = {spec.template(prefix): _index_template(spec, retention, prefix) for spec in catalog.DATASETS.values()}
    for body in made.values():
        mark = MARK | {"digest": digest(component_templates(prefix), body)}
        body["template"]["mappings"] = {"subobjects": False, "_meta": mark}
    return made


def alert_template(prefix: str = "") -> tuple[str, dict[str, Any]]:
    """The template of the index that Kibana's rules write to, and its name.

    No data stream: Kibana's connector writes with ``index``, which data streams refuse.
    """
    properties = {name: _mapping(name, spec) for name, spec in catalog.ALERT_DOCUMENT.items()}
    body = {
        "index_patterns": [f"{prefix}{catalog.ALERT_INDEX}*"],
        "priority": _PRIORITY,
        "template": {
            "settings": {"index.auto_expand_replicas": "0-1"},
            "mappings": {"dynamic": False, "properties": properties, "_meta": dict(MARK)},
        },
        "_meta": _meta("What Kibana's rules found."),
    }
    return f"{prefix}{catalog.ALERT_INDEX}", body


def lifecycle_policies(prefix: str = "") -> dict[str, Any]:
    """One index lifecycle policy per retention period, by name."""
    return {
        _policy(spec, prefix): {"policy": {"phases": _phases(spec), "_meta": _meta("Rolls over, then forgets.")}}
        for spec in catalog.DATASETS.values()
    }


def _index_template(spec: Dataset, retention: str, prefix: str) -> dict[str, Any]:
    kind = "contrail-lines" if spec.dataset in _LINES else "contrail-events"
    template: dict[str, Any] = {}
    if retention == "lifecycle":
        template["lifecycle"] = {"data_retention": f"{spec.retention_days}d"}
    if retention == "ilm":
        template["settings"] = {"index.lifecycle.name": _policy(spec, prefix)}
    return {
        "index_patterns": [spec.stream("*", prefix)],
        "priority": _PRIORITY,
        "data_stream": {},
        "composed_of": [f"{prefix}{part}" for part in ("contrail-settings", "contrail-mappings", kind)],
        "template": template,
        "_meta": _meta(spec.description),
    }


def _settings() -> dict[str, Any]:
    return {
        "index.codec": "best_compression",
        "index.refresh_interval": "1s",
        "index.auto_expand_replicas": "0-1",
        "index.mapping.ignore_malformed": True,
        "index.mapping.total_fields.limit": 2000,
        "index.mapping.total_fields.ignore_dynamic_beyond_limit": True,
    }


def _properties(*, aliased: bool) -> dict[str, Any]:
    left_out = set(ALIASES) if aliased else _AIRFLOWS_OWN
    return {name: _mapping(name, spec) for name, spec in catalog.FIELDS.items() if name not in left_out}


def _line_properties() -> dict[str, Any]:
    aliases = {name: {"type": "alias", "path": path} for name, path in ALIASES.items()}
    properties = {**_properties(aliased=True), **aliases, "error_detail": _STRUCTURED, "ti_id": {"type": "keyword"}}
    for name in _SORTED_ONLY:
        properties[name] = properties[name] | {"index": False}
    return properties | dict.fromkeys(_SAID_TWICE, _KEPT_ONLY)


def _mapping(name: str, spec: FieldSpec) -> dict[str, Any]:
    if spec.type == "keyword":
        return {"type": "keyword", "ignore_above": _LONGEST_KEYWORD}
    if spec.type == "object":
        return {"type": "flattened", "ignore_above": _LONGEST_KEYWORD}
    if name == "@timestamp":
        return {"type": "date", "ignore_malformed": False}
    return {"type": spec.type}


def _unknown() -> list[dict[str, Any]]:
    word = {"type": "keyword", "ignore_above": _LONGEST_KEYWORD}
    return [
        {"words": {"match_mapping_type": "string", "mapping": word}},
        {"flags": {"match_mapping_type": "boolean", "mapping": word}},
        # JSON has one kind of number: a field that begins with 3 may go on with 3.7, which a long would cut to 3
        {"whole_numbers": {"match_mapping_type": "long", "mapping": {"type": "double"}}},
        {"numbers": {"match_mapping_type": "double", "mapping": {"type": "double"}}},
    ]


def _policy(spec: Dataset, prefix: str) -> str:
    return f"{prefix}contrail-{spec.retention_days}d"


def _phases(spec: Dataset) -> dict[str, Any]:
    rollover = {"max_primary_shard_size": "50gb", "max_age": f"{max(1, spec.retention_days // 4)}d"}
    return {
        "hot": {"actions": {"rollover": rollover}},
        "delete": {"min_age": f"{spec.retention_days}d", "actions": {"delete": {}}},
    }


def _meta(description: str) -> dict[str, str]:
    return {"managed_by": "contrail", "description": description}
