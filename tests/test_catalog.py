from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from msgspec.structs import fields

from observability import catalog, events
from observability.events import Event, by_action


def airflow_metrics():
    registry = Path(find_spec("airflow").origin).parent / "_shared/observability/metrics/metrics_template.yaml"
    return {metric["name"] for metric in yaml.safe_load(registry.read_text())["metrics"]}


def test_every_event_has_a_class_and_every_class_an_entry():
    assert set(by_action()) == set(catalog.EVENTS)


@pytest.mark.parametrize("action", catalog.EVENTS)
def test_a_class_has_the_fields_that_its_entry_declares(action):
    own = {events._FIELD[name] for name in events._own_fields(by_action()[action])}
    assert own == set(catalog.EVENTS[action].fields)


@pytest.mark.parametrize("action", catalog.EVENTS)
def test_an_event_refers_to_declared_fields_metrics_and_datasets(action):
    spec = catalog.EVENTS[action]
    assert spec.dataset in catalog.DATASETS
    assert [field for field in spec.fields if field not in catalog.FIELDS] == []
    assert [use.metric for use in spec.metrics if use.metric not in catalog.METRICS] == []
    assert [use.field for use in spec.metrics if use.field and use.field not in spec.fields] == []


@pytest.mark.parametrize("action", catalog.EVENTS)
def test_a_message_says_only_what_the_event_or_its_identity_knows(action):
    spec = catalog.EVENTS[action]
    about = [name for name in catalog.FIELDS if name.startswith("airflow.")]
    known = {name.replace(".", "_"): "x" for name in (*spec.fields, *about)}
    assert spec.message.format_map(known)


@pytest.mark.parametrize("name", catalog.METRICS)
def test_a_metric_has_declared_tags_and_a_name_that_says_its_unit(name):
    spec = catalog.METRICS[name]
    assert [tag for tag in spec.tags if tag not in catalog.TAGS] == []
    assert spec.unit not in {"ms", "bytes"} or name.endswith((f"_{spec.unit}", f".{spec.unit}"))


def test_every_tag_becomes_a_declared_field():
    assert [field for field in catalog.TAGS.values() if field not in catalog.FIELDS] == []


def test_no_tag_is_unbounded():
    assert {"run_id", "ti_id", "try_number", "map_index"} & set(catalog.TAGS) == set()


@pytest.mark.parametrize("name", catalog.RULES)
def test_a_rule_watches_a_metric_that_is_sent_and_groups_by_its_tag(name):
    rule = catalog.RULES[name]
    assert rule.metric in catalog.METRICS or rule.metric in airflow_metrics()
    assert rule.event is None or rule.event in catalog.EVENTS
    if rule.metric in catalog.METRICS:
        tags = catalog.METRICS[rule.metric].tags
        assert rule.group_by is None or rule.group_by in tags
        assert [tag for tag, _ in rule.where if tag not in tags] == []


def test_every_cause_that_an_event_carries_by_default_is_in_the_catalogue():
    defaults = {part.default for kind in by_action().values() for part in fields(kind) if part.name == "cause"}
    assert {cause for cause in defaults if isinstance(cause, str)} <= set(catalog.CAUSES)


def test_every_cause_has_a_label_of_its_own_that_fits_a_column():
    assert list(catalog.CAUSE_LABELS) == list(catalog.CAUSES)
    assert len(set(catalog.CAUSE_LABELS.values())) == len(catalog.CAUSES)
    assert max(map(len, catalog.CAUSE_LABELS.values())) <= 30


def test_every_identity_field_is_declared():
    assert [name for name in events._IDENTITY if events._FIELD[name] not in catalog.FIELDS] == []


def test_the_id_of_a_fact_depends_on_the_fact_alone():
    class Noted(Event):
        action = "task.started"

    about = events.Identity(dag_id="d", task_id="t", run_id="r", try_number=1)
    same = events.Identity(dag_id="d", task_id="t", run_id="r", try_number=1, owner="me", operator="X")
    assert Noted(identity=about).id == Noted(identity=same).id
    assert Noted(identity=about).id != Noted(identity=about, discriminator="other").id
