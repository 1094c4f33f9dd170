"""Compare the purposes of runs: the success of one may make the failure of another good."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from observability.watch.facts import seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from observability.watch.facts import Fact

__all__ = ["RunMark", "date_of_run", "is_current", "marks_of", "repairs"]

_RUN_ID = re.compile(r"([a-z_]+?)__(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?)")
_LATE_S = 86_400.0
"""A scheduled run that begins later than this after its time catches up; it is not the run of its day."""
_OF_THE_DAY_S = 2 * 86_400.0
"""A manual run for a date that is older than this is about that date."""


@dataclass(frozen=True, slots=True)
class RunMark:
    """A run to compare others with; ``date`` is its logical date, ``begun`` its beginning, in seconds since 1970.

    ``due`` is the time after which Airflow may begin it; None where that is not known.
    """

    run_id: str
    kind: str = ""
    date: float | None = None
    begun: float = 0.0
    partition: str | None = None
    catches_up: bool = False
    due: float | None = None

    @classmethod
    def of(cls, fact: Fact, begun: float) -> RunMark:
        """The run that ``fact`` is about; what the fact does not say, the run's id may."""
        run_id = str(fact.run_id or "")
        found = _RUN_ID.match(run_id)
        kind = str(fact.about.get("run_type") or (found[1] if found else ""))
        date = _moment(fact.evidence.get("airflow.logical_date"))
        if date is None and found and kind in {"scheduled", "backfill"}:
            date = _moment(found[2])
        due = _moment(fact.evidence.get("airflow.run_after")) or (_moment(found[2]) if found else None)
        late = kind == "scheduled" and due is not None and begun - due > _LATE_S
        partition = fact.evidence.get("airflow.partition_key")
        return cls(run_id, kind, date, begun, None if partition is None else str(partition), late, due)

    @property
    def is_of_a_date(self) -> bool:
        """True if it was about a date of its own, rather than about the present."""
        if self.kind == "manual":
            return self.date is not None and abs(self.begun - self.date) > _OF_THE_DAY_S
        return self.kind == "backfill" or self.catches_up

    def as_json(self) -> dict[str, Any]:
        """The mark as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunMark:
        """The mark that :meth:`as_json` made the values from."""
        return cls(**{name: values[name] for name in cls.__slots__ if name in values})


def repairs(succeeded: RunMark, failed: RunMark) -> bool:
    """True if the success of one run makes the failure of another good.

    The same run does, and one for the same date or partition. For an ordinary schedule the next run does as well; not
    for a date of a backfill, nor for one of a catch-up, whose next run begins much sooner than its date is later.
    """
    if succeeded.run_id == failed.run_id:
        return True
    if failed.partition is not None or succeeded.partition is not None:
        return succeeded.partition == failed.partition
    if failed.date is not None and succeeded.date == failed.date:
        return True
    if failed.is_of_a_date or succeeded.is_of_a_date:
        return False
    if failed.date is None or succeeded.date is None or "manual" in {failed.kind, succeeded.kind}:
        return True
    later = succeeded.date - failed.date
    return later > 0 and succeeded.begun - failed.begun >= later / 2


def marks_of(mark: RunMark) -> Iterator[tuple[str, str, float]]:
    """Give (measure, subject, value) of a run: its logical date where its id does not say it, partition, and delay."""
    said = date_of_run(mark.run_id)
    if mark.date is not None and (said is None or abs(said - mark.date) > 1):
        yield "logical_date", "", mark.date
    if mark.partition is not None:
        yield "partition", mark.partition, 1.0
    if mark.due is not None and not mark.is_of_a_date:
        yield "start_delay", "", max(0.0, mark.begun - mark.due)


def date_of_run(run_id: str) -> float | None:
    """The date in the id of a scheduled run or a backfill; None for others."""
    found = _RUN_ID.match(run_id)
    return _moment(found[2]) if found and found[1] in {"scheduled", "backfill"} else None


def is_current(fact: Fact) -> bool:
    """True if a run that began at the time of ``fact`` is about the present: no backfill, no catch-up."""
    return not RunMark.of(fact, fact.time).is_of_a_date


def _moment(value: Any) -> float | None:
    try:
        return seconds(str(value)) if value else None
    except ValueError:
        return None
