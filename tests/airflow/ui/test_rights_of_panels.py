"""Every panel of every board for each set of rights: what test_rights asks of a few of them under each auth manager.

An auth manager says what a reader may read; that is the same for all panels, for each is drawn from the one store that
this reader may see. So test_rights need not ask all of them under each manager: no panel shows more than is shown here.
"""

from __future__ import annotations

from itertools import product

import pytest
from api_server import _send, store_a_failure
from every_kind import every_kind

from observability.airflow.ui import boards
from observability.airflow.ui.readable_store import ReadableStore
from observability.airflow.ui.scope import AuditedDags, Names, Reader
from observability.relay.sinks.embedded import open_sink
from observability.settings import load_settings
from observability.store import open_store

DAGS = ("open_dag", "second_dag", "closed_dag")
REASONS = {dag: f"why-{dag}-failed" for dag in DAGS}
NOBODYS = "why-a-file-is-broken"
PANELS = [
    (key, panel["key"]) for key, board in boards.boards().items() for row in board["rows"] for panel in row["panels"]
]


def reader(*, runs=(), tasks=None, logs=None, **views):
    """A reader of these DAGs; of tasks and logs all of them, unless they are given."""
    tasks = runs if tasks is None else tasks
    logs = tasks if logs is None else logs
    return Reader(frozenset(runs), frozenset(tasks), frozenset(logs), **views)


ANY = {"pools": Names(lambda _: True), "audited": AuditedDags(lambda asked: asked), "cluster": True, "whole": True}
READERS = {
    "none": reader(),
    "one": reader(runs=DAGS[:1]),
    "two": reader(runs=DAGS[:2]),
    "runs_of_one": reader(runs=DAGS[:1], logs=()),
    "bare_runs_of_one": reader(runs=DAGS[:1], tasks=()),
    "runs_of_all": reader(runs=DAGS, logs=(), **ANY | {"whole": False}, assets=Names(lambda _: True)),
    "all_but_assets": reader(runs=DAGS, **ANY),
    "all": reader(runs=DAGS, **ANY, assets=Names(lambda _: True)),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store in which every kind of event happened to each DAG."""
    options = load_settings(environ={"CONTRAIL_CORE__HOME": str(tmp_path_factory.mktemp("panels"))})
    sink = open_sink(options)
    for dag, reason in {**REASONS, None: NOBODYS}.items():
        store_a_failure(sink, dag, reason)
        for dataset, event in every_kind(dag, reason, "r1"):
            _send(sink, dataset, event)
    sink.close()
    opened = open_store(options)
    yield opened
    opened.close()


def shown(store, rights, board, panel, filters=None):
    """The answer of a panel to a reader, as text."""
    view = boards.View.of(boards.find_board(board), None, filters or {})
    return repr(boards.shown(ReadableStore(store, rights), view, boards.find_panel(view.board, panel)))


@pytest.fixture(scope="module")
def said(store):
    """Texts of every panel for each reader, by reader, board and panel."""
    return {
        (name, board, panel): shown(store, rights, board, panel)
        for (board, panel), (name, rights) in product(PANELS, READERS.items())
    }


def of(said, name, *words):
    return sorted(
        f"{board}/{panel}"
        for (one, board, panel), text in said.items()
        if one == name and any(word in text for word in words)
    )


@pytest.mark.parametrize("name", READERS)
def test_no_panel_names_a_dag_that_its_reader_may_not_read(said, name):
    for dag in set(DAGS) - READERS[name].runs:
        assert of(said, name, dag) == []


@pytest.mark.parametrize("name", [name for name, rights in READERS.items() if not rights.logs])
def test_no_panel_shows_what_code_said_to_who_may_not_read_logs(said, name):
    assert of(said, name, *REASONS.values(), NOBODYS) == []


@pytest.mark.parametrize("name", ["one", "two", "runs_of_one", "runs_of_all"])
def test_no_panel_shows_what_is_about_no_dag_to_who_may_not_read_everything(said, name):
    assert of(said, name, NOBODYS) == []


@pytest.mark.parametrize("name", [name for name in READERS if name not in {"all", "runs_of_all"}])
def test_no_panel_names_an_asset_to_who_may_read_none(said, name):
    assert of(said, name, *(f">asset-of-{dag}" for dag in DAGS), *(f"'asset-of-{dag}" for dag in DAGS)) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("airflow.dag_id", "closed_dag"), ("airflow.owner", "owner-of-closed_dag"), ("airflow.task_id", "load")],
)
def test_a_filter_does_not_lead_around_the_rights_of_a_reader(store, field, value):
    said = {(board, panel): shown(store, READERS["one"], board, panel, {field: value}) for board, panel in PANELS}
    assert [where for where, text in said.items() if "closed_dag" in text] == []


def test_a_reader_of_everything_is_shown_each_of_these(said):
    assert all(of(said, "all", word) for word in (*DAGS, *REASONS.values(), NOBODYS, "asset-of-open_dag"))
    assert len(PANELS) > 60
