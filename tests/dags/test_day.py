from datetime import date, datetime, timezone

import orjson
import pytest
import sqlalchemy as sa

from flights.day import Day
from flights.extract import NoRowsError
from flights.stage import installed_source
from flights.validate import TooManyRejectedError
from flights.warehouse import DELAYS, FLIGHTS, QUARANTINE, transaction
from observability.emit import journal as journal_of_process
from observability.journal import frames
from observability.settings import get_settings

GARBLED = "2013,7,4,517"


@pytest.fixture
def journal(tmp_path, monkeypatch):
    """A function that answers with the events of this test."""
    monkeypatch.setenv("CONTRAIL_JOURNAL__DIRECTORY", str(tmp_path / "journal"))
    for cached in (get_settings, journal_of_process):
        cached.cache_clear()
    yield lambda action: [
        document
        for path in sorted((tmp_path / "journal").glob("etl.event-*"))
        for frame in frames(path.read_bytes())
        if (document := orjson.loads(frame.document))["event.action"] == action
    ]
    monkeypatch.undo()
    for cached in (get_settings, journal_of_process):
        cached.cache_clear()


@pytest.fixture
def doctored(tmp_path, source):
    """A source whose 4 July has a negative distance, an unknown carrier, a garbled line and a line twice."""
    from flights.extract import COLUMNS, read

    folder = tmp_path / "source"
    folder.mkdir()
    for table in ("weather", "planes", "airlines"):
        (folder / f"{table}.csv").write_bytes((source / f"{table}.csv").read_bytes())
    rows = read(source, "flights", date(2013, 7, 4)).rows.to_pandas()
    rows.loc[0, "distance"], rows.loc[1, "carrier"] = "-1", "??"
    lines = rows.to_csv(index=False, na_rep="NA").splitlines()
    assert lines[0] == ",".join(COLUMNS["flights"])
    (folder / "flights.csv").write_text("\n".join([*lines, lines[-1], GARBLED]) + "\n")
    return folder


@pytest.fixture
def warehouse(tmp_path):
    made = sa.create_engine(f"sqlite:///{tmp_path}/warehouse.db")
    yield made
    made.dispose()


def run(day, source, warehouse):
    day.extract(str(source))
    day.validate(most_rejected=0.5)
    day.transform()
    return day.load(warehouse)


def test_the_books_of_a_day_with_bad_rows_balance(doctored, tmp_path, warehouse, journal):
    report = run(Day.of(datetime(2013, 7, 4, tzinfo=timezone.utc), str(tmp_path / "out")), doctored, warehouse)
    steps = [
        (step["etl.step"], step["etl.rows_in"], step["etl.rows_out"], step.get("etl.rows_rejected", 0))
        for step in journal("step.measured")
        if step["etl.table"] == "flights"
    ]
    assert steps == [
        ("extract", 739, 738, 1),
        ("validate", 738, 735, 3),
        ("transform", 735, 735, 0),
        ("load", 735, 735, 0),
    ]
    assert "- carrier_is_known: 1" in report
    assert {event["etl.rule"]: event["etl.rows_rejected"] for event in journal("rows.rejected")} == {
        "columns_are_complete": 1,
        "distance_in_range": 1,
        "carrier_is_known": 1,
        "key_is_unique": 1,
    }
    with transaction(warehouse) as connection:
        kept = connection.execute(sa.select(QUARANTINE.c.rule, QUARANTINE.c.record)).all()
    assert dict(kept[:1]) == {"columns_are_complete": '{"line":"' + GARBLED + '"}'}
    assert len(kept) == 4


def test_running_a_day_twice_changes_nothing(doctored, tmp_path, warehouse):
    def content():
        with transaction(warehouse) as connection:
            return [
                sorted(connection.execute(sa.select(table)).all(), key=repr) for table in (FLIGHTS, DELAYS, QUARANTINE)
            ]

    day = Day.of(datetime(2013, 7, 4, tzinfo=timezone.utc), str(tmp_path / "out"))
    first = run(day, doctored, warehouse), content()
    assert (run(day, doctored, warehouse), content()) == first


def test_a_new_column_is_told_as_a_drift(doctored, tmp_path, journal):
    lines = (doctored / "airlines.csv").read_text().splitlines()
    (doctored / "airlines.csv").write_text("\n".join(f"{line},x" for line in lines) + "\n")
    Day.of(datetime(2013, 7, 4, tzinfo=timezone.utc), str(tmp_path / "out")).extract(str(doctored))
    (drift,) = journal("schema.drifted")
    assert (drift["etl.table"], drift["etl.columns_added"]) == ("airlines", ["x"])


def test_a_day_with_too_many_bad_rows_is_not_staged_further(doctored, tmp_path):
    day = Day.of(datetime(2013, 7, 4, tzinfo=timezone.utc), str(tmp_path / "out"))
    day.extract(str(doctored))
    with pytest.raises(TooManyRejectedError):
        day.validate(most_rejected=0.001)
    assert not (tmp_path / "out/staging/2013-07-04/flights.valid.parquet").exists()


def test_a_day_that_the_source_does_not_cover_is_an_error(tmp_path):
    with pytest.raises(NoRowsError, match="has no flights of 2014-01-01: run a day that it covers"):
        Day.of(datetime(2014, 1, 1, tzinfo=timezone.utc), str(tmp_path)).extract(installed_source())


def test_a_run_without_logical_date_is_told_what_to_do():
    with pytest.raises(ValueError, match="trigger it again with one, such as 2013-07-04"):
        Day.of(None, "/out")
