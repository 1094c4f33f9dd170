"""Every test session has homes of its own: nothing of the person's Airflow or Contrail is read or written."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections import OrderedDict
from importlib import import_module
from pathlib import Path

_HOME = Path(tempfile.mkdtemp(prefix="contrail-tests-"))
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)

for _name in [name for name in os.environ if name.startswith(("AIRFLOW", "CONTRAIL_"))]:
    del os.environ[_name]
os.environ.update(
    AIRFLOW_HOME=str(_HOME / "airflow"),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    AIRFLOW__LOGGING__LOGGING_LEVEL="WARNING",
    CONTRAIL_HOME=str(_HOME / "contrail"),
    CONTRAIL_STATSD__ENABLED="false",
)

import orjson  # noqa: E402 - the environment first
import pytest  # noqa: E402

emit = import_module("observability.emit")  # the package's attribute of that name is the function
from observability.journal import frames  # noqa: E402
from observability.settings import get_settings  # noqa: E402

pytest_plugins = ("airflow_platform", "elasticsearch_node", "moto_server", "postgresql")


@pytest.fixture
def told(tmp_path, monkeypatch):
    """A function that returns the documents of all events emitted in this test, in order."""
    monkeypatch.setenv("CONTRAIL_HOME", str(tmp_path / "contrail"))
    for cached in (get_settings, emit.journal):
        cached.cache_clear()
    monkeypatch.setattr(emit, "_seen", OrderedDict())

    def documents():
        files = sorted((tmp_path / "contrail" / "journal").glob("*.journal"))
        return [orjson.loads(frame.document) for file in files for frame in frames(file.read_bytes())]

    yield documents
    for cached in (get_settings, emit.journal):
        cached.cache_clear()
