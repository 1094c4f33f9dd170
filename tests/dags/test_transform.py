import pandas as pd
import pytest

from flights.transform import delay_statistics, enrich


def test_each_flight_comes_out_once_with_its_weather_and_plane(valid):
    joined = enrich(valid["flights"], valid["weather"], valid["planes"])
    first = joined[(joined["flight"] == 1545) & (joined["carrier"] == "UA")].iloc[0]
    assert len(joined) == 842
    assert (first["temp"], first["plane_manufacturer"], first["plane_year"]) == (39.02, "BOEING", 1999)


def test_a_flight_without_weather_or_plane_is_kept(valid):
    joined = enrich(valid["flights"], valid["weather"].iloc[:0], valid["planes"].iloc[:0])
    assert (len(joined), joined["temp"].notna().sum(), joined["plane_seats"].notna().sum()) == (842, 0, 0)


def test_two_weathers_for_one_hour_are_refused(valid):
    with pytest.raises(pd.errors.MergeError):
        enrich(valid["flights"], pd.concat([valid["weather"], valid["weather"]]), valid["planes"])


def test_statistics_count_every_flight_and_every_cancellation(valid):
    found = delay_statistics(valid["flights"])
    assert (found["flights"].sum(), found["cancelled"].sum()) == (842, valid["flights"]["dep_time"].isna().sum())


def test_statistics_are_those_of_the_flights_of_a_carrier_origin_and_hour(valid):
    flights = valid["flights"]
    some = flights[(flights["carrier"] == "UA") & (flights["origin"] == "EWR") & (flights["hour"] == 8)]
    found = delay_statistics(flights).set_index(["carrier", "origin", "hour"]).loc[("UA", "EWR", 8)]
    assert found["flights"] == len(some)
    assert found["mean_arr_delay"] == pytest.approx(some["arr_delay"].astype(float).mean())
    assert found["late"] == (some["arr_delay"] >= 15).sum()
