from importlib.util import find_spec
from pathlib import Path
from textwrap import indent

import pytest
import yaml
from emitters import Emitters, metrics_sent
from msgspec.structs import fields

from observability import catalog, events
from observability.events import Event, by_action
from observability.events.event import own_fields
from observability.events.fields import EVENT_FIELDS
from observability.events.identity import IDENTITY_FIELDS


def airflow_metrics():
    registry = Path(find_spec("airflow").origin).parent / "_shared/observability/metrics/metrics_template.yaml"
    return {metric["name"] for metric in yaml.safe_load(registry.read_text())["metrics"]}


ROOT = Path(__file__).parents[1]
_BESIDE = """
LABELS = {TaskStuck: "is stuck"}

def hand_over(event):
    emit(event)

def show(kind, words):
    print(kind, words)

def _event(kind, now):
    return kind(reason=now)

class Source:
    def _made(self, kind):
        return kind(cause="x")

    def look(self, connection, found, late, now, log):
"""


@pytest.fixture(scope="module")
def product():
    """The sources of the product that may emit; ``observability.testing`` is for tests, the canary's are samples."""
    found = {
        path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in (ROOT / "observability").rglob("*.py")
    }
    words = ("emit", "events", "Sample(")
    return {
        path: text for path, text in found.items() if "/testing/" not in path and any(word in text for word in words)
    }


@pytest.fixture(scope="module")
def emitted(product):
    return Emitters(product).actions()


@pytest.fixture(scope="module")
def sent(product, emitted):
    return set(metrics_sent(product)) | {use.metric for action in emitted for use in catalog.EVENTS[action].metrics}


@pytest.mark.parametrize("action", catalog.EVENTS)
def test_every_kind_of_event_has_an_emitter_in_the_product(emitted, action):
    assert action in emitted, f"nothing in observability/ emits {action}: it would never be seen"


@pytest.mark.parametrize("name", catalog.METRICS)
def test_every_metric_is_fed_by_an_event_that_is_emitted_or_sent_by_the_product(sent, name):
    assert name in sent, f"nobody sends {name}"


def emitted_in(text):
    """The kinds that a method of ``Source`` emits whose body is ``text``."""
    return Emitters({"observability/a.py": _BESIDE + indent(text, 8 * " ")}).actions()


@pytest.mark.parametrize(
    "text",
    [
        "emit(TaskStuck(cause='x', reason='y'))",
        "event = TaskStuck(cause='x', reason='y')\nwith contained():\n    emit(event)",
        "return observed(TaskStuck(cause='x', reason='y') if late else None, time=now)",
        "hand_over(self._made(TaskStuck))",
        "pending.add(connection, _event(TaskStuck, now), now)",
        "for kind in (TaskStuck,):\n    made = kind(cause='x')\n    emit(replace(made, time=now))",
    ],
)
def test_an_emission_is_found_however_the_event_gets_there(text):
    assert emitted_in(text) == {"task.stuck"}


@pytest.mark.parametrize(
    "text",
    [
        "return {TaskStuck.action: 'is stuck'}",
        "return TaskStuck(cause='x', reason='y')",
        "show(TaskStuck, 'the kind of a panel')",
        "emit(found) if found is TaskStuck else None",
        "log('task.stuck', kind=TaskStuck)",
    ],
)
def test_a_kind_that_is_only_named_is_not_emitted(text):
    assert emitted_in(text) == set()


def test_a_metric_that_is_only_named_is_not_sent():
    text = "metrics.gauge('a.b', 1)\nOURS = ['c.d', ('e.f', 'x'), ('g.h', 'gauge', 1)]"
    assert set(metrics_sent({"observability/a.py": text})) == {"a.b", "g.h"}


def test_every_event_has_a_class_and_every_class_an_entry():
    assert set(by_action()) == set(catalog.EVENTS)


@pytest.mark.parametrize("action", catalog.EVENTS)
def test_a_class_has_the_fields_that_its_entry_declares(action):
    own = {EVENT_FIELDS[name] for name in own_fields(by_action()[action])}
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
    known = {name.replace(".", "_"): "x" for name in (*spec.fields, *about)} | {"cause_label": "x", "deed": "x"}
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


@pytest.mark.parametrize("name", catalog.MONITORS)
def test_a_rule_watches_a_metric_that_is_sent_and_groups_by_its_tag(name):
    rule = catalog.MONITORS[name]
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
    assert [name for name in IDENTITY_FIELDS.values() if name not in catalog.FIELDS] == []


def test_the_id_of_a_fact_depends_on_the_fact_alone():
    class Noted(Event):
        action = "task.started"

    about = events.Identity(dag_id="d", task_id="t", run_id="r", try_number=1)
    same = events.Identity(dag_id="d", task_id="t", run_id="r", try_number=1, owner="me", operator="X")
    assert Noted(identity=about).id == Noted(identity=same).id
    assert Noted(identity=about).id != Noted(identity=about, discriminator="other").id
