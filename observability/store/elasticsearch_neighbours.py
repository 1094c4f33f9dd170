"""Find the neighbours in a cluster: templates that win over ours, and streams that somebody else's template made.

Nothing of it is changed. Of the templates that cover a new stream, Elasticsearch takes the one with the highest
priority, alone; so one of somebody else's above ours gives our documents mappings that refuse them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from observability.store.cluster import ClusterError
from observability.store.elasticsearch_templates import MARK

if TYPE_CHECKING:
    from observability.store.cluster import Cluster

__all__ = ["Stream", "Template", "other_templates", "overlap", "streams", "taken_names"]

_OURS, _MANAGER = "contrail-", MARK["managed_by"]


@dataclass(frozen=True, slots=True)
class Template:
    """An index template of somebody else's."""

    name: str
    patterns: tuple[str, ...]
    priority: int
    owner: str

    def covers(self, pattern: str) -> bool:
        """Tell whether a stream can have a name that both this template and ``pattern`` match."""
        return any(overlap(one, pattern) for one in self.patterns)


@dataclass(frozen=True, slots=True)
class Stream:
    """A data stream: whether our template made its write index, and of which form (``digest``)."""

    name: str
    ours: bool
    digest: str


def other_templates(cluster: Cluster, prefix: str = "") -> list[Template]:
    """The index templates that are not ours, strongest first; those of a Contrail with another ``prefix`` are not."""
    try:
        found = cluster.ask("GET", "/_index_template/*")["index_templates"]
    except ClusterError as error:
        if error.status == 404:  # noqa: PLR2004 - HTTP
            return []
        raise
    others = [_template(str(one.get("name", "")), one["index_template"]) for one in found if not _is_ours(one, prefix)]
    return sorted(others, key=lambda one: -one.priority)


def streams(cluster: Cluster, pattern: str) -> list[Stream]:
    """The data streams of a pattern."""
    known = cluster.ask("GET", f"/_resolve/index/{pattern}").get("data_streams", [])
    return [_stream(cluster, one["name"], one["backing_indices"]) for one in known]


def taken_names(cluster: Cluster, pattern: str) -> dict[str, str]:
    """The names of a pattern that are no data stream, and where a document that is sent there goes.

    Elasticsearch takes a document by the name of an alias as well, and puts it into the index behind it.
    """
    found = cluster.ask("GET", f"/_resolve/index/{pattern}")
    taken = {one["name"]: "an index" for one in found.get("indices", [])}
    for one in found.get("aliases", []):
        behind = one["indices"] if isinstance(one["indices"], list) else [one["indices"]]
        taken[one["name"]] = f"an alias of {', '.join(behind)}"
    return taken


@lru_cache(maxsize=4096)
def overlap(one: str, other: str) -> bool:
    """Tell whether some name matches both patterns, in which ``*`` stands for any letters."""
    if not one and not other:
        return True
    if one[:1] == "*":
        return overlap(one[1:], other) or (bool(other) and overlap(one, other[1:]))
    if other[:1] == "*":
        return overlap(other, one)
    return bool(one) and one[:1] == other[:1] and overlap(one[1:], other[1:])


def _stream(cluster: Cluster, name: str, indices: str | list[str]) -> Stream:
    newest = indices if isinstance(indices, str) else indices[-1]
    mappings = cluster.ask("GET", f"/{newest}/_mapping")[newest]["mappings"]
    meta = mappings.get("_meta", {})
    ours = meta.get("managed_by") == _MANAGER or _looks_like_ours(mappings)
    return Stream(name, ours, str(meta.get("digest", "")) if ours else "")


def _looks_like_ours(mappings: dict[str, Any]) -> bool:
    """Tell an index of a Contrail that did not mark them yet, by fields that nobody else has."""
    flat = mappings.get("subobjects") is False or mappings.get("disable_objects") is True
    return flat and {"etl.step", "canary.probe"} <= set(mappings.get("properties", {}))


def _is_ours(one: dict[str, Any], prefix: str) -> bool:
    meta = one["index_template"].get("_meta") or {}
    # A digest is what every version of ours left, also those that a test changed.
    return str(one.get("name", "")).startswith(prefix + _OURS) and (
        meta.get("managed_by") == MARK["managed_by"] or "digest" in meta
    )


def _template(name: str, body: dict[str, Any]) -> Template:
    meta = body.get("_meta") or {}
    package = (meta.get("package") or {}).get("name", "")
    owner = " ".join(filter(None, (str(meta.get("managed_by") or ""), str(package))))
    patterns = body.get("index_patterns", [])
    patterns = [patterns] if isinstance(patterns, str) else patterns
    return Template(str(name), tuple(patterns), int(body.get("priority") or 0), owner)
