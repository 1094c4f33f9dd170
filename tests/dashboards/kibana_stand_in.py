"""Kibana's side of an installation, as recorded from Kibana 8.12.2: it refuses what the real one was seen to refuse.

It draws nothing: that the panels render is held by the checks of the saved objects and by the searches on a
real Elasticsearch.
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FREE_CONNECTORS = {".server-log", ".index"}
GROUPS = {".es-query": {"query matched", "recovered"}, ".index-threshold": {"threshold met", "recovered"}}
NEWEST = {"dashboard": (8, 9, 0), "index-pattern": (8, 0, 0), "search": (8, 0, 0)}
DASHBOARD_KEYS = {
    "title",
    "description",
    "version",
    "timeRestore",
    "timeFrom",
    "timeTo",
    "refreshInterval",
    "panelsJSON",
    "optionsJSON",
    "kibanaSavedObjectMeta",
    "controlGroupInput",
}


class RefusedError(Exception):
    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class KibanaStandIn(ThreadingHTTPServer):
    """The installed objects, and every request that changed something."""

    def __init__(self, version="8.12.2"):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.version = version
        self.objects, self.connectors, self.rules, self.writes = {}, {}, {}, []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def close(self):
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def _serve(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            status, answer = 200, self._answer(body)
        except RefusedError as refused:
            status, answer = refused.status, {"statusCode": refused.status, "message": str(refused)}
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = _serve  # noqa: N815 - the names that http.server looks for

    def _answer(self, body):
        path = self.path.partition("?")[0]
        space = re.match(r"/s/([a-z0-9_-]+)(?=/)", path)
        self.space = space[1] if space else "default"
        path = path.removeprefix(space[0]) if space else path
        if self.command != "GET" and "kbn-xsrf" not in self.headers:
            raise RefusedError(400, "Request must contain a kbn-xsrf header.")
        if path == "/api/status":
            return {"version": {"number": self.server.version}}
        if path == "/api/saved_objects/_export":
            return self._export(json.loads(body))
        if path == "/api/saved_objects/_import":
            return self._import(body)
        if match := re.fullmatch(r"/api/actions/connector/([^/]+)", path):
            return self._thing("connector", self.server.connectors, match[1], body)
        if match := re.fullmatch(r"/api/alerting/rule/([^/]+)", path):
            return self._thing("rule", self.server.rules, match[1], body)
        raise RefusedError(404, "Not Found")

    def _export(self, asked):
        found = [
            item
            for (kind, _), item in self.server.objects.items()
            if kind in asked["type"] and item.get("namespaces", ["default"]) == [self.space]
        ]
        if not found:
            raise RefusedError(400, "No objects found to export")
        return "\n".join(json.dumps(item) for item in found).encode()

    def _import(self, body):
        head = f"content-type: {self.headers['content-type']}\r\n\r\n".encode()
        part = BytesParser().parsebytes(head + body).get_payload()[0]
        if not (part.get_filename() or "").endswith(".ndjson"):
            raise RefusedError(400, "Invalid file extension")
        items = [json.loads(line) for line in part.get_payload(decode=True).decode().splitlines()]
        errors = []
        known = set(self.server.objects) | {(item["type"], item["id"]) for item in items}
        for item in items:
            _check(item)
            missing = [
                one
                for one in item["references"]
                if one["type"] in {"index-pattern", "search"} and (one["type"], one["id"]) not in known
            ]
            if missing:
                errors.append({"type": item["type"], "id": item["id"], "error": {"type": "missing_references"}})
                continue
            if (item["type"], item["id"]) in self.server.objects and "overwrite=true" not in self.path:
                errors.append({"type": item["type"], "id": item["id"], "error": {"type": "conflict"}})
                continue
            there = self.server.objects.get((item["type"], item["id"]))
            if there is not None and there.get("namespaces", ["default"]) != [self.space]:
                item = {**item, "id": str(uuid.uuid4()), "originId": item["id"]}  # noqa: PLW2901 - as Kibana does
            self.server.objects[item["type"], item["id"]] = {**_as_stored(item), "namespaces": [self.space]}
        self.server.writes.append(("import", len(items)))
        return {"success": not errors, "successCount": len(items) - len(errors), "errors": errors}

    def _thing(self, kind, there, identity, body):
        elsewhere = identity in there and there[identity].get("_space", self.space) != self.space
        if self.command == "GET":
            if identity not in there or elsewhere:
                raise RefusedError(404, f"Saved object [{kind}/{identity}] not found")
            return there[identity]
        given = json.loads(body)
        try:
            uuid.UUID(identity)
        except ValueError:
            raise RefusedError(400, "Predefined IDs are only allowed for UUIDs") from None
        if self.command == "POST" and identity in there:
            raise RefusedError(409, f"Saved object [{kind}/{identity}] conflict")
        if self.command == "PUT" and identity not in there:
            raise RefusedError(404, "Not Found")
        _CHECKS[kind](given, there.get(identity), self.server.connectors, update=self.command == "PUT")
        self.server.writes.append((self.command, given["name"]))
        there[identity] = _with_own_fields({**there.get(identity, {}), **given, "_space": self.space})
        return there[identity]


def _check(item):
    if "typeMigrationVersion" not in item:
        raise RefusedError(500, "Internal Server Error")
    if tuple(int(part) for part in item["typeMigrationVersion"].split(".")) > NEWEST[item["type"]]:
        raise RefusedError(422, f"Document {item['id']} belongs to a more recent version of Kibana")
    if item["type"] == "dashboard" and set(item["attributes"]) - DASHBOARD_KEYS:
        raise RefusedError(400, f"unknown attributes {sorted(set(item['attributes']) - DASHBOARD_KEYS)}")


def _as_stored(item):
    """A save in the UI writes the JSON strings anew and drops the panels' version."""
    attributes = dict(item["attributes"])
    if "panelsJSON" in attributes:
        panels = [{k: v for k, v in panel.items() if k != "version"} for panel in json.loads(attributes["panelsJSON"])]
        attributes["panelsJSON"] = json.dumps(panels, separators=(",", ":"))
    return {**item, "attributes": attributes, "updated_at": "2026-01-01T00:00:00Z", "managed": False}


def _with_own_fields(thing):
    actions = [{**action, "uuid": str(uuid.uuid4()), "connector_type_id": "?"} for action in thing.get("actions", [])]
    return {**thing, **({"actions": actions} if actions else {}), "is_missing_secrets": False}


def _check_connector(given, _there, _connectors, *, update):
    if update and "connector_type_id" in given:
        raise RefusedError(400, "[request body.connector_type_id]: definition for this key is missing")
    if not update and given["connector_type_id"] not in FREE_CONNECTORS:
        raise RefusedError(403, f"Action type {given['connector_type_id']} is disabled because your basic license")


def _check_rule(given, there, connectors, *, update):
    if update and {"rule_type_id", "consumer", "enabled"} & set(given):
        raise RefusedError(400, "[request body]: definition for this key is missing")
    if "alert_delay" in given:
        raise RefusedError(400, "[request body.alert_delay]: definition for this key is missing")
    kind = (there or given)["rule_type_id"]
    for action in given["actions"]:
        if "frequency" not in action:
            raise RefusedError(400, "Actions missing frequency parameters: 0")
        if action["group"] not in GROUPS[kind]:
            raise RefusedError(400, f"Invalid action groups: {action['group']}")
        if action["id"] not in connectors:
            raise RefusedError(400, f"Saved object [action/{action['id']}] not found")
        if action["frequency"]["throttle"] and action["frequency"]["notify_when"] != "onThrottleInterval":
            raise RefusedError(400, "throttle only with onThrottleInterval")


_CHECKS = {"connector": _check_connector, "rule": _check_rule}
