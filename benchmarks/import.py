"""The cost of a DAG file's imports inside Airflow, next to those of boto3, elasticsearch and pandas."""  # noqa: N999 - named after what it measures

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

from benchmarks.figure import Figure, Options, Target
from benchmarks.sampling import alternate, python

if TYPE_CHECKING:
    from collections.abc import Callable

_AIRFLOW = """
import importlib.metadata, time
found = importlib.metadata.Distribution.discover.__func__
def hide(kind, **about):  # an Airflow without our plugin, which would import the package first
    return (one for one in found(kind, **about) if one.metadata["Name"] != "contrail-etl")
importlib.metadata.Distribution.discover = classmethod(hide)
import airflow.sdk, sys
assert not [name for name in sys.modules if name.startswith("observability")]
began = time.process_time_ns()
{code}
print((time.process_time_ns() - began) / 1e6)
"""
_ALL = "default_args, callbacks (all that a task needs, which the plugin has loaded before any fork)"
_OURS = {
    "import observability": "import observability",
    "get_logger, measure, metrics": "from observability import get_logger, measure, metrics\nlog = get_logger('x')",
    _ALL: "from observability import default_args, callbacks\ndefault_args()",
}
_PEERS = ("boto3", "elasticsearch", "pandas")


def run(options: Options) -> list[Figure]:
    """Import each in a fresh interpreter that has imported airflow.sdk, in turns; processor time."""
    with tempfile.TemporaryDirectory() as home:
        env = {**os.environ, "AIRFLOW_HOME": home, "CONTRAIL_HOME": home, "PYTHONPYCACHEPREFIX": f"{home}/bytecode"}
        env.pop("PYTHONDONTWRITEBYTECODE", None)  # the round that warms up compiles, as an installation does
        codes = {**_OURS, **{peer: f"import {peer}" for peer in _PEERS}}
        rounds = 1 if options.quick else options.rounds
        taken = alternate(rounds, **{name: _importing(code, env) for name, code in codes.items()})
    aim = (Target(at_most=5.0),)
    bare = "import observability"
    ours = [Figure(name, "ms", taken[name], targets=aim if name != _ALL else ()) for name in _OURS]
    return [*ours, *(Figure(bare, "ms", taken[bare], peer=(f"import {peer}", taken[peer])) for peer in _PEERS)]


def _importing(code: str, env: dict[str, str]) -> Callable[[], float]:
    return lambda: float(python(_AIRFLOW.format(code=code), env=env))
