"""The conditions of a rule, and whether they hold for an incident now."""

from __future__ import annotations

from datetime import date, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from pydantic import AliasChoices, Field, ValidationInfo, field_validator, model_validator

from observability import catalog
from observability.timestamps import utc
from observability.watch.rules.values import DAYS, Clock, Days, Globs, Strict, Words, Zone

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from observability.watch.incidents import Incident

__all__ = ["KINDS", "Match", "matches"]

KINDS = (
    "task", "run", "stuck", "overdue", "import", "dag", "paused", "deadline", "component", "telemetry", "delivery",
    "sink",    "canary", "data", "rules", "rule",
)  # fmt: skip
"""The subjects that an incident can have."""
_WITH_TASK = {"task", "stuck", "deadline", "component", "rule"}


class Match(Strict):
    """The conditions of a rule; everything that is given must hold, globs where a name is asked for."""

    dag: Globs = Field(default=[], description="Globs of DAG ids.")
    task: Globs = Field(default=[], description="Globs of task ids.")
    owner: Words = Field(default=[], description="Globs of owners.")
    tag: Words = Field(default=[], description="The DAG has one of these tags.")
    severity: Words = Field(default=[], description="One of info, warning, error, critical.")
    cause: Words = Field(default=[], description="One of the causes.")
    env: Words = Field(default=[], description="Globs of environments.")
    kind: Words = Field(
        default=[],
        validation_alias=AliasChoices("kind", "family"),  # the word of earlier versions
        description="What it is about: task, run, stuck, import, component, deadline …",
    )
    hours: Clock = Field(
        default="", pattern=r"^$|^\d{2}:\d{2}-\d{2}:\d{2}$", description="From-until, may pass midnight; until 24:00."
    )
    days: Days = Field(
        default=[], description="mon … sun, or mon-fri. Hours past midnight belong to the day on which they began."
    )
    timezone: Zone = "UTC"

    @field_validator("severity", "cause")
    @classmethod
    def _known(cls, value: list[str], info: ValidationInfo) -> list[str]:
        known: dict[str, tuple[str, ...]] = {
            "severity": ("info", "warning", "error", "critical"),
            "cause": tuple(catalog.CAUSES),
        }
        choices = known[str(info.field_name)]
        for word in value:
            if word.lower() not in choices:
                raise ValueError(f"{word!r} is none of {', '.join(choices)}")
        return [word.lower() for word in value]

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, value: list[str]) -> list[str]:
        found = [any(fnmatchcase(one, pattern) for one in KINDS) for pattern in value]
        if said := _kind_mistake(value, found):
            raise ValueError(said)
        return value

    @field_validator("hours")
    @classmethod
    def _some_time(cls, value: str) -> str:
        start, _, end = value.partition("-")
        if value and start == end:
            raise ValueError(f"{value} is an empty span; leave hours out for the whole day")
        return value

    @model_validator(mode="after")
    def _possible(self) -> Match:
        if said := _match_mistake(self):
            raise ValueError(said)
        return self

    @classmethod
    def stored(cls, values: Mapping[str, Any]) -> Match:
        """A match that was valid when it was written down."""
        return cls.model_construct(**{name: value for name, value in values.items() if name in cls.model_fields})

    @property
    def says_nothing(self) -> bool:
        """True if everything matches at any time."""
        conditions = (getattr(self, name) for name in type(self).model_fields if name != "timezone")
        return not any(conditions)


def matches(match: Match, incident: Incident, now: float) -> str | None:
    """None when ``match`` holds for the incident now, else the condition that does not."""
    about = incident.about
    globs = (
        ("dag", match.dag, incident.dag_id),
        ("task", match.task, incident.task_id),
        ("env", match.env, about.get("env")),
        ("severity", match.severity, incident.severity),
        ("cause", match.cause, incident.cause),
        ("kind", match.kind, incident.kind),
    )
    for name, patterns, value in globs:
        if patterns and not any(fnmatchcase(str(value or ""), pattern) for pattern in patterns):
            return f"{name} is {value or 'unknown'}, not {' or '.join(patterns)}"
    owner = str(about.get("owner") or "")
    owners = (owner, *(one.strip() for one in owner.split(",")))  # a DAG may have several
    if match.owner and not any(fnmatchcase(one, pattern) for one in owners for pattern in match.owner):
        return f"owner is {owner or 'unknown'}, not {' or '.join(match.owner)}"
    if match.tag and not set(match.tag) & set(about.get("tags") or ()):
        return f"no tag {' or '.join(match.tag)}"
    return _outside(match, now)


def _outside(match: Match, now: float) -> str | None:
    local = utc(now).astimezone(ZoneInfo(match.timezone))
    day = local.date()
    if match.hours:
        start, end = match.hours.split("-")
        moment = f"{local:%H:%M}"
        passes_midnight = end < start
        inside = moment >= start or moment < end if passes_midnight else start <= moment < end
        if not inside:
            return f"it is {moment} {match.timezone}, not {match.hours}"
        if passes_midnight and moment < end:
            day -= timedelta(days=1)  # the night began yesterday
    return _other_day(match, day)


def _other_day(match: Match, day: date) -> str | None:
    name = DAYS[day.weekday()]
    return f"the day is {name}, not {' or '.join(match.days)}" if match.days and name not in match.days else None


def _match_mistake(match: Match) -> str:
    """The reason why nothing at all can match; empty: something can."""
    if not match.task or not match.kind:
        return ""
    if set(match.kind) & _WITH_TASK or any(set("*?[") & set(word) for word in match.kind):
        return ""
    return f"an incident about {' or '.join(match.kind)} has no task; leave out task or kind"


def _kind_mistake(patterns: Sequence[str], matches: Sequence[bool]) -> str:
    """The reason why a word is not a kind; empty: each stands for one at least."""
    wrong = [pattern for pattern, found in zip(patterns, matches, strict=True) if not found]
    return f"{wrong[0]!r} is none of {', '.join(KINDS)}" if wrong else ""
