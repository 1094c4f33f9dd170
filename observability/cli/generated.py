"""``python -m observability.cli.generated <folder>``: what services need to know of us, from the catalogue.

Elasticsearch's templates, the IAM policy for CloudWatch and the mapping of Prometheus' statsd_exporter are
committed below ``config/``, where people and reviewers find them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from observability.cli import cloudwatch, elasticsearch
from observability.dashboards import statsd_exporter

__all__ = ["generate"]


def generate(folder: Path) -> None:
    """Write all of it below ``folder``."""
    elasticsearch.generate(folder / "elasticsearch")
    cloudwatch.generate(folder / "cloudwatch")
    folder.joinpath("statsd_exporter.yml").write_text(statsd_exporter.mapping(), encoding="utf-8")


if __name__ == "__main__":
    generate(Path(sys.argv[1]))
