"""A supervisor repeats on its component's stdout what its task says: masked, or not at all."""

from __future__ import annotations

import subprocess
import sys

import pytest

INSIDE = """
import json, sys, structlog
from airflow import settings
settings.initialize()
from observability import redact
from observability.airflow.logging_config import REMOTE_TASK_LOG
from airflow.sdk.execution_time import supervisor
{begin}
redact.add_secret("hunter2/very+secret")
printed = supervisor.forward_to_log((supervisor.reconfigure_logger(
    supervisor.log, structlog.processors.CallsiteParameterAdder),), logger="task.stdout", level=20)
next(printed)
printed.send(b"printed hunter2/very+secret " + "hunter2/very+secret".encode().hex().encode())
logged = supervisor.process_log_messages_from_subprocess((supervisor.log,))
next(logged)
logged.send(json.dumps({{"timestamp": "2026-01-31T12:00:00.000000Z", "level": "info", "event": "logged",
    "hexadecimal": "hunter2/very+secret".encode().hex(), "logger": "x"}}).encode())
"""
BEGINNINGS = {
    "a job begins": "from observability.airflow import listener; listener.on_starting(None)",
    "a worker that is no job opens a task's log": "REMOTE_TASK_LOG.processors",
}


@pytest.mark.parametrize(("begin", "json_logs"), [*zip(BEGINNINGS, ("True", "False"), strict=True)])
def test_the_echo_of_a_task_is_masked_in_every_form(begin, json_logs, monkeypatch):
    monkeypatch.setenv("AIRFLOW__LOGGING__JSON_LOGS", json_logs)
    monkeypatch.setenv("AIRFLOW__LOGGING__LOGGING_LEVEL", "INFO")
    code = INSIDE.format(begin=BEGINNINGS[begin])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    said = done.stdout + done.stderr
    assert ("printed *** ***" in said, "logged" in said) == (True, True)
    assert [form for form in ("hunter2", "68756e746572") if form in said] == []
