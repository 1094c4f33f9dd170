"""Fields that Kibana computes from others, where a link or a click needs what no document stores as one value.

A name must be one that no index template maps: Kibana takes the mapped field of that name, and sends no script.
"""

from __future__ import annotations

from typing import Any

__all__ = ["DAG_TASK", "LOG_PAGE", "runtime_fields"]

LOG_PAGE = "airflow.log_page"
DAG_TASK = "airflow.dag_task"


_ESCAPED = (
    ("%", "%25"),
    (":", "%3A"),
    ("+", "%2B"),
    ("/", "%2F"),
    ("#", "%23"),
    ("?", "%3F"),
    ("&", "%26"),
    (" ", "%20"),
)
"""The characters that a run id may hold and a path may not, the escape character first."""


def runtime_fields(source: str) -> dict[str, dict[str, Any]]:
    """The runtime fields of the data view of ``source``, by name."""
    if source == "metrics":
        return {}
    return {DAG_TASK: _keyword(_dag_task()), **({LOG_PAGE: _keyword(_log_page())} if source == "logs" else {})}


def _keyword(script: str) -> dict[str, Any]:
    return {"type": "keyword", "script": {"source": script}}


def _dag_task() -> str:
    """One value for a task: a click on it must carry the DAG as well, as task names repeat."""
    return (
        "if (doc['airflow.dag_id'].size() > 0 && doc['airflow.task_id'].size() > 0) {"
        " emit(doc['airflow.dag_id'].value + ' / ' + doc['airflow.task_id'].value); }"
    )


def _log_page() -> str:
    """Log lines do not carry the path of their page: it is computed for those that are shown."""
    run = "doc['airflow.run_id'].value" + "".join(f".replace('{one}', '{other}')" for one, other in _ESCAPED)
    return (
        "if (doc['airflow.task_id'].size() > 0 && doc['airflow.run_id'].size() > 0"
        " && doc['airflow.dag_id'].size() > 0) {"
        " String page = 'dags/' + doc['airflow.dag_id'].value + '/runs/' + "
        + run
        + " + '/tasks/' + doc['airflow.task_id'].value;"
        " if (doc['airflow.map_index'].size() > 0 && doc['airflow.map_index'].value >= 0) {"
        " page = page + '/mapped/' + doc['airflow.map_index'].value; } emit(page); }"
    )
