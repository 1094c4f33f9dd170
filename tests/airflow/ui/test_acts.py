"""Acts of people on incidents: every route, role and method; forms, links and whoever would forge them."""

from __future__ import annotations

import json
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from acts_world import FILLED
from fastapi.routing import APIRoute
from itsdangerous import URLSafeTimedSerializer
from sqlalchemy import select

from observability.airflow.ui.app import create_app
from observability.airflow.ui.forms import form_token
from observability.watch.acts import ACTS
from observability.watch.ledger import schema
from observability.watch.links import read_link, sign_link
from observability.watch.silences import silence_error

pytestmark = pytest.mark.airflow

ROUTES = [route for route in create_app().routes if isinstance(route, APIRoute)]
METHODS_OF = {
    path: {method for route in ROUTES if route.path == path for method in route.methods}
    for path in {route.path for route in ROUTES}
}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
ELSEWHERE = (
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
)


def address(route, one, link):
    places = {"dag_id": "open_dag", "run_id": "r1", "task_id": "load", "incident_id": one.id, "token": link}
    return route.path_format.format(**places, act="acknowledge", board="operations", panel="failing-tasks")


def test_no_route_role_or_method_changes_anything_without_a_form_of_that_person(world):
    one = world.fresh()
    link = sign_link(world.key, one.id, "acknowledge")
    for route in ROUTES:
        for method in METHODS:
            allowed = method in METHODS_OF[route.path]
            for who in (None, world.editor, *(*world.readers, *world.strangers) * allowed):  # no role makes a method
                answer = world.ask(who, method, address(route, one, link))
                case = (route.path, method, who, answer.status_code)
                if not allowed:
                    assert answer.status_code == 405, case
                elif who is None:
                    assert answer.status_code == 401, case
                elif method == "POST":
                    assert answer.status_code in {403, 404}, case
                else:
                    assert answer.status_code in {200, 403, 404}, case
    assert (world.now(one), world.acts(one)) == (one, [])


def test_each_act_is_done_by_who_may_edit_the_dag_written_down_and_taken_back(world):
    before = {"unacknowledge": "acknowledge", "reopen": "resolve"}
    for name, spec in ACTS.items():
        if spec.right == "rerun" or not spec.by_hand:
            continue
        one = world.fresh()
        if name in before:
            world.act(world.editor, one, before[name])
        state = world.now(one).state
        assert world.act(world.editor, one, name, **FILLED.get(spec.asks, {})).status_code == 303, name
        row = world.acts(one)[-1]
        assert (row.act, row.who, row.source, row.address) == (name, world.editor, "page", "127.0.0.1")
        assert world.act(world.editor, one, spec.undo, undo=row.id).status_code == 303, name
        last = world.acts(one)
        assert (last[-1].act, last[-2].undone_by) == (spec.undo, last[-1].id)
        assert world.act(world.editor, one, spec.undo, undo=row.id).status_code == 409  # once
        about = world.now(one).about
        assert (world.now(one).state, about.get("assigned_to"), about.get("verdict")) == (state, None, None)


def test_acts_stand_in_airflows_own_audit_log(world):
    one = world.fresh()
    world.act(world.editor, one, "resolve", note="the disk was full")
    with sqlite3.connect(world.airflow) as airflow:
        asked = "select owner, dag_id, extra from log where event = 'contrail.resolve' order by id desc limit 1"
        owner, dag, extra = airflow.execute(asked).fetchone()
    assert (owner, dag, json.loads(extra)["note"]) == (world.editor, "open_dag", "the disk was full")
    assert world.now(one).evidence["resolved_by"] == f"{world.editor}: the disk was full"


def test_who_may_only_read_reads_and_acts_on_nothing(world):
    one, other = world.fresh(), world.fresh("closed_dag", 2)
    for who in world.readers:
        page = world.ask(who, "GET", f"/incidents/{one.id}")
        assert (page.status_code, "takes the right to edit the DAG" in page.text) == (200, True)
        assert ("why-open_dag" in page.text) == (who != "runs_of_one")
        for name in ACTS:
            answer = world.ask(
                who, "POST", f"/incidents/{one.id}/acts/{name}", data={"token": own_form(world, who, one)}
            )
            assert answer.status_code in {403, 409}, (who, name)
        link = sign_link(world.key, one.id, "acknowledge")
        assert world.ask(who, "GET", f"/links/{link}").status_code == 403
        assert world.ask(who, "POST", f"/links/{link}", data={"form": "x"}).status_code == 403
    for who in world.strangers:
        assert world.ask(who, "GET", f"/incidents/{one.id}").status_code == 404
    if world.strangers:
        assert world.ask(world.editor, "GET", f"/incidents/{other.id}").status_code == 404
        assert world.act(world.editor, other, "acknowledge").status_code == 404
    assert (world.acts(one), world.acts(other)) == ([], [])


def test_a_short_id_leads_to_the_one_incident_that_the_reader_may_see(world):
    one, other = world.fresh(number=0x1234567890ABCDEF), world.fresh("closed_dag", 0x1234567800000000)
    both = not world.strangers
    for who in (world.editor, *world.readers):
        answer = world.ask(who, "GET", "/incidents/12345678")
        led = (404, None) if both else (303, f"/contrail/incidents/{one.id}")
        assert (answer.status_code, answer.headers.get("location")) == led
        assert world.ask(who, "GET", "/incidents/123456789").headers["location"] == f"/contrail/incidents/{one.id}"
        assert world.ask(who, "GET", "/incidents/1234567800").status_code == (303 if both else 404)
        for short in ("123", "1234567_", "%25", "1234567890abcde%25", "1234567890ABCDE", "1234\u0665678"):
            assert world.ask(who, "GET", f"/incidents/{short}").status_code == 404, short
    for who in world.strangers:
        assert world.ask(who, "GET", "/incidents/12345678").status_code == 404
    act = f"/incidents/{one.id[:9]}/acts/acknowledge"
    token = world.form(world.editor, f"/incidents/{one.id}")
    assert world.ask(world.editor, "POST", act, data={"token": token}).status_code == 404
    assert (world.acts(one), world.acts(other)) == ([], [])


def own_form(world, who, one):
    """A token that is good for ``who``: as if a page had given it to them."""
    names = {who, *(str(number) for number in range(1, 12))}
    for name in names:
        token = form_token(world.key, name, one.id)
        answer = world.ask(who, "POST", f"/incidents/{one.id}/acts/nothing", data={"token": token})
        if answer.status_code == 404 and "no such act" in answer.text:
            return token
    raise AssertionError(f"no token is good for {who}")


def test_clearing_asks_airflows_own_api_as_that_person(world):
    one = world.fresh()
    answer = world.act(world.editor, one, "rerun")
    assert (answer.status_code, "it answered 404" in answer.text) == (502, True)  # that DAG has no code to run
    assert world.acts(one) == []


def test_a_link_asks_first_works_once_and_says_who_used_it(world):
    one = world.fresh()
    path = f"/links/{sign_link(world.key, one.id, 'silence', 'change')}"
    for _ in range(2):  # scanners follow links
        assert "Silence this error" in world.ask(world.editor, "GET", path).text
    assert world.acts(one) == []
    form = world.form(world.editor, path)
    assert world.ask(world.editor, "POST", path, data={"form": form}).status_code == 303
    again = world.ask(world.editor, "POST", path, data={"form": form})
    assert (again.status_code, f"used by {world.editor}" in again.text) == (409, True)
    assert [(row.act, row.source, row.value) for row in world.acts(one)] == [("silence", "link", "change")]
    assert "It works once" in world.ask(world.editor, "GET", path).text


def test_what_is_forged_is_refused_and_changes_nothing(world):
    one, other = world.fresh(), world.fresh(number=3)
    good = sign_link(world.key, one.id, "acknowledge")
    form = world.form(world.editor, f"/links/{good}")
    page = world.form(world.editor, f"/incidents/{one.id}")
    stale = URLSafeTimedSerializer(world.key, salt="contrail.link")
    stale_signer = stale.make_signer("contrail.link")
    stale_signer.get_timestamp = lambda: int(time.time()) - 73 * 3600
    over = stale_signer.sign(stale.dump_payload([one.id, "acknowledge", "", "n"])).decode()
    swapped = f"{stale.dump_payload([other.id, 'acknowledge', '', 'n']).decode()}.{good.split('.', 1)[1]}"
    foreign = sign_link("another-key", one.id, "acknowledge")
    for token in (over, swapped, foreign, good[:-2] + ("AA" if good[-2:] != "AA" else "BB"), "x", "x" * 5000):
        assert world.ask(world.editor, "GET", f"/links/{token}").status_code == 404, token[:40]
        assert world.ask(world.editor, "POST", f"/links/{token}", data={"form": form}).status_code == 404
    act = f"/incidents/{one.id}/acts/acknowledge"
    for headers in ELSEWHERE:
        for path, data in ((f"/links/{good}", {"form": form}), (act, {"token": page})):
            assert world.ask(world.editor, "POST", path, data=data, headers=headers).status_code == 403
    somebodys = form_token(world.key, "somebody-else", one.id)
    unsigned = form_token("another-key", world.editor, one.id)
    elsewhere = world.form(world.editor, f"/incidents/{other.id}")
    for token in ("", "x", somebodys, unsigned, elsewhere, form):
        assert world.ask(world.editor, "POST", act, data={"token": token}).status_code == 403
    for undo in (10**6, 0):
        data = {"token": page, "undo": undo}
        answer = world.ask(world.editor, "POST", f"/incidents/{one.id}/acts/nothing", data=data)
        assert answer.status_code in {404, 409}
    assert (world.acts(one), world.acts(other)) == ([], [])


def test_an_act_that_only_takes_back_is_done_for_no_other_incident_than_its_own(world):
    one, other = world.fresh(), world.fresh("closed_dag", 2)
    with world.ledger.transaction(lock=True) as connection:
        silence = silence_error(connection, other, ["closed_dag"], "1h", (time.time(), time.time() + 3600), ("x", ""))
    for name in (name for name, spec in ACTS.items() if not spec.by_hand):
        assert world.act(world.editor, one, name, value=str(silence)).status_code == 409, name
    with world.ledger.transaction() as connection:
        ends = connection.execute(select(schema.silences.c.ends).where(schema.silences.c.id == silence)).scalar()
    assert ends > time.time() + 3000
    assert world.acts(one) == []


TRICKS = {
    "a body that needs no question before it": {"headers": {"Content-Type": "text/plain"}, "content": "token={token}"},
    "json": {"json": {"token": "{token}", "form": "{token}"}},
    "the token in the address": {"params": {"token": "{token}", "form": "{token}"}},
    "the token in a header": {"headers": {"X-CSRF-Token": "{token}", "X-CSRFToken": "{token}"}},
    "two tokens": {"data": {"token": ["{token}", "x"], "form": ["{token}", "x"]}},
}
"""Requests that other sites can have a browser send, or that hope for another way to hand a token over."""
OVERRIDES = ({"X-HTTP-Method-Override": "POST"}, {"X-Method-Override": "POST"}, {"X-HTTP-Method": "POST"})


def filled_in(trick, token):
    return json.loads(json.dumps(trick).replace("{token}", token))


def test_no_other_way_to_send_a_form_acts(world):
    one = world.fresh()
    link = f"/links/{sign_link(world.key, one.id, 'acknowledge')}"
    act = f"/incidents/{one.id}/acts/acknowledge"
    tokens = {act: world.form(world.editor, f"/incidents/{one.id}"), link: world.form(world.editor, link)}
    for path, token in tokens.items():
        for name, trick in TRICKS.items():
            answer = world.ask(world.editor, "POST", path, **filled_in(trick, token))
            assert answer.status_code in {403, 422}, (name, path, answer.status_code)
        for headers in OVERRIDES:
            more = {"headers": headers, "params": {"_method": "POST", "token": token, "form": token}}
            assert world.ask(world.editor, "GET", path, **more).status_code in {200, 405}
        for method in ("HEAD", "OPTIONS", "GET"):  # what scanners of links send
            assert world.ask(world.editor, method, path).status_code in {200, 405}
    assert (world.now(one), world.acts(one)) == (one, [])


def test_of_many_clicks_on_one_link_or_undo_one_acts(world):
    one = world.fresh()
    path = f"/links/{sign_link(world.key, one.id, 'noise')}"

    def at_once(path, **data):
        with ThreadPoolExecutor(6) as pool:
            answers = pool.map(lambda _: world.ask(world.editor, "POST", path, data=data).status_code, range(6))
            return sorted(answers)

    assert at_once(path, form=world.form(world.editor, path)) == [303, *[409] * 5]
    (row,) = world.acts(one)
    token = world.form(world.editor, f"/incidents/{one.id}")
    assert at_once(f"/incidents/{one.id}/acts/unmark", token=token, undo=row.id) == [303, *[409] * 5]
    assert [row.act for row in world.acts(one)] == ["noise", "unmark"]


def test_a_link_whose_act_could_not_be_done_works_again(world):
    one = world.fresh()
    path = f"/links/{sign_link(world.key, one.id, 'rerun')}"
    form = form_token(world.key, world.id_of(world.editor), read_link(world.key, path[7:], 1).id)
    for _ in range(2):
        assert world.ask(world.editor, "POST", path, data={"form": form}).status_code == 502
    assert world.acts(one) == []


def test_who_is_not_logged_in_is_led_to_the_login_and_back(world):
    one = world.fresh()
    for path in (f"/incidents/{one.id}", f"/links/{sign_link(world.key, one.id, 'acknowledge')}"):
        answer = world.ask(None, "GET", path, headers={"Accept": "text/html"})
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/auth/login?next=%2Fcontrail%2F")


def test_an_act_that_no_longer_applies_says_so(world):
    one = world.fresh()
    assert world.act(world.editor, one, "acknowledge").status_code == 303
    assert world.act(world.editor, one, "acknowledge").status_code == 409
    assert world.act(world.editor, one, "silence", value="3 fortnights").status_code == 409
    assert replace(world.now(one), acknowledged_at=None).acknowledged_by == world.editor
