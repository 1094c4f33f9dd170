"""On the PYTHONPATH of an Airflow, this hides our package from it, as if it were not installed."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Any

_OURS = "contrail_etl-"


def _hide(module: Any) -> None:
    every = module.distributions

    def distributions(**context: Any) -> Any:
        return (
            found for found in every(**context) if not Path(str(getattr(found, "_path", ""))).name.startswith(_OURS)
        )

    module.distributions = distributions


_hide(importlib.metadata)
if importlib.util.find_spec("importlib_metadata"):
    _hide(importlib.import_module("importlib_metadata"))
