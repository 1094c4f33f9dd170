"""The deployment as docker-compose.yml has it: each service's command, run here without Docker."""

from __future__ import annotations

COMMANDS: dict[str, tuple[str, ...]] = {
    "init": ("airflow", "db", "migrate"),
    "elk-setup": ("contrail", "elasticsearch", "setup"),
    "api-server": (
        "contrail",
        "tee",
        "components/api-server",
        "airflow",
        "api-server",
        "--host",
        "0.0.0.0",
        "--port",
        "8080",
    ),
    "scheduler": ("contrail", "tee", "components/scheduler", "airflow", "scheduler", "--skip-serve-logs"),
    "dag-processor": ("contrail", "tee", "components/dag-processor", "airflow", "dag-processor"),
    "triggerer": ("contrail", "tee", "components/triggerer", "airflow", "triggerer", "--skip-serve-logs"),
    "worker": ("contrail", "tee", "components/worker", "airflow", "celery", "worker", "--skip-serve-logs"),
    "relay": ("contrail", "relay"),
    "watcher": ("contrail", "watch"),
}
"""Service → command; a test compares them with the compose file."""
