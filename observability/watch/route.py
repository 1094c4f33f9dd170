"""Who hears what: the rules of ``alerts.yaml``, validated, and the decision they make about an incident.

A file that is wrong is refused as a whole; the error names file, line and key, and the rules in force stay.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timezone
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from observability import catalog
from observability.watch.errors import WatchError
from observability.watch.incidents import Policy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from observability.watch.incidents import Incident

__all__ = [
    "ChannelSpec",
    "Deadline",
    "Decision",
    "Match",
    "Receiver",
    "Route",
    "Rules",
    "RulesError",
    "decide",
    "json_schema",
    "load_rules",
    "matches",
    "parse_duration",
    "parse_rules",
    "policy_for",
]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_REFERENCE = re.compile(r"^(connection|variable|env):[A-Za-z0-9_.\-]+$")


class RulesError(WatchError):
    """Rules that cannot be used: one line per mistake, each with file, line, key and remedy."""


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
    """``HH:MM``, or several with dashes between, each a time of day."""
    for part in value.split("-") if value else ():
        try:
            time.fromisoformat(part)
        except ValueError:
            raise ValueError(f"{part!r} is no time of day; write 00:00 to 23:59") from None
    return value


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Duration = Annotated[float, BeforeValidator(parse_duration, json_schema_input_type=float | str), Field(ge=0)]
Reference = Annotated[str, BeforeValidator(_reference)]
Zone = Annotated[str, BeforeValidator(_zone)]
Clock = Annotated[str, AfterValidator(_clock)]
Words = Annotated[list[str], BeforeValidator(_as_list, json_schema_input_type=str | list[str])]
Severity = Literal["info", "warning", "error", "critical"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Match(_Strict):
    """What a rule applies to; everything that is given must hold, globs where a name is asked for."""

    dag: Words = Field(default=[], description="Globs of DAG ids.")
    task: Words = Field(default=[], description="Globs of task ids.")
    owner: Words = Field(default=[], description="Globs of owners.")
    tag: Words = Field(default=[], description="The DAG has one of these tags.")
    severity: Words = Field(default=[], description="One of info, warning, error, critical.")
    cause: Words = Field(default=[], description="One of the causes.")
    env: Words = Field(default=[], description="Globs of environments.")
    family: Words = Field(default=[], description="What it is about: task, run, stuck, import, component, deadline …")
    hours: Clock = Field(
        default="", pattern=r"^$|^\d{2}:\d{2}-\d{2}:\d{2}$", description="From-until, may pass midnight."
    )
    days: Words = Field(default=[], description="mon … sun.")
    timezone: Zone = "UTC"

    @field_validator("severity", "cause", "days")
    @classmethod
    def _known(cls, value: list[str], info: Any) -> list[str]:
        known: dict[str, tuple[str, ...]] = {
            "severity": ("info", "warning", "error", "critical"),
            "cause": tuple(catalog.CAUSES),
            "days": _DAYS,
        }
        for word in value:
            if word not in known[info.field_name]:
                raise ValueError(f"{word!r} is none of {', '.join(known[info.field_name])}")
        return value


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
    """Who hears of it next when nobody has acknowledged."""

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
    """A maintenance window or a standing silence: what matches is not told while it lasts."""

    match: Match = Match()
    starts: datetime | None = None
    ends: datetime | None = None
    comment: str = ""


class Deadline(_Strict):
    """Something that must happen by a time. Exactly one of the conditions."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.\-]{1,80}$")
    dag: str = Field(description="Glob of DAG ids.")
    task: str = Field(default="", description="Glob of task ids, for task_finishes_within and rows.")
    run_finishes_within: Duration | None = None
    task_finishes_within: Duration | None = None
    starts_by: Clock | None = Field(
        default=None, pattern=r"^\d{2}:\d{2}$", description="A run must have begun by this time of day."
    )
    asset: str | None = Field(default=None, description="URI of an asset, with fresh_within.")
    fresh_within: Duration | None = None
    slower_than_usual: float | None = Field(default=None, gt=0, description="k in median + k·MAD of the run's history.")
    rows_at_least: int | None = Field(default=None, ge=0, description="A step of the task must write as many rows.")
    rows_unlike_usual: float | None = Field(
        default=None, gt=0, description="k in median ± k·MAD of the step's history."
    )
    success_within: Duration | None = Field(default=None, description="There must be a successful run this often.")
    step: str = Field(default="*", description="Glob of step names, for rows.")
    days: Words = []
    timezone: Zone = "UTC"
    warn: float = Field(default=0.8, gt=0, le=1, description="Early warning at this share of the time; 1: none.")
    severity: Severity = "error"
    history_least: int = Field(default=5, ge=3, description="Runs needed before 'usual' means something.")

    @model_validator(mode="after")
    def _one_condition(self) -> Deadline:
        given = [name for name in CONDITIONS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"a deadline needs exactly one of {', '.join(CONDITIONS)}; {self.name} has {given or 'none'}"
            )
        if (self.asset is None) != (self.fresh_within is None):
            raise ValueError("asset and fresh_within go together")
        return self


CONDITIONS = (
    "run_finishes_within",
    "task_finishes_within",
    "starts_by",
    "fresh_within",
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
    suspect_wait: Duration = Field(default=60.0, description="A death that Airflow cannot confirm is told after this.")
    remind_every: Duration = Field(default=4 * 3600.0, description="Open and not acknowledged: told again.")
    storm_messages: int = Field(
        default=40, ge=1, description="More messages than this to a channel in a minute become digests."
    )
    flap_messages: int = Field(
        default=8, ge=1, description="More messages than this about a DAG in five minutes become digests."
    )


class Thresholds(_Strict):
    """From when on waiting is wrong."""

    queued: Duration = Field(default=180.0, description="A task that waits longer for a worker is stuck.")
    overdue: Duration = Field(default=60.0, description="A scheduled run that is later than this is overdue.")
    component_silent: Duration = Field(default=30.0, description="A component without heartbeat for so long is silent.")


class Proof(_Strict):
    """How the alert path proves itself."""

    canary_every: Duration = Field(default=86_400.0, description="A test notice to each receiver this often; 0: never.")
    canary_receiver: str = Field(default="", description="The receiver of the canary; empty: the first one.")
    canary_within: Duration = Field(default=120.0, description="It must have been delivered in this time.")
    heartbeat_url: Reference | None = Field(
        default=None, description="Dead man's switch that is called while all is well."
    )
    heartbeat_allow: list[str] = Field(default=[], description="Hosts or networks of it that may be private.")
    heartbeat_every: Duration = 60.0


class Rules(_Strict):
    """Everything that ``alerts.yaml`` says."""

    version: Literal[1] = 1
    runbooks: str = Field(default="", description="Address under which docs/runbooks/ is served; empty: its path.")
    timing: Timing = Timing()
    thresholds: Thresholds = Thresholds()
    channels: dict[Annotated[str, Field(max_length=64)], ChannelSpec] = Field(min_length=1)
    receivers: dict[str, Receiver] = Field(min_length=1)
    routes: list[Route] = Field(min_length=1)
    deadlines: list[Deadline] = []
    silences: list[Window] = []
    proof: Proof = Proof()


@dataclass(frozen=True, slots=True)
class Decision:
    """Who hears of an incident, on which channels, and why; ``why`` is one sentence per rule looked at."""

    receivers: tuple[str, ...]
    channels: tuple[str, ...]
    severity: str
    why: tuple[str, ...]


def load_rules(path: Path) -> Rules:
    """The rules in ``path``. Raises :class:`RulesError`."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RulesError(f"{path}: {error}") from error
    return parse_rules(text, str(path))


def parse_rules(text: str, source: str) -> Rules:
    """The rules in ``text``. Raises :class:`RulesError` with a line per mistake."""
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise RulesError(f"{source}{line}: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(values, dict):
        raise RulesError(f"{source}:1: the file must be a mapping with channels, receivers and routes")
    try:
        rules = Rules.model_validate(values)
    except ValidationError as error:
        raise RulesError("\n".join(_mistake(source, tree, one) for one in error.errors())) from error
    if mistakes := [
        _mistake(source, tree, {"loc": where, "msg": said, "type": ""}) for where, said in _dangling(rules)
    ]:
        raise RulesError("\n".join(mistakes))
    return rules


def _dangling(rules: Rules) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Names that stand for nothing: where, and what is known instead."""
    channels = f"known channels are {', '.join(rules.channels)}"
    receivers = f"known receivers are {', '.join(rules.receivers)}"
    for name, one in rules.receivers.items():
        for number, channel in enumerate(one.channels):
            if channel not in rules.channels:
                yield ("receivers", name, "channels", number), f"no channel is called {channel!r}; {channels}"
        if one.fallback is not None and one.fallback not in rules.channels:
            yield ("receivers", name, "fallback"), f"no channel is called {one.fallback!r}; {channels}"
        for number, step in enumerate(one.escalate):
            if step.receiver not in rules.receivers:
                yield ("receivers", name, "escalate", number), f"no receiver is called {step.receiver!r}; {receivers}"
    for number, route in enumerate(rules.routes):
        if route.receiver not in rules.receivers:
            yield ("routes", number, "receiver"), f"no receiver is called {route.receiver!r}; {receivers}"
    if rules.proof.canary_receiver and rules.proof.canary_receiver not in rules.receivers:
        yield ("proof", "canary_receiver"), f"no receiver is called {rules.proof.canary_receiver!r}; {receivers}"


def _mistake(source: str, tree: Any, error: Any) -> str:
    line, key = _line_of(tree, error["loc"])
    said = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        said = "no such key"
    return f"{source}:{line}: {key or 'the file'}: {said}"


def _line_of(node: Any, path: tuple[str | int, ...]) -> tuple[int, str]:
    line, words = node.start_mark.line + 1, []
    for part in path:
        words.append(str(part))
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == part), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line, ".".join(words)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of ``alerts.yaml``."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Rules.model_json_schema(mode="validation")}


def matches(match: Match, incident: Incident, now: float) -> str | None:
    """None when ``match`` holds for the incident now, else the condition that does not."""
    about = incident.about
    globs = (
        ("dag", match.dag, incident.dag_id),
        ("task", match.task, incident.task_id),
        ("owner", match.owner, about.get("owner")),
        ("env", match.env, about.get("env")),
        ("severity", match.severity, incident.severity),
        ("cause", match.cause, incident.cause),
        ("family", match.family, incident.family),
    )
    for name, patterns, value in globs:
        if patterns and not any(fnmatchcase(str(value or ""), pattern) for pattern in patterns):
            return f"{name} is {value or 'unknown'}, not {' or '.join(patterns)}"
    if match.tag and not set(match.tag) & set(about.get("tags") or ()):
        return f"no tag {' or '.join(match.tag)}"
    return _outside(match, now)


def _outside(match: Match, now: float) -> str | None:
    local = datetime.fromtimestamp(now, timezone.utc).astimezone(ZoneInfo(match.timezone))
    if match.days and _DAYS[local.weekday()] not in match.days:
        return f"today is {_DAYS[local.weekday()]}"
    if match.hours:
        start, end = (time.fromisoformat(part) for part in match.hours.split("-"))
        moment = local.time().replace(tzinfo=None)
        inside = start <= moment < end if start <= end else moment >= start or moment < end
        return None if inside else f"it is {moment:%H:%M} {match.timezone}, not {match.hours}"
    return None


def decide(rules: Rules, incident: Incident, now: float, level: int = 0) -> Decision:
    """Who hears of ``incident`` at this level of escalation; without a match the first receiver."""
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


def policy_for(rules: Rules, incident: Incident | None, now: float) -> Policy:
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
        escalate_after=steps,
    )
