from datetime import date
from types import SimpleNamespace

import pandas as pd
import pytest
import sqlalchemy as sa

from flights.load import load_day
from flights.monthly import carriers_of, flights_of
from flights.transform import delay_statistics, enrich
from flights.validate import rejects
from flights.warehouse import DELAYS, FLIGHTS, QUARANTINE, WarehouseError, engine, transaction

DAY = date(2013, 1, 1)


def connection(**known):
    fields = dict.fromkeys(("host", "port", "schema", "login", "password")) | {"extra_dejson": {}}
    return SimpleNamespace(**(fields | known))


@pytest.fixture(params=["sqlite", "postgresql"])
def warehouse(request, tmp_path):
    if request.param == "sqlite":
        made = engine(connection(conn_type="sqlite", host=str(tmp_path / "deep" / "warehouse.db")))
    else:
        server = request.getfixturevalue("postgresql_server")
        made = engine(connection(conn_type="postgres", **server.database()))
    yield made
    made.dispose()


@pytest.fixture(scope="module")
def day(valid):
    flights = enrich(valid["flights"], valid["weather"], valid["planes"])
    text = pd.DataFrame({"line": ["a,b", "c"]}, dtype="str")
    return (
        flights,
        delay_statistics(flights),
        rejects("flights", text, pd.Series("columns_are_complete", index=text.index)),
    )


def content(warehouse):
    with transaction(warehouse) as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key))]
            for table in (FLIGHTS, DELAYS, QUARANTINE)
        }


def test_a_day_is_stored_with_its_statistics_and_its_quarantine(warehouse, day):
    assert load_day(warehouse, DAY, *day) == 842
    stored = content(warehouse)
    assert {name: len(rows) for name, rows in stored.items()} == {
        "flights": 842,
        "delay_statistics": 291,
        "quarantine": 2,
    }
    assert stored["quarantine"][0] == (DAY, 0, "flights", "columns_are_complete", '{"line":"a,b"}')


def test_loading_a_day_twice_changes_nothing(warehouse, day):
    load_day(warehouse, DAY, *day)
    before = content(warehouse)
    load_day(warehouse, DAY, *day)
    assert content(warehouse) == before


def test_a_corrected_day_replaces_what_was_there_and_no_other_day(warehouse, day):
    flights, delays, rejected = day
    load_day(warehouse, DAY, *day)
    load_day(warehouse, date(2013, 1, 2), *day)
    assert load_day(warehouse, DAY, flights.iloc[:10], delays.iloc[:3], rejected.iloc[:0]) == 10
    assert {name: len(rows) for name, rows in content(warehouse).items()} == {
        "flights": 852,
        "delay_statistics": 294,
        "quarantine": 2,
    }


def test_a_load_that_fails_half_way_leaves_the_day_as_it_was(warehouse, day):
    flights, delays, rejected = day
    load_day(warehouse, DAY, *day)
    before = content(warehouse)
    with pytest.raises(sa.exc.IntegrityError):
        load_day(warehouse, DAY, flights.iloc[:5], pd.concat([delays, delays]), rejected)
    assert content(warehouse) == before


def test_a_month_is_read_back_by_carrier(warehouse, day):
    load_day(warehouse, DAY, *day)
    carriers = carriers_of(warehouse, "2013-01")
    assert sum(len(flights_of(warehouse, "2013-01", carrier)) for carrier in carriers) == 842
    assert carriers_of(warehouse, "2013-02") == []


def test_a_warehouse_of_another_kind_is_refused_with_the_remedy():
    with pytest.raises(WarehouseError, match="of type 'mysql': make it sqlite or postgres"):
        engine(connection(conn_type="mysql"))


def test_a_sqlite_warehouse_needs_an_absolute_path():
    with pytest.raises(WarehouseError, match=r"'warehouse\.db': give an absolute path"):
        engine(connection(conn_type="sqlite", host="warehouse.db"))
