"""Route incidents by the rules of ``alerts.yaml``, which are validated here.

A file that is wrong is refused as a whole; the error names file, line and key, and the rules in force stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AliasChoices, Field, PrivateAttr, ValidationError, ValidationInfo, field_validator, model_validator

from observability import catalog
from observability.watch.incidents import Policy
from observability.watch.rules import lint
from observability.watch.rules.calendars import days_off
from observability.watch.rules.deadline import CONDITIONS, Deadline
from observability.watch.rules.text import RulesError, RulesText
from observability.watch.rules.values import (
    DAYS,
    Clock,
    Days,
    Duration,
    Globs,
    Moment,
    Reference,
    Severity,
    Strict,
    Words,
    Zone,
    parse_duration,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from observability.watch.incidents import Incident

__all__ = [
    "CONDITIONS",
    "AlertingConfig",
    "ChannelSpec",
    "Deadline",
    "Decision",
    "Match",
    "Receiver",
    "Route",
    "RulesError",
    "decide",
    "json_schema",
    "load_rules",
    "matches",
    "parse_duration",
    "parse_rules",
    "policy_for",
    "read_rules",
    "route_wait",
]


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
        found = [any(fnmatchcase(one, pattern) for one in lint.KINDS) for pattern in value]
        if said := lint.kind_mistake(value, found):
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
        if said := lint.match_mistake(self):
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


class ChannelSpec(Strict):
    """One way to tell somebody. Which keys it needs depends on ``type``."""

    type: Literal["file", "log", "address", "webhook", "slack", "apprise", "smtp", "sns", "pagerduty"]
    path: str = Field(default="alerts.jsonl", description="file: where to append; relative to Contrail's home.")
    url: Reference | None = Field(default=None, description="address, webhook, slack, apprise: where the address is.")
    secret: list[Reference] = Field(
        default=[], description="webhook: signing keys, the first signs, older ones stay valid."
    )
    allow: list[str] = Field(
        default=[], description="webhook: hosts or networks that may be private, such as 10.0.0.0/8."
    )
    connection: str | None = Field(default=None, description="smtp, sns: Airflow Connection.")
    to: list[str] = Field(default=[], description="smtp: addresses.")
    topic: Reference | None = Field(default=None, description="sns: where the topic's ARN is kept.")
    routing_key: Reference | None = Field(default=None, description="pagerduty: where the integration key is kept.")
    timeout: Duration = Field(default=10.0, description="A delivery that takes longer has failed.")
    rate_per_minute: float = Field(default=60.0, gt=0, description="Most messages a minute.")
    give_up_after: Duration = Field(
        default=6 * 3600.0, description="A message that could not be delivered for so long is dead."
    )

    @model_validator(mode="after")
    def _complete(self) -> ChannelSpec:
        needed = {
            "webhook": "url",
            "slack": "url",
            "apprise": "url",
            "address": "url",
            "smtp": "to",
            "sns": "topic",
            "pagerduty": "routing_key",
        }.get(self.type)
        if needed and not getattr(self, needed):
            raise ValueError(f"a channel of type {self.type} needs {needed!r}")
        return self


class Escalation(Strict):
    """The next receivers of an incident that nobody has acknowledged."""

    after: Duration
    receiver: str


class Receiver(Strict):
    """A person or team: the channels they are told on, and who is told when these stay down."""

    channels: list[str] = Field(min_length=1)
    fallback: str | None = Field(default=None, description="Channel used for what another could not deliver.")
    escalate: list[Escalation] = Field(default=[])


class Route(Strict):
    """Incidents that match go to the receiver; the first match decides unless it says ``continue``."""

    match: Match = Match()
    receiver: str
    proceed: bool = Field(default=False, alias="continue")
    severity: Severity | None = Field(default=None, description="Another severity than the event's own.")
    wait: Duration = Field(
        default=0.0, description="Nothing is sent until it has lasted so long; what is over by then is never sent."
    )


class Window(Strict):
    """A maintenance window or a standing silence: what matches is not told while it lasts.

    A moment without a zone is in ``match.timezone``, whatever the zone of the host.
    """

    match: Match = Match()
    starts: Moment | None = None
    ends: Moment | None = None
    comment: str = ""

    @property
    def begins_at(self) -> float | None:
        """The begin in seconds since 1970; in an hour that a clock change doubles, the first of both."""
        return None if self.starts is None else min(self._both(self.starts))

    @property
    def ends_at(self) -> float | None:
        """The end in seconds since 1970; in an hour that a clock change doubles, the second of both."""
        return None if self.ends is None else max(self._both(self.ends))

    def is_local(self, name: Literal["starts", "ends"]) -> bool:
        """True if this moment is written without a zone."""
        moment: datetime | None = getattr(self, name)
        return moment is not None and moment.tzinfo is None

    def _both(self, moment: datetime) -> tuple[float, float]:
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=ZoneInfo(self.match.timezone))
        return moment.replace(fold=0).timestamp(), moment.replace(fold=1).timestamp()

    @model_validator(mode="after")
    def _some_time(self) -> Window:
        begin, end = self.begins_at, self.ends_at
        if begin is not None and end is not None and end <= begin:
            raise ValueError(f"it ends ({self.ends}) before it begins ({self.starts})")
        return self


class Timing(Strict):
    """Waits before and between notices."""

    group_wait: Duration = Field(default=0.3, description="What fails within this joins the first notice.")
    evidence_wait: Duration = Field(
        default=2.0, description="A failure without a known cause waits so long for evidence."
    )
    fold_wait: Duration = Field(default=3.0, description="A failed run waits so long for the task that explains it.")
    suspect_wait: Duration = Field(
        default=60.0, description="A death that Airflow cannot confirm is notified after this."
    )
    remind_every: Duration = Field(
        default=4 * 3600.0, description="Open and not acknowledged: people are reminded this often."
    )
    remind_acknowledged: Duration = Field(
        default=48 * 3600.0, description="Open and acknowledged: people are reminded this often."
    )
    settle: Duration = Field(
        default=120.0,
        description="No further task failed for this long: an update is sent if many more failed than was notified.",
    )
    digest_reminders: int = Field(
        default=5, ge=2, description="So many reminders that are due about the same time become one digest."
    )
    storm_messages: int = Field(
        default=40, ge=1, description="More messages than this to a channel in a minute become digests."
    )
    flap_messages: int = Field(
        default=8, ge=1, description="More messages than this about a DAG in five minutes become digests."
    )


class Thresholds(Strict):
    """From when on waiting is wrong."""

    queued: Duration = Field(default=180.0, description="A task that waits longer for a worker is stuck.")
    unanswered: Duration = Field(default=600.0, description="A question to a person that has no answer for longer.")
    overdue: Duration = Field(default=60.0, description="A scheduled run that is later than this is overdue.")
    component_silent: Duration = Field(default=30.0, description="A component without heartbeat for so long is silent.")


class Proof(Strict):
    """The proofs of the alert path."""

    canary_every: Duration = Field(default=86_400.0, description="A test notice to each receiver this often; 0: never.")
    canary_receiver: str = Field(default="", description="The receiver of the canary; empty: the first one.")
    canary_within: Duration = Field(default=120.0, description="It must have been delivered in this time.")
    heartbeat_url: Reference | None = Field(
        default=None, description="Dead man's switch that is called while all is well."
    )
    heartbeat_allow: list[str] = Field(default=[], description="Hosts or networks of it that may be private.")
    heartbeat_every: Duration = 60.0


class AlertingConfig(Strict):
    """Everything that ``alerts.yaml`` says."""

    version: Literal[1] = 1
    runbooks: str = Field(
        default="", description="Address under which docs/runbooks/ is served; empty: [core] runbook_url."
    )
    timing: Timing = Timing()
    thresholds: Thresholds = Thresholds()
    channels: dict[Annotated[str, Field(max_length=64)], ChannelSpec] = Field(min_length=1)
    receivers: dict[str, Receiver] = Field(min_length=1)
    routes: list[Route] = Field(min_length=1)
    calendars: dict[Annotated[str, Field(max_length=64)], str] = Field(
        default={},
        description="Files of days off, by name: iCalendar, or a date a line; relative to the folder of this file.",
    )
    deadlines: list[Deadline] = Field(default=[])
    silences: list[Window] = Field(default=[])
    proof: Proof = Proof()

    @model_validator(mode="before")
    @classmethod
    def _without_empty_sections(cls, values: Any) -> Any:
        """A section of which every line is a comment is as good as none."""
        optional = {"timing", "thresholds", "calendars", "deadlines", "silences", "proof", "runbooks"}
        if not isinstance(values, dict):
            return values
        return {name: value for name, value in values.items() if value is not None or name not in optional}

    _days_off: dict[str, frozenset[date]] = PrivateAttr(default_factory=dict)

    @property
    def days_off(self) -> Mapping[str, frozenset[date]]:
        """The days of each calendar."""
        return self._days_off

    def with_days_off(self, days: Mapping[str, frozenset[date]]) -> AlertingConfig:
        """The same rules, in which the days of a calendar are holidays of the deadlines that name it."""
        found = self.model_copy(update={"deadlines": [with_calendar(one, days) for one in self.deadlines]})
        found._days_off = dict(days)  # noqa: SLF001 - its own class
        return found


def with_calendar(deadline: Deadline, days: Mapping[str, frozenset[date]]) -> Deadline:
    """The deadline with the days of its calendar as holidays."""
    if not deadline.calendar:
        return deadline
    return deadline.model_copy(update={"holidays": sorted({*deadline.holidays, *days.get(deadline.calendar, ())})})


_MOST_SAID = 100
"""Mistakes that are named one by one: to find the place of each takes time."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The receivers and channels of an incident, and why; ``why`` is one sentence per rule looked at."""

    receivers: tuple[str, ...]
    channels: tuple[str, ...]
    severity: str
    why: tuple[str, ...]


def load_rules(path: Path) -> AlertingConfig:
    """The rules in ``path``. Raises :class:`RulesError`."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise RulesError(f"{path}: {error}") from error
    return read_rules(raw, str(path), path.parent)[0]


def parse_rules(text: str, source: str) -> AlertingConfig:
    """The rules in ``text``. Raises :class:`RulesError` with a line per mistake."""
    return read_rules(text, source)[0]


def read_rules(
    text: str | bytes, source: str, folder: Path | None = None, kept: Mapping[str, frozenset[date]] | None = None
) -> tuple[AlertingConfig, list[str]]:
    """The rules in ``text``, and a line for each that does nothing as things are. Raises :class:`RulesError`.

    Calendars are read from ``folder``, unless ``kept`` has their days.
    """
    read = RulesText(text, source)
    try:
        rules = AlertingConfig.model_validate(read.values)
    except ValidationError as error:
        every = error.errors()
        more = [f"{source}: and {len(every) - _MOST_SAID} more mistakes"] if len(every) > _MOST_SAID else []
        said = [read.mistake(one["loc"], _said(one)) for one in every[:_MOST_SAID]]
        raise RulesError("\n".join(said + more)) from error
    if found := [read.mistake(where, said) for where, said in lint.mistakes(rules)]:
        raise RulesError("\n".join(found))
    days: dict[str, frozenset[date]] = {}
    for name, file in rules.calendars.items():
        try:
            days[name] = kept[name] if kept and name in kept else days_off(file, folder)
        except RulesError as error:
            raise RulesError(read.mistake(("calendars", name), str(error))) from error
    rules = rules.with_days_off(days)
    return rules, [read.mistake(where, said) for where, said in lint.remarks(rules)]


def _said(error: Any) -> str:
    return "no such key" if error["type"] == "extra_forbidden" else str(error["msg"]).removeprefix("Value error, ")


def json_schema() -> dict[str, Any]:
    """The JSON Schema of ``alerts.yaml``."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **AlertingConfig.model_json_schema(mode="validation"),
    }


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
    local = datetime.fromtimestamp(now, timezone.utc).astimezone(ZoneInfo(match.timezone))
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


def decide(rules: AlertingConfig, incident: Incident, now: float, level: int = 0) -> Decision:
    """The receivers of ``incident`` at this level of escalation; without a match the first receiver."""
    receivers: list[str] = []
    why: list[str] = []
    severity = incident.severity
    for number, route in enumerate(rules.routes, 1):
        if reason := matches(route.match, incident, now):
            why.append(f"route {number} ({route.receiver}): {reason}")
            continue
        receivers.append(route.receiver)
        severity = route.severity or severity
        why.append(f"route {number} ({route.receiver}): matches")
        if not route.proceed:
            break
    if not receivers:
        receivers = [next(iter(rules.receivers))]
        why.append(f"no route matches: the first receiver, {receivers[0]}, hears of it")
    for step in range(level):
        further = [e.receiver for name in receivers for e in rules.receivers[name].escalate[step : step + 1]]
        receivers += [name for name in further if name not in receivers]
    channels = dict.fromkeys(channel for name in receivers for channel in rules.receivers[name].channels)
    return Decision(tuple(dict.fromkeys(receivers)), tuple(channels), severity, tuple(why))


def route_wait(rules: AlertingConfig, incident: Incident, now: float) -> float:
    """Seconds that an incident must last before anybody is notified of it: those of the first route that matches."""
    return next((route.wait for route in rules.routes if matches(route.match, incident, now) is None), 0.0)


def policy_for(rules: AlertingConfig, incident: Incident | None, now: float) -> Policy:
    """The waits that hold for ``incident``."""
    timing = rules.timing
    steps: tuple[float, ...] = ()
    if incident is not None:
        names = decide(rules, incident, now).receivers
        steps = tuple(sorted(step.after for name in names for step in rules.receivers[name].escalate))
    return Policy(
        group_wait_s=timing.group_wait,
        evidence_wait_s=timing.evidence_wait,
        fold_wait_s=timing.fold_wait,
        suspect_wait_s=timing.suspect_wait,
        remind_every_s=timing.remind_every,
        remind_acknowledged_s=timing.remind_acknowledged,
        settle_s=timing.settle,
        escalate_after=steps,
    )
