from datetime import date

import pytest
from upath import UPath

from flights.extract import read
from flights.stage import installed_source
from flights.validate import validate


@pytest.fixture(scope="session")
def source():
    return UPath(installed_source())


@pytest.fixture(scope="session")
def new_year(source):
    """The tables of 1 January 2013 as text."""
    day = date(2013, 1, 1)
    return {
        "flights": read(source, "flights", day).rows.to_pandas(),
        "weather": read(source, "weather", day).rows.to_pandas(),
        "planes": read(source, "planes").rows.to_pandas(),
        "airlines": read(source, "airlines").rows.to_pandas(),
    }


@pytest.fixture(scope="session")
def valid(new_year):
    """The same, validated."""
    carriers = list(new_year["airlines"]["carrier"])
    return {name: validate(name, text, date(2013, 1, 1), carriers)[0] for name, text in new_year.items()}
