"""``contrail up`` and ``contrail down``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import psutil
import typer

from observability.cli.printing import console
from observability.local import health, processes
from observability.local.disk_space import require_room
from observability.local.environment import environment
from observability.local.errors import PlatformError
from observability.local.guardian import Guardian
from observability.local.keys import USER, create_keys
from observability.local.layout import Layout
from observability.local.leftovers import end_leftovers
from observability.local.ports import require_ports
from observability.local.state import PlatformState, is_running, read_state, take_lock
from observability.owner_only_files import make_folder
from observability.settings import Settings, get_settings

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["down", "up"]

_STOP_S = 15.0
_LOOK_EVERY_S = 1.0
_HOMES = ("CONTRAIL_HOME", "CONTRAIL_CORE__HOME", "CONTRAIL_CONTRAIL__HOME", "CONTRAIL_CONFIG", "AIRFLOW_HOME")
"""Variables that name the home."""


def up(
    *,
    port: Annotated[
        int | None, typer.Option(help="Port of the Airflow UI; else [airflow] port.", min=1, max=65535)
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return when everything is healthy; contrail down stops it.")
    ] = False,
    wait_timeout: Annotated[
        float, typer.Option(help="With --detach: seconds until everything must be healthy.", min=1)
    ] = 180.0,
    tied: Annotated[bool, typer.Option("--tied", help="Stop when the process that started this command ends.")] = False,
) -> None:
    """Start the platform: Airflow, the relay and the watcher.

    Examples:
      contrail up                                                until Ctrl-C
      contrail up --port 8081 --detach
    """
    if port is not None:
        os.environ["CONTRAIL_AIRFLOW__PORT"] = str(port)
        get_settings.cache_clear()
    if not any(os.environ.get(name) for name in _HOMES):
        make_folder(Path.cwd() / ".contrail")  # a platform is where it is started, also beside somebody's ~/airflow
    settings = get_settings()
    layout = Layout(settings.home.absolute())
    layout.create()
    require_room(layout)
    lock = take_lock(layout)
    if ended := end_leftovers(layout):
        typer.echo(f"Ended {ended} processes that a killed platform of {layout.home} had left behind.")
    require_ports(settings)
    create_keys(layout, settings)
    screen = console()
    if detach:
        os.close(lock)
        _detach(layout, settings, screen, wait_timeout)
        return
    os.environ.update(environment(layout, settings))
    get_settings.cache_clear()
    os.set_inheritable(lock, True)
    status = Guardian(dict(os.environ), lock=lock, tied=tied).run(_Narrator(layout, settings, screen).look)
    if status:
        raise PlatformError(f"the platform ended by itself; why stands in {layout.components}, begin with platform.log")
    screen.print("Stopped.")


def down() -> None:
    """Stop the platform and every process of it.

    Examples:
      contrail down
    """
    layout = Layout(get_settings().home.absolute())
    state = read_state(layout)
    if state is None or not is_running(layout):
        typer.echo(f"No platform of {layout.home} is running.")
        return
    _signal(state, signal.SIGTERM)
    if not _gone(layout, _STOP_S - 1):
        _kill(state)
        if not _gone(layout, 2.0):
            raise PlatformError(
                f"process {state.guardian} does not end; look at it with: ps -fp {state.guardian},{state.supervisor}"
            )
    typer.echo("Stopped.")


class _Narrator:
    """Says what changes while the platform starts and runs."""

    def __init__(self, layout: Layout, settings: Settings, console: Console) -> None:
        self._layout, self._settings, self._console = layout, settings, console
        self._said: dict[str, str] = {}
        self._next = 0.0
        self._welcomed = False

    def look(self) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + (_LOOK_EVERY_S if not self._welcomed else 5 * _LOOK_EVERY_S)
        now = health.look(self._layout, self._settings)
        self._say("platform", now.phase)
        self._say("store", now.store or "answers")
        for part in now.components:
            self._say(
                part.name,
                part.state if not part.restarts else f"{part.state} (restarted {part.restarts} times: {part.detail})",
            )
        if now.healthy and not self._welcomed:
            self._welcomed = True
            welcome(self._layout, now.url, self._console)

    def _say(self, name: str, words: str) -> None:
        if self._said.get(name) != words and words != "starting":
            self._console.print(f"{time.strftime('%H:%M:%S')}  {name:<14} {words}")
        self._said[name] = words


def welcome(layout: Layout, url: str, console: Console) -> None:
    """Say where to look and how to log in; the password stays in its file."""
    console.print(f"\nAirflow   {url}  (user {USER}, password in {layout.passwords})")
    console.print(
        "Next      contrail status | contrail events --follow | contrail logs DAG | contrail down\n", soft_wrap=True
    )


def _detach(layout: Layout, settings: Settings, console: Console, wait_s: float) -> None:
    path = layout.components / "console.log"
    with path.open("wb") as output:
        guardian = subprocess.Popen(
            [sys.executable, "-m", "observability.cli", "up"],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    deadline, now = time.monotonic() + wait_s, health.look(layout, settings)
    while time.monotonic() < deadline:
        if guardian.poll() is not None:
            raise PlatformError(
                f"the platform did not start: {path.read_text('utf-8').strip().splitlines()[-1:]}; see {path}"
            )
        now = health.look(layout, settings)
        if now.healthy:
            welcome(layout, settings.public_url, console)
            return
        time.sleep(0.5)
    why = now.trouble or f"it is {now.phase}"
    raise PlatformError(
        f"the platform is not healthy after {wait_s:.0f} s: {why} (contrail status says more; contrail down stops it;"
        " a busy machine takes longer: --wait-timeout)"
    )


def _signal(state: PlatformState, number: signal.Signals) -> None:
    for pid in (state.guardian, state.supervisor):
        if _is_ours(pid, state):
            os.kill(pid, number)
            return


def _kill(state: PlatformState) -> None:
    for pid in (state.guardian, state.supervisor):
        if _is_ours(pid, state):
            for process in (*processes.descendants(pid), psutil.Process(pid)):
                process.kill()


def _is_ours(pid: int, state: PlatformState) -> bool:
    try:
        return psutil.Process(pid).create_time() <= state.started + 1
    except psutil.NoSuchProcess:
        return False


def _gone(layout: Layout, patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while is_running(layout):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
