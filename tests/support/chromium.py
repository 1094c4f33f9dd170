"""Airflow's API server on what a demo left behind, and a headless Chromium that is logged in to it."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys

import httpx
from airflow_platform import wait_until
from programs import NEEDED, why_not
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions as expect
from selenium.webdriver.support.ui import WebDriverWait

from observability.local.environment import environment
from observability.local.keys import USER, password
from observability.local.layout import Layout
from observability.local.ports import any_port
from observability.settings import load_settings

PATIENCE_S = 30
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}


@contextlib.contextmanager
def api_server(home, **more):
    """An API server on the platform at ``home``, with ``more`` in its environment: its address."""
    layout, port = Layout(home), any_port(socket.SOCK_STREAM)
    options = load_settings(environ={"CONTRAIL_CORE__HOME": str(home), "CONTRAIL_AIRFLOW__PORT": str(port)})
    command = [sys.executable, "-m", "airflow", "api-server", "--host", "127.0.0.1", "--workers", "1"]
    with (home / "browser.log").open("w") as log:
        server = subprocess.Popen(
            [*command, "--port", str(port)], env=environment(layout, options) | more, stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: server.poll() is not None or answers(url), within=240)
        yield url
    finally:
        server.terminate()
        server.wait(30)


def answers(url):
    """True if an Airflow answers at ``url``."""
    try:
        return httpx.get(f"{url}/api/v2/version", timeout=5).is_success
    except httpx.TransportError:
        return False


@contextlib.contextmanager
def browser():
    """A headless Chromium."""
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1400,1000"):
        options.add_argument(argument)
    if reason := why_not("browser"):
        raise LookupError(reason)
    binary, driver_path = map(shutil.which, NEEDED["browser"][0])
    options.binary_location = binary
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver_path))
    try:
        driver.set_page_load_timeout(60)
        yield driver
    finally:
        driver.quit()


@contextlib.contextmanager
def logged_in(url, home):
    """A browser in which the platform's person has logged in."""
    with browser() as driver:
        driver.get(url)
        wait_for(driver, By.NAME, "username").send_keys(USER)
        driver.find_element(By.NAME, "password").send_keys(password(Layout(home)))
        driver.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
        wait_for(driver, By.LINK_TEXT, "Contrail")
        yield driver


@contextlib.contextmanager
def holding(url, token):
    """A browser with the cookie of somebody who has logged in to the Airflow at ``url``."""
    with browser() as driver:
        driver.get(f"{url}/contrail/static/theme.js")  # a cookie wants a page of its site
        driver.add_cookie({"name": "_token", "value": token, "path": "/"})
        yield driver


@contextlib.contextmanager
def on_a_phone(driver):
    """The browser as a phone, for as long as this lasts."""
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    try:
        yield
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def wait_for(driver, by, what):
    """The element, once it is there."""
    return WebDriverWait(driver, PATIENCE_S).until(expect.presence_of_element_located((by, what)))


def filled(driver):
    """Wait until every panel of a board has its answer, however far down it is."""
    for panel in driver.find_elements(By.CSS_SELECTOR, "[data-panel]"):
        driver.execute_script("arguments[0].scrollIntoView()", panel)
    WebDriverWait(driver, PATIENCE_S).until(
        lambda it: not it.find_elements(By.CSS_SELECTOR, "[data-panel][aria-busy=true]")
    )
    driver.execute_script("scrollTo(0, 0)")
