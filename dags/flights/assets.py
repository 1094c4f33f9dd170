"""The Assets by which the flights DAGs trigger each other."""

from __future__ import annotations

from airflow.sdk import Asset

__all__ = ["FLIGHTS"]

FLIGHTS = Asset("warehouse.flights")
"""A day of the warehouse's flights; its events carry ``{"day": "YYYY-MM-DD"}``."""
