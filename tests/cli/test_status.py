"""The counts of ``contrail status``."""

import json
from contextlib import closing

import orjson

from observability.local.health import ComponentHealth, Health, look_at_delivery
from observability.relay.sinks.sink import Batch, open_sink
from observability.settings import load_settings


def lost(number, **more):
    document = {"event.id": str(number), "@timestamp": "2026-01-01T00:00:00Z", "event.action": "telemetry.lost"}
    return orjson.dumps({**document, "telemetry.count": number, **more})


def test_losses_are_counted_and_the_canarys_sample_of_one_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTRAIL_HOME", str(tmp_path))
    settings = load_settings()
    with closing(open_sink("embedded", settings)) as sink:
        sink.send(Batch("contrail.alert", "contrail.alert-x.journal", "journal", [b"3", b"4"], [lost(3), lost(4)]))
        sample = lost(1, **{"canary.probe": 7})
        sink.send(Batch("contrail.probe", "contrail.probe-x.journal", "journal", [b"1"], [sample]))
    (tmp_path / "relay.status.json").write_text(json.dumps({"sinks": {}}))
    assert look_at_delivery(settings).losses == 7


def test_a_platform_that_is_not_healthy_names_each_cause_and_the_remedy():
    parts = [ComponentHealth("scheduler", "healthy"), ComponentHealth("relay", "unhealthy", "elasticsearch: refused")]
    store = "the templates are not installed; run `contrail elasticsearch setup`"
    assert (
        Health("running", "url", "home", parts, store).trouble
        == f"store: {store}; relay is unhealthy: elasticsearch: refused"
    )
    assert Health("running", "url", "home", parts[:1]).trouble == ""
