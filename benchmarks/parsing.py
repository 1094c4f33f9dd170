"""Parse the DAG files that ship with Airflow, in this process; print what was found as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from airflow import settings

KINDS = (
    "on_execute_callback",
    "on_success_callback",
    "on_failure_callback",
    "on_retry_callback",
    "on_skipped_callback",
)


def main() -> None:
    """Errors by file, seconds by file, and each task's callbacks by their names."""
    settings.initialize()

    from airflow import example_dags
    from airflow.dag_processing.dagbag import DagBag
    from airflow.providers.standard import example_dags as standard

    found: dict[str, Any] = {"errors": {}, "seconds": {}, "tasks": {}}
    for folder in (Path(module.__path__[0]) for module in (example_dags, standard)):
        bag = DagBag(str(folder), collect_dags=False, load_op_links=False)
        bag.collect_dags(str(folder), safe_mode=True)
        found["errors"] |= {file: error.strip().splitlines()[-1] for file, error in bag.import_errors.items()}
        found["seconds"] |= {
            f"{folder.parts[-2]}{stat.file}": stat.duration.total_seconds() for stat in bag.dagbag_stats
        }
        for dag in bag.dags.values():
            for task in dag.tasks:
                found["tasks"][f"{dag.dag_id}/{task.task_id}"] = {kind: _names(getattr(task, kind)) for kind in KINDS}
    print(json.dumps(found))


def _names(callbacks: Any) -> list[str]:
    return [
        f"{getattr(one, '__module__', '')}.{getattr(one, '__qualname__', type(one).__qualname__)}"
        for one in callbacks or ()
    ]


if __name__ == "__main__":
    main()
