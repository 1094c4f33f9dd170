"""The page of an incident names nothing that is not its reader's."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict
from types import SimpleNamespace

import pytest
from sqlalchemy.exc import OperationalError

from observability import contain
from observability.airflow.ui import acting
from observability.airflow.ui.app import _reads_reasons
from observability.airflow.ui.pages import incident_page
from observability.airflow.ui.scope import Names, Reader
from observability.watch.acting import Asked
from observability.watch.incidents import Incident
from observability.watch.ledger.database import Ledger

pytestmark = pytest.mark.airflow

WAITING = {"affected": "closed_dag.load, open_dag.load", "error.frame": "open.py:1"}
EXPLAINED = "explained by incident 0123: closed_dag said a secret"


def incident(**more):
    base = {
        "kind": "component",
        "severity": "error",
        "cause": "platform",
        "reason": "no heartbeat",
        "certainty": 3,
        "dag_id": "open_dag",
    }
    return Incident(id="1", key="k", state="open", first_seen=1.0, last_seen=2.0, **(base | more))


@pytest.fixture
def page(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")

    def shown(one, **rights):
        with ledger.transaction() as connection:
            return str(asdict(incident_page(connection, one, **rights)) | {"incident": None})

    yield shown
    ledger.close()


@pytest.mark.parametrize("reasons", [False, True])
@pytest.mark.parametrize("more", [{"evidence": WAITING}, {"inhibited_by": EXPLAINED}], ids=str)
def test_other_dags_are_named_to_readers_of_everything_alone(page, reasons, more):
    assert "closed_dag" not in page(incident(**more), reasons=reasons, whole=False)
    assert "closed_dag" in page(incident(**more), reasons=True, whole=True)


def test_why_it_is_held_back_stays_where_a_person_said_so(page):
    assert "silenced by ann: on purpose" in page(
        incident(inhibited_by="silenced by ann: on purpose"), reasons=False, whole=False
    )


@pytest.mark.parametrize("evidence", [{"deadline.asset": "s3://b/k"}, {"deadline.parts": [{"asset": "s3://b/k"}]}])
@pytest.mark.parametrize("may", [False, True])
def test_a_late_asset_stands_in_a_title_for_those_who_may_read_it(evidence, may):
    nothing = frozenset()
    reader = Reader(nothing, nothing, nothing, whole=True, assets=Names(lambda _: may))
    actor = SimpleNamespace(reader=reader)
    assert _reads_reasons(actor, incident(dag_id=None)) is True
    assert _reads_reasons(actor, incident(dag_id=None, kind="deadline", evidence=evidence)) is may


def test_an_act_stands_though_airflows_database_does_not_take_its_row(monkeypatch):
    @contextmanager
    def away():
        raise OperationalError("insert into log", {}, Exception("database is locked"))
        yield

    monkeypatch.setattr(acting, "create_session", away)
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # under a test our faults are raised again
    contain.take_losses()
    acting._write_down(incident(), Asked(act="acknowledge", who="ann", source="page"))
    assert [stage for stage, _ in contain.take_losses()] == ["ui.audit_log"]
