"""Find a failure's reason in what Airflow wrote: a person, its event log, the attempt's last words, the bare state."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from observability.durations import lasting
from observability.watch.facts import CERTAIN, GUESSED, SEEN, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from observability.watch.sources.logs import LastWords

__all__ = ["Verdict", "diagnose_run", "diagnose_task"]

_LOST = {
    "heartbeat timeout": "its worker stopped reporting, and the scheduler gave it up",
    "state mismatch": "its executor says that it ended, and it never said so itself",
}
_FAIL_FAST = "Airflow stopped it, because another task of the run failed and the DAG has fail_fast"
_SETS = {
    "patch_task_instance",
    "patch_task_group_instances",
    "patch_dag_run",
    "bulk_task_instances",
    "bulk_dag_runs",
}
_DAY_S = 86_400.0
_WORDS_MOST = 300
_SOON_S = 60.0
_EXECUTOR = (
    ("oom", re.compile(r"OOM[- ]?Killed|\bexit code:? ?137\b.*memory|memory limit", re.IGNORECASE)),
    (
        "killed",
        re.compile(
            r"\bevict(ed|ion)\b|\bpreempt(ed|ion|ing)\b|DeadlineExceeded|node ?(was )?shut ?down"
            r"|imminent node shutdown|because of (Terminated|Shutdown)$",
            re.IGNORECASE,
        ),
    ),
    (
        "platform",
        re.compile(
            r"ErrImagePull|ImagePullBackOff|InvalidImageName|image not found|manifest unknown"
            r"|CreateContainer(Config)?Error|CrashLoopBackOff|FailedMount|Unschedulable|ProviderFailed|UnexpectedAdmissionError|OutOf(cpu|memory|pods)"
            r"|NodeAffinity|RunContainerError|ContainerCannotRun|StartError|Invalid executor_config"
            r"|CannotPullContainerError|exceeded quota",
            re.IGNORECASE,
        ),
    ),
    (
        "lost_heartbeat",
        re.compile(r"WorkerLost(Error)?|worker (was )?lost|NodeLost|pod (was )?deleted|PodNotFound", re.IGNORECASE),
    ),
)
"""Phrases of Kubernetes, Celery and ECS about a pod, worker or task that is gone, and the cause of each."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A cause, a sentence, the evidence, and how sure it is.

    ``at`` is when a person set to failed what had ended before, in seconds since 1970; None where it ended so.
    """

    cause: str
    reason: str
    certainty: int
    evidence: dict[str, Any] = field(default_factory=dict)
    at: float | None = None


def diagnose_task(  # noqa: PLR0911 - one return for each reason, the surest first
    one: dict[str, Any], events: Sequence[dict[str, Any]], words: LastWords, pod: Sequence[str] = ()
) -> Verdict:
    """The reason why the attempt ``one`` (as the API shows it) failed."""
    evidence = {**words.evidence, "airflow.state": one["state"], "host.name": one.get("hostname") or ""}
    if one.get("duration"):
        evidence["event.duration"] = int(one["duration"] * 1e9)
    mine = [event for event in events if _concerns(event, one)]
    if (hand := _hand(mine, one)) is not None:
        return _by_hand(hand, one, evidence)
    said = {event["event"]: event for event in mine}
    if (executor := _executor_words(mine, words, pod)) is not None:
        return Verdict(*executor, SEEN, {**evidence, "executor": executor[1]})
    if "stuck in queued tries exceeded" in said:
        return Verdict(
            "stuck_queued", str(said["stuck in queued tries exceeded"].get("extra") or ""), CERTAIN, evidence
        )
    if "fail task" in said:
        return Verdict("upstream", _FAIL_FAST, CERTAIN, evidence)
    own = Verdict(words.cause or "", words.reason, CERTAIN if "error.type" in words.evidence else SEEN, evidence)
    if own.cause not in {"", "cancelled"}:
        return own
    lost = next((_LOST[event] for event in _LOST if event in said), "")
    if lost:
        return Verdict("lost_heartbeat", lost, SEEN, evidence)
    if own.cause:  # the supervisor's word, who does not know what brought the task into that state
        return own
    if one.get("start_date") is None:
        return Verdict("platform", "it was failed before it began", GUESSED, evidence)
    return Verdict("app", "it failed, and its log does not say why", GUESSED, evidence)


def _executor_words(events: Sequence[dict[str, Any]], words: LastWords, pod: Sequence[str]) -> tuple[str, str] | None:
    """The cause and the words of an executor that lost a pod or worker: from Airflow's event log, or the task's own."""
    if "error.type" in words.evidence:
        return None
    texts = [str(event.get("extra") or "") for event in events if _is_by_executor(event)]
    lines = [] if words.cause else words.evidence.get("log_tail") or []  # what the supervisor says is surer
    lines = [line for line in lines if line not in words.spoken]  # a task can print anything
    for text in (*pod, *reversed(texts), *reversed(lines)):
        told = text.rpartition("Extra info:")[2].strip() or text
        for cause, pattern in _EXECUTOR:
            if pattern.search(told):
                return cause, " ".join(told.split())[:_WORDS_MOST]
    return ("killed", pod[0][:_WORDS_MOST]) if pod else None


def _is_by_executor(event: dict[str, Any]) -> bool:
    """True where no person is behind it; what people send to the API, a run's conf included, is in the same log."""
    return not event.get("owner") and event.get("task_id") is not None


def _concerns(event: dict[str, Any], one: dict[str, Any]) -> bool:
    if event.get("task_id") not in (None, one["task_id"]):
        return False
    same_map = event.get("map_index") in (None, -1, one["map_index"])
    return same_map and event.get("try_number") in (None, 0, one["try_number"])


def _hand(events: Sequence[dict[str, Any]], one: dict[str, Any]) -> dict[str, Any] | None:
    """The request by which a person failed it: the last one, no older than the end of it."""
    ended = seconds(one["end_date"]) if one.get("end_date") else None
    found = [event for event in events if event["event"] in _SETS and _says_failed(event)]
    near = [event for event in found if ended is None or seconds(event["when"]) - ended > -_SOON_S]
    return near[-1] if near else None


def _says_failed(event: dict[str, Any]) -> bool:
    """Tell whether a request has the state itself, rather than the word in a note."""
    return '"failed"' in str(event.get("extra") or "").replace("\\", "")


def _by_hand(hand: dict[str, Any], one: dict[str, Any], evidence: dict[str, Any]) -> Verdict:
    """A person failed it, perhaps long after it had ended: Airflow leaves its end as it was."""
    when, ended = seconds(hand["when"]), seconds(one["end_date"]) if one.get("end_date") else None
    at = when if ended is not None and when > ended else None
    return Verdict("cancelled", f"marked failed by {hand.get('owner') or 'somebody'}", CERTAIN, evidence, at)


def diagnose_run(
    run: dict[str, Any], tasks: Sequence[dict[str, Any]], events: Sequence[dict[str, Any]], timeout: Any
) -> Verdict:
    """The reason why a run failed that no failed task explains; ``timeout`` is the DAG's ``dagrun_timeout``."""
    if (hand := _hand([event for event in events if event.get("task_id") is None], run)) is not None:
        return _by_hand(hand, run, {})
    states = [one["state"] for one in tasks]
    if "failed" in states:
        failed = [one["task_id"] for one in tasks if one["state"] == "failed"]
        return Verdict("upstream", f"task {failed[0]} failed", GUESSED)
    limit = duration_s(timeout)
    lasted = run.get("duration") or 0.0
    if limit is not None and lasted >= limit:
        return Verdict("timeout", f"it ran {lasting(lasted)}, its dagrun_timeout is {lasting(limit)}", CERTAIN)
    if blocked := [one["task_id"] for one in tasks if one["state"] == "upstream_failed"]:
        return Verdict(
            "app", f"{', '.join(blocked[:5])} could not run, though no task failed: its input is missing", SEEN
        )
    waiting = [one["task_id"] for one in tasks if one["state"] in {None, "scheduled", "none"}]
    if waiting:
        return Verdict("app", f"deadlocked: {', '.join(waiting[:5])} can never run", SEEN)
    return Verdict("platform", "it failed, and no task of it did", GUESSED)


def duration_s(value: Any) -> float | None:
    """Seconds of a duration as the API writes it: a number, or ISO 8601 such as ``PT1H30M``."""
    if value is None or isinstance(value, (int, float)):
        return value
    days, _, clock = str(value).removeprefix("P").partition("T")
    total = float(days.removesuffix("D") or 0) * _DAY_S if days.endswith("D") else 0.0
    for unit, size in (("H", 3600.0), ("M", 60.0), ("S", 1.0)):
        number, found, rest = clock.partition(unit)
        if found:
            total, clock = total + float(number) * size, rest
    return total
