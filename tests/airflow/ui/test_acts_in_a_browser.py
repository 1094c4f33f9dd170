"""Each act as a person does it: in a real Chromium, on the page of an incident and by the link of a message."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

import pytest
from api_server import RAN
from chromium import PATIENCE_S, holding, on_a_phone, wait_for
from itsdangerous import URLSafeTimedSerializer
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from observability.watch.acts import ACTS
from observability.watch.links import sign_link

pytestmark = [pytest.mark.airflow, pytest.mark.browser]
in_one_world = pytest.mark.parametrize("world", ["simple"], indirect=True, scope="session")


@dataclass(frozen=True)
class Case:
    """An act as it is done by hand, and what the page says of it and of its undoing."""

    act: str
    says: str
    undone: str
    state: str = "open"
    before: str = ""
    option: str = ""
    field: tuple[str, str] = ("", "")


CASES = [
    Case("acknowledge", "acknowledged it", "gave it back", "acknowledged"),
    Case("unacknowledge", "gave it back", "acknowledged it", before="acknowledge"),
    Case("assign", "assigned it to bob", "assigned it to nobody", field=("value", "bob")),
    Case("silence", "silenced this error until change", "ended silence", option="until it changes"),
    Case("silence", "silenced this error until success", "ended silence", option="until the next success"),
    Case("silence", "silenced this error until 4h", "ended silence", option="4 hours"),
    Case("resolve", "resolved it", "reopened it", "resolved", field=("note", "the disk was full")),
    Case("reopen", "reopened it", "resolved it", before="resolve"),
    Case("useful", "marked it useful", "took the mark back"),
    Case("noise", "marked it noise", "took the mark back"),
    Case("rerun", "cleared and reran load, publish", "stopped the rerun"),
]


@pytest.fixture(scope="module")
def browser(world):
    """A browser in which the editor is logged in."""
    with holding(world.url, world.tokens[world.editor]) as driver:
        yield driver


@pytest.fixture
def there_was_a_run(world):
    """The run that failed, as Airflow has it now."""
    asked = world.airflow_asked("GET", f"/dags/{RAN}/dagRuns")["dag_runs"]
    return asked[0]["dag_run_id"]


class Page:
    """The page of an incident in a browser."""

    def __init__(self, driver, world, one):
        self.driver, self.one, self.address = driver, one, f"{world.url}/contrail/incidents/{one.id}"
        driver.get(self.address)

    def click(self, label):
        self._and_then(self.driver.find_element(By.XPATH, f"//section[@class='acts']//button[.='{label}']"))

    def undo(self):
        self._and_then(self.driver.find_element(By.CSS_SELECTOR, ".did button"))

    def fill(self, case):
        form = self.driver.find_element(By.CSS_SELECTOR, f".acts form[action$='/acts/{case.act}']")
        if case.option:
            Select(form.find_element(By.NAME, "value")).select_by_visible_text(case.option)
        name, text = case.field
        if name:
            field = form.find_element(By.NAME, name)
            field.clear()
            field.send_keys(text)

    def done(self):
        return self.driver.find_element(By.CSS_SELECTOR, ".did").text

    def state(self):
        return self.driver.find_element(By.CSS_SELECTOR, ".facts .state").text

    def _and_then(self, button):
        before = self.driver.current_url
        button.click()
        WebDriverWait(self.driver, PATIENCE_S).until(lambda driver: driver.current_url != before)


def follow(driver, case, world, one):
    """Do the act and take it back."""
    page = Page(driver, world, one)
    if case.before:
        page.click(ACTS[case.before].label)
    before = page.state()
    page.fill(case)
    page.click(ACTS[case.act].label)
    assert (case.says in page.done(), page.state()) == (True, case.state), page.done()
    assert page.done().startswith(f"{world.editor}, by page")
    page.undo()
    assert (case.undone in page.done(), page.state()) == (True, before), page.done()
    done, undone = world.acts(one)[-2:]
    assert (done.act, done.note, done.undone_by, undone.act) == (
        case.act, case.field[1] if case.field[0] == "note" else "", undone.id, ACTS[case.act].undo,
    )  # fmt: skip


LOOKS = [
    pytest.param(False, id="desktop"),
    pytest.param(True, id="phone", marks=pytest.mark.slow),
]


@in_one_world
@pytest.mark.parametrize("phone", LOOKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.act} {case.option}".strip())
def test_a_person_does_the_act_reads_that_it_is_done_and_takes_it_back(browser, world, case, phone, there_was_a_run):
    ran = {"dag": RAN, "run_id": there_was_a_run} if case.act == "rerun" else {}
    one = world.fresh(number=50, **ran)
    with on_a_phone(browser) if phone else contextlib.nullcontext():
        follow(browser, case, world, one)
    if ran:
        state = world.airflow_asked("GET", f"/dags/{RAN}/dagRuns")["dag_runs"][0]["state"]
        assert state == "failed"  # it was queued, and stopped


def test_every_act_that_is_done_by_hand_is_done_here():
    assert {case.act for case in CASES} == {name for name, spec in ACTS.items() if spec.by_hand}


@in_one_world
def test_a_rerun_clears_what_failed_in_airflow(browser, world, there_was_a_run):
    page = Page(browser, world, world.fresh(RAN, number=51, run_id=there_was_a_run))
    page.click("Clear and rerun")

    run = world.airflow_asked("GET", f"/dags/{RAN}/dagRuns")["dag_runs"][0]
    tasks = world.airflow_asked("GET", f"/dags/{RAN}/dagRuns/{there_was_a_run}/taskInstances")["task_instances"]
    assert (run["state"], [one["state"] for one in tasks]) == ("queued", [None, None])
    page.undo()
    page.click("Clear and rerun")  # what was stopped can be run again
    page.undo()


@in_one_world
def test_the_note_and_the_history_stand_on_the_page(browser, world):
    page = Page(browser, world, world.fresh(number=52))
    page.fill(next(case for case in CASES if case.act == "resolve"))
    page.click("Resolve")

    history = [step.text for step in browser.find_elements(By.CSS_SELECTOR, ".history li")]
    assert any(f"{world.editor}, by page resolved it: the disk was full" in step for step in history), history
    assert "nobody needed to hear" in browser.find_element(By.XPATH, "//form[.//button[.='Noise']]").get_attribute(
        "title"
    )


def link_to(world, one, act, value="", age_s=0.0):
    """The address of a link that a message had ``age_s`` ago."""
    if not age_s:
        return f"{world.url}/contrail/links/{sign_link(world.key, one.id, act, value)}"
    serializer = URLSafeTimedSerializer(world.key, salt="contrail.link")
    signer = serializer.make_signer("contrail.link")
    signer.get_timestamp = lambda: int(time.time() - age_s)
    token = signer.sign(serializer.dump_payload([one.id, act, value, f"of-{act}"])).decode()
    return f"{world.url}/contrail/links/{token}"


@in_one_world
@pytest.mark.parametrize("phone", LOOKS)
def test_a_link_asks_before_it_acts_and_is_used_up(browser, world, phone):
    one = world.fresh(number=53)
    link = link_to(world, one, "silence", "change")
    with on_a_phone(browser) if phone else contextlib.nullcontext():
        browser.get(link)
        assert browser.find_element(By.TAG_NAME, "h1").text == "Silence this error?"
        assert world.acts(one) == []
        browser.find_element(By.NAME, "note").send_keys("known")
        browser.find_element(By.CSS_SELECTOR, ".confirm button").click()
        assert "silenced this error until change" in wait_for(browser, By.CSS_SELECTOR, ".did").text
        browser.get(link)
        assert f"used by {world.editor}" in wait_for(browser, By.CSS_SELECTOR, ".why").text
        assert browser.find_elements(By.CSS_SELECTOR, ".confirm") == []
    assert [(row.act, row.value, row.note, row.source) for row in world.acts(one)] == [
        ("silence", "change", "known", "link")
    ]


@in_one_world
def test_a_link_that_is_over_or_forged_leads_to_no_act(browser, world):
    one = world.fresh(number=54)
    good = link_to(world, one, "acknowledge")
    for address, why in ((link_to(world, one, "acknowledge", age_s=73 * 3600), "is over"), (good[:-3] + "AAA", "not")):
        browser.get(address)
        assert why in wait_for(browser, By.CSS_SELECTOR, "main").text
        assert browser.find_elements(By.CSS_SELECTOR, "form.acts") == []
    assert world.acts(one) == []


@in_one_world
def test_a_link_that_no_longer_applies_says_so(browser, world):
    one = world.fresh(number=55)
    link = link_to(world, one, "acknowledge")
    Page(browser, world, one).click("Acknowledge")
    browser.get(link)

    assert "does not apply any more" in wait_for(browser, By.CSS_SELECTOR, ".why").text
    assert browser.find_elements(By.CSS_SELECTOR, ".confirm") == []
