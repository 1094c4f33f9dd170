"""One of several schedulers, triggerers or dag processors that fell silent while another of them is at work.

Airflow's health has the newest heartbeat of each kind only, its jobs have each. They are told apart by their host: of
two on one host nobody can say which of them is to be there.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from observability.durations import lasting
from observability.events import ComponentRecovered, ComponentSilent, Identity
from observability.watch import gauges
from observability.watch.facts import CERTAIN, observed, seconds
from observability.watch.sources.starting import STARTS_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from observability.watch.facts import Fact
    from observability.watch.sources.api import AirflowApi

__all__ = ["silent_peers"]

_COMPONENTS = {"SchedulerJob": "scheduler", "TriggererJob": "triggerer", "DagProcessorJob": "dag-processor"}
_NEWEST = 100
_ENDED = "success"
"""The state of a job that was told to end: a scale-down or a roll-out is no fault."""


def silent_peers(
    api: AirflowApi, known: dict[str, Any], now: float, limit_s: float, *, looked_away: bool = False
) -> Iterator[Fact]:
    """Findings about each component that is silent for ``limit_s`` while another of its kind is not, or is back.

    ``known`` is changed: by component and host, how many of the kind were at work when it last was, which are
    silent, and the oldest heartbeat of these by component. One that takes the place of another (a new pod) ends the
    finding about that. Where the watcher ``looked_away``, all of Airflow may be starting, one after another.
    """
    listed = (api.get("/jobs", limit=_NEWEST, order_by="-latest_heartbeat") or {}).get("jobs", [])
    jobs = _newest_of_each(listed)
    alive = {key for key, job in jobs.items() if _is_alive(job, now, limit_s)}
    at_work = Counter(key.partition("|")[0] for key in alive)
    with_it: dict[str, int] = known.setdefault("with_it", {})
    silent: list[str] = known.setdefault("silent", [])
    awaited: dict[str, float] = known.setdefault("awaited", {})
    for key in alive:
        with_it[key] = at_work[key.partition("|")[0]]
        awaited.pop(key, None)
    if looked_away:
        awaited |= {key: awaited.get(key, now) for key in with_it if key not in alive and key not in silent}
    for key in [key for key in with_it if key not in alive]:
        name, _, host = key.partition("|")
        if not at_work[name]:
            continue  # all of them are silent, which Airflow's health says
        job = jobs.get(key)
        is_replaced = at_work[name] >= with_it[key]
        if job is None or job["state"] == _ENDED or is_replaced:
            del with_it[key]
            awaited.pop(key, None)
            if key in silent:
                silent.remove(key)
                yield _back(name, host, "another has taken its place" if is_replaced else "it was ended", now)
        elif key not in silent and now - awaited.get(key, 0.0) >= STARTS_S:
            silent.append(key)
            yield _gone(name, host, now - seconds(job["latest_heartbeat"]), at_work[name], now)
    for key in [key for key in silent if key in alive]:
        silent.remove(key)
        name, _, host = key.partition("|")
        yield _back(name, host, "it has a heartbeat again", now)
    known["oldest"] = _oldest(silent, jobs)
    for name, beat in known["oldest"].items():
        gauges.heartbeat(name, now - beat)


def _oldest(silent: list[str], jobs: dict[str, dict[str, Any]]) -> dict[str, float]:
    """The oldest heartbeat of each kind that has a silent one: alarms watch its age, of all hosts."""
    found: dict[str, float] = {}
    for key in [one for one in silent if one in jobs]:
        name = key.partition("|")[0]
        beat = seconds(jobs[key]["latest_heartbeat"])
        found[name] = min(found.get(name, beat), beat)
    return found


def _newest_of_each(listed: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The job with the newest heartbeat of each component and host."""
    found: dict[str, dict[str, Any]] = {}
    for job in listed:
        if _is_whole(job) and (name := _COMPONENTS.get(str(job.get("job_type")))):
            found.setdefault(f"{name}|{job['hostname']}", job)
    return found


def _is_whole(job: Any) -> bool:
    """True if a row says whose heartbeat it is and when; another is passed over, and hides none beside it."""
    try:
        seconds(job["latest_heartbeat"])
    except (AttributeError, LookupError, TypeError, ValueError):
        return False
    return isinstance(job["latest_heartbeat"], str) and bool(job.get("hostname")) and "state" in job


def _is_alive(job: dict[str, Any], now: float, limit_s: float) -> bool:
    return job["state"] == "running" and now - seconds(job["latest_heartbeat"]) <= limit_s


def _gone(name: str, host: str, age_s: float, others: int, now: float) -> Fact:
    rest = f"{others} other{'s are' if others > 1 else ' is'} at work"
    reason = f"its last heartbeat was {lasting(age_s)} ago; {rest}"
    return observed(
        ComponentSilent(identity=Identity(component=name), hostname=host, reason=reason), time=now, certainty=CERTAIN
    )


def _back(name: str, host: str, why: str, now: float) -> Fact:
    return observed(ComponentRecovered(identity=Identity(component=name), hostname=host, reason=why), time=now)
