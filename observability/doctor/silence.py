"""Explain the silence of a process of ours: it is gone, it is stopped, or it hangs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psutil

from observability.doctor.link import Broken
from observability.doctor.ownership import start
from observability.durations import lasting

if TYPE_CHECKING:
    from observability.settings import Settings

__all__ = ["silent", "state_of"]

_COMMANDS = {"relay": "contrail relay", "watcher": "contrail watch"}


def silent(settings: Settings, name: str, pid: Any, age_s: float) -> Broken:
    """Describe the relay or the watcher that was process ``pid`` and has been silent for so long."""
    command = start(settings, _COMMANDS[name])
    word = f"the {name} has been silent for {lasting(age_s)}"
    status = state_of(pid)
    if status in {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP}:
        return Broken(f"{word}: process {pid} is stopped by a signal", f"kill -CONT {pid}")
    if status:
        return Broken(f"{word}, though process {pid} is there ({status})", f"kill -9 {pid}, then {command}")
    return Broken(f"{word}: process {pid} is not there", command)


def state_of(pid: Any) -> str:
    """The state of the process if it is one of ours on this host, else nothing; another host has numbers of its own."""
    try:
        process = psutil.Process(int(pid))
        ours = any("contrail" in part or "observability" in part for part in process.cmdline())
        return str(process.status()) if ours else ""
    except (psutil.Error, ValueError):
        return ""
