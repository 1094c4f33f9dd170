"""The parts of ``alerts.yaml``: channels, receivers, routes, silences, waits, limits, proofs."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, PrivateAttr, model_validator

from observability.watch.rules.deadline import Deadline
from observability.watch.rules.matching import Match
from observability.watch.rules.values import Duration, Moment, Reference, Severity, Strict

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CHANNEL_KEYS",
    "AlertingConfig",
    "ChannelSpec",
    "Escalation",
    "Proof",
    "Receiver",
    "Route",
    "Thresholds",
    "Timing",
    "Window",
    "with_calendar",
]

CHANNEL_KEYS: dict[str, tuple[str, ...]] = {
    "file": ("path",),
    "log": (),
    "webhook": ("url", "secret", "allow"),
    "slack": ("url", "allow"),
    "apprise": ("url", "allow"),
    "address": ("url", "allow"),
    "smtp": ("to", "connection", "allow"),
    "sns": ("topic", "connection", "allow"),
    "pagerduty": ("routing_key", "url", "allow"),
}
"""The keys that a type of channel uses, of which it needs the first; a type that is not listed may use all."""


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
        needed = next(iter(CHANNEL_KEYS.get(self.type, ())), None)
        if needed and not getattr(self, needed):
            raise ValueError(f"a channel of type {self.type} needs {needed!r}")
        return self


class Escalation(Strict):
    """The next receivers of an incident that nobody has acknowledged."""

    after: Duration
    receiver: str


class Receiver(Strict):
    """A person or team: the channels on which they are notified, and who is notified when these stay down."""

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
    """A maintenance window or a standing silence: nobody is notified of what matches while it lasts.

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
