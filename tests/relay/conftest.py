"""A log folder to write into, and what a relay makes of it."""

from __future__ import annotations

import itertools

import pytest
from relay_lines import TASK

from observability.emit import forget
from observability.relay.sources.files.airflow_logs import log_stream
from observability.relay.sources.files.fingerprint import identify
from observability.relay.sources.files.tailed_file import TailedFile
from observability.relay.steps.line_time import origin_of
from observability.settings import get_settings


@pytest.fixture
def logs(tmp_path):
    """Airflow's log folder: ``logs.write(name, bytes)`` appends."""
    return LogFolder(tmp_path / "logs")


class LogFolder:
    def __init__(self, root):
        self.root = root
        root.mkdir()

    def write(self, content, name=TASK):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(content)
        return path

    def tailed(self, name=TASK):
        """The file as the registry would know it."""
        path = self.root / name
        first = path.read_bytes().partition(b"\n")[0]
        found = path.stat()
        stream = log_stream(name, "host", "test")
        return TailedFile(
            stream,
            path,
            found.st_dev,
            found.st_ino,
            identify(name, first),
            origin_of(first),
            found.st_size,
            found.st_mtime,
        )


@pytest.fixture
def settings(tmp_path, logs, monkeypatch):
    """Settings of a relay over ``logs`` with the embedded store, in this test's folders."""
    home = tmp_path / "home"
    environ = {
        "CONTRAIL_CORE__HOME": str(home),
        "CONTRAIL_RELAY__LOG_FOLDER": str(logs.root),
        "CONTRAIL_RELAY__STATSD_PORT": "0",
        "CONTRAIL_RELAY__POLL_MS": "10",
        "CONTRAIL_STORE__RETENTION_DAYS": "36500",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    forget()
    yield get_settings()
    get_settings.cache_clear()
    forget()


@pytest.fixture
def numbered():
    """1, 2, 3, … for lines that can be told apart."""
    return itertools.count(1)
