import json
from datetime import date

import pandas as pd
import pytest

from flights.extract import read
from flights.validate import TooManyRejectedError, refuse_too_many, validate

DAY = date(2013, 1, 1)
CARRIERS = ["UA", "AA", "B6", "DL", "EV", "MQ", "US", "WN", "VX", "FL", "AS", "9E", "F9", "HA", "YV", "OO"]


@pytest.mark.parametrize("table", ["flights", "weather", "planes", "airlines"])
def test_a_clean_day_of_the_real_data_breaks_no_rule(new_year, table):
    good, bad = validate(table, new_year[table], DAY, CARRIERS)
    assert (len(good), len(bad)) == (len(new_year[table]), 0)


def test_the_real_gust_of_february_is_found(source):
    text = read(source, "weather", date(2013, 2, 12)).rows.to_pandas()
    good, bad = validate("weather", text, date(2013, 2, 12))
    assert (len(good), list(bad["rule"])) == (71, ["wind_speed_in_range"])
    assert json.loads(bad["record"].iloc[0])["wind_speed"] == "1048.36058"


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("distance", "far", "distance_is_integer"),
        ("distance", "1.5", "distance_is_integer"),
        ("distance", "1e400", "distance_is_integer"),
        ("distance", "-5", "distance_in_range"),
        ("distance", None, "distance_is_there"),
        ("sched_dep_time", "2401", "sched_dep_time_in_range"),
        ("air_time", "0", "air_time_in_range"),
        ("carrier", "ZZ", "carrier_is_known"),
        ("carrier", None, "carrier_is_there"),
        ("origin", "LHR", "origin_is_known"),
        ("dest", "nowhere", "dest_well_formed"),
        ("tailnum", "'; drop table flights; --", "tailnum_well_formed"),
        ("time_hour", "yesterday", "time_hour_is_time"),
        ("time_hour", None, "time_hour_is_there"),
        ("day", "x", "day_is_integer"),
        ("tailnum", "N1\ufffd", "text_is_utf8"),
        ("month", None, "month_is_there"),
    ],
)
def test_a_bad_value_sends_its_row_alone_to_quarantine_under_its_rule(new_year, column, value, rule):
    text = new_year["flights"].copy()
    text.loc[7, column] = value
    good, bad = validate("flights", text, DAY, CARRIERS)
    assert (len(good), list(bad["rule"])) == (841, [rule])
    assert json.loads(bad["record"].iloc[0]) == json.loads(text.loc[7].to_json())


def test_the_second_row_of_a_key_is_rejected_and_the_first_kept(new_year):
    text = pd.concat([new_year["flights"], new_year["flights"].iloc[[3]]])
    good, bad = validate("flights", text, DAY, CARRIERS)
    assert (len(good), list(bad["rule"])) == (842, ["key_is_unique"])


def test_a_row_that_breaks_many_rules_is_counted_once(new_year):
    text = new_year["flights"].copy()
    text.loc[0, ["distance", "dest", "hour"]] = ["-1", "x", "99"]
    text.loc[1, ["distance", "time_hour"]] = ["far", "never"]
    good, bad = validate("flights", text, DAY, CARRIERS)
    assert (len(good) + len(bad), len(bad)) == (842, 2)


def test_rows_of_another_day_are_no_rows_of_this_day(new_year):
    _, bad = validate("flights", new_year["flights"], date(2013, 1, 2), CARRIERS)
    assert set(bad["rule"]) == {"date_is_of_the_day"}


def test_nothing_in_means_nothing_out(new_year):
    good, bad = validate("flights", new_year["flights"].iloc[:0], DAY, CARRIERS)
    assert (len(good), len(bad)) == (0, 0)


def test_a_day_that_is_mostly_bad_is_refused():
    refuse_too_many("flights", 100, 50, 0.5)
    with pytest.raises(TooManyRejectedError, match="51 of 100 rows of flights were rejected, more than 50%"):
        refuse_too_many("flights", 100, 51, 0.5)
