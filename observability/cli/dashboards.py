"""``contrail dashboards``: build, check, install and verify boards, rules and alarms."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Annotated, Any

import typer

from observability import catalog
from observability.cli.plain_typer import PlainTyper
from observability.cli.printing import console
from observability.dashboard_installer.changes import Changes, InstallError
from observability.dashboards import build as generator
from observability.dashboards import opensearch
from observability.dashboards.kibana.objects import ndjson, saved_objects
from observability.dashboards.kibana.validate import faults
from observability.dashboards.names import Names
from observability.dashboards.usage import unknown_names
from observability.settings import Settings, get_settings

if TYPE_CHECKING:
    from observability.dashboard_installer.verify import Verdict

__all__ = ["app"]

app = PlainTyper(help="Boards, rules and alarms, generated from the catalogue.", no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


@app.command()
def build() -> None:
    """Write the generated files (from a checkout).

    Examples:
      contrail dashboards build
    """
    changed = generator.write()
    for path in changed:
        typer.echo(f"wrote {path}")
    if not changed:
        typer.echo("nothing changed")


@app.command()
def check() -> None:
    """Compare the generated files with what would be written now, and check that Kibana can draw them.

    Examples:
      contrail dashboards check
    """
    found = unknown_names()
    if not found:
        mapping = {name: spec.type for name, spec in (catalog.FIELDS | catalog.ALERT_DOCUMENT).items()}
        found = faults(saved_objects(Names()), mapping)
        found += [f"{path} is stale; run contrail dashboards build" for path in generator.drift()]
    for fault in found:
        typer.echo(fault)
    if found:
        raise typer.Exit(1)
    typer.echo("generated files are current and sound")


@app.command()
def install(  # noqa: PLR0913, PLR0917 - options of a command
    target: Annotated[str, typer.Argument(help="kibana or cloudwatch")],
    space: Annotated[str, typer.Option(help="Kibana space; empty: the default one.")] = "",
    page_topic: Annotated[str, typer.Option(help="ARN of the SNS topic that wakes people; empty: ours.")] = "",
    detail_topic: Annotated[str, typer.Option(help="ARN of the SNS topic of single alarms; empty: ours.")] = "",
    overwrite: Annotated[bool, typer.Option(help="Change back what somebody changed by hand in Kibana.")] = False,
    as_json: _Json = False,
) -> None:
    """Put everything into a running Kibana or CloudWatch; safe to repeat, deletes nothing, says what changed.

    Examples:
      contrail dashboards install kibana
      contrail dashboards install kibana --space data --overwrite
      contrail dashboards install cloudwatch --page-topic arn:aws:sns:eu-west-1:123456789012:oncall
    """
    settings = get_settings()
    if target not in {"kibana", "cloudwatch"}:
        raise typer.BadParameter(f"{target!r} is not a target; name kibana or cloudwatch")
    kibana = target == "kibana"
    changes = (
        _into_kibana(settings, space, overwrite=overwrite)
        if kibana
        else _into_cloudwatch(settings, page_topic, detail_topic)
    )
    _show_changes(changes, as_json=as_json)


@app.command()
def export(
    target: Annotated[str, typer.Argument(help="kibana or opensearch")],
) -> None:
    """Print the saved objects, with the addresses and names of the settings, for an import by hand.

    For OpenSearch Dashboards these are index patterns and saved searches: it cannot draw the boards.

    Examples:
      contrail dashboards export opensearch > contrail.ndjson
    """
    exported = {"kibana": saved_objects, "opensearch": opensearch.saved_objects}
    if target not in exported:
        raise typer.BadParameter(f"{target!r} is not a target; name kibana or opensearch")
    typer.echo(ndjson(exported[target](names_of(get_settings()))), nl=False)


@app.command()
def verify(
    hours: Annotated[float, typer.Option(help="Look at the last so many hours.")] = 24.0,
    space: Annotated[str, typer.Option(help="Kibana space; empty: the default one.")] = "",
    as_json: _Json = False,
) -> None:
    """Ask every panel's question of the configured store; list the panels without data, and why that may be.

    Where a Kibana is named, say as well what somebody changed by hand in it.

    Examples:
      contrail dashboards verify
      contrail dashboards verify --hours 2 --json
    """
    until = datetime.now(timezone.utc) + timedelta(minutes=1)
    settings = get_settings()
    verdicts = _verdicts(settings, until - timedelta(hours=hours), until)
    for line in _edited(settings, space):
        typer.echo(f"boards: {line}", err=True)
    if as_json:
        typer.echo(json.dumps([asdict(verdict) for verdict in verdicts], indent=1))
    else:
        _show_verdicts(verdicts)
    if any(verdict.rows == 0 and not verdict.quiet for verdict in verdicts):
        raise typer.Exit(1)


def names_of(settings: Settings, space: str = "") -> Names:
    """The addresses that links lead to, by the settings, and the space of Kibana."""
    return Names(
        airflow_url=settings.public_url,
        runbook_url=settings.core.runbook_url,
        alert_index=settings.alert_index,
        index_prefix=settings.elasticsearch.index_prefix,
        space=space,
    )


def _into_kibana(settings: Settings, space: str, *, overwrite: bool) -> Changes:
    from observability.dashboard_installer import kibana

    client = kibana.open_kibana(settings, space)
    try:
        return kibana.install(client, names_of(settings, space), overwrite=overwrite)
    finally:
        client.close()


def _edited(settings: Settings, space: str) -> list[str]:
    """The objects changed by hand in Kibana, where one is named; one line that says so where it does not answer."""
    from observability.dashboard_installer import kibana

    if not (settings.core.kibana_url or settings.core.kibana_connection_id):
        return []
    client = kibana.open_kibana(settings, space)
    try:
        return [
            f"{what} was changed by hand; contrail dashboards install kibana --overwrite puts ours in its place"
            for what in kibana.edited(client, names_of(settings, space))
        ]
    except InstallError as error:
        return [f"not compared with what Kibana has: {error}"]
    finally:
        client.close()


def _into_cloudwatch(settings: Settings, page: str, detail: str) -> Changes:
    from observability.dashboard_installer import cloudwatch

    client, region = cloudwatch.open_aws(settings)
    return cloudwatch.install(client, cloudwatch.account_of(settings, names_of(settings), region, page, detail))


def _verdicts(settings: Settings, since: datetime, until: datetime) -> list[Verdict]:
    from observability.dashboard_installer import verify as asking

    if settings.store.backend == "elasticsearch":
        from observability.store.cluster import open_cluster

        environment, prefix = settings.core.environment, settings.elasticsearch.index_prefix
        return asking.verify_elasticsearch(open_cluster(settings), environment, since, until, prefix=prefix)
    if settings.store.backend == "cloudwatch":
        from observability.dashboard_installer import cloudwatch

        client, region = cloudwatch.open_aws(settings)
        return asking.verify_cloudwatch(client, cloudwatch.account_of(settings, names_of(settings), region))
    from observability.store.store import open_store

    return asking.verify_store(open_store(settings), since, until)


def _show_changes(changes: Changes, *, as_json: bool) -> None:
    if as_json:
        typer.echo(
            json.dumps([{"change": one, "what": what, "why": why} for one, what, why in changes.lines], indent=1)
        )
        return
    for change, what, why in changes.lines:
        if change != "unchanged":
            typer.echo(f"{change:9} {what}{f': {why}' if why else ''}")
    typer.echo(f"{changes.count('unchanged')} unchanged")


def _show_verdicts(verdicts: list[Verdict]) -> None:
    screen = console()
    empty = [verdict for verdict in verdicts if verdict.rows == 0]
    for verdict in empty:
        mark: Any = "quiet" if verdict.quiet else "EMPTY"
        screen.print(f"{mark}  {verdict.board} / {verdict.panel}: {verdict.reason}")
    missing = sum(1 for verdict in empty if not verdict.quiet)
    screen.print(
        f"{len(verdicts) - len(empty)} of {len(verdicts)} panels have data, "
        f"{len(empty) - missing} are quiet, {missing} are empty without a good reason"
    )


if __name__ == "__main__":
    app()
