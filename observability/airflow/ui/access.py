"""``python -m observability.airflow.ui.access <file>``: the page of who sees what, from routes and panels."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi.routing import APIRoute

from observability.airflow.ui import boards
from observability.airflow.ui.app import create_app, rights_of
from observability.airflow.ui.readable_store import OPEN_ACTIONS, TEXTS, needs_logs

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["page"]

_RIGHTS = (
    ("`RUN` of the DAG", "runs, their states and durations, deadlines, incidents (without their reasons)"),
    ("and `TASK_INSTANCE`", "tasks and attempts, causes, resources, measured steps, rejected rows, columns, boards"),
    ("and `TASK_LOGS`", "reasons, errors, traces, frames, fingerprints, log lines: what a person's code said"),
    (
        "`RUN` and `AUDIT_LOG`",
        (
            "who did what, by Airflow's event log: on the page of a run and on the board *audit*; with `TASK_LOGS` what"
            " was written beside it; with it for every DAG, and the last right below, what was done to no DAG"
        ),
    ),
    ("the asset, one by one", "its URI; titles and reasons of what is late about it (with the right in the last line)"),
    ("the pool, one by one", "metrics of pools"),
    ("`CLUSTER_ACTIVITY`", "the installation's own metrics; {open}"),
    (
        "all of the first three for every DAG, and `IMPORT_ERRORS`",
        "what is about no DAG: import errors, component logs, incidents of the platform; DAGs that are gone",
    ),
)

_INTRODUCTION = (
    "*Generated from the pages' routes and panels by `make generate`. Rights are Airflow's own: its auth manager is"
    " asked at every request.*"
)
_WITHOUT = (
    "Without a right, a page leaves out what the right shows. Without the rights of its route it is 403, without a"
    " login 401. Only the routes with POST change anything, but for that of the rules, which tries them: each wants"
    " a form that a page of ours made for that person,"
    " and Airflow's right to edit the DAG (PUT on the DAG, for a rerun PUT on its task instances)."
)


_OWN = {
    "GET /rules": "a login; who hears of the reader's DAGs. The rules' own text needs the right to read everything",
    "POST /rules": "a login, a form of ours, and the right to read the logs of every DAG, and import errors",
    "GET /setup": "a login; shows nothing about a DAG",
}


def page() -> str:
    """The whole page as Markdown."""
    app = create_app()
    routes = [route for route in app.routes if isinstance(route, APIRoute)]
    rows = (
        f"| `{'/'.join(sorted(route.methods))} /contrail{route.path_format}` | {_of_route(route)} |"
        for route in sorted(routes, key=lambda route: route.path)
    )
    shown = (f"| {right} | {what.format(open=_list(OPEN_ACTIONS))} |" for right, what in _RIGHTS)
    return "\n".join(
        [
            "# Who sees what",
            "",
            _INTRODUCTION,
            "",
            "| right | shows |",
            "|---|---|",
            *shown,
            "",
            _WITHOUT,
            "",
            f"What a person's code said: {_list(sorted(TEXTS))}, and every field that the catalogue does not name.",
            "",
            "## Routes",
            "| route | rights to the DAG that it asks for |",
            "|---|---|",
            *rows,
            "",
            "## Panels that need more than `RUN` and `TASK_INSTANCE`",
            "| board | panel | needs |",
            "|---|---|---|",
            *_panels(),
            "",
        ]
    )


def _of_route(route: APIRoute) -> str:
    if "{dag_id}" in route.path:
        return ", ".join(f"`{entity.value}`" for entity in rights_of(route))
    if found := _OWN.get(f"{min(route.methods)} {route.path}"):
        return found
    if "POST" in route.methods:
        return "a login, a form of ours, and the right to edit the incident's DAG"
    if route.path.startswith("/links/"):
        return "a login, and the right to edit the incident's DAG"
    if route.path.startswith("/incidents/"):
        return "a login, and `RUN` of the incident's DAG"
    return "a login; shows what is about the reader's DAGs"


def _panels() -> Iterator[str]:
    for key, board in boards.boards().items():
        for row in board["rows"]:
            for panel in row["panels"]:
                if needs := _needs(panel):
                    yield f"| {key} | {panel['title']} | {', '.join(needs)} |"


def _needs(panel: dict[str, Any]) -> list[str]:
    parts = [
        part
        for question in panel.get("questions", ())
        for part in (question.get("top"), question.get("bottom"), question)
    ]
    asked = [part for part in parts if part]
    fields = {*panel.get("by", ()), *(one.get("field") or "" for one in asked)}
    fields |= {name for one in asked for name in one.get("where") or ()}
    metrics = panel["datasets"] == ["airflow.statsd"]
    return [
        *(["`TASK_LOGS`"] if panel["kind"] == "search" or needs_logs(panel["datasets"], fields) else []),
        *(["`AUDIT_LOG`"] if panel["datasets"] == ["airflow.audit"] else []),
        *(["assets"] if "airflow.asset" in fields else []),
        *(["pools"] if metrics and "airflow.pool" in fields else []),
        *(["everything"] if "airflow.dag_file" in fields else []),
        *(["`CLUSTER_ACTIVITY`"] if metrics and not {"airflow.dag_id", "airflow.dag_file"} & fields else []),
    ]


def _list(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
