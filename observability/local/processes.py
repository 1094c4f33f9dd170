"""Processes that cannot outlive us: adopted, found and ended whatever they have become."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

__all__ = ["adopt_orphans", "born_with", "descendants", "die_with_parent", "end", "reap"]

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies, so that none leaves the tree (Linux)."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent() -> None:
    """Get SIGTERM when the process that started this one ends (Linux)."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def born_with(parent: int) -> Callable[[], None]:
    """The steps of a new process before its program: it gets SIGTERM when ``parent`` dies, and blocks no signal."""

    def begin() -> None:
        die_with_parent()
        if os.getppid() != parent:
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])

    return begin


def descendants(pid: int, *, besides: Collection[int] = ()) -> list[psutil.Process]:
    """The living processes below ``pid``, without the trees of those in ``besides``."""
    found = _children(pid)
    spared = set(besides) | {child.pid for root in besides if psutil.pid_exists(root) for child in _children(root)}
    return [process for process in found if process.pid not in spared and _lives(process)]


def end(find: Callable[[], list[psutil.Process]], *, grace_s: float, reap: Callable[[], object]) -> None:
    """End what ``find`` finds: wait ``grace_s`` for it to go by itself, then SIGKILL until nothing is found.

    ``reap`` collects the exit status of children, which would be found as zombies otherwise.
    """
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline:
        reap()
        if not find():
            return
        time.sleep(0.05)
    while found := find():
        for process in found:
            _signal(process, signal.SIGKILL)
        time.sleep(0.05)
        reap()


def reap() -> dict[int, int]:
    """Collect the children that have ended, adopted ones included: process id → exit code (negative: a signal)."""
    ended: dict[int, int] = {}
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            ended[found[0]] = os.waitstatus_to_exitcode(found[1])
    return ended


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _signal(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
