"""Play the past of DAGs again and keep the incidents that their failed runs and their deadlines would have made."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from math import inf
from typing import TYPE_CHECKING, Any, TypeAlias

from observability.watch.deadline_state import Look
from observability.watch.forecast import WARN_AT
from observability.watch.forecasts import Forecasts
from observability.watch.incidents import Incident
from observability.watch.pauses import Pauses
from observability.watch.replay_times import changes_of, judged_of, moments_of
from observability.watch.replayed_notices import Sent, held_until, notification
from observability.watch.rules.config import decide
from observability.watch.standings import standings_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from observability.watch.deadline_state import Standing
    from observability.watch.known_then import KnownThen
    from observability.watch.replay_failures import Failure
    from observability.watch.rules.config import AlertingConfig
    from observability.watch.rules.deadline import Deadline

__all__ = ["PausesThen", "Record", "Replay", "Sent"]

_Key: TypeAlias = "tuple[str | None, str | None, str | None]"
_TO_TELL = {"near", "missed", "over"}
_BY_TRANSITION = ("success_within", "fresh_within", "staler_than_usual")
"""The conditions that are missed once, from when they are due until it happens."""


@dataclass(slots=True)
class Record:
    """Counts: how often a deadline was judged, missed, warned of, and warned of in vain."""

    name: str
    judged: int = 0
    missed: int = 0
    warned: int = 0
    in_vain: int = 0
    dags: set[str] = field(default_factory=set)

    @property
    def kept(self) -> float | None:
        """The share that was kept; None where nothing was judged."""
        return 1 - self.missed / self.judged if self.judged else None


class PausesThen(Pauses):
    """The pauses of the DAGs, as they were at ``now``."""

    now = 0.0

    def starts_nothing(self, dag_id: str) -> str:
        """The reason why Airflow began no run of the DAG at that time."""
        idle = self.idle_at(dag_id, self.now)
        return f"the DAG is {idle}" if idle else ""


@dataclass(slots=True)
class _Open:
    """An incident about a deadline; ``notified`` is what people know of it."""

    incident: Incident
    early: bool
    since: float
    notified: str = ""
    was_missed: bool = False
    wakes: float = inf


class Replay:
    """One deadline over some DAGs; :meth:`sent` plays it once."""

    def __init__(  # noqa: PLR0913, PLR0917 - what a replay needs
        self,
        rules: AlertingConfig,
        deadline: Deadline,
        known: KnownThen,
        span: tuple[float, float],
        pauses: PausesThen,
        failures: Mapping[str, Sequence[Failure]],
        *,
        about: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self._rules, self._deadline, self._known, self._pauses = rules, deadline, known, pauses
        self._since, self._until = span
        self._failures, self._about = failures, about
        self._dags = tuple(failures)
        self._forecasts = Forecasts()
        self._done: dict[tuple[str, ...], float] = {}
        self._open: dict[_Key, _Open] = {}
        self._closed: set[_Key] = set()
        self._outcomes: dict[tuple[str | None, ...], bool] = {}
        self.record = Record(deadline.name)

    def sent(self) -> Iterator[Sent]:
        """The notifications, by time; the record is complete after the last."""
        timers = moments_of(self._deadline, self._known, self._dags, self._pauses, (self._since, self._until))
        changes: list[float] | None = None
        now, timer, change = -inf, 0, 0
        while True:
            after = timers[timer] if timer < len(timers) else inf
            if self._open:
                changes = changes or changes_of(self._deadline, self._known, self._dags, self._pauses, self._failures)
                while change < len(changes) and changes[change] <= now:
                    change += 1
                after = min(after, changes[change] if change < len(changes) else inf,
                            *(one.wakes for one in self._open.values()))  # fmt: skip
            if after > self._until:
                break
            now = after
            while timer < len(timers) and timers[timer] <= now:
                timer += 1
            yield from self._look(now)
        self._count()

    def _look(self, now: float) -> Iterator[Sent]:
        self._known.now = self._pauses.now = now
        broken = {dag_id: self._failure(dag_id, None, now) for dag_id in self._dags}
        self._known.failures = {dag_id: found.incident for dag_id, found in broken.items() if found is not None}
        look = Look(self._known, now, now, self._pauses, self._dags, self._forecasts, self._done)
        standing: set[_Key] = set()
        found = list(standings_of(look, self._deadline))
        yield from self._close_done(found, now)
        for one in found:
            self._note(one)
            key: _Key = (one.dag_id, one.run_id, None if one.run_id else one.partition)
            unlikely = one.chance is not None and one.chance < WARN_AT and key not in self._open
            if one.state in _TO_TELL and not unlikely and not (one.run_id and key in self._closed):
                standing.add(key)
                self._take(key, one, now)
                if one.state == "over":
                    yield from self._tell(self._open[key], now)
                    standing.discard(key)
        for key, incident in list(self._open.items()):
            if key not in standing:
                yield from self._close(key, now)
            else:
                yield from self._tell(incident, now)

    def _note(self, one: Standing) -> None:
        """Count an occasion whose time has come."""
        if one.state not in {"missed", "over", "kept"} or not self._since <= one.due <= self._until:
            return
        if self._condition in _BY_TRANSITION:
            return
        if one.state == "kept" and self._deadline.clock is None:
            return
        occasion = one.occasion or ("" if one.run_id else f"{one.task_id} {one.due}")
        key = (one.dag_id, one.run_id, one.partition, occasion)
        late = one.state != "kept" or (one.ended is not None and one.ended > one.due)
        self._outcomes[key] = self._outcomes.get(key, False) or late

    def _take(self, key: _Key, one: Standing, now: float) -> None:
        late = one.state != "near"
        found = self._open.get(key)
        if found is None or (found.early and late):
            incident = self._incident(one, now, "warning" if not late else self._deadline.severity)
            if found is None:
                found = self._open[key] = _Open(incident, early=not late, since=now)
            else:
                found.incident, found.early = incident, False
        if late and not found.was_missed:
            found.was_missed = True
            if self._condition in _BY_TRANSITION and one.due >= self._since:
                occasion = (key[0], key[1], key[2], f"{one.due}")
                self._outcomes[occasion] = True

    def _incident(self, one: Standing, now: float, severity: str) -> Incident:
        about = dict(self._about.get(one.dag_id or "", {}))
        if self._deadline.owner:
            about["owner"] = self._deadline.owner
        return Incident(
            id="", key="", state="open", kind="deadline", severity=severity, reason=one.reason, certainty=3,
            first_seen=min(now, one.due), last_seen=now, cause="deadline", dag_id=one.dag_id, run_id=one.run_id,
            task_id=one.task_id, about=about, subject=self._deadline.name,
        )  # fmt: skip

    def _tell(self, one: _Open, now: float) -> Iterator[Sent]:
        kind = "early_warning" if one.early else "opened"
        if one.notified in {kind, "opened"}:
            return
        free = held_until(self._rules, one.incident, now, notified=bool(one.notified))
        one.wakes = free if free > now else inf
        if free > now or self._is_explained(one.incident, now):
            return
        one.notified = kind
        self.record.warned += one.early
        yield notification(self._rules, kind, one.incident, now)

    def _close_done(self, found: Sequence[Standing], now: float) -> Iterator[Sent]:
        """Close what is about a day that was done, or before one that was, whatever is late now."""
        for one in found if self._deadline.clock is not None else ():
            key: _Key = (one.dag_id, one.run_id, one.partition)
            known = self._open.get(key) if one.state == "kept" else None
            if known is not None and one.due >= known.incident.first_seen:
                yield from self._close(key, now)

    def _close(self, key: _Key, now: float) -> Iterator[Sent]:
        one = self._open.pop(key)
        if key[1] is not None and one.was_missed:
            self._closed.add(key)
        if one.notified:
            self.record.in_vain += not one.was_missed
            yield notification(self._rules, "resolved", replace(one.incident, reason="it is over"), now)

    def _is_explained(self, late: Incident, now: float) -> bool:
        """True while people know of a failure from which it follows: then nothing is said of a deadline."""
        dags = [late.dag_id] if late.dag_id else [dag_id for dag_id in self._dags if self._is_behind(dag_id)]
        found = next((one for dag_id in dags if (one := self._failure(dag_id, late.run_id, now))), None)
        if found is None:
            return False
        if not self._deadline.parts:
            return True
        heard = decide(self._rules, found.incident, now).channels
        return set(decide(self._rules, late, now).channels) <= set(heard)

    def _is_behind(self, dag_id: str) -> bool:
        return (
            any(part.dag and fnmatchcase(dag_id, part.dag) for part in self._deadline.parts)
            or any(dag_id in self._known.producers(uri) for uri in self._deadline.assets or ())
        )  # fmt: skip

    def _failure(self, dag_id: str, run_id: str | None, now: float) -> Failure | None:
        for one in self._failures.get(dag_id, ()):
            if one.notified_at is not None and one.notified_at <= now and (one.ended is None or now < one.ended) and (
                run_id is None or one.runs.get(run_id, inf) <= now
            ):  # fmt: skip
                return one
        return None

    def _count(self) -> None:
        missed = {key for key, late in self._outcomes.items() if late}
        self.record.missed = len(missed)
        judged = judged_of(self._deadline, self._known, self._dags, self._pauses, (self._since, self._until))
        self.record.judged = len(self._outcomes) if judged is None else max(judged, len(missed))
        if self.record.judged:
            self.record.dags.update(self._dags)

    @property
    def _condition(self) -> str:
        return self._deadline.condition
