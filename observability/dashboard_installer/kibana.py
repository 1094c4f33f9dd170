"""Saved objects, connectors and rules into a running Kibana, 8.12 or newer.

Safe to repeat: what is there and equal is left alone, an older version of ours is updated, nothing is ever deleted.
What somebody changed by hand in a board or a rule of ours is named and left alone; ``overwrite`` changes it back.
A rule that somebody disabled stays disabled.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from observability.credentials import Credentials, resolve
from observability.dashboard_installer.changes import Changes, InstallError
from observability.dashboard_installer.installed import Record
from observability.dashboards.kibana.objects import ndjson, saved_objects
from observability.dashboards.kibana.rules import connectors, rules
from observability.dashboards.names import object_id, spaced
from observability.errors import SettingsError
from observability.http_client import http_client, whole_answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from observability.dashboards.names import Names
    from observability.settings import Settings

__all__ = ["Kibana", "edited", "install", "open_kibana"]

_OLDEST = (8, 12)
_FIRST_KIBANA = 4, 0
"""OpenSearch Dashboards began to count anew from 1."""
_MOST_BYTES = 256 * 1024 * 1024
"""All data views, searches and dashboards of a space are one answer: 10,000 objects at most."""
_NOT_FOUND = 404
_NOTHING_TO_EXPORT = 400
_FIXED = {"rule": ("rule_type_id", "consumer", "enabled"), "connector": ("connector_type_id",)}
"""Keys that Kibana takes when a thing is created, and refuses when it is updated."""


class Kibana:
    """One Kibana (and space); answers are JSON, refusals are :class:`InstallError`."""

    def __init__(self, credentials: Credentials, *, space: str = "") -> None:
        self._base = credentials.url.rstrip("/") + (f"/s/{quote(space, safe='')}" if space else "")
        self._timeout_s = float(credentials.extra.get("request_timeout") or 60)
        self._http = http_client(
            self._base,
            self._timeout_s,
            headers=credentials.headers() | {"kbn-xsrf": "contrail"},
            trusted=credentials.ssl_context(),
            proxy=str(credentials.extra.get("proxy") or ""),
        )

    def ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        """One request, whatever the answer. Raises :class:`InstallError` where there is none."""
        try:
            url = self._base + path
            return whole_answer(self._http, method, url, self._timeout_s, most_bytes=_MOST_BYTES, **given)
        except httpx.HTTPError as error:
            raise InstallError(
                f"Kibana at {self._base} gave no answer: {error}; is [core] kibana_url right?"
            ) from error

    def request(self, method: str, path: str, **given: Any) -> Any:
        """The JSON of an answer that must be good. Raises :class:`InstallError` with Kibana's own words."""
        answer = self.ask(method, path, **given)
        if answer.is_error:
            raise InstallError(f"Kibana: {method} {path} answered {answer.status_code}: {_reason(answer)}")
        return _json(answer) if answer.content else {}

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def open_kibana(settings: Settings, space: str = "") -> Kibana:
    """The Kibana of the settings. Raises :class:`SettingsError` where none is named."""
    core = settings.core
    if core.kibana_connection_id:
        return Kibana(resolve(core.kibana_connection_id), space=space)
    if not core.kibana_url:
        raise SettingsError("no Kibana is named; set [core] kibana_url, or kibana_connection_id if it wants a login")
    return Kibana(Credentials(url=core.kibana_url), space=space)


def install(kibana: Kibana, names: Names, *, overwrite: bool = False) -> Changes:
    """Put everything of ours into Kibana and say what changed. Raises :class:`InstallError`.

    What somebody changed by hand since stays as it is and is named, unless ``overwrite`` is given.
    """
    _check_version(kibana)
    changes = Changes()
    there = _exported(kibana)
    record = _record(there, names)
    before = record.written()
    brought = _saved_objects(kibana, names, there, record, changes, overwrite=overwrite)
    if brought:
        there = _exported(kibana)
    for item in saved_objects(names):
        known = there.get(_key(item))
        if known is not None and (_key(item) in brought or _name(item) not in record.digests):
            record.note(_name(item), _parsed(item), _parsed(known))
    try:
        for kind, path, body in _apart(names):
            _put(kibana, kind, path, body, record, changes, overwrite=overwrite)
    except InstallError:
        with suppress(InstallError):  # what was done is ours, and no edit of somebody's at the next try
            _remember(kibana, there, record, names)
        raise
    if record.written() != before:
        _remember(kibana, there, record, names)
    return changes


def edited(kibana: Kibana, names: Names) -> list[str]:
    """The objects of an installation that somebody changed by hand. Raises :class:`InstallError`."""
    there = _exported(kibana)
    record = _record(there, names)
    found = []
    for item in saved_objects(names):
        known = there.get(_key(item))
        if record.state(_name(item), _parsed(item), known and _parsed(known)) == "edited":
            found.append(_what(item))
    for kind, path, body in _apart(names):
        answer = kibana.ask("GET", path)
        lasting = _lasting(kind, body)
        if not answer.is_error and record.state(path, lasting, _same_keys(_json(answer), lasting)) == "edited":
            found.append(f"{kind} {body['name']}")
    return found


_BY_HAND = "changed by hand, left as it is; --overwrite puts ours in its place"


def _check_version(kibana: Kibana) -> None:
    status = kibana.request("GET", "/api/status")
    try:
        number = status["version"]["number"]
        version = tuple(int(part) for part in number.split(".")[:2])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InstallError("what answers does not say which Kibana it is; is [core] kibana_url right?") from error
    if version < _FIRST_KIBANA:
        raise InstallError(
            f"this is OpenSearch Dashboards {number}: it has no Lens, with which our boards are drawn; use the pages in"
            " Airflow, or the Grafana dashboards, and import what contrail dashboards export opensearch prints"
        )
    if version < _OLDEST:
        raise InstallError(f"Kibana is {number}; the boards need 8.12 or newer")


_Key = tuple[str, str]
_There = dict[_Key, dict[str, Any]]


def _key(item: dict[str, Any]) -> _Key:
    return item["type"], item["id"]


def _name(item: dict[str, Any]) -> str:
    return "/".join(_key(item))


def _what(item: dict[str, Any]) -> str:
    return f"{item['type']} {item['attributes'].get('name') or item['attributes']['title']}"


def _apart(names: Names) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Kind, path and body of what has an API of its own, connectors first: rules name them."""
    for identity, body in connectors(names).items():
        yield "connector", f"/api/actions/connector/{identity}", body
    for identity, body in rules(names).items():
        yield "rule", f"/api/alerting/rule/{identity}", body


def _keeper(names: Names) -> _Key:
    """The data view that holds the record."""
    return "index-pattern", spaced(object_id("events"), names.space)


def _record(there: _There, names: Names) -> Record:
    keeper = there.get(_keeper(names))
    return Record.read(keeper["attributes"].get("typeMeta", "") if keeper else "")


def _remember(kibana: Kibana, there: _There, record: Record, names: Names) -> None:
    _import(kibana, [_keeping(record, there[_keeper(names)])])


def _keeping(record: Record, keeper: dict[str, Any]) -> dict[str, Any]:
    return {**keeper, "attributes": {**keeper["attributes"], "typeMeta": record.written()}}


def _saved_objects(  # noqa: PLR0913 - each a fact of its own
    kibana: Kibana, names: Names, there: _There, record: Record, changes: Changes, *, overwrite: bool
) -> set[_Key]:
    """Import what is new or differs: the keys of what was imported."""
    fresh = []
    for item in saved_objects(names):
        known = there.get(_key(item))
        state = record.state(_name(item), _parsed(item), known and _parsed(known))
        if state == "edited" and not overwrite:
            changes.add("edited", _what(item), _BY_HAND)
        elif state == "current":
            changes.add("unchanged", _what(item))
        else:
            changes.add("created" if state == "new" else "updated", _what(item))
            fresh.append(item)
    if fresh:
        _import(kibana, [_keeping(record, item) if _key(item) == _keeper(names) else item for item in fresh])
    return {_key(item) for item in fresh}


def _import(kibana: Kibana, items: list[dict[str, Any]]) -> None:
    upload = {"file": ("contrail.ndjson", ndjson(items).encode(), "application/ndjson")}
    answer = kibana.request("POST", "/api/saved_objects/_import", params={"overwrite": "true"}, files=upload)
    if not answer.get("success"):
        refused = "; ".join(
            f"{one['type']} {one['id']}: {one['error'].get('type')}" for one in answer.get("errors", [])
        )
        raise InstallError(f"Kibana did not import {refused}")


def _exported(kibana: Kibana) -> dict[tuple[str, str], dict[str, Any]]:
    wanted = {"type": ["index-pattern", "search", "dashboard"], "excludeExportDetails": True}
    answer = kibana.ask("POST", "/api/saved_objects/_export", json=wanted)
    if answer.status_code == _NOTHING_TO_EXPORT:
        return {}
    if answer.is_error:  # not to be taken for an empty space: what people changed there would be written over
        raise InstallError(f"Kibana: its objects cannot be read: {answer.status_code} {_reason(answer)}")
    try:
        items = [json.loads(line) for line in answer.text.splitlines() if line.strip()]
        return {(item["type"], item["id"]): item for item in items}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InstallError(f"Kibana: its objects cannot be read: {type(error).__name__} {error}") from error


def _parsed(item: dict[str, Any]) -> dict[str, Any]:
    """The part of a saved object that counts, with the JSON inside its strings read: white space is no difference."""
    kept = [{key: one[key] for key in ("id", "name", "type")} for one in item["references"]]
    references = sorted(kept, key=lambda reference: reference["name"])
    attributes = _read(item["attributes"])
    attributes.pop("typeMeta", None)  # the record of installations
    for attribute in (attributes.get("fieldAttrs") or {}).values():
        attribute.pop("count", None)  # how often people chose a field: Kibana counts it
    return {"attributes": attributes, "references": references}


def _read(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _read(inner) for key, inner in value.items() if key != "version"}
    if isinstance(value, list):
        return [_read(inner) for inner in value]
    if isinstance(value, str) and value[:1] in {"{", "["}:
        try:
            return _read(json.loads(value))
        except ValueError:
            return value
    return value


def _put(  # noqa: PLR0913, PLR0917 - each a fact of its own
    kibana: Kibana, kind: str, path: str, body: dict[str, Any], record: Record, changes: Changes, *, overwrite: bool
) -> None:
    what = f"{kind} {body['name']}"
    answer = kibana.ask("GET", path)
    lasting = _lasting(kind, body)
    if answer.status_code == _NOT_FOUND:
        record.note(path, lasting, _same_keys(kibana.request("POST", path, json=body), lasting))
        changes.add("created", what)
        return
    if answer.is_error:
        raise InstallError(f"Kibana: {what} cannot be read: {answer.status_code} {_reason(answer)}")
    theirs = _same_keys(_json(answer), lasting)
    state = record.state(path, lasting, theirs)
    if state == "edited" and not overwrite:
        changes.add("edited", what, _BY_HAND)
    elif state == "current":
        changes.add("unchanged", what)
        if path not in record.digests:
            record.note(path, lasting, theirs)
    else:
        record.note(path, lasting, _same_keys(kibana.request("PUT", path, json=lasting), lasting))
        changes.add("updated", what)


def _lasting(kind: str, body: dict[str, Any]) -> dict[str, Any]:
    """The part of a connector or rule that can be updated."""
    return {key: value for key, value in body.items() if key not in _FIXED[kind]}


def _same_keys(there: dict[str, Any], lasting: dict[str, Any]) -> dict[str, Any]:
    return {key: _own(there.get(key)) for key in lasting}


def _own(value: Any) -> Any:
    """A rule's key as it was sent: Kibana adds an id and a type to each action."""
    if isinstance(value, list):
        return [_own(one) for one in value]
    if isinstance(value, dict):
        return {key: _own(inner) for key, inner in value.items() if key not in {"uuid", "connector_type_id"}}
    return value


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except (ValueError, RecursionError) as error:
        raise InstallError(
            f"Kibana: {answer.request.url.path} answered what is not JSON: {answer.text[:100]}"
        ) from error


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("message", ""))[:500]
    except (AttributeError, RecursionError, ValueError):
        return answer.text[:200]
