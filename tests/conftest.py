"""Every test session has homes of its own: nothing of the person's Airflow or Contrail is read or written."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import signal
import sys
import tempfile
import threading
from pathlib import Path

_HERE = Path(__file__).parent
_ROOMS = [_HERE / name for name in (".", "support", "production", "watch", "dashboards", "local", "airflow/ui")]
sys.path += [str(room) for room in _ROOMS if str(room) not in sys.path]
"""pytest reads ``pythonpath`` where it finds our settings; a test that lies beside the project has only this file."""


def _quick_folder():
    """A file system in memory where it has room: on a disk each commit waits for milliseconds, and tests make many."""
    memory = Path("/dev/shm")
    plenty = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _PLENTY_BYTES
    return memory if plenty and "TMPDIR" not in os.environ else None


_PLENTY_BYTES = 8 << 30
_HOME = Path(tempfile.mkdtemp(prefix="ct-", dir=_quick_folder()))
_HOME.chmod(0o711)  # Elasticsearch and PostgreSQL have users of their own
os.environ["TMPDIR"], tempfile.tempdir = str(_HOME), None
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)

for _name in [name for name in os.environ if name.startswith(("AIRFLOW", "CONTRAIL_", "PYTHONDONTWRITEBYTECODE"))]:
    del os.environ[_name]
sys.dont_write_bytecode = False  # each process of an Airflow would compile it for 4 s
os.environ.update(
    AIRFLOW_HOME=str(_HOME / "airflow"),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    AIRFLOW__LOGGING__LOGGING_LEVEL="WARNING",
    CONTRAIL_HOME=str(_HOME / "contrail"),
    CONTRAIL_STATSD__ENABLED="false",
)

import pytest  # noqa: E402 - the environment first
from processes import by_length, name_process, process_of  # noqa: E402
from programs import NEEDED, why_not  # noqa: E402
from rewriting import rewrite_once  # noqa: E402

from observability import contain, metrics, redact  # noqa: E402

pytest_plugins = (
    "observability.testing.fixtures",
    "airflow_platform",
    "elasticsearch_node",
    "moto_server",
    "postgresql",
)


@pytest.fixture(autouse=True)
def nothing_of_the_test_before():
    """Forget what a test leaves in the process: its losses would travel with the next one's first event.

    The secrets that it adds would be taken out of what the next one emits. The thread of its metrics would read the
    settings while the next one changes them, and might leave those of before in the cache.
    """
    contain.take_losses()
    yield
    redact.forget_secrets()
    if (sender := metrics._thread) is not None:
        metrics._take()
        metrics._wake.set()
        sender.join(10)
        metrics._wake.clear()


@pytest.fixture
def told(contrail):
    """A function that returns the documents of all events emitted in this test, in order."""
    return contrail.events


def pytest_configure(config):
    """End as by Ctrl-C when asked to end, and keep the folders of tests where the path of a socket has room."""
    end_by_interrupt()
    if hasattr(config, "workerinput"):
        return
    if config.option.basetemp is None:
        config.option.basetemp = str(_HOME / "t")
    if getattr(config.option, "numprocesses", None):
        rewrite_once(config)


def end_by_interrupt():
    """Let SIGTERM stop the servers of this session as Ctrl-C does; a process that a test forked ends at once."""
    session = os.getpid()

    def end(number, _frame):
        if os.getpid() == session:
            raise KeyboardInterrupt
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, end)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Keep the garbage collector away from the collected tests, which live as long as the session."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


SERVERS = {"elasticsearch_url": "elasticsearch", "elasticsearch_node": "elasticsearch", "moto_url": "aws"}
"""Fixture → the mark of each test that asks for it."""


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config, items):
    """Mark what needs a server, skip what needs a program that is not there, and share out among several processes."""
    reasons = {mark: why_not(mark) for mark in NEEDED}
    for item in items:
        for mark in {SERVERS[name] for name in SERVERS.keys() & item.fixturenames}:
            item.add_marker(mark)
        for mark, reason in reasons.items():
            if reason and item.get_closest_marker(mark) is not None:
                item.add_marker(pytest.mark.skip(reason=reason))
        item.add_marker(pytest.mark.xdist_group(process_of(item)))
    done = yield
    by_length(items)
    if hasattr(config, "workerinput"):
        for item in items:
            name_process(item)
    return done
