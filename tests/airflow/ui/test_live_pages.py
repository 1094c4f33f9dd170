"""Pages that change while somebody looks at them: nothing is loaded again, and nobody is disturbed."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from airflow_runs import trigger
from chromium import PATIENCE_S, holding, logged_in, wait_for
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = [pytest.mark.airflow, pytest.mark.browser]
WHY = "the file of today is empty"
SEE_OTHER = 303
SLOW_S = 180
"""An Airflow that shares two cores with other tests."""


class Tab:
    """A page that was opened once; ``is_the_same`` is false after it was loaded again."""

    def __init__(self, driver, address):
        self.driver = driver
        driver.get(address)
        driver.execute_script("window.opened = true")

    def is_the_same(self):
        return self.driver.execute_script("return window.opened === true")

    def text(self, part="main"):
        return self.driver.execute_script("return document.querySelector(arguments[0]).innerText", part)

    def shows(self, text, part="main", within=PATIENCE_S):
        """Wait until the part of the page shows the text."""
        WebDriverWait(self.driver, within).until(lambda _: text in self.text(part), f"{text!r} in {self.text(part)!r}")
        assert self.is_the_same()

    def shows_no_more(self, text, part, within):
        """Wait until the part of the page no longer shows the text."""
        WebDriverWait(self.driver, within).until_not(lambda _: text in self.text(part))
        assert self.is_the_same()


@pytest.mark.parametrize("world", ["simple"], indirect=True, scope="session")
def test_an_incident_shows_what_a_colleague_did_and_leaves_alone_what_is_being_written(world):
    one = world.fresh(number=60)
    with holding(world.url, world.tokens[world.editor]) as driver:
        tab = Tab(driver, f"{world.url}/contrail/incidents/{one.id}")
        note = driver.find_element(By.NAME, "note")
        note.send_keys("the disk was")
        driver.execute_script("document.activeElement.blur()")
        assert world.act(world.editor, one, "acknowledge").status_code == SEE_OTHER

        tab.shows("acknowledged it", "#history")
        assert "acknowledged" not in tab.text("#state .facts")  # somebody writes there
        assert note.get_attribute("value") == "the disk was"
        note.clear()
        driver.execute_script("document.activeElement.blur()")
        tab.shows("acknowledged", "#state .facts")
        assert world.act(world.editor, one, "resolve", note="it was full").status_code == SEE_OTHER
        tab.shows("it was full", "#history")


@pytest.mark.parametrize("world", ["simple"], indirect=True, scope="session")
def test_a_page_says_when_airflow_does_not_answer_and_goes_on_when_it_does(world):
    one = world.fresh(number=61)
    with holding(world.url, world.tokens[world.editor]) as driver:
        tab = Tab(driver, f"{world.url}/contrail/incidents/{one.id}")
        driver.set_network_conditions(offline=True, latency=0, throughput=-1)
        tab.shows("Airflow does not answer: this is from", "#stale")
        driver.delete_network_conditions()
        assert world.act(world.editor, one, "useful").status_code == SEE_OTHER
        tab.shows("marked it useful", "#history")
        assert not driver.find_element(By.ID, "stale").is_displayed()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_failure_and_its_end_are_seen_on_each_page_that_is_open(platform, tmp_path):
    file = tmp_path / "today"
    with platform.api() as api, logged_in(platform.url, platform.layout.home) as driver:
        run = trigger(platform, api, "waiting", conf={"file": str(file)})
        tab = Tab(driver, f"{platform.url}/contrail/dags/waiting/runs/{quote(run.run_id)}")
        tab.shows("load", "#run", SLOW_S)
        assert "running" in tab.text("#run .facts")
        file.touch()
        tab.shows("failed", "#run .facts", SLOW_S)
        tab.shows(WHY, "#run .rows")
        tab.shows(WHY, "#run section:last-child", SLOW_S)

        driver.find_element(By.CSS_SELECTOR, "#run .incidents a").click()
        wait_for(driver, By.ID, "history")
        tab = Tab(driver, driver.current_url)
        incident = driver.current_url.rpartition("/")[2]
        a_colleague_says(platform, "ack", incident)
        tab.shows("acknowledged", "#state .facts")
        file.unlink()
        a_colleague_says(platform, "rerun", incident)
        tab.shows("cleared and reran load", "#history")

        tab = Tab(driver, f"{platform.url}/contrail/")
        assert WHY in tab.text("#now .incidents")
        file.write_text("rows")
        tab.shows_no_more(WHY, "#now", SLOW_S)
        assert run.state() == "success"


def a_colleague_says(platform, *words):
    """An act by the command line."""
    said = platform.run("alerts", *words)
    assert said.returncode == 0, said.stderr
