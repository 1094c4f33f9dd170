"""Options of the Airflow on this host, read without importing Airflow."""

from __future__ import annotations

import configparser
import os
from pathlib import Path

from observability.regular_files import read_regular

__all__ = ["airflow_home", "airflow_option"]


def airflow_option(section: str, key: str, default: str = "") -> str:
    """An option as Airflow has it, from its variable or its file; ``default`` where neither has it or can be read."""
    if (named := os.environ.get(f"AIRFLOW__{section}__{key}".upper())) is not None:
        return named.strip()
    file = Path(os.environ.get("AIRFLOW_CONFIG") or airflow_home() / "airflow.cfg").expanduser()
    try:
        found = configparser.ConfigParser(interpolation=None, strict=False)
        found.read_string(read_regular(file).decode())
        return found.get(section, key, fallback=default).replace("%%", "%").strip()
    except (OSError, UnicodeDecodeError, configparser.Error):
        return default


def airflow_home() -> Path:
    """Airflow's home by Airflow's own rule."""
    return Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()
