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


def test_trouble_is_news_once_and_its_beginning_stays_while_its_reason_changes(monkeypatch):
    monkeypatch.setattr("observability.relay.delivery_stats.time.time", iter([100.0, 200.0]).__next__)
    stats = DeliveryStats("elasticsearch")
    assert [stats.well(), stats.ill("down"), stats.ill("still down")] == [False, True, False]
    assert (stats.trouble, stats.trouble_since) == ("still down", 100.0)
    assert [stats.well(), stats.well(), stats.trouble] == [True, False, ""]
    assert stats.ill("down again")
    assert stats.trouble_since == 200.0


def test_counts_are_added_up_by_stream_and_result_and_the_recent_ones_are_taken_once():
    stats = DeliveryStats("elasticsearch")
    stats.add([("airflow.task", "stored", 2), ("airflow.task", "stored", 3), ("etl.event", "rejected", 1)])
    stats.add([("airflow.task", "stored", 10)])
    everything = {("airflow.task", "stored"): 15, ("etl.event", "rejected"): 1}
    assert (stats.take_recent(), stats.take_recent(), stats.totals) == (everything, {}, everything)
    none = {"emitted": 0, "stored": 0, "duplicate": 0, "rejected": 0, "dropped": 0}
    assert stats.report(0.0)["streams"] == {"airflow.task": none | {"stored": 15}, "etl.event": none | {"rejected": 1}}


def test_a_hundred_refusals_in_a_row_are_said_once_and_so_is_their_end():
    stats = DeliveryStats("elasticsearch")
    loud = "each of the last 100 documents of etl.event was refused: no index"
    assert [stats.judged("etl.event", 0, 99, "no mapping"), stats.refusing] == ["", ""]
    assert [stats.judged("etl.event", 0, 1, "no index"), stats.refusing] == [loud, loud]
    assert stats.judged("etl.event", 0, 50, "no index") == ""
    assert stats.refusing == "each of the last 150 documents of etl.event was refused: no index"
    assert stats.judged("etl.event", 0, 0, "") == ""
    assert [stats.judged("etl.event", 1, 7, ""), stats.refusing] == ["etl.event is taken again", ""]
    assert (stats.refused, stats.last_refusal) == (157, "no index")


def test_refusals_below_a_hundred_end_without_a_word_and_are_counted_anew():
    stats = DeliveryStats("elasticsearch")
    assert stats.judged("etl.event", 0, 99, "no index") == ""
    assert [stats.judged("etl.event", 1, 0, ""), stats.judged("etl.event", 0, 99, "no index")] == ["", ""]
    assert stats.refusals["etl.event"].number == 99


def test_all_streams_that_are_refused_are_named_in_order_and_trouble_is_said_before_them():
    stats = DeliveryStats("elasticsearch")
    for stream in ("etl.event", "airflow.task"):
        stats.judged(stream, 0, 100, "no index")
    both = "; ".join(
        f"each of the last 100 documents of {name} was refused: no index" for name in ("airflow.task", "etl.event")
    )
    report = stats.report(0.0)
    assert (report["state"], report["trouble"], report["trouble_since"]) == ("refusing", both, None)
    stats.ill("down")
    assert (stats.report(0.0)["state"], stats.report(0.0)["trouble"]) == ("unavailable", "down")


def test_nothing_that_waits_has_no_age_and_a_clock_that_was_set_back_makes_none():
    assert [Waiting(5, since).age_s(9.0) for since in (None, 6.5, 10.0)] == [0.0, 2.5, 0.0]
    stats = DeliveryStats("elasticsearch")
    assert stats.lag_s(9.0) == 0.0
    stats.waiting = {"airflow.task": Waiting(5, since=3.0), "etl.event": Waiting(5, since=7.0)}
    assert stats.lag_s(9.0) == 6.0
