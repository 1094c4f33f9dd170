"""The decisions of a watcher: what sources told, the time that passed, the deadlines, by the rules in force.

The watcher makes them as it hears; :mod:`.recording` keeps them, and :mod:`.replayed` makes them again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import structlog

from observability.contain import count_loss
from observability.watch.deadlines import Deadlines
from observability.watch.engine import IncidentEngine
from observability.watch.forecasts import Forecasts
from observability.watch.heartbeat import send_canary
from observability.watch.ledger import records
from observability.watch.notify.notifier import Notifier
from observability.watch.outcomes import Outcomes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy.engine import Connection

    from observability.watch.dag_graphs import Graphs
    from observability.watch.facts import Fact
    from observability.watch.notify.messages import Links
    from observability.watch.rules.config import AlertingConfig

__all__ = ["Decisions", "Step"]

Step = tuple[str, Any]
"""The name of a decision, and what it was made of."""
_LASTING = {"rules", "dags", "graph"}
_DONE_MOST = 100_000
"""Days of deadlines that are known to be done, and are not asked about again."""


class Decisions:
    """Each call is a part of a round, in its transaction at ``now``; ``steps`` has those of the round under way.

    ``careful``: a round failed, so that each fact is applied by itself, without those that cannot be.
    """

    def __init__(self, graphs: Graphs | None, *, is_recorded: bool = False) -> None:
        self.engine: IncidentEngine
        self.careful = False
        self.steps: list[Step] = []
        self._is_recorded = is_recorded
        self._graphs = _Noted(graphs, self.steps) if graphs is not None and is_recorded else graphs
        self._forecasts = Forecasts(self._graphs)
        self._rules: AlertingConfig
        self._dags: Mapping[str, Any] | None = None
        self._done: dict[tuple[str, ...], float] = {}
        self._outcomes = Outcomes()
        self._log = structlog.get_logger("contrail.watch")

    def begin(self) -> None:
        """Begin a round: of one that failed only that stays which stands in no transaction."""
        self.steps[:] = [step for step in self.steps if step[0] in _LASTING]

    def adopt(self, rules: AlertingConfig, links: Links, environment: str, *, deeds_s: float, text: str = "") -> None:
        """Decide by these rules from now on; ``text`` is how they were written.

        ``deeds_s``: seconds for which the end of an incident waits for the deed of a person behind it.
        """
        self._rules = rules
        self.engine = IncidentEngine(Notifier(rules, links, environment), deeds_s=deeds_s)
        self._note("rules", (text, rules.days_off, links, environment, deeds_s))

    def take(self, connection: Connection, facts: Iterable[Fact], now: float) -> None:
        """Apply what a source saw."""
        facts = list(facts)
        if facts:
            self._note("take", facts)
        if not self.careful:
            self.engine.take(connection, facts, now)
            return
        for fact in facts:
            try:
                with connection.begin_nested():
                    self.engine.take(connection, [fact], now)
            except Exception as error:  # noqa: BLE001 - it is counted, and the others go on
                self._log.exception("a fact was left out", kind=fact.kind, status=fact.status, dag_id=fact.dag_id)
                count_loss("watch.engine", type(error).__name__)

    def elapse(self, connection: Connection, now: float, airflow_silent_s: float) -> None:
        """Apply the time that passed."""
        self._note("elapse", airflow_silent_s)
        self.engine.elapse(connection, now, airflow_silent_s=airflow_silent_s, careful=self.careful)

    def read_deeds(self, connection: Connection, began: float, now: float) -> None:
        """Apply that what people did until ``began`` has been heard of."""
        if self.engine.read_deeds(connection, began, now):
            self._note("deeds", began)

    def shift(self, connection: Connection, seconds: float) -> None:
        """Let what waits for a time wait as long as before, though the clock has jumped."""
        self._note("shift", seconds)
        records.shift(connection, seconds)

    def know(self, dags: Mapping[str, Any]) -> None:
        """Note what is known of the DAGs: owner, tags, file, and deadlines declared beside them."""
        if self._is_recorded and dags != self._dags:
            self._dags = dags
            self._note("dags", dags)

    def check(
        self, connection: Connection, now: float, dags: Mapping[str, Mapping[str, Any]], *, blind: bool, known: bool
    ) -> float:
        """Judge the deadlines; the seconds that it took."""
        began = time.monotonic()
        if len(self._done) > _DONE_MOST:
            self._done.clear()
        self.know(dags)
        self._note("check", {"blind": blind, "known": known})
        deadlines = Deadlines(
            self._rules.deadlines, dags, blind=blind, known=known or bool(dags), forecasts=self._forecasts,
            done=self._done, outcomes=self._outcomes, calendars=self._rules.days_off,
        )  # fmt: skip
        self.engine.take(connection, deadlines.check(connection, now), now)
        return time.monotonic() - began

    def quiet(self, connection: Connection, now: float) -> None:
        """End what has no end of its own."""
        self._note("quiet", None)
        self.engine.quiet(connection, now)

    def send_canary(self, connection: Connection, now: float) -> None:
        """Queue the canary, which proves that messages arrive."""
        self._note("canary", None)
        send_canary(connection, self.engine.notifier, now)

    def _note(self, name: str, given: Any) -> None:
        if self._is_recorded:
            self.steps.append((name, given))


class _Noted:
    """Graphs of DAGs, each noted where Airflow's answer is new."""

    def __init__(self, graphs: Graphs, steps: list[Step]) -> None:
        self._graphs, self._steps = graphs, steps
        self._known: dict[str, Mapping[str, set[str]] | None] = {}

    def graph_of(self, dag_id: str) -> tuple[bool, Mapping[str, set[str]] | None]:
        is_known, graph = self._graphs.graph_of(dag_id)
        if is_known and (dag_id not in self._known or self._known[dag_id] != graph):
            self._known[dag_id] = graph
            self._steps.append(("graph", (dag_id, graph)))
        return is_known, graph
