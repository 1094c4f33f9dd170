"""Saved objects, connectors and rules into a running Kibana, 8.12 or newer.

Safe to repeat: what is there and equal is left alone, what differs is updated, nothing is ever deleted.
What somebody added by hand inside a board or a rule of ours is a difference too, and is changed back and said.
A rule that somebody disabled stays disabled.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from dashboards.kibana.objects import ndjson, saved_objects
from dashboards.kibana.rules import connectors, rules
from observability.cli.boards.changes import Changes, InstallError, is_same
from observability.credentials import Credentials, resolve

if TYPE_CHECKING:
    from dashboards.names import Names
    from observability.settings import Settings

__all__ = ["Kibana", "install", "open_kibana"]

_OLDEST = (8, 12)
_NOT_FOUND = 404
_FIXED = {"rule": ("rule_type_id", "consumer", "enabled"), "connector": ("connector_type_id",)}
"""Keys that Kibana takes when a thing is created, and refuses when it is updated."""


class Kibana:
    """One Kibana (and space); answers are JSON, refusals are :class:`InstallError`."""

    def __init__(
        self, credentials: Credentials, *, space: str = "", transport: httpx.BaseTransport | None = None
    ) -> None:
        headers = {"kbn-xsrf": "contrail"}
        if key := credentials.extra.get("api_key"):
            headers["authorization"] = f"ApiKey {key}"
        login = (credentials.login, credentials.password) if credentials.login and not key else None
        self._base = credentials.url.rstrip("/") + (f"/s/{quote(space, safe='')}" if space else "")
        self._http = httpx.Client(
            headers=headers,
            auth=login,
            timeout=60,
            verify=credentials.extra.get("ca_certs") or True,
            transport=transport,
        )

    def ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        """One request, whatever the answer. Raises :class:`InstallError` where there is none."""
        try:
            return self._http.request(method, self._base + path, **given)
        except httpx.HTTPError as error:
            raise InstallError(
                f"Kibana at {self._base} gave no answer: {error}; is [contrail] kibana_url right?"
            ) from error

    def told(self, method: str, path: str, **given: Any) -> Any:
        """The JSON of an answer that must be good. Raises :class:`InstallError` with Kibana's own words."""
        answer = self.ask(method, path, **given)
        if answer.is_error:
            raise InstallError(f"Kibana: {method} {path} answered {answer.status_code}: {_reason(answer)}")
        return answer.json() if answer.content else {}

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def open_kibana(settings: Settings, space: str = "") -> Kibana:
    """The Kibana of the settings. Raises :class:`InstallError` where none is named."""
    knobs = settings.contrail
    if knobs.kibana_connection_id:
        return Kibana(resolve(knobs.kibana_connection_id), space=space)
    if not knobs.kibana_url:
        raise InstallError(
            "no Kibana is named: set [contrail] kibana_url, or kibana_connection_id where it wants a login"
        )
    return Kibana(Credentials(url=knobs.kibana_url), space=space)


def install(kibana: Kibana, names: Names) -> Changes:
    """Put everything of ours into Kibana and say what changed. Raises :class:`InstallError`."""
    _check_version(kibana)
    changes = Changes()
    _saved_objects(kibana, names, changes)
    for identity, body in connectors(names).items():
        _put(kibana, "connector", f"/api/actions/connector/{identity}", body, changes)
    for identity, body in rules(names).items():
        _put(kibana, "rule", f"/api/alerting/rule/{identity}", body, changes)
    return changes


def _check_version(kibana: Kibana) -> None:
    number = kibana.told("GET", "/api/status")["version"]["number"]
    if tuple(int(part) for part in number.split(".")[:2]) < _OLDEST:
        raise InstallError(f"Kibana is {number}; the boards need 8.12 or newer")


def _saved_objects(kibana: Kibana, names: Names, changes: Changes) -> None:
    ours = saved_objects(names)
    there = _exported(kibana)
    fresh = []
    for item in ours:
        what = f"{item['type']} {item['attributes'].get('name') or item['attributes']['title']}"
        known = there.get((item["type"], item["id"]))
        if known is not None and is_same(_parsed(known), _parsed(item)):
            changes.add("unchanged", what)
        else:
            fresh.append(("created" if known is None else "updated", what))
    if not fresh:
        return
    upload = {"file": ("contrail.ndjson", ndjson(ours).encode(), "application/ndjson")}
    answer = kibana.told("POST", "/api/saved_objects/_import", params={"overwrite": "true"}, files=upload)
    if not answer["success"]:
        refused = "; ".join(
            f"{one['type']} {one['id']}: {one['error'].get('type')}" for one in answer.get("errors", [])
        )
        raise InstallError(f"Kibana did not import {refused}")
    for change, what in fresh:
        changes.add("created" if change == "created" else "updated", what)


def _exported(kibana: Kibana) -> dict[tuple[str, str], dict[str, Any]]:
    wanted = {"type": ["index-pattern", "search", "dashboard"], "excludeExportDetails": True}
    answer = kibana.ask("POST", "/api/saved_objects/_export", json=wanted)
    if answer.is_error:  # an empty space answers 400
        return {}
    items = [json.loads(line) for line in answer.text.splitlines() if line.strip()]
    return {(item["type"], item["id"]): item for item in items}


def _parsed(item: dict[str, Any]) -> dict[str, Any]:
    """What counts of a saved object, with the JSON inside its strings read: white space is no difference."""
    kept = [{key: one[key] for key in ("id", "name", "type")} for one in item["references"]]
    references = sorted(kept, key=lambda reference: reference["name"])
    return {"attributes": _read(item["attributes"]), "references": references}


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


def _put(kibana: Kibana, kind: str, path: str, body: dict[str, Any], changes: Changes) -> None:
    what = f"{kind} {body['name']}"
    answer = kibana.ask("GET", path)
    if answer.status_code == _NOT_FOUND:
        kibana.told("POST", path, json=body)
        changes.add("created", what)
        return
    if answer.is_error:
        raise InstallError(f"Kibana: {what} cannot be read: {answer.status_code} {_reason(answer)}")
    lasting = {key: value for key, value in body.items() if key not in _FIXED[kind]}
    there = answer.json()
    if all(is_same(_own(there.get(key)), _own(value)) for key, value in lasting.items()):
        changes.add("unchanged", what)
        return
    kibana.told("PUT", path, json=lasting)
    changes.add("updated", what)


def _own(value: Any) -> Any:
    """A rule's key as it was sent: Kibana adds an id and a type to each action."""
    if isinstance(value, list):
        return [_own(one) for one in value]
    if isinstance(value, dict):
        return {key: _own(inner) for key, inner in value.items() if key not in {"uuid", "connector_type_id"}}
    return value


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("message", ""))[:500]
    except ValueError:
        return answer.text[:200]
