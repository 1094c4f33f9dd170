"""The pages as a person meets them: a real Chromium, Airflow's own UI, the data of the demo."""

from __future__ import annotations

import time
from urllib.parse import quote

import pytest
from chromium import PATIENCE_S, api_server, filled, logged_in, wait_for
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support import expected_conditions as expect
from selenium.webdriver.support.ui import WebDriverWait

from observability.airflow.ui import boards
from observability.local.api import Api
from observability.local.keys import password
from observability.local.layout import Layout

pytestmark = [pytest.mark.airflow, pytest.mark.browser]


@pytest.fixture(scope="module")
def site(demo):
    """Airflow's API server on what the demo left behind: its address, and the run that failed for good."""
    with api_server(demo.home) as url:
        with Api(url, password(Layout(demo.home))) as api:
            runs = list(api.pages("/dags/failure_drills/dagRuns", "dag_runs"))
        yield url, next(run["dag_run_id"] for run in runs if run["conf"].get("drill") == "exception")


@pytest.fixture(scope="module")
def browser(site, demo):
    """A browser in which the demo's person has logged in."""
    with logged_in(site[0], demo.home) as driver:
        yield driver


def task_instance(site, task):
    url, run = site
    return f"{url}/dags/failure_drills/runs/{quote(run, safe='')}/tasks/{task}"


def enter_frame(driver):
    WebDriverWait(driver, PATIENCE_S).until(
        expect.frame_to_be_available_and_switch_to_it((By.CSS_SELECTOR, "iframe[title=Contrail]"))
    )


def test_a_person_who_clicks_on_a_red_square_reads_the_cause(browser, site):
    browser.get(task_instance(site, "exception"))
    wait_for(browser, By.LINK_TEXT, "Contrail")
    tabs = [
        link
        for link in browser.find_elements(By.LINK_TEXT, "Contrail")
        if "contrail-task-instance" in link.get_attribute("href")
    ]
    tabs[0].click()
    enter_frame(browser)
    verdict = wait_for(browser, By.CSS_SELECTOR, ".verdict").text
    assert "Cause: error in the task's code" in verdict
    assert "this drill raises" in verdict
    assert "failure_drills.py:" in verdict
    browser.switch_to.default_content()


def test_the_overview_leads_to_the_task_that_fails(browser, site):
    browser.get(f"{site[0]}/contrail/")
    browser.find_element(By.LINK_TEXT, "exception").click()
    assert "Cause: error in the task's code" in wait_for(browser, By.CSS_SELECTOR, ".verdict").text


def test_the_link_to_airflow_leaves_the_frame(browser, site):
    browser.get(task_instance(site, "exception") + "/plugin/contrail-task-instance")
    enter_frame(browser)
    wait_for(browser, By.LINK_TEXT, "Open in Airflow").click()
    browser.switch_to.default_content()
    WebDriverWait(browser, PATIENCE_S).until(lambda driver: "plugin" not in driver.current_url)
    assert browser.current_url.startswith(site[0] + "/dags/failure_drills/runs/")


def test_a_run_shows_its_attempts_on_a_time_line(browser, site):
    browser.get(f"{site[0]}/contrail/dags/flights_daily")
    wait_for(browser, By.CSS_SELECTOR, ".chart canvas")
    browser.find_element(By.CSS_SELECTOR, "main table a").click()
    wait_for(browser, By.CSS_SELECTOR, ".chart svg rect.success")
    rows = [row.text for row in browser.find_elements(By.CSS_SELECTOR, "tbody tr")]
    assert any(row.startswith("load") for row in rows)


def test_it_is_dark_where_airflow_is_dark(browser, site):
    browser.get(f"{site[0]}/contrail/")
    browser.execute_script("localStorage.setItem('theme', 'dark')")
    browser.refresh()
    background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    browser.execute_script("localStorage.setItem('theme', 'light')")
    assert sum(int(part) for part in background.strip("rgb()").split(",")) < 3 * 40


@pytest.mark.parametrize(
    "page",
    ["", "dags/flights_daily", "dags/failure_drills/tasks/exception", "boards/operations?hours=24", "boards/run"],
)
def test_a_phone_needs_no_sideways_scrolling(browser, site, page):
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    browser.get(f"{site[0]}/contrail/{page}")
    filled(browser)
    widths = browser.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert widths[1] == phone["width"]
    assert widths[0] <= widths[1]


DRAWN = {"operations", "dag", "run", "data", "logs", "audit"}
"""Boards that have a panel of each kind; a panel's answer is asked without a browser on every board."""


@pytest.mark.parametrize(
    "board", [board if board in DRAWN else pytest.param(board, marks=pytest.mark.slow) for board in boards.boards()]
)
def test_every_panel_of_a_board_is_filled_and_the_browser_has_nothing_to_say(browser, site, board):
    began = time.time() * 1000
    browser.get(f"{site[0]}/contrail/boards/{board}?hours=24")
    filled(browser)
    panels = browser.find_elements(By.CSS_SELECTOR, "[data-panel] .answer")
    assert len(panels) == sum(len(row["panels"]) for row in boards.boards()[board]["rows"])
    assert [panel.text for panel in panels if "could not be loaded" in panel.text or panel.text == "…"] == []
    assert len(browser.find_elements(By.CSS_SELECTOR, ".chart")) == len(
        browser.find_elements(By.CSS_SELECTOR, ".chart canvas")
    )
    said = [entry for entry in browser.get_log("browser") if entry["timestamp"] > began and entry["level"] == "SEVERE"]
    assert said == []


def test_a_row_whose_panels_all_say_the_same_says_it_once(browser, site):
    browser.get(f"{site[0]}/contrail/boards/platform?hours=24")
    filled(browser)
    why = "Read only where [relay] component_metrics names it."
    rows = [row.text for row in browser.find_elements(By.CSS_SELECTOR, ".row") if why in row.text]
    assert [row.count(why) for row in rows] == [1]
    assert "Processor time by component, Memory by component" in rows[0]
    assert len([panel for panel in browser.find_elements(By.CSS_SELECTOR, ".panels") if not panel.is_displayed()]) == 1


def test_the_boards_that_are_drawn_have_a_panel_of_each_kind():
    kinds = {
        key: {panel["kind"] for row in board["rows"] for panel in row["panels"]}
        for key, board in boards.boards().items()
    }
    assert set().union(*(kinds[key] for key in DRAWN)) == set().union(*kinds.values())


def test_a_board_leads_from_a_failing_task_to_its_run_and_keeps_the_filter(browser, site):
    browser.get(f"{site[0]}/contrail/boards/operations?hours=24")
    filled(browser)
    browser.find_element(By.CSS_SELECTOR, ".kind-table td a").click()
    wait_for(browser, By.CSS_SELECTOR, ".tabs [aria-current]")
    assert "/boards/run?" in browser.current_url
    assert browser.find_element(By.NAME, "airflow.dag_id").get_attribute("value") == "failure_drills"
    filled(browser)
    assert "flights_daily" not in browser.find_element(By.TAG_NAME, "main").text


def test_a_board_is_filtered_by_what_is_typed(browser, site):
    browser.get(f"{site[0]}/contrail/boards/dag?hours=24")
    box = browser.find_element(By.NAME, "airflow.dag_id")
    box.send_keys("flights_daily", Keys.ENTER)
    WebDriverWait(browser, PATIENCE_S).until(lambda driver: "flights_daily" in driver.current_url)
    filled(browser)
    text = browser.find_element(By.TAG_NAME, "main").text
    assert "flights_daily" in text
    assert "failure_drills" not in text


def test_every_control_can_be_reached_by_the_keyboard(browser, site):
    browser.get(f"{site[0]}/contrail/")
    filled(browser)
    reached = set()
    for _ in browser.find_elements(By.CSS_SELECTOR, "a[href], button, input, select, summary"):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        if href := browser.switch_to.active_element.get_attribute("href"):
            reached.add(href)
    links = {link.get_attribute("href") for link in browser.find_elements(By.CSS_SELECTOR, "a[href]")}
    assert reached == links


def test_the_pages_load_without_a_complaint_of_the_browser(browser, site):
    began = time.time() * 1000
    browser.get(f"{site[0]}/contrail/dags/flights_daily")
    wait_for(browser, By.CSS_SELECTOR, ".chart canvas")
    said = [entry for entry in browser.get_log("browser") if entry["timestamp"] > began and entry["level"] == "SEVERE"]
    assert said == []
