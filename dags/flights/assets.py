"""What the flights DAGs tell each other by."""

from __future__ import annotations

from airflow.sdk import Asset

__all__ = ["FLIGHTS"]

FLIGHTS = Asset("warehouse.flights")
"""A day of the warehouse's flights; its events carry ``{"day": "YYYY-MM-DD"}``."""
