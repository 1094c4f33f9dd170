import base64
import io
from urllib.parse import quote

import orjson
import pytest
import structlog
from airflow.sdk import log as sdk_log

from observability import redact
from observability.airflow.remote_log import ContrailLogIO

SECRET = "hunter2/very secret"


@pytest.fixture
def written(monkeypatch):
    """A logger on the pipeline of Airflow's task-log files, and a function that returns what it wrote."""
    monkeypatch.setattr(redact, "_secrets", {})
    redact.add_secret(SECRET)
    monkeypatch.setattr(sdk_log, "load_remote_log_handler", ContrailLogIO)
    sdk_log.logging_processors.cache_clear()
    lines = io.BytesIO()
    logger = structlog.wrap_logger(structlog.BytesLogger(lines), sdk_log.logging_processors(json_output=True))
    yield logger, lambda: [orjson.loads(line) for line in lines.getvalue().splitlines()]
    sdk_log.logging_processors.cache_clear()
    redact._forget_rules()


@pytest.mark.parametrize(
    "shown", [SECRET, quote(SECRET), base64.b64encode(f"x{SECRET}".encode()).decode(), SECRET.encode().hex()]
)
def test_a_line_of_a_task_log_holds_no_form_of_a_secret(written, shown):
    logger, lines = written
    logger.error("calling with %s", shown, url=f"https://me:{shown}@host")
    (line,) = lines()
    assert shown not in str(line)
    assert "***" in line["event"]
    assert list(line)[:3] == ["timestamp", "level", "event"]


def test_an_exception_in_a_task_log_holds_no_secret(written):
    logger, lines = written
    try:
        raise ValueError(SECRET)  # noqa: TRY301 - what is logged
    except ValueError:
        logger.exception("failed")
    assert SECRET not in str(lines())
    assert "ValueError" in str(lines())
