"""OpenTelemetry of people's own code joins the attempt, where it is asked for, and nowhere else."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import textwrap
from contextlib import suppress

import pytest
from airflow_platform import clean_environment, started_platform, wait_until
from airflow_runs import DONE, trigger
from otlp_receiver import OtlpReceiver

from observability.local.ports import any_port
from observability.relay.otlp import ids

NAMES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL", "TRACEPARENT")
PROGRAM = """
import json, os, sys
from types import SimpleNamespace
from airflow import settings
settings.initialize()
import airflow.sdk.execution_time.task_runner
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from observability.airflow import listener
made = json.loads(sys.argv[1])
for case in made:
    saved = dict(os.environ)
    os.environ.update(case)
    from observability.settings import get_settings
    get_settings.cache_clear()
    names = {"id": "x", "dag_id": "flights", "task_id": "load", "run_id": "r1", "queue": "x"}
    ti = SimpleNamespace(**names, try_number=2, map_index=-1, start_date=None, end_date=None)
    loaded = set(sys.modules)

    def inside():
        with trace.use_span(trace.INVALID_SPAN):
            listener.on_task_instance_running(None, ti)
            span = TracerProvider().get_tracer("mine").start_span("mine")
        about = span.get_span_context()
        parent = span.parent.span_id if span.parent else 0
        return f"{about.trace_id:032x}", f"{parent:016x}", {name: os.environ.get(name) for name in NAMES}

    NAMES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL", "TRACEPARENT")
    import contextvars
    print(json.dumps([*contextvars.copy_context().run(inside), sorted(set(sys.modules) - loaded)]))
    os.environ.clear()
    os.environ.update(saved)
"""
ON = {"CONTRAIL_OTLP__RECEIVE_PORT": "4318"}
THEIRS = (
    {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://theirs:4318"},
    {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://theirs:4318/v1/traces"},
    {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
)


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Trace, parent, variables, newly loaded modules: asked for, not asked for, beside people's own variables."""
    home = str(tmp_path_factory.mktemp("own"))
    cases = [ON, {}, *(ON | own for own in THEIRS), ON | {"TRACEPARENT": "00-theirs"}]
    environment = clean_environment(AIRFLOW_HOME=home, CONTRAIL_HOME=home, CONTRAIL_STATSD__ENABLED="false")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(cases)],
        capture_output=True, check=False, text=True, timeout=240, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    found = []
    for line in done.stdout.splitlines():
        with suppress(json.JSONDecodeError):
            found.append(json.loads(line))
    return found


ABOUT = {"airflow.dag_id": "flights", "airflow.run_id": "r1", "airflow.task_id": "load", "airflow.try_number": 2}
TRACE, SPAN = ids.derived_trace(ABOUT).hex(), ids.attempt_span(ABOUT | {"airflow.map_index": -1}).hex()
PARENT = f"00-{TRACE}-{SPAN}-01"


def test_a_span_of_the_tasks_code_is_below_the_attempt_and_goes_to_the_relay(answers):
    trace, parent, variables, _ = answers[0]
    assert (trace, parent) == (TRACE, SPAN)
    assert tuple(variables[name] for name in NAMES) == ("http://127.0.0.1:4318", "http/protobuf", PARENT)


def test_nothing_is_set_or_loaded_unless_it_is_asked_for(answers):
    _, parent, variables, loaded = answers[1]
    assert parent == "0" * 16
    assert set(variables.values()) == {None}
    assert [name for name in loaded if "otlp" in name] == []


@pytest.mark.parametrize("place", range(len(THEIRS)))
def test_variables_that_somebody_has_set_stay_and_the_span_is_joined_all_the_same(answers, place):
    trace, parent, variables, _ = answers[2 + place]
    assert (trace, parent) == (TRACE, SPAN)
    assert {name: one for name, one in variables.items() if one is not None} == {
        "TRACEPARENT": PARENT,
        **{name: one for name, one in THEIRS[place].items() if name in NAMES},
    }


def test_a_traceparent_that_is_there_stays(answers):
    assert answers[-1][2]["TRACEPARENT"] == "00-theirs"


DAG = """
import subprocess, sys
from airflow.sdk import dag, task

CHILD = '''
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
import os
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
parent = TraceContextTextMapPropagator().extract({"traceparent": os.environ["TRACEPARENT"]})
provider.get_tracer("child").start_span("in a program", context=parent).end()
'''

@dag(schedule=None)
def own_spans():
    @task
    def load():
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor

        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
        with provider.get_tracer("mine").start_as_current_span("mine"):
            subprocess.run([sys.executable, "-c", CHILD], check=True)

    load()

own_spans()
"""


@pytest.mark.slow
@pytest.mark.airflow
@pytest.mark.timeout(900)
def test_spans_of_a_real_task_and_of_a_program_that_it_starts_are_below_the_span_of_the_attempt(tmp_path):
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "own_spans.py").write_text(textwrap.dedent(DAG))
    with OtlpReceiver() as receiver:
        more = {
            "CONTRAIL_RELAY__SINKS": "embedded,otlp", "CONTRAIL_OTLP__URL": receiver.url,
            "CONTRAIL_OTLP__RECEIVE_PORT": str(any_port(socket.SOCK_STREAM)),
            "CONTRAIL_AIRFLOW__DAGS_FOLDER": str(dags),
        }  # fmt: skip
        with started_platform(tmp_path / "home", **more) as platform, platform.api() as api:
            wait_until(lambda: api.call("GET", "/dags")["total_entries"] == 1, within=120)
            run = trigger(platform, api, "own_spans")
            wait_until(lambda: run.state() in DONE, within=240)
            assert run.state() == "success"
            wanted = {"mine", "in a program", "load", "own_spans"}
            wait_until(lambda: wanted <= {span.name for span in receiver.spans}, within=60)
    found = {span.name: span for span in receiver.spans}
    assert {span.trace_id for span in found.values()} == {found["own_spans"].trace_id}
    assert found["mine"].parent_span_id == found["load"].span_id
    assert found["in a program"].parent_span_id == found["load"].span_id
    assert found["load"].parent_span_id == found["own_spans"].span_id
