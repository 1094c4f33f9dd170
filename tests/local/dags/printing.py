"""A DAG whose task prints a Variable and a Connection's password in every form."""

# ruff: noqa: T201 - that is what it is for

from __future__ import annotations

import base64
import os
import sys
from datetime import datetime, timezone
from urllib.parse import quote

from airflow.sdk import BaseHook, Variable, dag, task

FORMS = {
    "plain": str,
    "quoted": lambda secret: quote(secret, safe=""),
    "quoted twice": lambda secret: quote(quote(secret, safe=""), safe=""),
    "hexadecimal": lambda secret: secret.encode().hex(),
    "base64": lambda secret: base64.b64encode(f"me:{secret}".encode()).decode(),
}


@dag(schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc))
def printing():
    @task
    def say():
        known = {
            "variable": Variable.get("printing_password"),
            "connection": BaseHook.get_connection("printing").password,
        }
        for whose, secret in known.items():
            for form, written in FORMS.items():
                print(f"printed {whose} {form}: {written(secret)} .")
                print(f"complained {whose} {form}: {written(secret)} .", file=sys.stderr)
                os.write(1, f"bypassed {whose} {form}: {written(secret)} .\n".encode())

    say()


printing()
