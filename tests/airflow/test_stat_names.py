"""Names of metrics that Airflow's scheduler does not stumble over."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest
from airflow._shared.observability.metrics.statsd_logger import SafeStatsdLogger
from airflow._shared.observability.metrics.validators import get_validator
from statsd import StatsClient

from observability.airflow.stat_names import safe


@pytest.mark.parametrize("dag_id", ["größe.täglich", "日本", "d" * 250, "a b|c:d\n"])
def test_a_timer_of_any_dag_is_a_timer_and_reaches_the_wire_as_one_line(dag_id):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as relay:
        relay.bind(("127.0.0.1", 0))
        relay.settimeout(5)
        with closing(StatsClient("127.0.0.1", relay.getsockname()[1], prefix="airflow")) as client:
            stats = SafeStatsdLogger(client, get_validator(), True, None, safe, True)
            with stats.timer("dagrun.dependency-check", tags={"dag_id": dag_id}):
                """Airflow decides about the run in here."""
        line = relay.recv(65_536)
    assert line.startswith(b"airflow.dagrun.dependency-check,dag_id=")
    assert line.endswith(b"|ms")
    assert b"\n" not in line
    assert line.count(b":") == 1


def test_a_name_that_is_well_is_left_as_it_is():
    assert safe("ti.finish,dag_id=load.v1,state=success") == "ti.finish,dag_id=load.v1,state=success"
