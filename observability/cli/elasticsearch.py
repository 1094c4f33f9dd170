"""``contrail elasticsearch``: make a cluster ready for what the relay sends."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from observability.cli.plain_typer import PlainTyper
from observability.cli.printing import console
from observability.settings import get_settings
from observability.store import elasticsearch_templates as templates
from observability.store.cluster import open_cluster
from observability.store.elasticsearch_setup import Report, install

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

__all__ = ["app", "generate"]

app = PlainTyper(help="Make an Elasticsearch ready for what the relay sends.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Keep ``setup`` a command of its own, also while it is the only one."""


@app.command()
def setup(
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Ask and check; change nothing.")] = False,
) -> None:
    """Install templates and retention; say what the cluster cannot do.

    Examples:
      contrail elasticsearch setup --dry-run
      contrail elasticsearch setup
    """
    screen = console()
    settings = get_settings()
    cluster = open_cluster(settings)
    environment, prefix = settings.core.environment, settings.elasticsearch.index_prefix
    report = install(cluster, dry_run=dry_run, environment=environment, prefix=prefix)
    if as_json:
        screen.print_json(json.dumps(asdict(report)))
    else:
        _show(screen, report, dry_run=dry_run)
    if report.in_the_way:
        raise typer.Exit(1)


def _show(screen: Console, report: Report, *, dry_run: bool) -> None:
    screen.print(f"{report.product} {report.version}, licence {report.license}")
    installed, rolled = ("would install", "would roll") if dry_run else ("installed", "rolled over")
    for what, names in ((installed, report.installed), ("unchanged", report.unchanged), (rolled, report.rolled_over)):
        for name in names:
            screen.print(f"  {what:13} {name}")
    for what, why in report.left_out.items():
        screen.print(f"  left out      {what}: {why}")
    for what, why in report.left_alone.items():
        screen.print(f"  left alone    {what}: {why}")
    for what, why in report.in_the_way.items():
        screen.print(f"  in the way    {what}: {why}", style="red")


def generate(folder: Path) -> list[Path]:
    """Write every template and policy as a JSON file below ``folder``, for reading and for review."""
    parts = {
        "component_templates": templates.component_templates(),
        "index_templates": templates.index_templates(retention="lifecycle"),
        "ilm_policies": templates.lifecycle_policies(),
    }
    written = []
    for kind, bodies in parts.items():
        for name, body in bodies.items():
            path = folder / kind / f"{name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")
            written.append(path)
    return written


if __name__ == "__main__":
    app()
