"""The numbers of a sink as `relay.status.json` has them."""

from observability.relay.delivery_stats import DeliveryStats, Waiting


def test_what_waits_is_said_in_tenths_of_a_second_for_each_stream_and_the_oldest_for_the_sink():
    stats = DeliveryStats("elasticsearch")
    stats.waiting = {"airflow.task": Waiting(700, since=100.0), "etl.event": Waiting(11, since=140.0)}
    report = stats.report(150.26)
    streams = {name: (line["lag_bytes"], line["lag_seconds"]) for name, line in report["streams"].items()}
    assert streams == {"airflow.task": (700, 50.3), "etl.event": (11, 10.3)}
    assert (report["lag_bytes"], report["lag_seconds"]) == (711, 50.3)


def test_a_report_says_the_trouble_and_its_beginning_until_it_is_over():
    stats = DeliveryStats("elasticsearch")
    parts = ("state", "trouble", "trouble_since")
    assert [stats.report(0.0)[part] for part in parts] == ["ok", "", None]
    stats.ill("down")
    assert [stats.report(0.0)[part] for part in parts] == ["unavailable", "down", stats.trouble_since]
    assert stats.well()
    assert [stats.report(0.0)[part] for part in parts] == ["ok", "", None]


def test_a_sink_in_trouble_waits_at_least_as_long_as_it_takes_nothing():
    stats = DeliveryStats("elasticsearch")
    stats.ill("down")
    assert stats.lag_s(stats.trouble_since + 7.5) == 7.5
    stats.waiting = {"airflow.task": Waiting(1, since=stats.trouble_since - 2)}
    assert stats.lag_s(stats.trouble_since + 7.5) == 9.5
