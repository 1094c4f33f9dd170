"""A platform whose components are stubborn: they ignore signals and leave children in sessions of their own.

``stub_platform.py keep`` is the guardian; the other words are what it starts. With STUB_API_AFTER_S its API server
listens after so many seconds, and its scheduler runs tasks.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path

from observability.local import supervisor
from observability.local.components import Component
from observability.local.guardian import Guardian
from observability.local.layout import Layout
from observability.local.state import take_lock

_HOME = Path(os.environ["CONTRAIL_HOME"])
_SOCKET = os.environ.get("AIRFLOW__METRICS__STATSD_SOCKET_PATH", "")


def keep():
    layout = Layout(_HOME)
    layout.create()
    lock = take_lock(layout)
    os.set_inheritable(lock, True)
    command = (sys.executable, __file__, "supervise")
    sys.exit(Guardian(dict(os.environ), lock=lock, supervisor=command, tied="tied" in sys.argv).run(lambda: None))


def supervise():
    supervisor.MIGRATION = (sys.executable, __file__, "connect") if _SOCKET else ("true",)
    supervisor._GRACE_S = 1.0
    stubborn = Component("scheduler", (sys.executable, __file__, "resist"))
    brief = Component("triggerer", (sys.executable, __file__, "fail"))
    obedient = Component("relay", (sys.executable, __file__, "obey"), last=True)
    if os.environ.get("STUB_API_AFTER_S"):
        server = Component("api-server", (sys.executable, __file__, "serve"))
        stubborn = Component("scheduler", (sys.executable, __file__, "resist"), needs_api=True)
        supervisor._API_WAIT_S = float(os.environ["STUB_API_WAIT_S"])
        supervisor.components = lambda _settings: (obedient, server, stubborn, brief)
    else:
        supervisor.components = lambda _settings: (obedient, stubborn, brief)
    supervisor.main()


def serve():
    """Listen late, as an API server does that has much to import."""
    time.sleep(float(os.environ["STUB_API_AFTER_S"]))
    with socket.create_server(("127.0.0.1", int(os.environ["CONTRAIL_AIRFLOW__PORT"]))):
        _sign("api")
        time.sleep(600)


def resist():
    """Ignore what can be ignored, fork a child into its own session, and from there one whose parent is gone."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.setsid()
            if os.fork():
                os._exit(0)
            _sign("orphan")
        else:
            _sign("child")
    else:
        _sign("component")
    time.sleep(600)


def obey():
    """Status, and be slow to listen where Airflow's metrics are to be sent."""
    _sign("relay")
    if _SOCKET:
        time.sleep(1)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(_SOCKET)
        listener.listen()
    time.sleep(600)


def connect():
    """End with 1 where nobody listens there, as each of Airflow's components does."""
    socket.socket(socket.AF_UNIX).connect(_SOCKET)
    _sign("connected")


def fail():
    sys.exit("no")


def _sign(name):
    (_HOME / f"{name}.pid").write_text(str(os.getpid()))


if __name__ == "__main__":
    globals()[sys.argv[1]]()
