"""Saved objects for OpenSearch Dashboards: the index patterns and searches of Kibana's, in the shapes that it has.

Its types ``index-pattern`` and ``search`` have not changed since it parted from Kibana 7.10. Our panels are drawn by
Lens, which it does not have, so there are none here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from observability.dashboards.boards import SAVED
from observability.dashboards.kibana.objects import saved_objects as of_kibana
from observability.dashboards.kibana.runtime import LOG_PAGE
from observability.dashboards.names import DATA_VIEWS, object_id

if TYPE_CHECKING:
    from observability.dashboards.kibana.objects import SavedObject
    from observability.dashboards.names import Names

__all__ = ["saved_objects"]

_VERSIONS = {"index-pattern": "7.6.0", "search": "7.9.3"}
"""The last migration of each type there; what names a later one is refused."""
_ATTRIBUTES = {
    "index-pattern": ("title", "timeFieldName", "fields", "fieldFormatMap"),
    "search": ("title", "description", "columns", "sort", "kibanaSavedObjectMeta"),
}


def saved_objects(names: Names) -> list[SavedObject]:
    """An index pattern for each source of signals and the saved searches, in the order in which they are imported."""
    wanted = {object_id(one) for one in (*DATA_VIEWS, *(saved.key for saved in SAVED))}
    return [_fitted(one) for one in of_kibana(names) if one["type"] in _ATTRIBUTES and one["id"] in wanted]


def _fitted(item: SavedObject) -> SavedObject:
    kind = item["type"]
    attributes = {name: item["attributes"][name] for name in _ATTRIBUTES[kind]}
    if kind == "search":
        attributes["columns"] = [name for name in attributes["columns"] if name != LOG_PAGE]  # a runtime field
    else:
        formats = json.loads(attributes["fieldFormatMap"])
        formats.pop(LOG_PAGE, None)
        for one in formats.values():
            if one["id"] == "duration":
                one["params"] = {"inputFormat": one["params"]["inputFormat"], "outputFormat": "humanize"}
        attributes["fieldFormatMap"] = json.dumps(formats)
    about = {"type": kind, "id": item["id"], "attributes": attributes, "references": item["references"]}
    return {**about, "migrationVersion": {kind: _VERSIONS[kind]}}
