"""Making an Elasticsearch or OpenSearch ready: asks it what it can do, installs what it can use, says what it left out.

Safe to run again: what stands there already in the same form is left alone, and what a run that was cut off left open
is finished by the next. A data stream of ours that an older template made is rolled over, because the mappings of an
existing index do not change. Streams and templates of other people are named, never touched.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from observability import catalog
from observability.errors import OldestServer
from observability.store import elasticsearch_templates as templates
from observability.store import opensearch
from observability.store.cluster import ClusterError
from observability.store.elasticsearch_neighbours import other_templates, streams, taken_names

if TYPE_CHECKING:
    from observability.store.cluster import Cluster
    from observability.store.elasticsearch_neighbours import Stream, Template

__all__ = ["OldestServer", "Report", "install"]

_OLDEST = 8, 8
"""``subobjects: false`` keeps a dotted name as one key, also where the document nests it, since 8.8."""
_RETENTION = {"serverless": "lifecycle", "opensearch": ""}
_COMPONENT, _INDEX, _POLICY = "_component_template", "_index_template", "_ilm/policy"


@dataclass(slots=True)
class Report:
    """The result of :func:`install`; the mappings give the reason for each name.

    ``left_out``: what the cluster cannot do. ``left_alone``: what is other people's. ``in_the_way``: what is other
    people's and keeps documents of ours from being stored as they should. With ``dry_run``, ``installed`` and
    ``rolled_over`` are what would be.
    """

    version: str
    license: str
    product: str = "Elasticsearch"
    installed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    rolled_over: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    left_alone: dict[str, str] = field(default_factory=dict)
    in_the_way: dict[str, str] = field(default_factory=dict)


def install(cluster: Cluster, *, dry_run: bool = False, environment: str = "", prefix: str = "") -> Report:
    """Install templates and retention. Raises ``ClusterError``, ``ClusterUnreachable`` or :class:`OldestServer`.

    ``dry_run`` has the cluster check the mappings, and changes nothing. What is in the way is looked for in the
    streams of ``environment``; where that is not given, in those of any. ``prefix`` begins every name.
    """
    report, kind = _ask(cluster)
    fitted = opensearch.fitted if kind == "opensearch" else _as_it_is
    retention = _RETENTION[kind] if kind in _RETENTION else _retention(cluster, report)
    if retention == "ilm":
        for name, policy in templates.lifecycle_policies(prefix).items():
            _put(cluster, f"{_POLICY}/{name}", policy, report, dry_run=dry_run)
    for name, body in templates.component_templates(prefix).items():
        _put(cluster, f"{_COMPONENT}/{name}", fitted(body), report, dry_run=dry_run)
    alerts, body = templates.alert_template(prefix)
    _put(cluster, f"{_INDEX}/{alerts}", fitted(body), report, dry_run=dry_run)
    others = other_templates(cluster, prefix)
    found: list[tuple[str, int, str]] = []
    for (name, body), dataset in zip(
        templates.index_templates(retention=retention, prefix=prefix).items(), catalog.DATASETS.values(), strict=True
    ):
        found.append((name, body["priority"], dataset.stream(environment or "*", prefix)))
        wanted = body["template"]["mappings"]["_meta"]["digest"]
        if _put(cluster, f"{_INDEX}/{name}", fitted(body), report, dry_run=dry_run):
            wanted = ""
        for stream in streams(cluster, dataset.stream("*", prefix)):
            _bring_up_to_date(cluster, stream, wanted, dataset.stream(environment, prefix), report, dry_run=dry_run)
        for taken, what in taken_names(cluster, dataset.stream("*", prefix)).items():
            _name_what_is_taken(taken, what, dataset.stream(environment, prefix), report)
    _look_around(others, found, report)
    return report


def _look_around(others: list[Template], ours: list[tuple[str, int, str]], report: Report) -> None:
    """Name the templates that win over ours (name, priority, stream), and those of products that observe Airflow."""
    for one in others:
        about = f"{_INDEX}/{one.name}"
        who = f"{', '.join(one.patterns)}, priority {one.priority}" + (f", of {one.owner}" if one.owner else "")
        lost = [each for each in ours if one.covers(each[2]) and one.priority >= each[1]]
        if lost:
            names, priorities, covered = zip(*lost, strict=True)
            report.in_the_way[about] = (
                f"it covers {', '.join(covered)} ({who}) and wins over {', '.join(names)} (priority {min(priorities)}),"
                f" so that documents are refused; give it a priority below {min(priorities)} or other patterns,"
                " then run setup again"
            )
        elif any("airflow" in pattern for pattern in one.patterns):
            report.left_alone[about] = f"somebody else's ({who}); its streams stay as they are"


def _name_what_is_taken(name: str, what: str, mine: str, report: Report) -> None:
    """Name an index or an alias of somebody else's that is called like a stream of ours."""
    if name == mine:
        report.in_the_way[name] = (
            f"it is {what}, not of ours, and documents would go in there; set another [core] environment,"
            " or call that otherwise, then run setup again"
        )
    else:
        report.left_alone[name] = f"it is {what}, not of ours; it stays as it is"


def _bring_up_to_date(  # noqa: PLR0913 - each a fact of its own
    cluster: Cluster, stream: Stream, wanted: str, mine: str, report: Report, *, dry_run: bool
) -> None:
    """Give a stream of ours that has other mappings than those of now a new backing index."""
    if not stream.ours:
        why = "somebody else's template made it; it stays as it is"
        if stream.name == mine:
            why = (
                "somebody else's template made it, so that documents are refused; set another [core] environment,"
                f" or give that template other patterns and POST /{stream.name}/_rollover"
            )
        (report.in_the_way if stream.name == mine else report.left_alone)[stream.name] = why
        return
    if stream.digest and stream.digest == wanted:
        return
    if not dry_run:
        cluster.ask("POST", f"/{stream.name}/_rollover")
    report.rolled_over.append(stream.name)


def _ask(cluster: Cluster) -> tuple[Report, str]:
    """The report to begin with, and the kind of server: ``opensearch``, ``serverless`` or ``""``."""
    about = cluster.ask("GET", "/")
    version = str(about.get("version", {}).get("number", "0.0"))
    if opensearch.is_opensearch(about):
        opensearch.require_flat_names(cluster, version)
        return Report(version, "none", "OpenSearch", left_out=dict(opensearch.LEFT_OUT)), "opensearch"
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        raise OldestServer(f"{cluster.url} runs Elasticsearch {version}; Contrail needs {oldest} or newer")
    try:
        kind = str(cluster.ask("GET", "/_license")["license"]["type"])
    except ClusterError as error:
        kind = f"unknown (the server answers {error.status} to /_license)"
    return Report(version, kind), "serverless" if about["version"].get("build_flavor") == "serverless" else ""


def _as_it_is(body: Any) -> Any:
    return body


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
    """Install ``body`` without the settings that the server does not allow; False where it is there in this form."""
    installed = _installed_digest(cluster, path)
    while True:
        meta = body["policy"]["_meta"] if path.startswith(_POLICY) else body["_meta"]
        meta.pop("digest", None)
        meta["digest"] = templates.digest(body)
        if installed == meta["digest"]:
            report.unchanged.append(path)
            return False
        try:
            _send(cluster, path, body, dry_run=dry_run)
        except ClusterError as error:
            if not (refused := _refused_settings(body, error)):
                raise
            for name in refused:
                del body["template"]["settings"][name]
                report.left_out[name] = f"the server does not allow this setting: {error}"
            continue
        report.installed.append(path)
        return True


def _send(cluster: Cluster, path: str, body: dict[str, Any], *, dry_run: bool) -> None:
    if not dry_run:
        cluster.ask("PUT", f"/{path}", body)
    elif path.startswith(_COMPONENT):
        probe = {"index_patterns": ["contrail-dry-run"], "priority": 999, "template": body["template"]}
        cluster.ask("POST", f"/{_INDEX}/_simulate", probe)


def _refused_settings(body: dict[str, Any], error: ClusterError) -> list[str]:
    """The settings in ``body`` that an error of a managed or serverless server names."""
    named = set(re.findall(r"[a-z_]+(?:\.[a-z_]+)+", str(error)))
    settings = body.get("template", {}).get("settings", {})
    return [name for name in settings if error.status == 400 and named & {name, name.removeprefix("index.")}]  # noqa: PLR2004 - HTTP


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
