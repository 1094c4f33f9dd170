"""The quality of alerts: counted from what really happened in the ledger, and proposals that were tried on it."""

from __future__ import annotations

import json
import time

import pytest
from typer.testing import CliRunner
from watch_office import RULES, Office, failed

from observability.cli.alerts import app
from observability.settings import get_settings
from observability.watch import acting
from observability.watch.ledger.database import Ledger
from observability.watch.quality import Case, quality, replay_wait

WAITING = RULES.replace("routes: [", "routes: [{match: {cause: [app]}, receiver: everybody, wait: 10m}, ")


@pytest.fixture
def ledger(home):
    found = Ledger(get_settings().ledger_url)
    yield found
    found.close()


def incident(office, number, lasts_s, *, acts=(), owner="ann"):
    """A failure of a DAG of its own that is notified, acted on, and over after ``lasts_s``."""
    office.see(failed(f"dag{number}", time=office.now, about={"owner": owner}))
    office.pass_time(2)
    one = next((found for found in office.incidents() if found.dag_id == f"dag{number}" and found.live), None)
    for act in acts:
        with office.ledger.transaction(lock=True) as connection:
            asked = acting.Asked(act=act, who="bob", source="cli")
            acting.perform(office.engine, connection, one, asked, office.now)
        one = next(found for found in office.incidents() if found.id == one.id)
    office.now += lasts_s - 2
    if one.live:
        with office.ledger.transaction(lock=True) as connection:
            office.engine.resolve(connection, one, office.now)


def measured(office):
    with office.ledger.transaction() as connection:
        return quality(connection, 0.0)


def test_what_healed_by_itself_is_told_from_what_a_person_repaired(ledger):
    office = Office(ledger)
    for number in range(6):
        incident(office, number, 120)
    incident(office, 6, 4000, acts=("acknowledge", "useful"))
    (found,) = measured(office)
    assert (found.owner, found.rule, len(found.cases), found.messages) == ("ann", "error in the task's code", 7, 7)
    assert (found.healed, found.marked("useful"), found.marked("noise")) == (6, 1, 0)
    assert (found.acknowledged_s, round(found.repaired_s)) == (2.0, 4000)


def test_a_reader_of_some_dags_is_told_of_their_incidents_alone(ledger):
    office = Office(ledger)
    for number in range(3):
        incident(office, number, 120)
    with ledger.transaction() as connection:
        (found,) = quality(connection, 0.0, lambda one: one.dag_id == "dag1")
        assert quality(connection, 0.0, lambda _: False) == []
    assert (len(found.cases), found.messages, found.tried) == (1, 1, "")


def test_a_wait_is_proposed_with_what_it_would_have_spared_and_cost_on_the_same_incidents(ledger):
    office = Office(ledger)
    for number in range(6):
        incident(office, number, 120)
    incident(office, 6, 4000, acts=("acknowledge",))
    proposal = measured(office)[0].proposal
    assert (proposal.spared, proposal.later, proposal.later_s) == (6, 1, 300.0)
    assert proposal.rules == '{match: {owner: "ann", cause: app}, wait: 5m}'
    assert "6 of 7 were over within 5 min by themselves: wait 5 min?" in proposal.words


def test_nothing_is_proposed_that_would_hide_what_a_person_repaired_in_that_time(ledger):
    office = Office(ledger)
    for number in range(6):
        incident(office, number, 120)
    incident(office, 6, 200, acts=("acknowledge",))
    assert measured(office)[0].proposal is None


def test_a_rule_that_people_mark_as_noise_is_proposed_as_info(ledger):
    office = Office(ledger)
    for number in range(5):
        incident(office, number, 9000, acts=("noise", "acknowledge"))
    proposal = measured(office)[0].proposal
    assert (proposal.spared, "severity: info" in proposal.rules) == (5, True)


def test_a_route_that_waits_sends_what_lasts_and_never_what_is_over_by_then(ledger):
    office = Office(ledger, WAITING)
    incident(office, 1, 300)
    office.pass_time(900, step=10)
    assert office.said() == []
    office.see(failed("lasting", time=office.now))
    office.pass_time(590, step=10)
    assert office.said() == []
    office.pass_time(30, step=10)
    assert office.said() == [("opened", "lasting", "t", "app")]


def test_the_replay_of_a_wait_says_what_the_rules_with_that_wait_really_send(ledger, tmp_path):
    lasts = (60, 300, 900, 4000)
    office = Office(ledger)
    for number, lasting in enumerate(lasts):
        incident(office, number, lasting)
    spared, later = replay_wait(measured(office)[0].cases, 600.0)
    other = Ledger(f"sqlite:///{tmp_path / 'other.db'}")
    waiting = Office(other, WAITING)
    for number, lasting in enumerate(lasts):
        waiting.see(failed(f"dag{number}", time=waiting.now, about={"owner": "ann"}))
        waiting.pass_time(lasting, step=10)
        with other.transaction(lock=True) as connection:
            one = next(found for found in waiting.incidents_in(connection) if found.live)
            waiting.engine.resolve(connection, one, waiting.now)
    sent = sum(kind == "opened" for kind, *_ in waiting.said())
    other.close()
    assert (spared, later, sent) == (2, 2, 2)


def test_too_few_incidents_say_nothing():
    assert replay_wait([Case(1, 10.0, None, healed=True)], 300.0) == (1, 0)


def test_the_command_shows_it_for_people_and_machines(ledger):
    office = Office(ledger)
    office.now = time.time() - 5000
    for number in range(5):
        incident(office, number, 60)
    shown = CliRunner().invoke(app, ["quality"]).stdout
    assert "5 of 5 were over within 5 min by themselves: wait 5 min?" in " ".join(shown.split())
    (found,) = json.loads(CliRunner().invoke(app, ["quality", "--json", "--owner", "ann"]).stdout)
    assert (found["messages"], found["healed"], found["proposal"]["spared"]) == (5, 5, 5)
