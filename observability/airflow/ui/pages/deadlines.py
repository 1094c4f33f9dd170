"""The question of the deadlines: what is due, what may be late, what was missed, and what was kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from observability.airflow.ui.pages.reading import events_of
from observability.store.questions import Ask
from observability.timestamps import parsed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from observability.events import Document
    from observability.store import Readable

__all__ = ["Bar", "DeadlinesPage", "Due", "bar_of", "deadlines_page", "due_of"]

_ALERTS = "contrail.alert"
_DUE, _NEAR, _MISSED = "deadline.upcoming", "deadline.approached", "deadline.missed"
_OVER, _KEPT = "deadline.recovered", "deadline.kept"
_SHARE = timedelta(days=30)
_LATELY = timedelta(days=2)
_LAST_DAY = timedelta(days=1)
_EVENTS_MOST = 20_000
_SHOWN_MOST = 500


@dataclass(frozen=True, slots=True)
class Bar:
    """A forecast beside its deadline, in percent of the time from now to the last moment that is shown."""

    wide: tuple[float, float]
    narrow: tuple[float, float]
    expected: float
    due: float


@dataclass(slots=True)
class Due:
    """A deadline on one occasion: the newest event of it, the newest forecast, and what became of it."""

    event: Document
    forecast: Document | None = None
    near: bool = False
    missed: bool = False
    over: bool = False
    kept: bool = False

    @property
    def state(self) -> str:
        """``missed``, ``recovered`` (missed, and done since), ``kept``, ``approached`` or ``upcoming``."""
        if self.missed:
            return "recovered" if self.over else "missed"
        return "kept" if self.kept else "approached" if self.near else "upcoming"

    @property
    def foreseen(self) -> Document | None:
        """The forecast; None where there is none, or where it has proved wrong."""
        if self.forecast is None or (
            self.missed and _when(self.forecast, "deadline.expected") < datetime.now(timezone.utc)
        ):
            return None
        return self.forecast

    @property
    def bar(self) -> Bar | None:
        """The forecast as a picture; None where the end cannot be foreseen."""
        return bar_of(self.forecast) if self.forecast else None


@dataclass(frozen=True, slots=True)
class DeadlinesPage:
    """Deadlines by state: ``missed`` are not done yet, ``kept`` and ``late`` were due in the last day.

    ``shares``: (name, kept, judged) of each in the last 30 days, the worst first.
    """

    missed: list[Due]
    near: list[Due]
    upcoming: list[Due]
    kept: list[Due]
    late: list[Due]
    shares: list[tuple[str, int, int]] = field(default_factory=list)

    @property
    def share(self) -> float | None:
        """The share kept of all that were judged; None of none."""
        judged = sum(one[2] for one in self.shares)
        return sum(one[1] for one in self.shares) / judged if judged else None


def deadlines_page(store: Readable) -> DeadlinesPage:
    """The deadlines of what the reader may read."""
    now = datetime.now(timezone.utc)
    late = events_of(store, {"event.action": (_MISSED, _OVER)}, dataset=_ALERTS, since=now - _SHARE, limit=_EVENTS_MOST)
    rest = events_of(
        store, {"event.action": (_DUE, _NEAR, _KEPT)}, dataset=_ALERTS, since=now - _LATELY, limit=_EVENTS_MOST
    )
    found = due_of([*late, *rest])
    by_state: dict[str, list[Due]] = {}
    for one in found:
        by_state.setdefault(one.state, []).append(one)
    return DeadlinesPage(
        missed=_by_due(by_state.get("missed", [])),
        near=[one for one in _by_due(by_state.get("approached", [])) if _when(one.event, "deadline.due") > now],
        upcoming=[one for one in _by_due(by_state.get("upcoming", [])) if _when(one.event, "deadline.due") > now],
        kept=_of_last_day(by_state.get("kept", []), now),
        late=_of_last_day(by_state.get("recovered", []), now),
        shares=_shares(store, now),
    )


def due_of(events: Iterable[Document]) -> list[Due]:
    """Return what became of each deadline on each occasion."""
    found: dict[tuple[Any, ...], Due] = {}
    for event in sorted(events, key=lambda event: str(event["@timestamp"])):
        action = event["event.action"]
        occasion = event.get("deadline.occasion") or event.get("airflow.run_id")
        key = (event.get("deadline.name"), event.get("airflow.dag_id"), occasion)
        one = found.setdefault(key, Due(event))
        is_renewed = one.missed and action == _DUE  # a forecast says nothing of why it was missed
        one.event = event if event.get("deadline.due") and not is_renewed else one.event
        if action == _DUE:
            one.forecast = event if event.get("deadline.expected") else one.forecast
        one.near = (one.near or action == _NEAR) and action != _OVER
        one.missed = one.missed or action == _MISSED
        one.over = (one.over or action == _OVER) and action != _MISSED
        one.kept = one.kept or action == _KEPT
    _end_earlier_days(found.values())
    return list(found.values())


def _end_earlier_days(found: Iterable[Due]) -> None:
    """Mark a missed day as over where a later one was kept or made up for: one incident stands for all of them."""
    days = [one for one in found if one.event.get("deadline.occasion") not in {None, one.event.get("airflow.run_id")}]
    ended: set[tuple[Any, ...]] = set()
    for one in sorted(days, key=lambda one: str(one.event.get("deadline.due")), reverse=True):
        about = tuple(one.event.get(name) for name in ("deadline.name", "airflow.dag_id", "airflow.partition_key"))
        one.over = one.over or (one.missed and about in ended)
        if one.over or one.kept:
            ended.add(about)


def bar_of(forecast: Document) -> Bar | None:
    """The picture of a forecast; None where its intervals are not known."""
    names = ("earliest", "latest", "likely_from", "likely_until", "expected", "due")
    if any(not forecast.get(f"deadline.{name}") for name in names):
        return None
    try:
        low, high, likely, until, expected, due = (_when(forecast, f"deadline.{name}").timestamp() for name in names)
        first = _when(forecast, "@timestamp").timestamp()
    except (KeyError, ValueError):
        return None
    first, last = min(first, low), max(high, due)
    last += (last - first) * 0.03

    def place(moment: float) -> float:
        return round(100 * (moment - first) / max(1.0, last - first), 2)

    return Bar(
        (place(low), max(0.5, place(high) - place(low))), (place(likely), max(0.5, place(until) - place(likely))),
        place(expected), place(due),
    )  # fmt: skip


def _shares(store: Readable, now: datetime) -> list[tuple[str, int, int]]:
    counted: dict[str, list[int]] = {}
    where = {"event.action": (_KEPT, _MISSED)}
    asked = Ask((_ALERTS,), where, now - _SHARE, now, by=("deadline.name", "event.action"))
    for (name, action), (count,) in store.table(asked).items():
        one = counted.setdefault(str(name), [0, 0])
        one[0] += int(count) if action == _KEPT else 0
        one[1] += int(count)
    return sorted(((name, kept, judged) for name, (kept, judged) in counted.items()), key=lambda one: one[1] / one[2])


def _of_last_day(found: list[Due], now: datetime) -> list[Due]:
    """Those that were due in the last day, the newest first."""
    return _by_due([one for one in found if _when(one.event, "deadline.due") >= now - _LAST_DAY])[::-1]


def _by_due(found: list[Due]) -> list[Due]:
    return sorted(found, key=lambda one: str(one.event.get("deadline.due")))[:_SHOWN_MOST]


def _when(event: Document, name: str) -> datetime:
    found = parsed(str(event.get(name) or event["@timestamp"]))
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
