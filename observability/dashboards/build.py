"""Write what is generated: ``python -m dashboards.build``; with ``--check`` only compare."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from observability.dashboards import embedded, opensearch, reference
from observability.dashboards.cloudwatch.template import template
from observability.dashboards.kibana.objects import ndjson, saved_objects
from observability.dashboards.kibana.rules import connectors, rules
from observability.dashboards.names import Names
from observability.dashboards.prometheus import grafana
from observability.dashboards.prometheus import rules as prometheus_rules
from observability.dashboards.usage import unknown_names

__all__ = ["ROOT", "drift", "generated", "write"]

ROOT = Path(__file__).resolve().parents[2]
"""The checkout; generated files are named relative to it."""


def generated() -> dict[str, str]:
    """Every generated file: path → text. Raises LookupError naming each name that the catalogue lacks."""
    if unknown := unknown_names():
        raise LookupError("the boards name what the catalogue does not have:\n" + "\n".join(unknown))
    names = Names()
    files = {
        "dashboards/generated/kibana/saved-objects.ndjson": ndjson(saved_objects(names)),
        "dashboards/generated/opensearch/saved-objects.ndjson": ndjson(opensearch.saved_objects(names)),
        "dashboards/generated/kibana/rules.json": _json({"connectors": connectors(names), "rules": rules(names)}),
        "dashboards/generated/cloudwatch/template.json": _json(template()),
        "dashboards/generated/embedded/boards.json": _json(embedded.boards()),
        "dashboards/generated/prometheus/rules.yml": prometheus_rules.text(),
    }
    files |= {f"dashboards/generated/grafana/{key}.json": _json(one) for key, one in grafana.dashboards().items()}
    return files | {f"docs/reference/{name}": text for name, text in reference.pages().items()}


def drift(root: Path = ROOT) -> list[str]:
    """Files that are not what would be written now."""
    return [path for path, text in generated().items() if _read(root / path) != text]


def write(root: Path = ROOT) -> list[str]:
    """Write what differs; returns the paths that changed."""
    files = generated()
    changed = [path for path, text in files.items() if _read(root / path) != text]
    for path in changed:
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(files[path], "utf-8")
    return changed


def _read(path: Path) -> str | None:
    return path.read_text("utf-8") if path.is_file() else None


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write, or with ``--check`` compare; the exit code is 1 where something differs."""
    if "--check" in arguments:
        stale = drift()
        for path in stale:
            print(f"{path} is stale; run python -m dashboards.build")  # noqa: T201 - a command's answer
        return 1 if stale else 0
    for path in write():
        print(path)  # noqa: T201 - a command's answer
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
