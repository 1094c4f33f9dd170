"""``contrail demo``: real data through a platform of its own, once, and the books at the end."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.live import Live

from observability.cli.printing import console
from observability.demo.days import LAST_DAY, write_days
from observability.demo.reconciliation import notified, reconcile
from observability.demo.scenario import Scenario, Snapshot
from observability.demo.summary import progress, show_summary, summary
from observability.local import health, processes
from observability.local.api import Api
from observability.local.disk_space import is_full, require_room
from observability.local.errors import PlatformError
from observability.local.keys import password
from observability.local.layout import Layout
from observability.local.ports import any_port
from observability.local.stores import backing, make_visible
from observability.settings import get_settings
from observability.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from typing_extensions import Self

    from observability.settings import Settings

__all__ = ["demo"]

_FAST = {
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "2",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "120",
    "FLIGHTS_LAST_DAY": LAST_DAY.isoformat(),
    "CONTRAIL_RELAY__STATSD_INTERVAL_S": "5",
    "CONTRAIL_WATCH__RECONCILE_S": "2",
}
_STOP_S = 20.0
_ALERTS_S = 15.0


def demo(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on the last line of stdout.")] = False,
    store: Annotated[str, typer.Option(help="embedded, elasticsearch or cloudwatch.")] = "embedded",
    home: Annotated[Path | None, typer.Option(help="Folder for all it writes; else a new temporary one.")] = None,
    tied: Annotated[bool, typer.Option("--tied", help="Stop when the process that started this command ends.")] = False,
    patience: Annotated[float, typer.Option(help="Seconds after which it gives up.")] = 240.0,
) -> None:
    """Process real data once, observed end to end, and print what happened; exit status 1: the books do not balance.

    Examples:
      contrail demo
      contrail demo --store elasticsearch --json
      contrail demo --home /tmp/demo
    """
    begun = time.monotonic()
    if tied:
        processes.die_with_parent()
    layout = Layout((home or Path(tempfile.mkdtemp(prefix="contrail-demo-"))).absolute())
    layout.create()
    require_room(layout)
    try:
        with backing(store):
            _play(store, layout, begun=begun, patience=patience, as_json=as_json)
    except (PlatformError, StoreError) as error:
        if is_full(layout):
            raise PlatformError(
                f"the disk of {layout.home} is full: free space there, or name another folder by --home ({error})"
            ) from error
        raise


def _play(store: str, layout: Layout, *, begun: float, patience: float, as_json: bool) -> None:
    out = console(stderr=as_json)
    settings = _settle(layout, store)
    write_days(layout.data / "input")
    out.print(f"Contrail's demo, in {layout.home}", soft_wrap=True)
    with _platform(layout) as guardian:
        _await_health(guardian, layout, settings, out, patience)
        with Api(settings.api_url, password(layout)) as api, _Screen(out) as screen:
            snapshot = Scenario(api, screen.show, patience_s=patience).play()
        _await_alerts(settings, snapshot)
    _drain()
    make_visible(settings)
    counted = reconcile(layout, settings)
    result = summary(snapshot, counted, seconds=time.monotonic() - begun, look_at=_look_at(layout, store))
    show_summary(snapshot, counted, result, out)
    if as_json:
        typer.echo(json.dumps(result))
    if counted.faults():
        raise typer.Exit(1)


def _look_at(layout: Layout, store: str) -> str:
    """The command to go on with; a node or moto of the demo's own has ended with it, the ledger has not."""
    stays = {"elasticsearch": "ES_URL", "cloudwatch": "AWS_ENDPOINT_URL"}.get(store)
    options = {"CONTRAIL_HOME": str(layout.home)}
    if stays and stays in os.environ:
        passed = ("CONTRAIL_STORE__BACKEND", "CONTRAIL_ELASTICSEARCH__URL", "CONTRAIL_CLOUDWATCH__ENDPOINT_URL")
        options |= {name: os.environ[name] for name in passed if name in os.environ}
    shell = os.path.relpath(Path(sys.executable).with_name("contrail"))
    question = "alerts list" if stays and stays not in os.environ else "events"
    return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in options.items()), shell, question])


def _settle(layout: Layout, store: str) -> Settings:
    """Set the options of the demo in this process's environment, which the platform inherits."""
    statsd = str(any_port(socket.SOCK_DGRAM))
    os.environ.update(
        {
            "CONTRAIL_HOME": str(layout.home),
            "CONTRAIL_STORE__BACKEND": store,
            "CONTRAIL_RELAY__SINKS": store,
            "CONTRAIL_AIRFLOW__PORT": str(any_port(socket.SOCK_STREAM)),
            "CONTRAIL_RELAY__STATSD_PORT": statsd,
            "CONTRAIL_STATSD__PORT": statsd,
            "AIRFLOW_HOME": str(layout.airflow_home),
            "AIRFLOW_VAR_FLIGHTS_SOURCE": str(layout.data / "input"),
            **_FAST,
        }
    )
    get_settings.cache_clear()
    return get_settings()


@contextmanager
def _platform(layout: Layout) -> Iterator[subprocess.Popen[bytes]]:
    """A platform for the length of a block; every process of it is gone afterwards."""
    console = layout.components / "console.log"
    with console.open("wb") as output:
        guardian = subprocess.Popen(
            [sys.executable, "-m", "observability.cli", "up", "--tied"],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield guardian
    finally:
        _stop(guardian)
        signal.signal(signal.SIGTERM, previous)


def _stop(guardian: subprocess.Popen[bytes]) -> None:
    guardian.terminate()
    try:
        guardian.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        guardian.kill()  # its supervisor notices, and ends the rest


def _interrupt(number: int, frame: object) -> NoReturn:  # noqa: ARG001 - a signal handler's signature
    raise KeyboardInterrupt


def _await_health(
    guardian: subprocess.Popen[bytes], layout: Layout, settings: Settings, console: Console, patience_s: float
) -> None:
    deadline = time.monotonic() + patience_s
    with console.status("starting the platform") as spinner:
        while not (now := health.look(layout, settings)).healthy:
            if guardian.poll() is not None:
                raise PlatformError(f"the platform did not start; why stands in {layout.components / 'console.log'}")
            if time.monotonic() > deadline:
                sick = ", ".join(part.name for part in now.components if part.state != "healthy")
                raise PlatformError(
                    f"the platform did not become healthy ({sick or now.phase}); look into {layout.components}"
                )
            well = [part.name for part in now.components if part.state == "healthy"]
            spinner.update(f"starting the platform: {now.phase}; healthy: {', '.join(well) or 'none yet'}")
            time.sleep(0.3)


def _await_alerts(settings: Settings, snapshot: Snapshot) -> None:
    """Wait until somebody was notified of each failed task, or long enough to say that nobody was."""
    failed = {
        (task["dag_id"], task["dag_run_id"], task["task_id"]) for task in snapshot.tasks if task["state"] == "failed"
    }
    deadline = time.monotonic() + _ALERTS_S
    while failed - notified(settings) and time.monotonic() < deadline:
        time.sleep(0.3)


def _drain() -> None:
    """Carry what was written after the relay had gone. Raises :class:`PlatformError`."""
    command = [sys.executable, "-m", "observability.cli", "relay", "--once"]
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - our own command
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise PlatformError(f"the relay could not deliver everything: {''.join(last)}; see contrail relay --status")


class _Screen:
    """The runs as they go: redrawn on a terminal, a line per change elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None
        self._said: dict[tuple[str, str], str] = {}

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, snapshot: Snapshot) -> None:
        """Take in what Airflow says now."""
        if self._live:
            self._live.update(progress(snapshot))
            return
        for chapter in snapshot.chapters():
            key = chapter.dag_id, chapter.run_id
            if self._said.get(key) != chapter.state:
                self._console.print(f"{time.strftime('%H:%M:%S')}  {chapter.title:<26} {chapter.state}")
            self._said[key] = chapter.state
