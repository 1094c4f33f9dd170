"""Reading back what was kept: the same questions, whatever store is behind them."""

from __future__ import annotations

from observability.store.store import Query, Readable, Store, StoreError, open_store

__all__ = ["Query", "Readable", "Store", "StoreError", "open_store"]
