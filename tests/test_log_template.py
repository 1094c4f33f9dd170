"""Templates of the names of task logs: rendered as Airflow does, read back, or refused with the reason."""

import re
import time
from types import SimpleNamespace

import jinja2
import pytest
from airflow.configuration import conf

from observability.log_template import AIRFLOWS_OWN, LogTemplate, attempt_of, templates, without_trigger

CUSTOM = (
    AIRFLOWS_OWN,
    "{{ ti.dag_id }}/{{ ti.run_id }}/{{ ti.task_id }}/{{ try_number }}.log",
    "{{ti.dag_id}}/{{ti.run_id}}/{{ti.task_id}}/{% if map_index > -1 %}{{ map_index }}_{% endif %}{{try_number}}.log",
    "{{ ti.dag_id }}/{{ ti.run_id }}/{{ ti.task_id }}_{{ ti.map_index }}_{{ ti.try_number }}.log",
    "team-a/{{ ti.run_id }}/{{ ti.dag_id }}/{{ ti.dag_id }}.{{ ti.task_id }}/{{ try_number | default(1) }}.txt",
)
ATTEMPTS = [
    {"dag_id": "etl.flights-a", "run_id": run, "task_id": "g.load_1", "map_index": index, "try_number": 12}
    for run in ("manual__2026-01-31T00:00:00+00:00", "a/b c#?%é")
    for index in (-1, 7)
]


def test_no_name_takes_long_to_be_read_by_a_template_of_many_expressions():
    template = LogTemplate("{{ a }}-" * 6 + "x/{{ ti.dag_id }}/{{ ti.run_id }}/{{ ti.task_id }}/{{ try_number }}.log")
    assert template.trouble is None
    took = []
    for length in (500, 1000, 4000, 500):
        began = time.process_time()
        assert template.parse("-" * length + "/" * length) is None
        took.append(time.process_time() - began)
    assert max(took) < 0.2


def test_airflows_own_template_is_the_one_that_it_ships():
    assert conf.get_default_value("logging", "log_filename_template") == AIRFLOWS_OWN


@pytest.mark.parametrize("text", CUSTOM)
@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_name_is_rendered_as_airflow_does_and_read_back(text, attempt):
    template = LogTemplate(text)
    ti = SimpleNamespace(**attempt)
    name = jinja2.Template(text).render(ti=ti, try_number=ti.try_number, map_index=ti.map_index)
    assert (template.trouble, template.render(attempt)) == (None, name)
    about = attempt if "map_index" in text else attempt | {"map_index": -1}
    assert template.parse(name) == about | {"component": "task"}
    assert template.parse(f"{name}.trigger.31.log") == about | {"component": "triggerer"}
    assert without_trigger(f"{name}.trigger.31.log") == name
    assert name.startswith(template.begin({"dag_id": attempt["dag_id"], "run_id": attempt["run_id"]}))


def test_a_name_with_a_value_that_we_do_not_know_is_read_back_but_not_rendered():
    template = LogTemplate("{{ ti.dag_id }}/{{ ts }}/{{ ti.task_id }}/{{ ti.run_id }}/{{ try_number }}.log")
    assert template.parse("d/2026-01-31/t/r/1.log")["run_id"] == "r"
    assert (template.render(ATTEMPTS[0]), template.begin(ATTEMPTS[0])) == (None, "etl.flights-a/")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{{ ti.dag_id }}/{{ ti.task_id }}/{{ ts }}/{{ try_number }}.log", "does not hold the run_id"),
        ("{dag_id}/{task_id}/{logical_date}/{try_number}.log", "does not hold the run_id"),
        ("{{ ti.dag_id }}/{{ ti.run_id }}/{{ ti.task_id }}.log", "does not hold the try_number"),
        ("{{ti.dag_id}}-{{ti.task_id}}-{{ti.run_id}}-{{try_number}}.log", "load-.*could be the log of more than one"),
        ("{{ ti.dag_id }}/{{ti.run_id}}/{{ti.task_id}}{{try_number}}.log", "could be the log of more than one"),
        ("{{ ti.dag_id | lower }}/{{ti.run_id}}/{{ti.task_id}}/{{try_number}}.log", "changes a value"),
        ("{{ ti.dag_id }}/{{ti.run_id[:8]}}/{{ti.task_id}}/{{try_number}}.log", "changes a value"),
        ("{% if ti.try_number %}x{% endif %}{{ ti.dag_id }}", "a condition on ti.map_index"),
        ("{% if ti.map_index >= 0 %}x{% else %}y{% endif %}{{ ti.dag_id }}", "without else"),
        ("{% if ti.map_index >= 0 %}{{ ti.dag_id }}", "if without endif"),
        ("static.log", "does not hold the dag_id"),
    ],
)
def test_a_template_that_cannot_be_read_back_says_why_and_airflows_own_is_used(text, reason):
    template = LogTemplate(text)
    assert re.search(reason, template.trouble)
    assert template.parse("d/r/t/1.log") is None
    assert [one.text for one in templates(text)] == [AIRFLOWS_OWN]


@pytest.mark.parametrize("text", CUSTOM)
@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_an_iteration_of_a_task_loop_is_rendered_and_read_back(text, attempt):
    template = LogTemplate(text)
    found = template.parse(template.render(attempt | {"iteration": "1.2"}))
    assert found == attempt | {"iteration": "1.2", "component": "task"}


def test_logs_of_the_template_of_before_are_known_too():
    name = "dag_id=d/run_id=r/task_id=t/map_index=2/pass=1.0/map=3/attempt=1.log"
    for configured in ("", *CUSTOM):
        assert attempt_of(name, configured)["iteration"] == "1.0"
        assert attempt_of(name, configured)["map_index"] == 3
    assert attempt_of("dag_processor/2026-11-27/dags/flights.py.log", CUSTOM[1]) is None
