"""Take the pictures of the docs: ``make pictures`` plays a demo and the drills, and looks at what they left behind."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / room) for room in ("", "support", "dashboards", "airflow/ui")]

from chromium import api_server, filled, logged_in  # noqa: E402 - found by the line above
from filled import carried, emit_drills  # noqa: E402

from observability.airflow.ui import boards  # noqa: E402
from observability.local.api import Api  # noqa: E402
from observability.local.keys import password  # noqa: E402
from observability.local.layout import Layout  # noqa: E402

WIDTH, TALLEST = 1280, 2600
PHONE = 390
_LOG_BEGINS = """
const log = document.querySelector("table.log")?.closest("section, article");
return log ? log.getBoundingClientRect().top + scrollY : document.documentElement.scrollHeight;
"""
"""Lines of a log make a picture large and name the machine it was taken on."""


def take(driver, path, *, width=WIDTH):
    """Keep the page down to its log as a picture, and draw its charts for that width before."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < WIDTH}
    driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.refresh()
    filled(driver)
    driver.execute_script("scrollTo(0, 0)")
    height = min(TALLEST, int(driver.execute_script(_LOG_BEGINS)))
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size | {"height": height})
    picture = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    path.write_bytes(base64.b64decode(picture["data"]))
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    print(path, path.stat().st_size)  # noqa: T201 - a command's answer


def dark(driver, on):
    """Choose Airflow's dark or light face."""
    driver.execute_script(f"localStorage.setItem('theme', '{'dark' if on else 'light'}')")


def main(home, folder):
    """The pictures of the demo at ``home``, in ``folder``."""
    with TemporaryDirectory() as drills:
        emit_drills(Path(drills))
        for path in (
            Path(drills) / "journal"
        ).iterdir():  # a journal file is known by its name: these are not the demo's
            path.rename(path.with_name(path.name.replace("-000.", "-900.")))
        store = {"CONTRAIL_RELAY__SINKS": "embedded", "CONTRAIL_STORE__PATH": str(home / "store.db")}
        carried(Path(drills), Path(drills) / "carried", store)
    with api_server(home) as url, logged_in(url, home) as driver:
        with Api(url, password(Layout(home))) as api:
            runs = list(api.pages("/dags/failure_drills/dagRuns", "dag_runs"))
            days = list(api.pages("/dags/flights_daily/dagRuns", "dag_runs"))
        failed = quote(next(run["dag_run_id"] for run in runs if run["conf"].get("drill") == "exception"), safe="")
        day = quote(sorted(run["dag_run_id"] for run in days)[1], safe="")
        pages = {f"board-{key}": f"boards/{key}?hours=1" for key in boards.boards()} | {
            "overview": "",
            "dag": "dags/flights_daily",
            "run": f"dags/flights_daily/runs/{day}",
            "task": f"dags/failure_drills/runs/{failed}/tasks/exception",
        }
        for name, page in pages.items():
            driver.get(f"{url}/contrail/{page}")
            take(driver, folder / f"{name}.png")
        dark(driver, on=True)
        driver.get(f"{url}/contrail/{pages['board-operations']}")
        take(driver, folder / "board-operations-dark.png")
        dark(driver, on=False)
        driver.get(f"{url}/contrail/{pages['task']}")
        take(driver, folder / "task-phone.png", width=PHONE)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
