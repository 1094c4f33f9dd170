"""The matrix of ways to fail is whole: a way for each row of the documented table, and a DAG for each way."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from benchmarks.failing_ways import PARTS, WAYS

ROOT = Path(__file__).parents[2]


def _rows():
    text = (ROOT / "docs" / "alerts.md").read_text("utf-8")
    table = text[text.index("\n|---", text.index("## Ways to fail")) :].split("\n\n")[0]
    return [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ") and "---" not in line]


def test_each_row_of_the_table_has_a_way_and_each_way_a_row():
    rows = _rows()
    assert len(rows) > 30
    assert [row for row in rows if not any(row.startswith(way.row) for way in WAYS)] == []
    assert [way.name for way in WAYS if not any(row.startswith(way.row) for row in rows)] == []


def test_there_are_at_least_54_ways_each_with_a_name_and_a_part_of_its_own():
    assert len(WAYS) >= 54
    assert [name for name, number in Counter(way.name for way in WAYS).items() if number > 1] == []
    assert {way.part for way in WAYS} == set(PARTS)


def test_each_way_that_a_dag_makes_has_one():
    code = "".join(path.read_text() for path in (ROOT / "benchmarks" / "failing_dags").glob("*.py"))
    made = set(re.findall(r'(?:way\("|"way_)(\w+)"', code)) | {way.name for way in WAYS if way.ends}
    without = {way.name for way in WAYS if way.incident and not way.incident.startswith("deadline:")}
    assert {way.name for way in WAYS} - made - without == set()
