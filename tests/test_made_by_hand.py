"""No test proves a board, page, rule or alarm with an event that the test made itself: the product makes it.

The check reads the tests and benchmarks. A module shows something if it imports the boards, the pages or what asks
them, itself or through a helper of ours. Nothing in such a module, and in the helpers that it uses, may make an event
or write down an event's document.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

from observability import catalog
from observability.events import by_action

ROOT = Path(__file__).parents[1]
SHOWN_BY = (
    "observability.dashboards",
    "observability.airflow.ui",
    "observability.dashboard_installer",
    "observability.cli.dashboards",
    "observability.watch.sources.kibana",
)
KINDS = {kind.__name__ for kind in by_action().values()}
ALLOWED = {
    "tests/airflow/ui/test_answers.py": "how a page reads given events; test_boards_on_demo.py proves that they come",
    "tests/airflow/ui/test_boards.py": "how a panel counts given events; test_boards_on_demo.py proves that they come",
    "tests/airflow/ui/api_server.py": "whose DAGs a reader sees, whatever the events say",
    "tests/store/test_index_prefix.py": "which index a document goes to and is asked in, whatever it says",
    "tests/benchmarks/test_soak_numbers.py": "how the soak counts given events; the soak itself proves that they come",
    "tests/test_delivered_through_proxies.py": "how bytes pass a proxy, whatever they say",
    "tests/production/test_hostile.py": "what steers a terminal, whatever the events say",
    "benchmarks/at_size.py": "how fast a store of millions of events answers, which no demo has",
    "benchmarks/watched.py": "how soon and how often a watcher tells of a failure; nothing that is shown is asked",
    "benchmarks/pages.py": "how fast a page is on a year of events, which no demo has",
}
"""Modules that make events and show them, and why that proves nothing about what the product emits."""
SHOW_NOTHING = {
    "tests/production/test_hostile.py",
    "benchmarks/watched.py",
    "benchmarks/at_size.py",
}
"""Those of them that a helper brings here: they ask no board, page, rule or alarm themselves."""


def _modules():
    """Every module of ours by the name that others import it by, with its tree."""
    files = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text("utf-8")) for path in files}


def _imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _shows(trees):
    """The modules that import what shows events, directly or through one of ours, and the helpers that they use."""
    wanted = {name: set(_imports(tree)) for name, tree in trees.items()}
    by_module = defaultdict(set)
    for name in trees:
        by_module[Path(name).stem].add(name)
        by_module[name.removesuffix(".py").replace("/", ".")].add(name)
    found = {name for name, names in wanted.items() if any(_is_shown(one) for one in names)}
    while more := {name for name, names in wanted.items() if any(by_module[one] & found for one in names)} - found:
        found |= more
    helpers = {helper for name in found for one in wanted[name] for helper in by_module[one]}
    return found | helpers


def _is_shown(name):
    return any(name == one or name.startswith(f"{one}.") for one in SHOWN_BY)


def made_by_hand(tree):
    """(line, what) for each event that is made and each document of an event that is written down."""
    asked = {
        id(node)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        for node in (
            *(word.value for word in call.keywords if word.arg == "where"),
            *(call.args if getattr(call.func, "id", "") == "Query" else ()),
        )
    }
    known_as = {
        alias.asname: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
            if known_as.get(name, name) in KINDS:
                yield node.lineno, f"{name}(…)"
        elif isinstance(node, ast.Dict) and id(node) not in asked:
            for key, value in zip(node.keys, node.values, strict=True):
                action = getattr(value, "value", None)
                if getattr(key, "value", "") == "event.action" and (action in catalog.EVENTS or action is None):
                    yield node.lineno, f'{{"event.action": "{action or "…"}"}}'


def test_what_shows_events_is_proven_with_events_that_the_product_made():
    trees = _modules()
    found = {
        name: [f"line {line}: {what}" for line, what in made_by_hand(trees[name])] for name in sorted(_shows(trees))
    }

    assert {name: lines for name, lines in found.items() if lines and name not in ALLOWED} == {}
    assert [name for name in ALLOWED if not found.get(name)] == [], "an exception that nothing needs any more"


@pytest.mark.parametrize("name", sorted(SHOW_NOTHING))
def test_an_exception_that_is_for_no_board_asks_none(name):
    tree = ast.parse((ROOT / name).read_text("utf-8"))
    assert name in ALLOWED
    assert [one for one in _imports(tree) if _is_shown(one)] == []


@pytest.mark.parametrize(
    "text",
    [
        "from observability import events\nevents.TaskFailed(cause='app', reason='x')",
        "from observability.events import RuleFired as Fired\nFired(rule_id='x', reason='y')",
        "from observability.events import ChannelBroken\nsend(kind=ChannelBroken(channel='x', reason='y'))",
        "sink.send({'event.action': 'task.stuck', '@timestamp': now})",
        "[{**about, 'event.action': action} for action in catalog.EVENTS]",
    ],
)
def test_an_event_by_hand_is_found_in_each_form(text):
    assert len(list(made_by_hand(ast.parse(text)))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "Query('etl.event', {'event.action': 'task.failed'})",
        "store.count(Query('etl.event', where={'event.action': 'task.failed'}))",
        "assert {'event.action': 'nobody.knows'}",
    ],
)
def test_a_question_about_events_is_none(text):
    assert list(made_by_hand(ast.parse(text))) == []


def test_a_module_that_shows_events_through_a_helper_is_one_too():
    trees = {
        "tests/dashboards/filled.py": ast.parse("from observability.dashboards.boards import BOARDS"),
        "tests/cli/test_x.py": ast.parse("from filled import carried"),
        "tests/cli/test_y.py": ast.parse("from test_z import nothing"),
        "tests/made.py": ast.parse("from observability.events import TaskFailed"),
    }
    trees["tests/cli/test_x.py"].body += ast.parse("from made import failures").body
    assert _shows(trees) == {"tests/dashboards/filled.py", "tests/cli/test_x.py", "tests/made.py"}
