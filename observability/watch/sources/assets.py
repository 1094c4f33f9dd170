"""Updated assets as Airflow's own API tells them, also where no relay carries what the API server writes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from observability.timestamps import iso
from observability.watch.facts import SEEN, Fact, seconds
from observability.watch.sources.api import ApiError, ApiUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from observability.watch.sources.api import AirflowApi
    from observability.watch.sources.isolation import Questions

__all__ = ["updated_assets"]

_OVERLAP_S = 30.0


def updated_assets(api: AirflowApi, since: float | None, questions: Questions) -> Iterator[Fact]:
    """Updates after ``since`` (with an overlap); without it the last one of each asset. Raises ApiUnavailable.

    A login that may not read assets, or an Airflow that has no such listing, gives none. ``questions`` counts the rows
    that cannot be understood.
    """
    try:
        if since is None:
            for asset in api.pages("/assets", "assets", only_active=True, order_by="id"):
                yield from _understood(questions, asset, partial(_last_update, asset))
            return
        after = iso(since - _OVERLAP_S, "microseconds")
        for event in api.pages("/assets/events", "asset_events", timestamp_gte=after, order_by="timestamp"):
            yield from _understood(questions, event, partial(_updated, event, event))
    except ApiUnavailable:
        raise
    except ApiError:
        return


def _understood(questions: Questions, row: dict[str, Any], read: Callable[[], Fact | None]) -> Iterator[Fact]:
    fact = questions.row(f"asset {row.get('uri') or row.get('name')}", read, None)
    if fact is not None:
        yield fact


def _last_update(asset: dict[str, Any]) -> Fact | None:
    last = asset.get("last_asset_event") or {}
    return (
        _updated(asset, {name: last.get(name) for name in ("timestamp", "partition_key")})
        if last.get("timestamp")
        else None
    )


def _updated(asset: dict[str, Any], event: dict[str, Any]) -> Fact:
    key = event.get("partition_key")
    return Fact(
        kind="asset", status="noted", time=seconds(event["timestamp"]), certainty=SEEN,
        evidence={} if key is None else {"airflow.partition_key": str(key)},
        subject=str(asset.get("uri") or asset.get("name") or ""), dag_id=event.get("source_dag_id"),
        run_id=event.get("source_run_id"), task_id=event.get("source_task_id"),
        map_index=event.get("source_map_index", -1),
    )  # fmt: skip
