"""Answers who hears of what by the rules in force, and by others that are tried on recent incidents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from observability.airflow.ui.pages.incident import incident_title
from observability.watch.incidents import Incident
from observability.watch.ledger import records
from observability.watch.ledger.database import read_cursor
from observability.watch.rules.config import AlertingConfig, decide, read_rules
from observability.watch.rules.text import RulesError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from sqlalchemy.engine import Connection

    from observability.watch.rules.config import Decision

__all__ = ["LONGEST", "Recipients", "Trial", "known_dags", "recipients_by_dag", "recipients_by_incident", "try_rules"]

LONGEST = 65_536
"""Characters of rules that can be tried."""
_MOST = 200
_MOST_ALIASES = 10
_RECENT_S = 7 * 86_400.0
_SOURCE = "these rules"


@dataclass(frozen=True, slots=True)
class Recipients:
    """The channels that hear of something, and why; ``other`` and ``other_why`` are those of the rules on trial."""

    what: str
    dag_id: str | None
    incident_id: str
    channels: tuple[str, ...]
    why: tuple[str, ...]
    other: tuple[str, ...] = ()
    other_why: tuple[str, ...] = ()

    @property
    def differs(self) -> bool:
        """True where the other rules tell others."""
        return self.channels != self.other


@dataclass(frozen=True, slots=True)
class Trial:
    """The text that was tried: its mistakes with line and key, else what it would say of recent incidents."""

    text: str
    mistakes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    recipients: tuple[Recipients, ...] = ()


def known_dags(connection: Connection) -> Mapping[str, Any]:
    """Owner and tags of each DAG, as the watcher saw them last."""
    found: Mapping[str, Any] = (read_cursor(connection, "reconcile") or {}).get("dags", {})
    return found


def recipients_by_dag(
    known: Mapping[str, Any], rules: AlertingConfig, dags: Collection[str], now: float, environment: str
) -> list[Recipients]:
    """List who would hear of a failed task of each of these DAGs, 200 at most."""
    rows = []
    for dag_id in sorted(dags)[:_MOST]:
        found = known.get(dag_id, {})
        about = {"env": environment, **{name: found[name] for name in ("owner", "tags") if found.get(name)}}
        decision = decide(rules, _failure(dag_id, about, now), now)
        rows.append(Recipients(str(about.get("owner") or ""), dag_id, "", decision.channels, decision.why))
    return rows


def recipients_by_incident(
    connection: Connection,
    rules: AlertingConfig,
    other: AlertingConfig,
    sees: Callable[[Incident], bool],
    now: float,
) -> list[Recipients]:
    """Compare who hears of the incidents of the last 7 days by ``rules`` and by ``other``; what differs comes first."""
    rows = [
        _compared(one, decide(rules, one, one.last_seen), decide(other, one, one.last_seen))
        for one in records.incidents(connection, since=now - _RECENT_S, limit=_MOST)
        if one.state != "suspected" and sees(one)
    ]
    return sorted(rows, key=lambda row: not row.differs)


def try_rules(
    connection: Connection, text: str, in_force: AlertingConfig, sees: Callable[[Incident], bool], now: float
) -> Trial:
    """Rules that stand in no file yet. Nothing is kept, no file is read and no message is sent."""
    try:
        _refuse_growth(text)
        rules, remarks = read_rules(text, _SOURCE, kept=in_force.days_off)
    except RulesError as error:
        return Trial(text, mistakes=tuple(str(error).splitlines()))
    recipients = recipients_by_incident(connection, in_force, rules, sees, now)
    return Trial(text, remarks=tuple(remarks), recipients=tuple(recipients))


def _failure(dag_id: str, about: dict[str, Any], now: float) -> Incident:
    return Incident(
        id="", key="", state="open", kind="task", severity="error", cause="app", reason="", certainty=3,
        first_seen=now, last_seen=now, dag_id=dag_id, about=about,
    )  # fmt: skip


def _compared(one: Incident, now: Decision, then: Decision) -> Recipients:
    title = incident_title(one, reasons=False)
    return Recipients(title, one.dag_id, one.id, now.channels, now.why, then.channels, then.why)


def _refuse_growth(text: str) -> None:
    """Refuse what would grow when it is read. Raises :class:`RulesError`."""
    try:
        aliases = sum(isinstance(token, yaml.AliasToken) for token in yaml.scan(text))
    except (yaml.YAMLError, OverflowError, ValueError):
        return  # the reader of rules says what is wrong, with its line
    if aliases > _MOST_ALIASES:
        raise RulesError(f"{_SOURCE}: more than {_MOST_ALIASES} aliases (*name) cannot be tried here")
