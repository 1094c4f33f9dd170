"""Task logs for the Airflow UI, read back from whichever store there is, and caught up at the end of a task.

Airflow itself shows the local file of an attempt while it is there and the attempt lasts; the store answers
for what is elsewhere or gone. A line is given back as Airflow wrote it, so that one which comes from both
is shown once.
"""

from __future__ import annotations

import os
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from airflow.configuration import conf
from airflow.utils.state import State

from observability.airflow.flush import deliver, deliver_beside, resolve_in_process
from observability.airflow.lent_connections import lent_connections
from observability.airflow.stdout_masking import mask_echo_where_loaded
from observability.contain import contained
from observability.log_template import attempt_of
from observability.redact import structlog_processor
from observability.regular_files import open_regular
from observability.settings import SettingsError, get_settings
from observability.store import Query, StoreError, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from observability.events import Document
    from observability.settings import Settings
    from observability.store import Store

__all__ = ["ContrailLogIO", "as_written"]

_TAIL_BYTES = 131_072
_UNKNOWN: Document = {"": "a last line so long that its beginning was not found is taken from the local file"}
_OF_A_TRIGGER = ".trigger."
"""In the name of a trigger's log, whose end Airflow reports in the triggerer's own loop."""


class ContrailLogIO:
    """Airflow's ``RemoteLogIO`` and ``RemoteLogStreamIO``; makes no connection before it is asked."""

    @property
    def processors(self) -> tuple[Any, ...]:
        """Steps that Airflow adds behind its own masker: forms of a secret that the masker does not know.

        Airflow asks for them where a process begins to supervise a task; from then on its echo is masked as well.
        """
        with contained("echo"):
            mask_echo_where_loaded()
        return (structlog_processor,)

    @cached_property
    def connection_id(self) -> str | None:
        """The Airflow Connection that a sink will ask for, None where it needs none."""
        try:
            settings = get_settings()
        except SettingsError:
            return None
        return next(iter(connection_ids(settings)), None)

    def upload(self, path: os.PathLike[str] | str, ti: Any = None) -> None:  # noqa: ARG002 - Airflow's signature
        """Deliver the log of an attempt that has ended, and its events, where no relay of this host does."""
        with contained("upload"):
            settings = get_settings()
            if _OF_A_TRIGGER in os.fspath(path):
                deliver_beside(settings)
                return
            with lent_connections(connection_ids(settings)):
                deliver(settings)

    def read(self, relative_path: str, ti: Any) -> tuple[list[str], list[str] | None]:
        """The lines of an attempt as one text, for an Airflow without streams."""
        sources, streams = self.stream(relative_path, ti)
        return sources, ["\n".join(chain.from_iterable(streams))] if streams else None

    def stream(self, relative_path: str, ti: Any) -> tuple[list[str], list[Iterator[str]]]:
        """The lines of an attempt from the store; none where Airflow will read the local file, which is complete.

        Whatever is wrong becomes a sentence among the sources, above the lines that Airflow itself finds.
        """
        with contained("remote_log"):
            return self._stream(relative_path, ti)
        return ["Contrail failed; the API server's log says how"], []

    def _stream(self, relative_path: str, ti: Any) -> tuple[list[str], list[Iterator[str]]]:
        try:
            settings = get_settings()
            about = attempt_of(relative_path, settings.log_filename_template)
            if about is None:
                return [f"Contrail cannot read whose log {relative_path} is; see log_filename_template in its docs"], []
            if _is_local(settings, relative_path, unfinished=ti.state in State.unfinished):
                return [], []
            documents = _documents(settings, _attempt(about))
            first = next(documents, None)
        except (StoreError, SettingsError) as error:
            return [f"Contrail cannot read this log from its store: {error}"], []
        except OSError as error:
            return [f"Contrail cannot look at {relative_path}: {error.strerror or error}"], []
        if first is None:
            return [], []
        lines = (as_written(document) for document in chain([first], documents))
        return [f"Contrail's {settings.store.backend} store"], [lines]


def connection_ids(settings: Settings) -> list[str]:
    """The Airflow Connections that the sinks will ask for."""
    named = {
        "elasticsearch": "" if settings.elasticsearch.url else settings.elasticsearch.connection_id,
        "cloudwatch": settings.cloudwatch.connection_id,
        "otlp": "" if settings.otlp.url else settings.otlp.connection_id,
    }
    return [named[sink] for sink in settings.relay.sinks if named.get(sink)]


def as_written(document: Document) -> str:
    """The line of a log document as Airflow wrote it."""
    from observability.relay.steps.own_keys import user_keys

    line = user_keys(document)
    line.setdefault("timestamp", document.get("@timestamp"))
    line.setdefault("event", document.get("message", ""))
    return orjson.dumps(line).decode()


def _attempt(about: dict[str, Any]) -> dict[str, str | int]:
    names = ("dag_id", "task_id", "run_id", "map_index", "try_number", "iteration")
    return {f"airflow.{name}": about[name] for name in names if name in about}


def _documents(settings: Settings, attempt: dict[str, str | int]) -> Iterator[Document]:
    store = _open(settings)
    reported = False
    try:
        for document in store.documents(Query("airflow.task", where=attempt)):
            yield document
            reported = True
    except StoreError as error:
        if not reported:
            raise
        yield {"@timestamp": None, "level": "error", "event": f"The rest of this log cannot be read: {error}"}
    finally:
        store.close()


def _open(settings: Settings) -> Store:
    resolve_in_process()
    return open_store(settings)


def _is_local(settings: Settings, relative_path: str, *, unfinished: bool) -> bool:
    """True if the local file is there and has what the store has not (yet)."""
    path = Path(conf.get("logging", "base_log_folder"), relative_path)
    if not path.is_file():
        return False
    return unfinished or _last_line(path, relative_path) != _stored_line(settings, relative_path)


def _stored_line(settings: Settings, relative_path: str) -> Document | None:
    """The last line that the store has of the file, as Airflow wrote it; None where it has none."""
    from observability.relay.steps.own_keys import user_keys

    store = _open(settings)
    try:
        query = Query("airflow.task", where={"log.file.path": relative_path}, limit=1, newest=True)
        return next(map(user_keys, store.documents(query)), None)
    finally:
        store.close()


def _last_line(path: Path, relative_path: str) -> Document | None:
    """The last line of the file, as the store has it or will have it; None where there is none yet."""
    from observability.relay.sources.files.airflow_logs import log_stream
    from observability.relay.sources.files.tailed_file import TailedFile
    from observability.relay.steps.line_time import origin_of
    from observability.relay.steps.own_keys import user_keys
    from observability.relay.steps.splice import splice

    stream = log_stream(relative_path, "", "", get_settings().log_filename_template)
    with open_regular(path) as log:
        head = log.read(1024).partition(b"\n")[0]
        found = os.fstat(log.fileno())
        start = max(0, found.st_size - _TAIL_BYTES)
        log.seek(start)
        tail = log.read()
    skipped = tail.find(b"\n") + 1 if start else 0
    if stream is None or (start and not skipped):
        return _UNKNOWN
    file = TailedFile(stream, path, found.st_dev, found.st_ino, "", origin_of(head), changed=found.st_mtime)
    documents = splice(file, tail[skipped:], start + skipped).documents
    return user_keys(orjson.loads(documents[-1])) if documents else None
