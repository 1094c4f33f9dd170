"""The demo's input and its books, without the demo."""

from __future__ import annotations

import csv
from collections import Counter

from observability.demo.days import BAD_DAY, BAD_ROWS, CLEAN_DAYS, write_days
from observability.demo.reconciliation import Pair, Reconciliation, _journal, _lines
from observability.journal import Journal

BALANCED = {
    "logs": Pair(5, 5), "journal": {"etl.event": Pair(2, 2)}, "rows": {"in": 3, "out": 2, "rejected": 1},
    "warehouse": {"flights": 2, "rejected": 1, "loaded": 2}, "events": {}, "causes": {}, "alerts": [], "series": 1,
}  # fmt: skip


def test_its_days_are_the_real_ones_but_for_the_damaged_rows(tmp_path):
    write_days(tmp_path)
    with (tmp_path / "flights.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    days = Counter(tuple(map(int, row[:3])) for row in rows)
    assert set(days) == {(day.year, day.month, day.day) for day in (*CLEAN_DAYS, BAD_DAY)}
    assert days[2013, 1, 1] == 842
    damaged = [
        row for row in rows if len(row) != 19 or {"-5", "??", "noon", "New York"} & {row[i] for i in (3, 9, 13, 14)}
    ]
    assert len(damaged) == BAD_ROWS
    assert {int(row[2]) for row in damaged} == {BAD_DAY.day}


def test_balanced_books_have_no_fault():
    assert Reconciliation(**BALANCED).faults() == []


def test_each_difference_is_a_sentence():
    counted = Reconciliation(
        **{
            **BALANCED,
            "logs": Pair(5, 4),
            "journal": {"etl.event": Pair(2, 3)},
            "rows": {"in": 4, "out": 2, "rejected": 1},
            "warehouse": {"flights": 1, "rejected": 0, "loaded": 2},
        }
    )
    assert counted.faults() == [
        "5 log lines were written and 4 are stored",
        "2 records of etl.event were written and 3 are stored",
        "4 rows came in, 2 went out and 1 were rejected",
        "1 rows were rejected and 0 are in quarantine",
        "2 flights were loaded and 1 are in the warehouse",
    ]


def test_a_line_that_is_not_complete_or_is_empty_is_not_counted(tmp_path):
    (tmp_path / "a.log").write_bytes(b"one\n\n  \ntwo\nhalf")
    assert _lines(tmp_path / "a.log") == 2


def test_whole_records_of_the_journal_are_counted_by_dataset(tmp_path):
    journal = Journal(tmp_path)
    for dataset in ("etl.event", "etl.event", "airflow.statsd"):
        journal.append(dataset, b'{"event.id":"1"}')
    journal.close()
    with next(tmp_path.glob("airflow.statsd*")).open("ab") as file:
        file.write(b"00000000 {torn\n")
    assert _journal(tmp_path) == {"etl.event": 2, "airflow.statsd": 1}
