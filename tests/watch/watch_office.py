"""A engine with a clock, and a ledger of its own."""

from __future__ import annotations

from sqlalchemy import insert, select

from observability.watch.engine import IncidentEngine
from observability.watch.facts import Fact
from observability.watch.ledger import records, schema
from observability.watch.notify.messages import Links, Message
from observability.watch.notify.notifier import Notifier
from observability.watch.rules.config import parse_rules

RULES = """
channels: {file: {type: file}, log: {type: log}}
receivers:
  everybody: {channels: [file], fallback: log, escalate: [{after: 30m, receiver: chief}]}
  chief: {channels: [log]}
routes: [{receiver: everybody}]
"""


class Office:
    """The deciding half of the watcher, driven by hand: every call is a transaction at ``now``."""

    def __init__(self, ledger, rules=RULES):
        self.ledger = ledger
        self.engine = IncidentEngine(Notifier(parse_rules(rules, "rules"), Links(airflow="http://airflow"), "test"))
        self.now = 1_000_000.0

    def see(self, *facts):
        with self.ledger.transaction(lock=True) as connection:
            self.engine.take(connection, facts, self.now)
            self.engine.elapse(connection, self.now)

    def pass_time(self, seconds, *, airflow_silent_s=0.0, step=1.0):
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, self.now + step)
            with self.ledger.transaction(lock=True) as connection:
                self.engine.elapse(connection, self.now, airflow_silent_s=airflow_silent_s)

    def said(self, *states):
        """(kind, dag_id, task_id, cause) of each message, in order."""
        table = schema.outbox
        with self.ledger.transaction() as connection:
            asked = select(table.c.message).order_by(table.c.id)
            if states:
                asked = asked.where(table.c.state.in_(states))
            rows = connection.execute(asked).scalars().all()
        return [(m.kind, m.dag_id, m.task_id, m.cause) for m in map(Message.from_json, rows)]

    def messages(self):
        with self.ledger.transaction() as connection:
            rows = connection.execute(select(schema.outbox.c.message).order_by(schema.outbox.c.id)).scalars().all()
        return [Message.from_json(row) for row in rows]

    def silence(self, dag, until):
        row = {
            "kind": "silence",
            "matchers": {"dag": [dag]},
            "starts": self.now,
            "ends": until,
            "who": "me",
            "comment": "known",
        }
        with self.ledger.transaction(lock=True) as connection:
            connection.execute(insert(schema.silences).values(**row))

    def incidents_in(self, connection):
        return records.incidents(connection)

    def incidents(self):
        with self.ledger.transaction() as connection:
            return records.incidents(connection)


def failed(dag="load", run="r1", task="t", **more):
    """A task that failed for good, as its callback tells it."""
    given = {"time": 1_000_000.0, "cause": "app", "reason": "ValueError: no", "certainty": 3, "try_number": 1, **more}
    return Fact(kind="task", status=given.pop("status", "firing"), dag_id=dag, run_id=run, task_id=task, **given)


def run_ended(status, dag="load", run="r1", **more):
    given = {"time": 1_000_000.0, "cause": "upstream", **more}
    return Fact(kind="run", status=status, dag_id=dag, run_id=run, **given)
