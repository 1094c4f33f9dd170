"""The environment of the platform's processes: the caller's, ``config/airflow.env`` and what the options imply."""

from __future__ import annotations

import json
import os
import shlex
from typing import TYPE_CHECKING

from observability.local.errors import PlatformError
from observability.local.keys import FILES, USER
from observability.local.layout import repository
from observability.settings import get_settings

if TYPE_CHECKING:
    from pathlib import Path

    from observability.local.layout import Layout
    from observability.settings import Settings

__all__ = ["environment", "join", "read_env_file"]


def environment(layout: Layout, settings: Settings) -> dict[str, str]:
    """The variables for every process of the platform; a variable that the caller has set is kept.

    What must agree with the options and the layout (addresses, folders, keys) is set whatever the caller has.
    """
    documented = read_env_file(repository() / "config" / "airflow.env")
    chosen = {**documented, **_offered(layout), **os.environ, **_bound(layout, settings)}
    ours = documented.keys() | _offered(layout).keys() | _bound(layout, settings).keys()
    options = {name for name in chosen if name.startswith("CONTRAIL_") and "__" in name}
    _remember(layout, {name: chosen[name] for name in sorted(ours | options)})
    return chosen


def join(layout: Layout) -> None:
    """Give this process the variables of the platform's components; a variable that is set is kept."""
    try:
        known = json.loads(layout.environment.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return
    os.environ.update({name: value for name, value in known.items() if name not in os.environ})
    get_settings.cache_clear()


def _remember(layout: Layout, values: dict[str, str]) -> None:
    descriptor = os.open(layout.environment, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(values, file, indent=1)


def _offered(layout: Layout) -> dict[str, str]:
    return {
        "AIRFLOW__SECRETS__BACKEND": "airflow.secrets.local_filesystem.LocalFilesystemBackend",
        "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps({"connections_file_path": str(layout.connections)}),
        "AIRFLOW_VAR_FLIGHTS_OUTPUT": str(layout.data / "flights"),
        "AIRFLOW_VAR_FLIGHTS_REPORTS": str(layout.data / "reports"),
    }


def _bound(layout: Layout, settings: Settings) -> dict[str, str]:
    web, address = settings.airflow, f"http://{settings.airflow.host}:{settings.airflow.port}"
    return {
        "CONTRAIL_HOME": str(layout.home),
        "CONTRAIL_AIRFLOW__IN_API_SERVER": "false",  # the platform has a relay and a watcher of its own
        "CONTRAIL_AIRFLOW__HOST": web.host,
        "CONTRAIL_AIRFLOW__PORT": str(web.port),
        "CONTRAIL_AIRFLOW__PARALLELISM": str(web.parallelism),
        "AIRFLOW_HOME": str(layout.airflow_home),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(layout.log_folder),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(layout.log_folder / "dag_processor"),
        "AIRFLOW__CORE__DAGS_FOLDER": web.dags_folder or str(repository() / "dags"),
        "AIRFLOW__CORE__PARALLELISM": str(web.parallelism),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(layout.passwords),
        "AIRFLOW__API__HOST": web.host,
        "AIRFLOW__API__PORT": str(web.port),
        "AIRFLOW__API__BASE_URL": settings.public_url,
        "AIRFLOW__METRICS__STATSD_HOST": settings.statsd.host,
        "AIRFLOW__METRICS__STATSD_PORT": str(settings.statsd.port),
        **{variable: f"cat {shlex.quote(str(layout.keys / file))}" for variable, file in FILES.items()},
    }


def read_env_file(path: Path) -> dict[str, str]:
    """The ``NAME=value`` lines of a file; ``#`` starts a comment line. Raises :class:`PlatformError`."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise PlatformError(
            f"cannot read {path}: {error.strerror}; run contrail from a checkout of the repository"
        ) from error
    values = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not name.strip().isidentifier():
            raise PlatformError(f"{path}:{number}: {line!r} is not NAME=value; correct or comment it out")
        values[name.strip()] = value.strip()
    return values
