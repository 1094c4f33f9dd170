"""The processes of Airflow's components and of ours on this host, and what they use.

A component is known by its command line or by the title that it gave itself, and its children are of it. A process that
is not in the relay's namespace (another container's, unless they share one) is not seen, and one of another Airflow
(another ``AIRFLOW_HOME``, see :mod:`.ownership`) is left out. Where two Airflows share the host, a process that shows
in no way of which it is counts as of the component ``unknown``.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from observability.relay.sources.components.cgroups import Cgroups
from observability.relay.sources.components.ownership import is_of_ours
from observability.relay.sources.components.readings import Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["ProcessReader", "component_of"]

_AIRFLOW = {
    "scheduler": "scheduler",
    "dag-processor": "dag-processor",
    "triggerer": "triggerer",
    "api-server": "api-server",
    "celery": "worker",
    "worker": "worker",
    "serve-logs": "worker",
    "supervisor": "worker",
    "task": "worker",
}
"""The word behind ``airflow`` on a command line or in a title → the component."""
_OURS = {"relay": "relay", "watch": "watcher"}
_UNKNOWN = "unknown"
_SETTLED_S = 30.0
"""A younger process may still become another program, or take a title."""
_UUID_DASHES = 4


class ProcessReader:
    """Reads the processes of this host's components. Where a process says nothing to us, it is left out."""

    name = "processes"

    def __init__(self) -> None:
        self._others: dict[int, float] = {}
        self._of_another: dict[int, float] = {}
        """The components of another Airflow: when each of them began."""
        self._cpu: dict[tuple[int, float], tuple[float, float, str, int]] = {}
        self._cgroups = Cgroups()

    def presence(self, *, up: bool) -> list[Sample]:  # noqa: ARG002 - this host is there
        """Nothing."""
        return []

    def read(self) -> list[Sample]:
        """Read what each component's processes use now."""
        members = self._members()
        spent = self._spent(members)
        found: list[Sample] = []
        for component, processes in sorted(members.items()):
            about = {"component": component}
            memory, files = 0, 0
            for process in processes:
                memory += _asked(process, "memory_info")
                files += _asked(process, "num_fds")
            found += [
                Sample("contrail.component.processes", "gauge", len(processes), about),
                Sample("contrail.component.memory_bytes", "gauge", memory, about),
                Sample("contrail.component.open_files", "gauge", files, about),
                Sample("contrail.component.cpu_ms", "counter", spent[component] * 1000, about),
            ]
        return [*found, *self._cgroups.read({name: [one.pid for one in some] for name, some in members.items()})]

    def _members(self) -> dict[str, list[psutil.Process]]:
        """The processes of each component; those that belong to none are looked at once they are settled no more."""
        now = time.time()
        known: dict[int, str] = {}
        found: defaultdict[str, list[psutil.Process]] = defaultdict(list)
        others, of_another, unsure = {}, {}, set()
        for process in psutil.process_iter():  # by id: a parent mostly before its children
            try:
                began, pid, parent = process.create_time(), process.pid, process.ppid()
                if self._others.get(pid) == began:
                    others[pid] = began
                    if self._of_another.get(pid) == began:
                        of_another[pid] = began
                    continue
                own = "relay" if pid == os.getpid() else component_of(process.cmdline())
                ours: bool | None = parent in known or not own or pid == os.getpid()
                if not ours:
                    ours = False if parent in of_another else is_of_ours(process)
            except psutil.Error:
                continue
            if ours is False:
                of_another[pid] = began
            if ours is None or parent in unsure:
                unsure.add(pid)
            component = "" if ours is False else own or known.get(parent, "")
            if component:
                known[pid] = component
                found[component].append(process)
            elif now - began > _SETTLED_S:
                others[pid] = began
        self._others, self._of_another = others, of_another
        return _with_unknown(found, unsure) if of_another else dict(found)

    def _spent(self, members: dict[str, list[psutil.Process]]) -> defaultdict[str, float]:
        """Seconds of processor time since the reading before, by component.

        What a process spent between its last reading and its end stands in the times of its parent's children.
        """
        spent: defaultdict[str, float] = defaultdict(float)
        now: dict[tuple[int, float], tuple[float, float, str, int]] = {}
        for component, processes in members.items():
            for process in processes:
                try:
                    times, parent = process.cpu_times(), process.ppid()
                    key = process.pid, process.create_time()
                except psutil.Error:
                    continue
                ended = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
                now[key] = times.user + times.system, ended, component, parent
        gone: defaultdict[int, list[tuple[float, float, str, int]]] = defaultdict(list)
        for key, last in self._cpu.items():
            if key not in now:
                gone[last[3]].append(last)
        for key, (own, ended, component, _) in now.items():
            before = self._cpu.get(key)
            if before is None:
                continue
            spent[component] += max(0.0, own - before[0])
            children = gone.get(key[0], [])
            rest = ended - before[1] - sum(child[0] + child[1] for child in children)
            spent[children[0][2] if children else component] += max(0.0, rest)
        self._cpu = now
        return spent


def _with_unknown(found: dict[str, list[psutil.Process]], unsure: set[int]) -> dict[str, list[psutil.Process]]:
    """The processes of each component, those apart that may as well be another Airflow's."""
    sure = {name: [one for one in some if one.pid not in unsure] for name, some in found.items()}
    unknown = [one for some in found.values() for one in some if one.pid in unsure]
    return {name: some for name, some in {**sure, _UNKNOWN: unknown}.items() if some}


def component_of(arguments: Sequence[str]) -> str:
    """The component that a command line or a title is of, "" for none."""
    given = [one for one in arguments if one]  # a title is followed by what is left of the arguments' room
    words = given[0].split() if len(given) == 1 else given
    for place, word in enumerate(words[:-1]):
        name, following = Path(word.strip("([")).name, words[place + 1].rstrip(":)]")
        if name == "airflow":
            component = _AIRFLOW.get(following.replace("_", "-"), "")
            is_task = following == "worker" and words[place + 2 : place + 3] == ["--"] and _is_id(words[place + 3 :])
            return "task" if is_task else component
        if name == "celeryd:":
            return "worker"
        if name in {"contrail", "observability.cli"} and following in _OURS:
            return _OURS[following]
    return ""


def _is_id(words: Iterable[str]) -> bool:
    """True where the title goes on with the id of a task instance."""
    return next(iter(words), "").count("-") == _UUID_DASHES


def _asked(process: psutil.Process, what: str) -> int:
    """Resident bytes, or open descriptors; 0 where we may not ask."""
    try:
        return int(process.memory_info().rss if what == "memory_info" else process.num_fds())
    except psutil.Error:
        return 0
