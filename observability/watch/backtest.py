"""Replay the runs of the past against rules: what would have been sent, when, to whom and why.

The deadlines are judged by the watcher's own evaluation (:mod:`observability.watch.standings`), at each moment at which
its answer can change, with what was known then. Failed runs are replayed too. What the ledger does not keep is left
out: silences that people made, reminders, escalations, digests, and the errors by which the watcher joins failures.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from observability.watch.declared_deadlines import beside_dag
from observability.watch.known_then import KnownThen, measured
from observability.watch.ledger import schema
from observability.watch.replay import PausesThen, Record, Replay, Sent
from observability.watch.replay_failures import RUN_FAILED, failures_of, sent_of
from observability.watch.run_times import RunTimes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.engine import Connection

    from observability.watch.known_then import Measured
    from observability.watch.replay_failures import Failure
    from observability.watch.rules.config import AlertingConfig
    from observability.watch.rules.deadline import Deadline

__all__ = ["Backtest", "Record", "Sent", "backtest", "difference"]

_WARM_UP_S = 60 * 86_400.0
"""Runs before the time that is replayed, from which forecasts and what is usual are learned."""
_MEASURES = ("asset", "asset_partition", "asset_of", "logical_date", "partition", "rows", "rejects", "start_delay")


@dataclass(frozen=True, slots=True)
class Backtest:
    """The replayed runs, and the messages that would have been sent, by time. ``left_out``: what was not replayed."""

    since: float
    until: float
    runs: int
    sent: tuple[Sent, ...]
    deadlines: tuple[Record, ...]
    left_out: tuple[str, ...]


def backtest(  # noqa: PLR0913 - what a replay needs
    connection: Connection,
    rules: AlertingConfig,
    dags: Mapping[str, Mapping[str, Any]],
    since: float,
    until: float,
    *,
    only: str = "*",
) -> Backtest:
    """Replay what the ledger knows of the runs of DAGs that match ``only``, from ``since`` to ``until``.

    ``dags`` is what is known of each DAG: its owner and tags, for the routes, and the deadlines declared beside it.
    """
    runs = {
        dag_id: found
        for dag_id, found in _runs_by_dag(connection, since - _WARM_UP_S, until).items()
        if fnmatchcase(dag_id, only)
    }
    played = _Played(connection, rules, dags, runs, (since, until))
    beside = [one for dag_id in runs if dag_id in dags for one in beside_dag(dag_id, dags[dag_id], rules.days_off)]
    sent = [one for those in played.failures.values() for one in sent_of(rules, those)]
    records, left_out = [], []
    for deadline in (*rules.deadlines, *beside):
        if why := played.left_out(deadline):
            left_out.append(f"deadline {deadline.name}: {why}")
            continue
        record, found = played.deadline(deadline)
        records.append(record)
        sent += found
    in_time = [one for one in sent if since <= one.at <= until]
    order = sorted(in_time, key=_order)
    count = sum(one.begun >= since for those in runs.values() for one in those)
    return Backtest(since, until, count, tuple(order), tuple(records), tuple(left_out))


def _order(one: Sent) -> tuple[object, ...]:
    """By time. At one moment the end of something is reported first, for what is new waits for more; then a failure."""
    return (one.at, one.kind != "resolved", one.rule != RUN_FAILED, one.dag_id, one.rule, one.kind)


def difference(new: Backtest, old: Backtest) -> tuple[list[Sent], list[Sent]]:
    """The notifications that only the new rules would have sent, and those that only the old ones would have."""
    before, after = {one.key for one in old.sent}, {one.key for one in new.sent}
    return [one for one in new.sent if one.key not in before], [one for one in old.sent if one.key not in after]


class _Played:
    """The past of some DAGs in the ledger, read once for all deadlines."""

    def __init__(
        self,
        connection: Connection,
        rules: AlertingConfig,
        dags: Mapping[str, Mapping[str, Any]],
        runs: Mapping[str, Sequence[RunTimes]],
        span: tuple[float, float],
    ) -> None:
        self._connection, self._rules, self._dags, self._runs, self._span = connection, rules, dags, runs, span
        self._pauses = PausesThen(connection, None, span[1])
        self._values: Measured = measured(connection, _MEASURES, runs, span[1])
        self.failures: dict[str, list[Failure]] = {
            dag_id: failures_of(rules, those, dags.get(dag_id, {}), span[1], self._marks(dag_id))
            for dag_id, those in runs.items()
        }

    def _marks(self, dag_id: str) -> dict[str, dict[str, tuple[str, float]]]:
        found = {}
        for measure in ("logical_date", "partition"):
            values = self._values.get((measure, dag_id), ())
            found[measure] = {run: (subject, value) for _, value, subject, run in values}
        return found

    def deadline(self, deadline: Deadline) -> tuple[Record, list[Sent]]:
        """The record of a deadline over all its DAGs, and its notifications."""
        sent: list[Sent] = []
        whole = Record(deadline.name)
        for dags in self._groups(deadline):
            replay = self._replay(deadline, dags)
            sent += replay.sent()
            whole.judged += replay.record.judged
            whole.missed += replay.record.missed
            whole.warned += replay.record.warned
            whole.in_vain += replay.record.in_vain
            whole.dags |= replay.record.dags
        return whole, sent

    def left_out(self, deadline: Deadline) -> str:
        """The reason why a deadline is not replayed, where the ledger has nothing that it asks for."""
        for uri in deadline.assets or ():
            if ("asset", uri) not in self._values:
                return f"the ledger knows no update of {uri}"
        loads = deadline.rows_at_least is not None or deadline.condition in {"rows_unlike_usual", "rejects_above_usual"}
        measure = "rejects" if deadline.rejects_above_usual is not None else "rows"
        if loads and not any(name == measure for name, _ in self._values):
            return f"{deadline.condition} is not replayed"
        return ""

    def _groups(self, deadline: Deadline) -> list[tuple[str, ...]]:
        """The DAGs that are replayed together: each alone, and those of a product or an asset in one."""
        if deadline.parts or deadline.asset is not None:
            return [tuple(dag_id for dag_id in self._runs if self._is_behind(deadline, dag_id))]
        return [(dag_id,) for dag_id in self._runs if fnmatchcase(dag_id, deadline.dag)]

    def _is_behind(self, deadline: Deadline, dag_id: str) -> bool:
        """True for a DAG of a product, and for one that has updated an asset that is asked for."""
        made = {subject for _, _, subject, _ in self._values.get(("asset_of", dag_id), ())}
        parts = (part.dag for part in deadline.parts if part.dag is not None)
        return bool(made & set(deadline.assets or ())) or any(fnmatchcase(dag_id, part) for part in parts)

    def _replay(self, deadline: Deadline, dags: tuple[str, ...]) -> Replay:
        mine = {dag_id: self._runs[dag_id] for dag_id in dags}
        known = KnownThen(self._connection, mine, self._values, self._span[0])
        failures = {dag_id: self.failures[dag_id] for dag_id in dags}
        return Replay(self._rules, deadline, known, self._span, self._pauses, failures, about=self._dags)


def _runs_by_dag(connection: Connection, since: float, until: float) -> dict[str, list[RunTimes]]:
    """The runs of each DAG, without their tasks, the oldest first."""
    table = schema.run_times
    columns = (table.c.dag_id, table.c.run_id, table.c.begun, table.c.ended, table.c.succeeded, table.c.ordinary)
    asked = select(*columns).where(table.c.begun >= since, table.c.begun <= until).order_by(table.c.begun)
    found: dict[str, list[RunTimes]] = defaultdict(list)
    for row in connection.execute(asked):
        found[row[0]].append(RunTimes(row[0], row[1], row[2], row[3], row[4], bool(row[5])))
    return dict(sorted(found.items()))
