"""The pages as a person meets them: a real Chromium, Airflow's own UI, the data of the demo."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from urllib.parse import quote

import httpx
import pytest
from airflow_platform import wait_until
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support import expected_conditions as expect
from selenium.webdriver.support.ui import WebDriverWait

from observability.cli.platform.api import Api
from observability.cli.platform.environment import environment
from observability.cli.platform.keys import USER, password
from observability.cli.platform.layout import Layout
from observability.cli.platform.ports import any_port
from observability.settings import load_settings

pytestmark = [pytest.mark.airflow, pytest.mark.browser]

PATIENCE_S = 30


@pytest.fixture(scope="module")
def site(demo):
    """Airflow's API server on what the demo left behind: its address, and the run that failed for good."""
    layout, port = Layout(demo.home), any_port(socket.SOCK_STREAM)
    knobs = load_settings(environ={"CONTRAIL_CONTRAIL__HOME": str(demo.home), "CONTRAIL_AIRFLOW__PORT": str(port)})
    command = [
        sys.executable,
        "-m",
        "airflow",
        "api-server",
        "--port",
        str(port),
        "--host",
        "127.0.0.1",
        "--workers",
        "1",
    ]
    with (demo.home / "browser.log").open("w") as log:
        server = subprocess.Popen(command, env=environment(layout, knobs), stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: server.poll() is not None or _answers(url), within=90)
        with Api(url, password(layout)) as api:
            runs = list(api.pages("/dags/failure_drills/dagRuns", "dag_runs"))
        failed = next(run["dag_run_id"] for run in runs if run["conf"].get("drill") == "exception")
        yield url, password(layout), failed
    finally:
        server.terminate()
        server.wait(30)


def _answers(url):
    try:
        return httpx.get(f"{url}/api/v2/version", timeout=5).is_success
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def browser(site):
    """A browser in which the demo's person has logged in."""
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1400,1000"):
        options.add_argument(argument)
    options.binary_location = shutil.which("chromium") or pytest.fail("no chromium: apt-get install chromium")
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    driver.set_page_load_timeout(60)
    url, word, _ = site
    driver.get(url)
    wait_for(driver, By.NAME, "username").send_keys(USER)
    driver.find_element(By.NAME, "password").send_keys(word)
    driver.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
    wait_for(driver, By.LINK_TEXT, "Contrail")
    yield driver
    driver.quit()


def wait_for(driver, by, what):
    return WebDriverWait(driver, PATIENCE_S).until(expect.presence_of_element_located((by, what)))


def task_instance(site, task):
    url, _, run = site
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
    assert "Cause: app" in verdict
    assert "this drill raises" in verdict
    assert "failure_drills.py:" in verdict
    browser.switch_to.default_content()


def test_the_overview_leads_to_the_task_that_fails(browser, site):
    browser.get(f"{site[0]}/contrail/")
    browser.find_element(By.LINK_TEXT, "exception").click()
    assert "Cause: app" in wait_for(browser, By.CSS_SELECTOR, ".verdict").text


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


@pytest.mark.parametrize("page", ["", "dags/flights_daily", "dags/failure_drills/tasks/exception"])
def test_a_narrow_screen_needs_no_sideways_scrolling(browser, site, page):
    browser.set_window_size(500, 900)
    browser.get(f"{site[0]}/contrail/{page}")
    widths = browser.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    browser.set_window_size(1400, 1000)
    assert widths[0] <= widths[1]


def test_every_control_can_be_reached_by_the_keyboard(browser, site):
    browser.get(f"{site[0]}/contrail/")
    reached = set()
    for _ in range(40):
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
