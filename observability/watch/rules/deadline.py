"""Deadlines as ``alerts.yaml``, or a DAG beside itself, declares them."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from observability.watch.rules.values import Clock, Days, Duration, Glob, Severity, Strict, Word, Zone

__all__ = ["CLOCK_CONDITIONS", "CONDITIONS", "Deadline", "Part"]

Deviations = Annotated[float, Field(gt=0, le=1000)]
_CLOCK = r"^\d{2}:\d{2}$"

CLOCK_CONDITIONS = ("starts_by", "run_finishes_by", "task_finishes_by", "fresh_by", "ready_by")
"""The conditions that name a time of day."""

CONDITIONS = (
    "run_finishes_within",
    "task_finishes_within",
    *CLOCK_CONDITIONS,
    "fresh_within",
    "slower_than_usual",
    "rows_at_least",
    "rows_unlike_usual",
    "rejects_above_usual",
    "starts_later_than_usual",
    "staler_than_usual",
    "fails_more_than_usual",
    "success_within",
)
_LOADS = ("rows_at_least", "rows_unlike_usual", "rejects_above_usual")
_USUAL = (
    "slower_than_usual", "rows_unlike_usual", "rejects_above_usual", "starts_later_than_usual", "staler_than_usual",
    "fails_more_than_usual",
)  # fmt: skip
_USES = {
    "task": ("task_finishes_within", "task_finishes_by", *_LOADS),
    "step": _LOADS,
    "days": CLOCK_CONDITIONS,
    "holidays": (*CLOCK_CONDITIONS, *_USUAL),
    "calendar": (*CLOCK_CONDITIONS, *_USUAL),
    "timezone": (*CLOCK_CONDITIONS, *_USUAL[:-1]),  # failures are counted, whatever the day
    "day_begins": ("run_finishes_by", "task_finishes_by", "fresh_by", "ready_by"),
    "logical_day": ("run_finishes_by", "task_finishes_by", "fresh_by", "ready_by"),
    "partition": ("run_finishes_by", "task_finishes_by", "fresh_by", "fresh_within"),
    "history_least": _USUAL,
    "warn": ("run_finishes_within", "task_finishes_within", *CLOCK_CONDITIONS, "fresh_within", "slower_than_usual",
             "staler_than_usual", "success_within"),
}  # fmt: skip
"""The conditions beside which a key of a deadline means something; it may stand beside all others of this list."""
_OF_ASSETS = ("fresh_within", "fresh_by", "staler_than_usual")


class Part(Strict):
    """A part of a product: the runs of a DAG, a task of them, or an asset."""

    dag: Glob | None = Field(default=None, description="Glob of DAG ids; each must have succeeded.")
    task: Glob | None = Field(default=None, description="Glob of task ids of that DAG, in place of its whole run.")
    asset: Word | None = Field(default=None, description="URI of an asset that must have been updated.")
    partition: Word | None = Field(default=None, description="Key of the partition; %Y-%m-%d is the day's date.")

    @model_validator(mode="after")
    def _one_thing(self) -> Part:
        if (self.dag is None) == (self.asset is None):
            raise ValueError("a part is a dag (with or without a task), or an asset")
        if self.asset is not None and self.task is not None:
            raise ValueError("task does nothing beside asset; it goes with dag")
        return self

    @property
    def name(self) -> str:
        """The part as messages call it."""
        return self.asset or (f"{self.dag}.{self.task}" if self.task else str(self.dag))


class Deadline(Strict):
    """Something that must happen by a time. Exactly one of the conditions."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.\-]{1,80}$")
    dag: Glob = Field(description="Glob of DAG ids.")
    task: Glob | Literal[""] = Field(
        default="", description="Glob of task ids, for task_finishes_within, task_finishes_by and rows."
    )
    run_finishes_within: Duration | None = None
    task_finishes_within: Duration | None = None
    starts_by: Clock | None = Field(
        default=None, pattern=_CLOCK, description="A run must have begun by this time of day."
    )
    run_finishes_by: Clock | None = Field(
        default=None, pattern=_CLOCK, description="A run of the day must have succeeded by this time of day."
    )
    task_finishes_by: Clock | None = Field(
        default=None,
        pattern=_CLOCK,
        description="The task must have succeeded in a run of the day by then.",
    )
    asset: str | None = Field(default=None, description="URI of an asset, with fresh_within or fresh_by.")
    fresh_within: Duration | None = None
    fresh_by: Clock | None = Field(
        default=None, pattern=_CLOCK, description="The asset must have been updated by this time of day."
    )
    ready_by: Clock | None = Field(
        default=None, pattern=_CLOCK, description="Every part of a product must be there by this time of day."
    )
    parts: list[Part] = Field(default=[], description="The parts of a product: DAGs, tasks, assets; with ready_by.")
    day_begins: Clock = Field(
        default="00:00",
        pattern=_CLOCK,
        description="What begins before this time is the day's before; later than the due time: the evening before.",
    )
    logical_day: int | None = Field(
        default=None, ge=-366, le=366,
        description="Only a run of this logical day counts: 0 is the day on which it is due, -1 the day before.",
    )  # fmt: skip
    partition: Word | None = Field(
        default=None,
        description="Key of the partition, %Y-%m-%d in it is the (logical) day; for fresh_within a glob of keys, each "
        "of which must be fresh.",
    )
    slower_than_usual: Deviations | Literal[True] | None = Field(
        default=None, description="True, or how many standard deviations a run may last longer than usual for its day."
    )
    rows_at_least: int | None = Field(
        default=None, ge=0, le=10**15, description="A step of the task must write as many rows."
    )
    rows_unlike_usual: Deviations | Literal[True] | None = Field(
        default=None,
        description="True, or how many standard deviations the rows may lie from what is usual for the day.",
    )
    rejects_above_usual: Deviations | Literal[True] | None = Field(
        default=None, description="True, or how many standard deviations a step may reject more rows than usual."
    )
    starts_later_than_usual: Deviations | Literal[True] | None = Field(
        default=None,
        description="True, or how many standard deviations a run may begin later after its time than usual.",
    )
    staler_than_usual: Deviations | Literal[True] | None = Field(
        default=None,
        description="With asset: true, or how many standard deviations its update may come later than usual.",
    )
    fails_more_than_usual: Deviations | Literal[True] | None = Field(
        default=None, description="True, or how many standard deviations more of the last ten runs may fail than usual."
    )
    success_within: Duration | None = Field(default=None, description="There must be a successful run this often.")
    step: Word = Field(default="*", description="Glob of step names, for rows.")
    days: Days = Field(default=[], description="mon … sun, or mon-fri; for times of day.")
    holidays: list[date] = Field(
        default=[], description="Dates such as 2026-12-25 on which nothing is due; days off where usual is asked for."
    )
    calendar: str = Field(default="", description="Name of one of the calendars, whose days are holidays as well.")
    timezone: Zone = Field(default="UTC", description="For times of day, and the days and hours of what is usual.")
    warn: float = Field(default=0.8, gt=0, le=1, description="Early warning at this share of the time; 1: none.")
    severity: Severity = "error"
    owner: Word | None = Field(default=None, description="Owner for the routes, in place of the DAG's.")
    history_least: int = Field(default=5, ge=3, description="Runs needed before 'usual' means something.")

    @model_validator(mode="before")
    @classmethod
    def _of_no_dag(cls, values: Any) -> Any:
        """An asset or a product needs no DAG."""
        alone = isinstance(values, dict) and (values.get("asset") or (values.get("parts") and "dag" not in values))
        return {"dag": "*", **values} if alone else values

    @model_validator(mode="after")
    def _one_condition(self) -> Deadline:
        given = [name for name in CONDITIONS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"a deadline needs exactly one of {', '.join(CONDITIONS)}; {self.name} has {given or 'none'}"
            )
        if (self.asset is None) != (given[0] not in _OF_ASSETS):
            raise ValueError(f"asset goes together with {', '.join(_OF_ASSETS)}")
        if (self.ready_by is None) != (not self.parts) or (self.parts and self.dag != "*"):
            raise ValueError("ready_by goes together with parts, each of which names its dag or asset itself")
        if self.task_finishes_by is not None and not self.task:
            raise ValueError("task_finishes_by needs the task")
        if said := _unused_keys(self, given[0]):
            raise ValueError("; ".join(said))
        return self

    @property
    def wants(self) -> tuple[str, ...]:
        """The thing that is due: two deadlines of one name that differ in it are not about the same."""
        parts = (f"{part.name} {part.partition}" for part in self.parts)
        about = (self.task, self.asset, self.partition, self.logical_day, self.clock, self.day_begins, self.timezone)
        return (self.name, *map(str, about), *parts)

    @property
    def assets(self) -> tuple[str, ...] | None:
        """The asset, or the assets of a product, that its texts may name; None where there is none."""
        return tuple(one for one in (self.asset, *(part.asset for part in self.parts)) if one is not None) or None

    @property
    def condition(self) -> str:
        """The name of its condition."""
        return next(name for name in CONDITIONS if getattr(self, name) is not None)

    @property
    def clock(self) -> str | None:
        """The time of day by which something is due; None where the condition names none."""
        return next((found for name in CLOCK_CONDITIONS if (found := getattr(self, name)) is not None), None)


def _unused_keys(deadline: Deadline, condition: str) -> list[str]:
    """The faults of the keys that stand beside a deadline's condition."""
    given = deadline.model_fields_set
    return [
        f"{key} does nothing beside {condition}; it goes with {', '.join(uses)}"
        for key, uses in _USES.items()
        if key in given and condition not in uses
    ]
