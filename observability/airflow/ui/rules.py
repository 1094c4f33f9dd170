"""The page of the rules, and of how Contrail runs here: for a reader, with the rights that Airflow gives them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Form, HTTPException

from observability.airflow.api_server.status import read_status
from observability.airflow.flush import relay_lives
from observability.airflow.ui import ledger, pages
from observability.airflow.ui.forms import check_form, form_token
from observability.airflow.ui.pages.rules import LONGEST
from observability.settings import get_settings
from observability.watch.facts import late_assets
from observability.watch.heartbeat import read_heartbeat
from observability.watch.ledger.acts import key
from observability.watch.quality import quality
from observability.watch.rules.first_route import named_address
from observability.watch.rules.loader import find_rules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from observability.airflow.ui.acting import Actor
    from observability.watch.incidents import Incident
    from observability.watch.quality import Quality
    from observability.watch.rules.loader import RulesFile

__all__ = ["RulesToTry", "quality_page", "rules_page", "setup_page", "try_page"]

RulesToTry = Annotated[str, Form(max_length=LONGEST)]
_FORM = "rules"
_FRESH_S = 15.0
_QUALITY_DAYS = 30
_NOT_WHOLE = "rules are about every DAG: trying others takes the right to read the logs of all, and import errors"


def rules_page(actor: Actor) -> dict[str, Any]:
    """The rules in force as far as the reader's DAGs go; their text is for who may read everything."""
    settings, whole, form = get_settings(), actor.reader.whole, ""
    known: Mapping[str, Any] = {}
    found = ledger.rules()
    if ledger.is_here():  # else no watcher has run yet; the rules are there all the same
        with ledger.transaction() as connection:
            known = pages.known_dags(connection)
            form = form_token(key(connection), actor.identity, _FORM) if whole else ""
    recipients = pages.recipients_by_dag(known, found.rules, actor.reader.runs, time.time(), settings.core.environment)
    return {
        "source": _source(found), "problem": found.problem if whole else "", "recipients": recipients, "form": form,
        "channels": [(name, spec.type) for name, spec in found.rules.channels.items()],
        "text": found.text if whole else "", "remarks": found.remarks if whole else (),
        "deadlines": len(found.rules.deadlines), "trial": None, "longest": LONGEST,
    }  # fmt: skip


def try_page(actor: Actor, token: str, text: str) -> dict[str, Any]:
    """The same page with rules that stand in no file yet. 403 without the right to read all, or a form of theirs."""
    if not actor.reader.whole:
        raise HTTPException(403, _NOT_WHOLE)
    with ledger.transaction() as connection:
        check_form(actor.request, key(connection), token, actor.identity, _FORM)
        trial = pages.try_rules(connection, text, ledger.rules().rules, actor.sees, time.time())
    return {**rules_page(actor), "trial": trial, "text": text}


def quality_page(actor: Actor) -> dict[str, Any]:
    """The quality of the alerts over 30 days, as far as the reader may see the incidents."""

    def may_see(one: Incident) -> bool:
        return actor.sees(one) and all(asset in actor.reader.assets for asset in late_assets(one.evidence))

    found: list[Quality] = []
    if ledger.is_here():
        with ledger.transaction() as connection:
            found = quality(connection, time.time() - _QUALITY_DAYS * 86_400, may_see)
    return {"found": found, "days": _QUALITY_DAYS, "is_here": ledger.is_here()}


def setup_page() -> dict[str, Any]:
    """Tell who delivers and who watches on this host, and why nobody does."""
    settings = get_settings()
    here, beat = read_status(settings.home), read_heartbeat(settings.home)
    watches = beat is not None and float(str(beat["age_s"])) < _FRESH_S
    return {
        "on": settings.airflow.in_api_server, "here": here, "fresh": here.is_fresh, "home": str(settings.home),
        "delivers": relay_lives(settings), "watches": watches, "watch_detail": beat and beat["detail"],
        "sinks": settings.relay.sinks, "store": settings.store.backend, "rules": _source(ledger.rules()),
    }  # fmt: skip


def _source(found: RulesFile) -> str:
    settings = get_settings()
    if (path := find_rules(settings)) is not None:
        return str(path)
    return named_address(settings) or str(getattr(found.rules.channels.get("people"), "url", "") or "built in")
