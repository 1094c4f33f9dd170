"""A store as one reader may see it: every document and every number that a page shows comes through here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from observability import catalog

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from observability.airflow.ui.scope import Names, Reader
    from observability.events import Document
    from observability.store import Query, Store
    from observability.store.questions import Ask, Table

__all__ = ["OPEN_ACTIONS", "TEXTS", "ReadableStore", "needs_logs"]

TEXTS = frozenset(
    {
        *(name for name, spec in catalog.FIELDS.items() if spec.type == "text" or name.startswith("error.")),
        *("incident.key", "logger", "log.logger"),
    }
)
"""Fields with what a person's code said, or what was made of it: for readers of the task's log only."""
OPEN_ACTIONS = ("component.silent", "component.recovered", "telemetry.lost")
"""Events about no DAG that hold nothing of anybody's code: for who may see the cluster's activity."""

_KNOWN = frozenset({*catalog.FIELDS, "airflow.witness"}) - TEXTS
"""Fields that hold no words of anybody, also the one by which earlier versions said who reported an event."""
_LINES = frozenset({"airflow.task", "airflow.component"})
_METRICS = "airflow.statsd"
_AUDIT = "airflow.audit"
_DAG, _ASSET, _POOL = "airflow.dag_id", "airflow.asset", "airflow.pool"
_KNOWN_METRICS = frozenset(catalog.METRICS) | frozenset(catalog.AIRFLOW_METRICS)


@dataclass(frozen=True, slots=True)
class ReadableStore:
    """The questions of a page, answered with what ``reader`` may see; a store's other questions are not for pages."""

    store: Store
    reader: Reader

    def documents(self, query: Query) -> Iterator[Document]:
        """The matching documents that the reader may see, without the texts that are not for them."""
        found: list[Document] = []
        if _ASSET in query.where:  # a filter by what is not for the reader would tell what has it
            wanted = query.where[_ASSET]
            kept = tuple(
                one for one in (wanted if isinstance(wanted, tuple) else (wanted,)) if str(one) in self.reader.assets
            )
            if not kept:
                return iter(())
            query = replace(query, where={**query.where, _ASSET: kept})
        for allowed in self._queries(query):
            seen = (self._shown(query.dataset, document) for document in self.store.documents(allowed))
            found += (document for document in seen if document is not None)
        if not self.reader.whole and _DAG not in query.where:
            found.sort(key=lambda document: str(document.get("@timestamp")))
            if query.limit is not None:
                found = found[-query.limit :] if query.newest else found[: query.limit]
        return iter(found)

    def table(self, ask: Ask) -> Table:
        """The numbers about what the reader may see; empty where that is nothing."""
        used = {*ask.by, *ask.where, *(field for _, field in ask.measures if field)}
        guarded = self._guarded(ask)
        narrowed = _narrowed(ask, guarded)
        if narrowed is None:
            return {}
        ask = self._without_others_assets(narrowed) if not TEXTS.isdisjoint(used) else narrowed
        dags, homeless = self._scope(ask, needs_logs(ask.datasets, used))
        if dags is None:
            return _readable_rows(self.store.table(ask), ask, guarded)
        if ask.dags is not None:
            dags &= frozenset(ask.dags)
        if not dags and not homeless:
            return {}
        narrow = replace(_without(ask, "airflow.dag_file"), dags=tuple(sorted(dags)), homeless=homeless)
        return _readable_rows(self.store.table(narrow), narrow, guarded)

    def _scope(self, ask: Ask, texts: bool) -> tuple[frozenset[str] | None, bool]:
        """The DAGs about which ``ask`` may be answered (None: every one), and True where what is about none counts."""
        dags = self.reader.logs if texts else self.reader.tasks
        if _AUDIT in ask.datasets:
            return (None, True) if self._audits_everything() else (self.reader.audited.among(dags), False)
        return (None, True) if self.reader.whole else (dags, self._is_open(ask))

    def _audits_everything(self) -> bool:
        """True for who may read everything, and the event log of every DAG: then also what was done to no DAG."""
        return self.reader.whole and self.reader.audited.are_all(self.reader.runs)

    def _without_others_assets(self, ask: Ask) -> Ask:
        """``ask`` without what is about assets, where one of them is not for the reader: a text may name it."""
        about = replace(ask, measures=(("count", ""),), by=(_ASSET,), bucket_s=0)
        named = () if _LINES.issuperset(ask.datasets) else self.store.table(about)
        return ask if all(asset in self.reader.assets for (asset,) in named) else _without(ask, _ASSET)

    def _queries(self, query: Query) -> Iterator[Query]:
        """``query`` as this reader may ask it: about their DAGs, and about none where that is open."""
        if query.dataset == _AUDIT:
            yield from self._audited(query)
            return
        if self.reader.whole:
            yield query
            return
        dags = self.reader.logs if query.dataset in _LINES else self.reader.runs
        wanted = query.where.get(_DAG)
        if wanted is not None:
            dags &= frozenset(map(str, wanted if isinstance(wanted, tuple) else (wanted,)))
        if dags and query.dataset != _METRICS:
            yield replace(query, where={**query.where, _DAG: tuple(sorted(dags))})
        if wanted is None and self.reader.cluster and query.dataset not in {*_LINES, _METRICS}:
            asked = query.where.get("event.action", OPEN_ACTIONS)
            actions = tuple(one for one in OPEN_ACTIONS if one in (asked if isinstance(asked, tuple) else (asked,)))
            if actions:
                yield replace(query, where={**query.where, "event.action": actions})

    def _audited(self, query: Query) -> Iterator[Query]:
        """``query`` about the event log of the DAGs for which Airflow gives the right to read it."""
        wanted = query.where.get(_DAG)
        if wanted is None and self._audits_everything():
            yield query
            return
        asked = self.reader.runs
        if wanted is not None:
            asked &= frozenset(map(str, wanted if isinstance(wanted, tuple) else (wanted,)))
        if dags := self.reader.audited.among(asked):
            yield replace(query, where={**query.where, _DAG: tuple(sorted(dags))})

    def _shown(self, dataset: str, document: Document) -> Document | None:
        """``document`` as the reader may see it; None: not at all."""
        reader = self.reader
        shown: Document | None = document
        if not reader.whole:
            shown = self._of_a_dag(dataset, document) if document.get(_DAG) else self._of_no_dag(document)
        if shown is not None and not self._may_see_assets(shown.get(_ASSET)):
            shown = _known_fields(shown, without=(_ASSET,))
        return shown

    def _may_see_assets(self, named: Any) -> bool:
        found = named if isinstance(named, (list, tuple)) else [named]
        return all(one is None or str(one) in self.reader.assets for one in found)

    def _of_a_dag(self, dataset: str, document: Document) -> Document | None:
        reader, dag = self.reader, document[_DAG]
        if dag in reader.logs:
            return document
        if dataset in _LINES or dag not in (reader.tasks if document.get("airflow.task_id") else reader.runs):
            return None
        return _known_fields(document)

    def _of_no_dag(self, document: Document) -> Document | None:
        is_open = self.reader.cluster and document.get("event.action") in OPEN_ACTIONS
        return document if is_open and "airflow.dag_file" not in document else None

    def _guarded(self, ask: Ask) -> dict[str, Names]:
        """Fields whose values are for some readers only; of pools their metrics alone, as a task's own pool stays."""
        return {_ASSET: self.reader.assets, **({_POOL: self.reader.pools} if _METRICS in ask.datasets else {})}

    def _is_open(self, ask: Ask) -> bool:
        """True where what is about no DAG counts: metrics that we know by their names, and what is open to all."""
        if not self.reader.cluster:
            return False
        if set(ask.datasets) == {_METRICS}:
            return _are(ask.where.get("metric.name"), _KNOWN_METRICS)
        return not _LINES & set(ask.datasets) and _are(ask.where.get("event.action"), frozenset(OPEN_ACTIONS))


def _known_fields(document: Document, without: tuple[str, ...] = ()) -> Document:
    """The fields of ``document`` that we know to hold no words of anybody."""
    return {name: value for name, value in document.items() if name in _KNOWN and name not in without}


def needs_logs(datasets: Iterable[str], fields: Iterable[str]) -> bool:
    """True where a panel of these datasets and fields shows what a person's code said."""
    return not TEXTS.isdisjoint(fields) or not _LINES.isdisjoint(datasets)


def _narrowed(ask: Ask, guarded: Mapping[str, Names]) -> Ask | None:
    """``ask`` about the names that are for the reader; None where nothing is left, or a sum would hold the others."""
    for field, names in guarded.items():
        if field in ask.where:
            kept = tuple(value for value in ask.where[field] if str(value) in names)
            if not kept:
                return None
            ask = replace(ask, where={**ask.where, field: kept})
        elif any(field == measured for _, measured in ask.measures):
            return None
        elif field == _POOL and field not in ask.by and not names.all:
            ask = _without(ask, field)
    return ask


def _readable_rows(table: Table, ask: Ask, guarded: Mapping[str, Names]) -> Table:
    """The rows about names that are for the reader."""
    first = 1 if ask.bucket_s else 0
    places = [(first + ask.by.index(field), names) for field, names in guarded.items() if field in ask.by]
    return {key: values for key, values in table.items() if all(str(key[place]) in names for place, names in places)}


def _are(named: tuple[Any, ...] | None, known: frozenset[str]) -> bool:
    return bool(named) and known.issuperset(named or ())


def _without(ask: Ask, field: str) -> Ask:
    return replace(ask, without=(*ask.without, field))
