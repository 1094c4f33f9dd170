"""Airflow's log folder: which files are logs, and what their lines are about.

Task logs are called by Airflow's ``log_filename_template`` (:mod:`observability.log_template`). Component logs are
``components/<component>.log``, ``dag_processor/<date>/<bundle>/<file>.log``, and the same below folders
called ``scheduler``, ``triggerer``, ``api_server``, ``worker``. What a deadline's callback says on a worker is in
``executor_callbacks/<dag>/<run>/<id>``, and in a triggerer (Airflow 3.4) in
``triggerer_callbacks/<dag>/<run>/<id>/callback.log``.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from observability.catalog import COMPONENTS
from observability.log_template import attempt_of
from observability.relay.folder_id import folder_id
from observability.relay.sources.files.fingerprint import original_name
from observability.relay.sources.files.tailed_file import Stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from observability.settings import Settings

__all__ = ["NOT_CARRIED", "log_stream", "looks_like_a_log", "printable", "relay_stream"]

_CALLBACKS = {
    "worker": re.compile(r"executor_callbacks/(?P<dag_id>[^/]+)/(?P<run_id>.+)/[0-9a-f-]{36}"),
    "triggerer": re.compile(r"triggerer_callbacks/(?P<dag_id>[^/]+)/(?P<run_id>.+)/[0-9a-f-]{36}/callback\.log"),
}
"""The logs of callbacks, by the component that runs them."""
_COMPONENT = re.compile(r"(?:(?:.*/)?components/)?(?P<component>[a-z_-]+)(?:\.log|/.+\.log)")


def log_stream(name: str, host: str, environment: str, template: str = "") -> Stream | None:
    """The stream of the file ``name`` (relative to the log folder); None where it is not a log of Airflow's.

    ``template`` is the configured ``log_filename_template``; logs called by Airflow's own are known beside it.
    """
    name = printable(original_name(name))
    about = attempt_of(name, template)
    if about is not None:
        group = "dag_id={dag_id}/run_id={run_id}/task_id={task_id}/map_index={map_index}/attempt={try_number}".format(
            **about
        )
        if "iteration" in about:
            group += f"/pass={about['iteration']}"
        return Stream(name, "airflow.task", group, _prefix(_attempt_fields(about), name, host, environment))
    component, fields = _component_of(name), {}
    for runner, pattern in _CALLBACKS.items():
        if (callback := pattern.fullmatch(name)) is not None:
            component, fields = runner, {f"airflow.{key}": value for key, value in callback.groupdict().items()}
    if component is not None:
        fields = {"airflow.component": component, **fields}
        return Stream(name, "airflow.component", f"{component}@{host}/{name}", _prefix(fields, name, host, environment))
    return None


def printable(name: str) -> str:
    """``name`` as valid Unicode: the bytes of a file's name that are no UTF-8 are spelled out in hex."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def relay_stream(settings: Settings, host: str) -> Callable[[str], Stream | None]:
    """:func:`log_stream` for the files of this host, remembered.

    A component's log is this folder's alone, whatever it is called; an attempt's is the same on every host.
    """
    environment, template = settings.core.environment, settings.log_filename_template

    @lru_cache(maxsize=1)
    def salt() -> str:
        return folder_id(settings.log_folder, settings.home)

    @lru_cache(maxsize=4096)
    def stream_of(name: str) -> Stream | None:
        found = log_stream(name, host, environment, template)
        return replace(found, salt=salt()) if found is not None and found.dataset == "airflow.component" else found

    return stream_of


def _component_of(name: str) -> str | None:
    match = _COMPONENT.fullmatch(name)
    if match is None:
        return None
    component = match["component"].replace("_", "-")
    return component if component in COMPONENTS else None


def _attempt_fields(about: dict[str, Any]) -> dict[str, Any]:
    return {
        "airflow.dag_id": about["dag_id"],
        "airflow.task_id": about["task_id"],
        "airflow.run_id": about["run_id"],
        "airflow.try_number": about["try_number"],
        "airflow.map_index": about["map_index"],
        "airflow.component": about["component"],
        **({"airflow.iteration": about["iteration"]} if "iteration" in about else {}),
        "log_id": "{dag_id}-{task_id}-{run_id}-{index}-{try_number}".format(**about, index=_stored_index(about)),
    }


def _stored_index(about: dict[str, Any]) -> int:
    """The index by which Airflow's own readers ask: in a task loop that of the iteration, for what is not mapped."""
    looped = about["map_index"] < 0 and "iteration" in about
    return int(about["iteration"].partition(".")[0]) if looped else int(about["map_index"])


def _prefix(fields: dict[str, Any], name: str, host: str, environment: str) -> bytes:
    fields = {
        **fields,
        "host.name": host,
        "service.name": "airflow",
        "service.environment": environment,
        "log.file.path": name,
    }
    return orjson.dumps(fields)[:-1] + b","


NOT_CARRIED = frozenset(f"components/{name}.log" for name in ("console", "migration", "platform"))
"""Logs of starting and stopping the platform: they are written also when no relay runs."""
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".zip")


def looks_like_a_log(name: str) -> bool:
    """Tell whether a file of the log folder is one of Airflow's by the look of its name.

    One that a rotation has packed is not: it was carried under its former name.
    """
    base = name.rpartition("/")[2]
    if name in NOT_CARRIED or base.endswith(_PACKED):
        return False
    return base.endswith(".log") or ".log." in base or name.startswith(("dag_id=", "executor_callbacks/"))
