"""An on-call drill on a phone: failure, message, cause, rerun, resolved; in seconds, and in the taps of a person.

A real Airflow with delivery and watcher in its API server, and a real Chromium of a phone's size. The person reads
nothing and does not think: what is measured is what Airflow and Contrail let them wait.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from benchmarks.figure import Figure, Options, Sample, Target
from benchmarks.two_airflows import _running as running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from selenium.webdriver.remote.webdriver import WebDriver

_PATIENCE_S = 600.0
_PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
_REASON = "the file of today is not there"
_DAG = f"""
import os
from airflow.sdk import dag, task

@dag(schedule=None, is_paused_upon_creation=False)
def orders():
    @task
    def load():
        if not os.path.exists(os.environ["FILE_OF_TODAY"]):
            raise FileNotFoundError("{_REASON}")
    load()

orders()
"""
_STEPS = {
    "message": "failure to message",
    "cause": "message to cause on the screen",
    "rerun": "cause to rerun under way",
    "resolved": "rerun to resolved",
}


class _Phone:
    """A browser that counts the taps of its person."""

    def __init__(self, driver: WebDriver) -> None:
        self.driver, self.taps = driver, 0

    def tap(self, by: str, what: str) -> None:
        """Tap on an element that is on the page."""
        self.driver.find_element(by, what).click()
        self.taps += 1


def run(options: Options) -> list[Figure]:
    """Play the drill once a round."""
    rounds = [_drill() for _ in range(1 if options.quick else options.rounds)]
    taps = Sample(tuple(one["taps"] for one in rounds))
    return [
        Figure("taps from the message to resolved", "taps", taps, targets=(Target(at_most=2),)),
        *(Figure(what, "s", Sample(tuple(one[step] for one in rounds))) for step, what in _STEPS.items()),
        Figure("failure to resolved", "s", Sample(tuple(sum(one[step] for step in _STEPS) for one in rounds))),
    ]


def _drill() -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="contrail-drill-", ignore_cleanup_errors=True) as folder:
        home, dags, file = Path(folder), Path(folder) / "dags", Path(folder) / "today.csv"
        dags.mkdir()
        (dags / "orders.py").write_text(_DAG)
        more = {"CONTRAIL_AIRFLOW__IN_API_SERVER": "true", "FILE_OF_TODAY": str(file)}
        with running(home, dags, more, relay=False) as airflow, _browser() as phone:
            return _played(_Phone(phone), home / "contrail" / "alerts.jsonl", airflow._http, file)  # noqa: SLF001


def _played(phone: _Phone, messages: Path, airflow: httpx.Client, file: Path) -> dict[str, float]:
    base = str(airflow.base_url)
    _await(lambda: airflow.get("version").is_success)
    token = airflow.get(base.removesuffix("api/v2/") + "auth/token").json()["access_token"]
    airflow.headers["Authorization"] = f"Bearer {token}"
    phone.driver.get(base.removesuffix("api/v2/") + "contrail/static/theme.js")  # a cookie wants a page of its site
    phone.driver.add_cookie({"name": "_token", "value": token, "path": "/"})
    _await(lambda: airflow.get("dags/orders").is_success)
    file.touch()
    while _ended(airflow, _begun(airflow)) != "success":  # Airflow's first task takes longest, and may fail of it
        pass
    file.unlink()
    made = _begun(airflow)
    told = _await(lambda: _told(messages, "opened", made))
    assert _ended(airflow, made) == "failed"
    (task,) = airflow.get(f"dags/orders/dagRuns/{made}/taskInstances").json()["task_instances"]
    found = {"message": _moment(told["written"]) - _moment(task["end_date"])}  # it may come before Airflow's own end

    phone.driver.get("data:text/html;charset=utf-8," + quote(_as_a_chat(told)))
    began = time.monotonic()
    phone.tap(By.LINK_TEXT, "Incident")
    reason = _await(lambda: phone.driver.find_elements(By.CSS_SELECTOR, "h1"))[0]
    assert _REASON in reason.text, reason.text
    assert reason.rect["y"] + reason.rect["height"] < _PHONE["height"], "the cause is not on the first screen"
    found["cause"] = time.monotonic() - began

    file.touch()  # whoever delivers the file has delivered it
    began = time.monotonic()
    phone.tap(By.XPATH, "//section[@class='acts']//button[.='Clear and rerun']")
    WebDriverWait(phone.driver, _PATIENCE_S).until(lambda it: "cleared and reran load" in it.page_source)
    found["rerun"] = time.monotonic() - began

    began = time.monotonic()
    _await(lambda: _told(messages, "resolved", made))
    found["resolved"] = time.monotonic() - began
    phone.driver.refresh()
    assert phone.driver.find_element(By.CSS_SELECTOR, ".facts .state").text == "resolved"
    return found | {"taps": phone.taps}


def _moment(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _begun(airflow: httpx.Client) -> str:
    """The id of a new run."""
    made = airflow.post("dags/orders/dagRuns", json={"logical_date": None}).raise_for_status()
    return str(made.json()["dag_run_id"])


def _ended(airflow: httpx.Client, run_id: str) -> str:
    """The state in which a run ended."""

    def state() -> str:
        answer = airflow.get(f"dags/orders/dagRuns/{run_id}")
        return str(answer.json()["state"]) if answer.is_success else ""

    _await(lambda: state() in {"success", "failed"})
    return state()


def _as_a_chat(message: dict[str, Any]) -> str:
    """The message with its links, as a chat shows it."""
    links = [*message["links"], *message["acts"]]
    return f"<h3>{message['title']}</h3>" + "".join(f'<p><a href="{address}">{label}</a>' for label, address in links)


def _told(messages: Path, kind: str, run_id: str) -> dict[str, Any] | None:
    lines = messages.read_text().splitlines() if messages.exists() else []
    return next((one for one in map(json.loads, lines) if (one["kind"], one["run_id"]) == (kind, run_id)), None)


def _await(asked: Callable[[], Any]) -> Any:
    """The answer, once there is one. Raises TimeoutError."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if answer := asked():
                return answer
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise TimeoutError(f"not within {_PATIENCE_S:.0f} s")


@contextmanager
def _browser() -> Iterator[WebDriver]:
    """A headless Chromium of a phone's size."""
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu"):
        options.add_argument(argument)
    options.binary_location = shutil.which("chromium") or ""
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        driver.set_page_load_timeout(_PATIENCE_S)
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", _PHONE)
        yield driver
    finally:
        driver.quit()
