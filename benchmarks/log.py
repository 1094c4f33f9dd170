"""The cost of one event of twelve fields outside Airflow, next to structlog with orjson and stdlib with ecs-logging."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ecs_logging
import orjson
import structlog

from benchmarks.figure import Figure, Options, Target
from benchmarks.sampling import alternate
from benchmarks.twelve_fields import cost_us
from observability.writer import Logger, write_to

if TYPE_CHECKING:
    from collections.abc import Callable

_CALLS = 20_000


def run(options: Options) -> list[Figure]:
    """Write the same event by ours, by structlog's recipe for speed, and by the standard library in ECS."""
    calls = _CALLS // 20 if options.quick else _CALLS
    with tempfile.TemporaryDirectory() as folder:
        write_to(Path(folder, "ours.log"))
        ours, recipe, ecs = Logger("bench"), _structlog(Path(folder, "structlog.log")), _ecs(Path(folder, "ecs.log"))
        taken = alternate(
            options.rounds,
            ours=lambda: cost_us(ours.info, calls),
            structlog=lambda: cost_us(recipe.info, calls),
            ecs=lambda: cost_us(_stdlib(ecs), calls),
        )
    return [
        Figure(
            "one event of 12 fields",
            "us",
            taken["ours"],
            peer=("structlog with orjson", taken["structlog"]),
            targets=(Target(at_most=2.5, ratio_at_most=0.55),),
        ),
        Figure("one event of 12 fields", "us", taken["ours"], peer=("stdlib with ecs-logging", taken["ecs"])),
    ]


def _stdlib(logger: logging.Logger) -> Callable[..., object]:
    def info(event: str, **keys: object) -> None:
        logger.info(event, extra=keys)

    return info


def _structlog(path: Path) -> Any:
    """The recipe of structlog's own page on performance."""
    return structlog.wrap_logger(
        structlog.BytesLogger(path.open("ab")),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=orjson.dumps),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    ).bind(logger="bench")


def _ecs(path: Path) -> logging.Logger:
    logger = logging.getLogger("benchmarks.ecs")
    handler = logging.FileHandler(path)
    handler.setFormatter(ecs_logging.StdlibFormatter())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return logger
