"""Making an Elasticsearch ready: asks it what it can do, installs what it can use, says what it left out.

Safe to run again: what stands there already in the same form is left alone. A data stream whose template
changed is rolled over, because mappings of an existing index do not change.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from observability.store import elasticsearch_templates as templates
from observability.store.cluster import ClusterError

if TYPE_CHECKING:
    from observability.store.cluster import Cluster

__all__ = ["OldestServer", "Report", "install"]

_OLDEST = 8, 8
"""``subobjects: false`` keeps a dotted name as one key, also where the document nests it, since 8.8."""
_COMPONENT, _INDEX, _POLICY = "_component_template", "_index_template", "_ilm/policy"


class OldestServer(RuntimeError):  # noqa: N818 - says which
    """The server is too old for these templates; the message names both versions."""


@dataclass(slots=True)
class Report:
    """What :func:`install` found and did; ``left_out`` maps what is not there to the reason."""

    version: str
    license: str
    installed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    rolled_over: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def install(cluster: Cluster, *, dry_run: bool = False) -> Report:
    """Install templates and retention. Raises ``ClusterError``, ``ClusterUnreachable`` or :class:`OldestServer`.

    ``dry_run`` has the cluster check the mappings, and changes nothing.
    """
    report = _ask(cluster)
    retention = _retention(cluster, report)
    if retention == "ilm":
        for name, policy in templates.lifecycle_policies().items():
            _put(cluster, f"{_POLICY}/{name}", policy, report, dry_run=dry_run)
    for name, body in templates.component_templates().items():
        _put(cluster, f"{_COMPONENT}/{name}", body, report, dry_run=dry_run)
    parts_changed = any(name.startswith(_COMPONENT) for name in report.installed)
    for name, body in templates.index_templates(retention=retention).items():
        changed = _put(cluster, f"{_INDEX}/{name}", body, report, dry_run=dry_run)
        if (changed or parts_changed) and not dry_run:
            _roll_over(cluster, body["index_patterns"][0], report)
    return report


def _ask(cluster: Cluster) -> Report:
    about = cluster.ask("GET", "/")
    version = str(about.get("version", {}).get("number", "0.0"))
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        raise OldestServer(f"{cluster.url} runs Elasticsearch {version}; Contrail needs {oldest} or newer")
    try:
        kind = str(cluster.ask("GET", "/_license")["license"]["type"])
    except ClusterError as error:
        kind = f"unknown (the server answers {error.status} to /_license)"
    return Report(version, kind)


def _retention(cluster: Cluster, report: Report) -> str:
    if _answers(cluster, "/_lifecycle/stats", "data stream lifecycle", report):
        report.left_out["index lifecycle management"] = "not needed: the data stream lifecycle does it"
        return "lifecycle"
    if _answers(cluster, "/_ilm/status", "index lifecycle management", report):
        return "ilm"
    report.left_out["retention"] = "this server cannot delete by age; delete old backing indices yourself"
    return ""


def _answers(cluster: Cluster, path: str, feature: str, report: Report) -> bool:
    try:
        cluster.ask("GET", path)
    except ClusterError as error:
        report.left_out[feature] = f"the server answers {error.status} to {path}"
        return False
    return True


def _put(cluster: Cluster, path: str, body: dict[str, Any], report: Report, *, dry_run: bool) -> bool:
    """True where it was not there in this form."""
    meta = body["policy"]["_meta"] if path.startswith(_POLICY) else body["_meta"]
    meta["digest"] = hashlib.blake2b(orjson.dumps(body, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()
    if _installed_digest(cluster, path) == meta["digest"]:
        report.unchanged.append(path)
        return False
    if not dry_run:
        cluster.ask("PUT", f"/{path}", body)
    elif path.startswith(_COMPONENT):
        probe = {"index_patterns": ["contrail-dry-run"], "priority": 999, "template": body["template"]}
        cluster.ask("POST", f"/{_INDEX}/_simulate", probe)
    report.installed.append(path)
    return True


def _installed_digest(cluster: Cluster, path: str) -> str:
    try:
        found = cluster.ask("GET", f"/{path}")
    except ClusterError as error:
        if error.status == 404:  # noqa: PLR2004 - HTTP
            return ""
        raise
    kind, _, name = path.rpartition("/")
    if kind == _POLICY:
        meta = found[name]["policy"].get("_meta", {})
    else:
        singular = kind[1:]
        meta = found[f"{singular}s"][0][singular].get("_meta", {})
    return str(meta.get("digest", ""))


def _roll_over(cluster: Cluster, pattern: str, report: Report) -> None:
    """Give each existing stream of the pattern a new backing index, with the mappings of now."""
    known = cluster.ask("GET", f"/_resolve/index/{pattern}").get("data_streams", [])
    for stream in known:
        cluster.ask("POST", f"/{stream['name']}/_rollover")
        report.rolled_over.append(stream["name"])
