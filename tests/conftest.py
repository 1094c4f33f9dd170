"""Every test session has homes of its own: nothing of the person's Airflow or Contrail is read or written."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
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

import pytest  # noqa: E402 - the environment first
from programs import NEEDED, why_not  # noqa: E402

pytest_plugins = (
    "observability.testing.fixtures",
    "airflow_platform",
    "elasticsearch_node",
    "moto_server",
    "postgresql",
)


@pytest.fixture
def told(contrail):
    """A function that returns the documents of all events emitted in this test, in order."""
    return contrail.events


SHARED = ("platform", "demo", "elasticsearch_node", "elasticsearch_url", "postgresql_server")
"""Fixtures that start a server for the whole session: their tests stay in one process, so that each starts once."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Skip what needs a program that is not installed, and say which tests go to one process of several."""
    reasons = {mark: why_not(mark) for mark in NEEDED}
    for item in items:
        for mark, reason in reasons.items():
            if reason and item.get_closest_marker(mark) is not None:
                item.add_marker(pytest.mark.skip(reason=reason))
        shared = next((name for name in SHARED if name in item.fixturenames), None)
        item.add_marker(pytest.mark.xdist_group(shared or item.path.name))
