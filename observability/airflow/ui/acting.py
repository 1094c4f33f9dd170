"""The routes by which a person acts: the incident's page, its forms, and the one-time links of messages.

Every route that writes asks Airflow for the right, checks the form's token, and goes through
:mod:`observability.watch.acting`.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import httpx
from airflow.models.log import Log
from airflow.utils.session import create_session
from anyio.from_thread import run as run_in_loop
from fastapi import Form, HTTPException, Query, Request
from fastapi.responses import RedirectResponse

from observability.airflow.ui import ledger
from observability.airflow.ui.forms import check_form, form_token
from observability.airflow.ui.scope import Reader, may_act
from observability.contain import contained
from observability.errors import ApiError, ArgumentError
from observability.settings import get_settings
from observability.watch.acting import Asked, inverse, perform
from observability.watch.acts import ACTS, applies, offered
from observability.watch.ledger import acts as rows
from observability.watch.ledger import records
from observability.watch.links import Link, read_link
from observability.watch.rerun import Change, failed_tasks, send_to_airflow

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from observability.watch.incidents import Incident

__all__ = [
    "Actor",
    "Done",
    "Filled",
    "Number",
    "Text",
    "Token",
    "act",
    "buttons",
    "confirm_link",
    "find_incident",
    "follow_link",
    "to_incident",
    "whole_id",
]

_SHORT_ID = re.compile("[0-9a-f]{4,15}")
_MOST_ALIKE = 100
_NOT_FOUND = "there is no such incident, or you may not see it"
Text = Annotated[str, Form(max_length=500)]
Token = Annotated[str, Form(max_length=1000)]
Number = Annotated[int, Form(ge=0)]
Done = Annotated[int, Query(ge=0)]


@dataclass(frozen=True, slots=True)
class Filled:
    """A form as it was sent: the act, or the number of an act that it takes back."""

    act: str
    token: str
    value: str
    note: str
    undo: int


@dataclass(frozen=True, slots=True)
class Actor:
    """A person at a page: what Airflow calls them, what they may read, and the request that they sent."""

    user: Any
    request: Request
    reader: Reader

    @classmethod
    def of(cls, request: Request, user: Any) -> Actor:
        """The person of this request, with the rights that they have now."""
        return cls(user, request, Reader.of(user))

    @property
    def name(self) -> str:
        """The name under which Airflow's audit log has them."""
        return str(self.user.get_name())

    @property
    def identity(self) -> str:
        """Airflow's id of them, by which a form is theirs."""
        return str(self.user.get_id())

    def sees(self, one: Incident) -> bool:
        """True where they may read that the incident is there."""
        return one.dag_id in self.reader.runs if one.dag_id else self.reader.whole

    def may(self, act_name: str, one: Incident) -> bool:
        """True where Airflow lets them do this act: they may edit the DAG, or its task instances."""
        return self.sees(one) and may_act(self.user, one.dag_id, ACTS[act_name].right)


def find_incident(actor: Actor, connection: Connection, incident_id: str) -> Incident:
    """The incident with exactly this id. 404 where there is none, and just so where the person may not see it."""
    one = records.incident(connection, incident_id)
    if one is None or one.id != incident_id or one.state == "suspected" or not actor.sees(one):
        raise HTTPException(404, _NOT_FOUND)
    return one


def whole_id(actor: Actor, connection: Connection, begin: str) -> str:
    """The id of the only incident that the person may see whose id begins so, as messages shorten it; "" for none."""
    if not _SHORT_ID.fullmatch(begin):
        return ""
    found = records.incidents_beginning(connection, begin, most=_MOST_ALIKE)
    seen = [one.id for one in found if one.state != "suspected" and actor.sees(one)]
    return seen[0] if len(seen) == 1 else ""


def buttons(actor: Actor, one: Incident) -> list[dict[str, Any]]:
    """The acts that the person may do now: name and declaration of each."""
    allowed = {right: actor.sees(one) and may_act(actor.user, one.dag_id, right) for right in ("edit", "rerun")}
    return [{"name": name, "spec": ACTS[name]} for name in offered(one) if allowed[ACTS[name].right]]


def act(actor: Actor, incident_id: str, filled: Filled) -> RedirectResponse:
    """Do what a form of the incident's page asks for, and lead back to the page."""
    name, value = filled.act, filled.value
    with ledger.transaction() as connection:
        one = find_incident(actor, connection, incident_id)
        check_form(actor.request, rows.key(connection), filled.token, actor.identity, one.id)
        if filled.undo:
            name, value = _inverse(connection, one, filled.undo)
        elif name in ACTS and not ACTS[name].by_hand:  # its value may name what is of another incident
            raise HTTPException(409, f"{ACTS[name].label!r} is done by taking back an act on this incident")
    number = _perform(actor, one, name, value, filled.note, source="page", undo=filled.undo)
    return _to_page(actor, one, number)


def confirm_link(actor: Actor, token: str) -> dict[str, Any]:
    """Say what a link would do, for the page that asks before it: nothing is done and nothing is used up by looking."""
    with ledger.transaction() as connection:
        link, one = _of_link(actor, connection, token)
        key, by = rows.key(connection), rows.used_by(connection, link.id)
    page: dict[str, Any] = {
        "incident": one,
        "name": link.act,
        "spec": ACTS[link.act],
        "value": link.value,
        "used_by": by,
        "applies": applies(link.act, one),
        "form": form_token(key, actor.identity, link.id),
        "tasks": "",
    }
    if link.act == "rerun" and by is None and page["applies"]:
        try:
            page["tasks"] = failed_tasks(airflow_as(actor.request), one)
        except (ArgumentError, ApiError) as error:
            page["tasks"], page["applies"] = str(error), False
    return page


def follow_link(actor: Actor, token: str, form: str, note: str) -> RedirectResponse:
    """Do what a link names, once, after its page was confirmed."""
    with ledger.transaction(lock=True) as connection:
        link, one = _of_link(actor, connection, token)
        check_form(actor.request, rows.key(connection), form, actor.identity, link.id)
        if not rows.use_link(connection, link.id, actor.name, time.time()):
            raise HTTPException(409, f"this link was used by {rows.used_by(connection, link.id)}; it works once")
    done = False
    try:
        number = _perform(actor, one, link.act, link.value, note, source="link")
        done = True
    finally:
        if not done:  # for whatever reason
            with ledger.transaction(lock=True) as connection:
                rows.release_link(connection, link.id)
    return _to_page(actor, one, number)


def to_incident(actor: Actor, incident_id: str, query: str = "") -> RedirectResponse:
    """Lead to the page of an incident."""
    root = actor.request.scope.get("root_path", "").rstrip("/")
    return RedirectResponse(f"{root}/incidents/{incident_id}{query}", status_code=303)


def _to_page(actor: Actor, one: Incident, number: int) -> RedirectResponse:
    return to_incident(actor, one.id, f"?done={number}")


def _of_link(actor: Actor, connection: Connection, token: str) -> tuple[Link, Incident]:
    try:
        link = read_link(rows.key(connection), token, get_settings().watch.act_link_hours)
    except ArgumentError as error:
        raise HTTPException(404, str(error)) from error
    one = find_incident(actor, connection, link.incident_id)
    if link.act not in ACTS or not actor.may(link.act, one):
        raise HTTPException(403, "Airflow does not let you do this: it needs the right to edit the DAG")
    return link, one


def _perform(  # noqa: PLR0913 - an act has that many parts
    actor: Actor, one: Incident, name: str, value: str, note: str, *, source: Any, undo: int = 0
) -> int:
    """Ask for the right, let Airflow do its part, and write the act down. HTTP errors say what was refused."""
    if name not in ACTS:
        raise HTTPException(404, "there is no such act")
    if not actor.may(name, one):
        raise HTTPException(403, "Airflow does not let you do this: it needs the right to edit the DAG")
    if not applies(name, one):
        raise HTTPException(409, f"{ACTS[name].label!r} does not apply to an incident that is {one.state}")
    try:
        if ACTS[name].right == "rerun":
            value = send_to_airflow(airflow_as(actor.request), name, one)
        client = actor.request.client
        asked = Asked(
            act=name, who=actor.name, source=source, address=client.host if client else "", value=value, note=note
        )
        engine = ledger.engine()
        with ledger.transaction(lock=True) as connection:
            fresh = records.incident(connection, one.id) or one
            if undo:  # of two clicks the second finds it taken back
                inverse(connection, fresh, undo)
            number = perform(engine, connection, fresh, asked, time.time())
            if undo:
                rows.mark_undone(connection, undo, number)
    except ArgumentError as error:
        raise HTTPException(409, str(error)) from error
    except ApiError as error:
        raise HTTPException(502, f"Airflow did not do it: {error}") from error
    _write_down(one, asked)
    return number


def _inverse(connection: Connection, one: Incident, number: int) -> tuple[str, str]:
    try:
        return inverse(connection, one, number)
    except ArgumentError as error:
        raise HTTPException(409, str(error)) from error


def _write_down(one: Incident, asked: Asked) -> None:
    """The act in Airflow's own audit log, beside what its REST API writes down when it clears.

    It has been done, whether or not Airflow's database takes this as well; a row that is missing is counted.
    """
    extra = {"incident": one.id, "value": asked.value, "note": asked.note, "source": asked.source}
    with contained("ui.audit_log"), create_session() as session:
        session.add(
            Log(
                event=f"contrail.{asked.act}", owner=asked.who, owner_display_name=asked.who, extra=json.dumps(extra),
                dag_id=one.dag_id, run_id=one.run_id, task_id=one.task_id,
            )
        )  # fmt: skip


def airflow_as(request: Request) -> Change:
    """Airflow's REST API inside this process, asked as the person who sent the request: by its own rights and log."""

    async def send(method: str, path: str, body: dict[str, Any]) -> httpx.Response:
        app = request.scope["contrail.airflow"]
        names = ("authorization", "cookie")
        headers = {name: request.headers[name] for name in names if name in request.headers}
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://airflow", headers=headers) as client:
            return await client.request(method, f"/api/v2{path}", json=body)

    def change(method: str, path: str, body: dict[str, Any]) -> Any:
        answer = run_in_loop(send, method, path, body)
        if answer.is_error:
            raise ApiError(f"it answered {answer.status_code}: {answer.text[:300]}")
        return answer.json()

    return change
