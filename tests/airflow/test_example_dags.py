"""The DAG files that ship with Airflow, parsed with ours and without: none breaks, and each keeps its own callbacks."""

from __future__ import annotations

import pytest

from benchmarks.parse import parse_examples


@pytest.fixture(scope="module")
def parsed():
    """The DAGs that Airflow makes of the files, with our package and with it hidden."""
    return {"with": parse_examples(hidden=False), "without": parse_examples(hidden=True)}


def ours(names):
    return [name for name in names if name.startswith("observability.")]


def test_the_files_are_there(parsed):
    assert len(parsed["with"]["seconds"]) >= 70
    assert len(parsed["with"]["tasks"]) >= 400


def test_no_file_breaks_that_parses_without_us(parsed):
    assert parsed["with"]["errors"] == parsed["without"]["errors"]
    assert parsed["with"]["tasks"].keys() == parsed["without"]["tasks"].keys()


def test_without_us_no_task_has_a_callback_of_ours(parsed):
    assert [task for task, kinds in parsed["without"]["tasks"].items() if any(map(ours, kinds.values()))] == []


def test_each_task_keeps_its_own_callbacks_behind_ours(parsed):
    for task, kinds in parsed["without"]["tasks"].items():
        for kind, own in kinds.items():
            both = parsed["with"]["tasks"][task][kind]
            assert both[len(ours(both)) :] == own, (task, kind)
            assert len(ours(both)) <= 1


def test_each_task_that_runs_is_observed(parsed):
    unobserved = [task for task, kinds in parsed["with"]["tasks"].items() if not ours(kinds["on_failure_callback"])]
    assert unobserved == []
