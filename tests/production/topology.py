"""The deployment as docker-compose.yml has it: each service's command, run here without Docker."""

from __future__ import annotations

COMMANDS: dict[str, tuple[str, ...]] = {
    "init": ("airflow", "db", "migrate"),
    "elk-setup": ("contrail", "elasticsearch", "setup"),
    "api-server": ("airflow", "api-server", "--host", "0.0.0.0", "--port", "8080"),
    "scheduler": ("airflow", "scheduler", "--skip-serve-logs"),
    "dag-processor": ("airflow", "dag-processor"),
    "triggerer": ("airflow", "triggerer", "--skip-serve-logs"),
    "worker": ("airflow", "celery", "worker", "--skip-serve-logs"),
    "relay": ("contrail", "relay"),
    "watcher": ("contrail", "watch"),
}
"""Service → command; a test compares them with the compose file."""
