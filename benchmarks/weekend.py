"""Messages about one broken DAG, or fifty, from Friday evening to Monday morning.

The engine is the real one: facts go through the engine into a ledger, messages into its outbox; only the clock is made.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select

from benchmarks.figure import Figure, Sample, Target
from observability.watch.engine import IncidentEngine
from observability.watch.facts import CERTAIN, Fact
from observability.watch.ledger import schema
from observability.watch.ledger.database import Ledger
from observability.watch.notify.messages import Links
from observability.watch.notify.notifier import Notifier
from observability.watch.rules.config import parse_rules

if TYPE_CHECKING:
    from benchmarks.figure import Options

__all__ = ["messages", "run"]

_RULES = """
channels: {file: {type: file}}
receivers: {everybody: {channels: [file]}}
routes: [{receiver: everybody}]
"""
_HOUR_S, _MINUTE_S = 3600, 60


def run(options: Options) -> list[Figure]:
    """Messages that leave in 60 hours (12 with ``--quick``), and the most that we allow."""
    hours = 12 if options.quick else 60
    reminders = hours // 4
    asked = (
        ("one hourly DAG", 1, _HOUR_S, 1 + reminders),
        ("one DAG of every 5 minutes", 1, 5 * _MINUTE_S, 1 + reminders),
        ("50 hourly DAGs at once", 50, _HOUR_S, 45 + reminders),
    )
    return [_figure(f"{what}, {hours} hours", messages(dags, every, hours), most) for what, dags, every, most in asked]


def _figure(what: str, found: Counter[str], most: int) -> Figure:
    sample = Sample((float(found.total()),))
    return Figure(what, "messages", sample, targets=(Target(at_most=most),), notes=dict(found))


def messages(dags: int, every_s: int, hours: int) -> Counter[str]:
    """The notifications that leave, by kind, when each run of so many DAGs fails alike for so many hours."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(f"sqlite:///{Path(folder) / 'ledger.db'}")
        try:
            _play(ledger, dags, every_s, hours)
            table = schema.outbox
            with ledger.transaction() as connection:
                leaves = select(table.c.kind).where(table.c.state.in_(("pending", "sent")))
                return Counter(connection.execute(leaves).scalars())
        finally:
            ledger.close()


def _play(ledger: Ledger, dags: int, every_s: int, hours: int) -> None:
    engine = IncidentEngine(Notifier(parse_rules(_RULES, "rules"), Links(), "bench"))
    begin = 1_783_000_000.0
    for second in range(0, hours * _HOUR_S, _MINUTE_S):
        now = begin + second
        facts = _failures(dags, second // every_s, now) if second % every_s == 0 else []
        with ledger.transaction(lock=True) as connection:
            engine.take(connection, facts, now)
            engine.elapse(connection, now + 1)
        engine.take_events()


def _failures(dags: int, number: int, now: float) -> list[Fact]:
    error = {"error.type": "ConnectionError", "error.fingerprint": "0f1e2d3c"}
    return [
        Fact(
            kind="task", status="firing", time=now, cause="dependency", reason="ConnectionError: warehouse",
            certainty=CERTAIN, provider="journal", dag_id=f"dag{dag}", run_id=f"r{number}", task_id="load",
            try_number=1,
            evidence=error,
        )
        for dag in range(dags)
    ]  # fmt: skip
