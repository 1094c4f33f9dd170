"""OpenSearch in the place of Elasticsearch: where it differs, and our templates in its words.

It speaks the bulk, search and template requests of Elasticsearch 7.10. Since then it has its own names for what our
mappings need: ``disable_objects`` (``subobjects: false``) and ``flat_object`` (``flattened``, without options).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from observability.errors import OldestServer
from observability.store.cluster import ClusterError

if TYPE_CHECKING:
    from observability.store.cluster import Cluster

__all__ = [
    "LEFT_OUT",
    "NO_RUNTIME_FIELDS",
    "NO_SUCH_PATH",
    "PIT",
    "TAGS",
    "fitted",
    "is_opensearch",
    "require_flat_names",
]

PIT: Final = "/_search/point_in_time"
"""Points in time are made and ended there; Elasticsearch's are at ``/_pit``."""
NO_RUNTIME_FIELDS: Final = "[runtime_mappings]"
NO_SUCH_PATH: Final = "no handler found for uri"
"""The words in which it refuses what only Elasticsearch has."""
TAGS: Final[dict[str, Any]] = {
    "terms": {
        "script": {
            "lang": "painless",
            "source": "def tags = params._source['metric.tags']; return tags == null ? '' : tags.toString()",
        }
    }
}
"""A source of a composite aggregation: the tags as one word. OpenSearch has no runtime fields."""
LEFT_OUT: Final = {
    "retention": "give the data streams a policy of Index State Management yourself (docs/stores.md)",
    "licence": "OpenSearch has none to ask for",
}
_FLAT: Final = {"type": "flat_object"}


def is_opensearch(about: Any) -> bool:
    """Tell by the answer to ``GET /`` whether the server is an OpenSearch."""
    version = about.get("version") if isinstance(about, dict) else None
    return isinstance(version, dict) and version.get("distribution") == "opensearch"


def fitted(body: Any) -> Any:
    """A template of ours in OpenSearch's words."""
    if isinstance(body, list):
        return [fitted(one) for one in body]
    if not isinstance(body, dict):
        return body
    if body.get("type") == "flattened":
        return dict(_FLAT)
    renamed = {("disable_objects" if name == "subobjects" else name): one for name, one in body.items()}
    if "disable_objects" in renamed:
        renamed["disable_objects"] = not body["subobjects"]
    return {name: fitted(one) for name, one in renamed.items()}


def require_flat_names(cluster: Cluster, version: str) -> None:
    """Raise :class:`OldestServer` where ``event`` and ``event.action`` cannot be fields side by side."""
    probe = {"index_patterns": ["contrail-dry-run"], "template": {"mappings": {"disable_objects": True}}}
    try:
        cluster.ask("POST", "/_index_template/_simulate", probe)
    except ClusterError as error:
        if "disable_objects" not in str(error):
            raise
        raise OldestServer(
            f"{cluster.url} runs OpenSearch {version}, which does not know the mapping parameter disable_objects;"
            " Contrail needs a newer one"
        ) from error
