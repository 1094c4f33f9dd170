"""Keycloak's answers over HTTP, for the real auth manager of its provider: tokens, user info, and the UMA decision.

The readers and their DAGs are those of :mod:`auth_manager`. As Keycloak does, it decides about a permission
``<resource>#<scope>`` with the pushed claims ``resource_id`` and ``dag_entity``; scope LIST is asked without an id.
"""

from __future__ import annotations

import base64
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from auth_manager import BARE_RUNS, LISTED, NO_ASSETS, ONLY_RUNS, PASSWORD

REALM = "airflow"
_UMA = "urn:ietf:params:oauth:grant-type:uma-ticket"


def decide(user, permission, claims):
    """True where ``user`` may do it: roles as the provider's own command makes them, narrowed to DAGs and assets."""
    resource, _, scope = permission.partition("#")
    listed = LISTED[user]
    wanted = claims.get("resource_id", [""])[0]
    if scope not in {"GET", "LIST"}:
        return False
    denied = {"TASK_LOGS": ONLY_RUNS, "TASK_INSTANCE": BARE_RUNS}.get(claims.get("dag_entity", [""])[0], ())
    if user in denied or (resource == "Asset" and user in NO_ASSETS):
        return False
    if listed is None:
        return True
    if scope == "LIST":  # who may see the page of a list may not therefore see all that is in it
        return bool(listed)
    return resource == "Dag" and wanted in listed


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a body would wait 40 ms for the acknowledgement of its headers

    def do_POST(self):
        if ill := self.server.ill():
            self.close_connection = True
            if ill > 0:
                self._answer(ill, {"error": "a reason of Keycloak's own"})
            return
        form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        grant = form["grant_type"][0]
        if grant == "password":
            user, word = form["username"][0], form["password"][0]
            good = user in LISTED and word == PASSWORD
            tokens = {"access_token": f"access.{user}", "refresh_token": f"refresh.{user}", "expires_in": 300}
            self._answer(200, tokens) if good else self._answer(401, {"error": "invalid_grant"})
        elif grant == _UMA:
            claims = json.loads(base64.b64decode(form.get("claim_token", ["e30="])[0]))
            allowed = decide(self._user(), form["permission"][0], claims)
            self.server.asked.append((self._user(), form["permission"][0], claims, allowed))
            self._answer(200, {"result": True}) if allowed else self._answer(403, {"error": "access_denied"})
        else:
            self._answer(400, {"error": "unsupported_grant_type"})

    def do_GET(self):
        user = self._user()
        self._answer(200, {"sub": user, "preferred_username": user})

    def _user(self):
        return self.headers["authorization"].removeprefix("Bearer ").removeprefix("access.")

    def _answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_): ...


@contextmanager
def keycloak(ill=lambda: 0):
    """Settings of an Airflow whose Keycloak this is; a status of ``ill`` is its answer, -1: no answer."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.asked, server.ill = [], ill
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    section = "AIRFLOW__KEYCLOAK_AUTH_MANAGER__"
    try:
        yield {
            f"{section}CLIENT_ID": "airflow",
            f"{section}CLIENT_SECRET": "a-secret",
            f"{section}REALM": REALM,
            f"{section}SERVER_URL": f"http://127.0.0.1:{server.server_port}",
        }
    finally:
        server.shutdown()
        server.server_close()
