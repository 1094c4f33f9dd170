"""Stores filled with what the product itself emitted: the demo's files, and drills for what a healthy system lacks."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import postgresql
import redis_server
from packaging.version import Version

from observability import catalog
from observability.dashboards.boards import BOARDS
from observability.dashboards.panels import signals_of
from observability.relay.relay import Relay
from observability.relay.sources.components.cgroups import Cgroups
from observability.settings import load_settings

_DRILLS = Path(__file__).with_name("play_drills.py")


def not_installed():
    """Panels that the drills leave empty here: the server that they are about is not installed, or no kernel does it.

    Nor does an Airflow send what came with a later one: the matrix asks that one.

    No drill has a component killed or held back by its cgroup: that takes the right to make one with a limit.
    """
    database = () if postgresql.programs() else ("Sessions of the database", "Database: answer and oldest transaction")
    broker = () if redis_server.PROGRAM else ("Messages waiting by queue",)
    cgroups = ("Killed by the kernel for memory", "Held back by a CPU limit")
    memory = () if _has_a_cgroup_of_its_own() else ("Memory of cgroups",)
    named = {f"Contrail: platform / {title}" for title in (*database, *broker, *memory, *cgroups)}
    return named | _of_a_later_airflow()


def _of_a_later_airflow():
    """Panels that ask for nothing but metrics that came with an Airflow later than the installed one."""
    here = Version(version("apache-airflow")).release
    later = {name for name, spec in catalog.AIRFLOW_METRICS.items() if Version(spec.since or "0").release > here}
    return {
        f"{board.title} / {panel.title}"
        for board in BOARDS
        for panel in board.panels
        if later.issuperset(signal.metric for signal in signals_of(panel)) and signals_of(panel)
    }


def _has_a_cgroup_of_its_own():
    """True if the kernel counts our memory apart from the rest of the host's; in the host's own cgroup it does not."""
    samples = Cgroups().read({"relay": [os.getpid()]})
    return any(sample.metric == "contrail.component.cgroup_memory_bytes" for sample in samples)


def emit_drills(home):
    """Play the drills below ``home``, in a process of their own: the product makes each document."""
    played = subprocess.run([sys.executable, _DRILLS, home], capture_output=True, check=False, text=True, timeout=400)
    assert played.returncode == 0, played.stderr[-4000:]


def carried(home, target, environ):
    """The settings of a deployment into whose sink everything below ``home`` has been carried."""
    settings = load_settings(
        environ={
            "CONTRAIL_CORE__HOME": str(target),
            "CONTRAIL_JOURNAL__DIRECTORY": str(home / "journal"),
            "CONTRAIL_RELAY__LOG_FOLDER": str(home / "airflow" / "logs"),
            **environ,
        }
    )
    assert Relay(settings, statsd=False).run(once=True)
    return settings
