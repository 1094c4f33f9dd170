"""Route incidents by the rules of ``alerts.yaml``, which are validated here.

A file that is wrong is refused as a whole; the error names file, line and key, and the rules in force stay.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from observability import catalog
from observability.watch.incidents import Policy
from observability.watch.rules import sense
from observability.watch.rules.text import RulesError, RulesText

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from observability.watch.incidents import Incident

__all__ = [
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
]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_REFERENCE = re.compile(r"^(connection|variable|env):[A-Za-z0-9_.\-]+$")


_DAY_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_LONGEST_S = 3650 * 86_400.0
"""Ten years: a longer wait is a slip of the pen, and no calendar takes it."""


def parse_duration(value: Any) -> Any:
    """Seconds from ``90``, ``30s``, ``5m``, ``2h`` or ``1d``."""
    if isinstance(value, str) and (found := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd])\s*", value)):
        return float(found[1]) * _UNITS[found[2]]
    return value


def _reference(value: str) -> str:
    if not _REFERENCE.match(value):
        raise ValueError(
            "must be connection:<id>, variable:<key> or env:<NAME>: addresses and secrets are not written here"
        )
    return value


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"unknown time zone {value!r}; use a name such as Europe/Berlin") from None
    return value


def _clock(value: str) -> str:
    """``HH:MM``, or several with dashes between, each a time of day; the last may be 24:00."""
    parts = value.split("-") if value else []
    for part in parts[:-1] if len(parts) > 1 and parts[-1] == "24:00" else parts:
        try:
            time.fromisoformat(part)
        except ValueError:
            raise ValueError(f"{part!r} is not a time of day; write 00:00 to 23:59") from None
    return value


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _days(value: Any) -> Any:
    """Days as ``mon`` … ``sun``, from their names in any length and case, and from ranges such as ``mon-fri``."""
    if not isinstance(value, (str, list)):
        raise ValueError(f"{value!r} is not a list of days; write {', '.join(_DAYS)}")  # noqa: TRY004 - pydantic wants it
    found: list[str] = []
    for word in _as_list(value):
        first, dash, last = str(word).partition("-")
        begin, end = _day(first, word), _day(last, word) if dash else _day(first, word)
        found += [_DAYS[number % 7] for number in range(begin, end + 1 if end >= begin else end + 8)]
    return list(dict.fromkeys(found))


def _day(word: str, written: Any) -> int:
    asked = word.strip().lower().rstrip(".")
    for number, (short, name) in enumerate(zip(_DAYS, _DAY_NAMES, strict=True)):
        if asked in {short, f"{short}s", name, f"{name}s"} or (asked.startswith(short) and name.startswith(asked)):
            return number
    raise ValueError(f"{written!r} is none of {', '.join(_DAYS)}, nor a range of them such as mon-fri")


def _glob(pattern: str, info: ValidationInfo) -> str:
    what = "task id" if info.field_name == "task" else "DAG id"
    if said := sense.glob_mistake(pattern, what):
        raise ValueError(said)
    return pattern


def _word(value: str) -> str:
    if not value.strip():
        raise ValueError("an empty word matches nothing; leave the key out")
    return value


def _moment(value: Any) -> Any:
    if isinstance(value, (int, float)):
        raise ValueError("write a moment such as 2026-01-31T22:00 (or 2026-01-31T22:00+01:00)")  # noqa: TRY004 - pydantic wants ValueError
    return value


Duration = Annotated[
    float,
    BeforeValidator(parse_duration, json_schema_input_type=float | str),
    Field(ge=0, le=_LONGEST_S, allow_inf_nan=False),
]
Reference = Annotated[str, BeforeValidator(_reference)]
Zone = Annotated[str, BeforeValidator(_zone)]
Clock = Annotated[str, AfterValidator(_clock)]
Word = Annotated[str, AfterValidator(_word)]
Glob = Annotated[str, AfterValidator(_glob)]
Words = Annotated[list[Word], BeforeValidator(_as_list, json_schema_input_type=str | list[str])]
Globs = Annotated[list[Glob], BeforeValidator(_as_list, json_schema_input_type=str | list[str])]
Days = Annotated[list[str], BeforeValidator(_days, json_schema_input_type=str | list[str])]
Moment = Annotated[datetime, BeforeValidator(_moment, json_schema_input_type=str)]
Severity = Literal["info", "warning", "error", "critical"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Match(_Strict):
    """The conditions of a rule; everything that is given must hold, globs where a name is asked for."""

    dag: Globs = Field(default=[], description="Globs of DAG ids.")
    task: Globs = Field(default=[], description="Globs of task ids.")
    owner: Words = Field(default=[], description="Globs of owners.")
    tag: Words = Field(default=[], description="The DAG has one of these tags.")
    severity: Words = Field(default=[], description="One of info, warning, error, critical.")
    cause: Words = Field(default=[], description="One of the causes.")
    env: Words = Field(default=[], description="Globs of environments.")
    family: Words = Field(default=[], description="What it is about: task, run, stuck, import, component, deadline …")
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

    @field_validator("family")
    @classmethod
    def _known_family(cls, value: list[str]) -> list[str]:
        found = [any(fnmatchcase(one, pattern) for one in sense.FAMILIES) for pattern in value]
        if said := sense.family_mistake(value, found):
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
        if said := sense.match_mistake(self):
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


class ChannelSpec(_Strict):
    """One way to tell somebody. Which keys it needs depends on ``type``."""

    type: Literal["file", "log", "webhook", "slack", "apprise", "smtp", "sns", "pagerduty"]
    path: str = Field(default="alerts.jsonl", description="file: where to append; relative to Contrail's home.")
    url: Reference | None = Field(default=None, description="webhook, slack, apprise: where its address is kept.")
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
            "smtp": "to",
            "sns": "topic",
            "pagerduty": "routing_key",
        }.get(self.type)
        if needed and not getattr(self, needed):
            raise ValueError(f"a channel of type {self.type} needs {needed!r}")
        return self


class Escalation(_Strict):
    """The next receivers of an incident that nobody has acknowledged."""

    after: Duration
    receiver: str


class Receiver(_Strict):
    """A person or team: the channels they are told on, and who is told when these stay down."""

    channels: list[str] = Field(min_length=1)
    fallback: str | None = Field(default=None, description="Channel used for what another could not deliver.")
    escalate: list[Escalation] = []


class Route(_Strict):
    """Incidents that match go to the receiver; the first match decides unless it says ``continue``."""

    match: Match = Match()
    receiver: str
    proceed: bool = Field(default=False, alias="continue")
    severity: Severity | None = Field(default=None, description="Another severity than the event's own.")


class Window(_Strict):
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


Deviations = Annotated[float, Field(gt=0, le=1000)]


class Deadline(_Strict):
    """Something that must happen by a time. Exactly one of the conditions."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.\-]{1,80}$")
    dag: Glob = Field(description="Glob of DAG ids.")
    task: Glob | Literal[""] = Field(default="", description="Glob of task ids, for task_finishes_within and rows.")
    run_finishes_within: Duration | None = None
    task_finishes_within: Duration | None = None
    starts_by: Clock | None = Field(
        default=None, pattern=r"^\d{2}:\d{2}$", description="A run must have begun by this time of day."
    )
    run_finishes_by: Clock | None = Field(
        default=None, pattern=r"^\d{2}:\d{2}$", description="A run of the day must have succeeded by this time of day."
    )
    asset: str | None = Field(default=None, description="URI of an asset, with fresh_within or fresh_by.")
    fresh_within: Duration | None = None
    fresh_by: Clock | None = Field(
        default=None, pattern=r"^\d{2}:\d{2}$", description="The asset must have been updated by this time of day."
    )
    day_begins: Clock = Field(
        default="00:00",
        pattern=r"^\d{2}:\d{2}$",
        description="What begins before this time is the day's before; later than the due time: the evening before.",
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
    success_within: Duration | None = Field(default=None, description="There must be a successful run this often.")
    step: Word = Field(default="*", description="Glob of step names, for rows.")
    days: Days = Field(default=[], description="mon … sun, or mon-fri; for times of day.")
    holidays: list[date] = Field(
        default=[], description="Dates such as 2026-12-25 on which nothing is due; days off where usual is asked for."
    )
    timezone: Zone = Field(default="UTC", description="For times of day.")
    warn: float = Field(default=0.8, gt=0, le=1, description="Early warning at this share of the time; 1: none.")
    severity: Severity = "error"
    history_least: int = Field(default=5, ge=3, description="Runs needed before 'usual' means something.")

    @model_validator(mode="before")
    @classmethod
    def _asset_of_nobody(cls, values: Any) -> Any:
        """An asset needs no DAG."""
        return {"dag": "*", **values} if isinstance(values, dict) and values.get("asset") else values

    @model_validator(mode="after")
    def _one_condition(self) -> Deadline:
        given = [name for name in CONDITIONS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"a deadline needs exactly one of {', '.join(CONDITIONS)}; {self.name} has {given or 'none'}"
            )
        if (self.asset is None) != (self.fresh_within is None and self.fresh_by is None):
            raise ValueError("asset goes together with fresh_within or fresh_by")
        if said := sense.unused_keys(self, given[0]):
            raise ValueError("; ".join(said))
        return self


CONDITIONS = (
    "run_finishes_within",
    "task_finishes_within",
    "starts_by",
    "run_finishes_by",
    "fresh_within",
    "fresh_by",
    "slower_than_usual",
    "rows_at_least",
    "rows_unlike_usual",
    "success_within",
)


class Timing(_Strict):
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


class Thresholds(_Strict):
    """From when on waiting is wrong."""

    queued: Duration = Field(default=180.0, description="A task that waits longer for a worker is stuck.")
    unanswered: Duration = Field(default=600.0, description="A question to a person that has no answer for longer.")
    overdue: Duration = Field(default=60.0, description="A scheduled run that is later than this is overdue.")
    component_silent: Duration = Field(default=30.0, description="A component without heartbeat for so long is silent.")


class Proof(_Strict):
    """The proofs of the alert path."""

    canary_every: Duration = Field(default=86_400.0, description="A test notice to each receiver this often; 0: never.")
    canary_receiver: str = Field(default="", description="The receiver of the canary; empty: the first one.")
    canary_within: Duration = Field(default=120.0, description="It must have been delivered in this time.")
    heartbeat_url: Reference | None = Field(
        default=None, description="Dead man's switch that is called while all is well."
    )
    heartbeat_allow: list[str] = Field(default=[], description="Hosts or networks of it that may be private.")
    heartbeat_every: Duration = 60.0


class AlertingConfig(_Strict):
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
    deadlines: list[Deadline] = []
    silences: list[Window] = []
    proof: Proof = Proof()

    @model_validator(mode="before")
    @classmethod
    def _without_empty_sections(cls, values: Any) -> Any:
        """A section of which every line is a comment is as good as none."""
        optional = {"timing", "thresholds", "deadlines", "silences", "proof", "runbooks"}
        if not isinstance(values, dict):
            return values
        return {name: value for name, value in values.items() if value is not None or name not in optional}


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
    return read_rules(raw, str(path))[0]


def parse_rules(text: str, source: str) -> AlertingConfig:
    """The rules in ``text``. Raises :class:`RulesError` with a line per mistake."""
    return read_rules(text, source)[0]


def read_rules(text: str | bytes, source: str) -> tuple[AlertingConfig, list[str]]:
    """The rules in ``text``, and a line for each that does nothing as things are. Raises :class:`RulesError`."""
    read = RulesText(text, source)
    try:
        rules = AlertingConfig.model_validate(read.values)
    except ValidationError as error:
        raise RulesError("\n".join(read.mistake(one["loc"], _said(one)) for one in error.errors())) from error
    if found := [read.mistake(where, said) for where, said in sense.mistakes(rules)]:
        raise RulesError("\n".join(found))
    return rules, [read.mistake(where, said) for where, said in sense.remarks(rules)]


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
        ("family", match.family, incident.family),
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
    name = _DAYS[day.weekday()]
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
