"""``contrail watch``: find what is wrong and notify the people who own it.

Runs beside any Airflow, with everything from the environment: ``CONTRAIL_WATCH__API_URL``, the credentials
(``CONTRAIL_API_USERNAME`` and ``CONTRAIL_API_PASSWORD``, ``CONTRAIL_API_TOKEN``, or the Airflow Connection
``airflow_api``), ``CONTRAIL_RELAY__LOG_FOLDER``, ``CONTRAIL_WATCH__LEDGER_URL`` and ``CONTRAIL_WATCH__RULES_FILE``.
"""

from __future__ import annotations

import logging
import signal
from typing import TYPE_CHECKING, Any

import structlog
import typer

from observability import metrics, redact
from observability.cli.plain_typer import PlainTyper
from observability.credentials import CredentialsError, resolve
from observability.openmetrics import Exposition, MetricsServer
from observability.settings import get_settings
from observability.watch.ledger.database import Ledger
from observability.watch.notify.channels.channel import Contact, contact_of
from observability.watch.rules.first_route import FirstRoute
from observability.watch.rules.in_force import usable_rules
from observability.watch.sources.api import AirflowApi
from observability.watch.watcher import Watcher

if TYPE_CHECKING:
    from types import FrameType

    from observability.settings import Settings

__all__ = ["AirflowContacts", "app"]

_KINDS = {"incr": "counter", "gauge": "gauge", "timing": "timer"}
_LOOK_FOR_ROUTE_S = 300.0
"""Each look starts an Airflow, which costs seconds of a processor."""
app = PlainTyper(invoke_without_command=True)


class AirflowContacts:
    """Connections and Variables, from wherever Airflow keeps them; asked in a process that has Airflow."""

    def connection(self, conn_id: str) -> Contact:
        """The Connection. Raises LookupError."""
        try:
            found = resolve(conn_id)
        except CredentialsError as error:
            raise LookupError(str(error)) from error
        return contact_of(found)

    def variable(self, key: str) -> str:
        """The Variable. Raises LookupError."""
        from observability.airflow.variables import ask

        return ask(key)


@app.callback()
def watch(
    api: bool = typer.Option(True, help="Ask Airflow's API; without it the journal is the only source."),
) -> None:
    """Find what is wrong and notify the people who own it.

    Examples:
      contrail watch
      contrail watch --no-api                                    only by the journal
    """
    _log_as_json()
    settings = get_settings()
    ledger = Ledger(settings.ledger_url)
    client = AirflowApi(settings.api_url) if api else None
    scraped = _metrics_server(settings)
    contacts = AirflowContacts()
    rules = usable_rules(settings, ledger, FirstRoute(settings, contacts, every_s=_LOOK_FOR_ROUTE_S))
    watcher = Watcher(settings, ledger, rules, contacts, api=client)

    def stop(_number: int, _frame: FrameType | None) -> None:
        watcher.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        watcher.run()
    finally:
        if scraped is not None:
            scraped.stop()
        ledger.close()


def _metrics_server(settings: Settings) -> MetricsServer | None:
    """Serve what the watcher measures where ``[watch] metrics_port`` is set; exit status 2 where it cannot."""
    host, port = settings.watch.metrics_host, settings.watch.metrics_port
    if not port:
        return None
    exposition = Exposition(settings.relay.series_budget)

    def listen(method: str, name: str, value: Any) -> None:
        shown, *tags = name.split(",")
        labels = tuple(sorted((tag, text) for tag, _, text in (one.partition("=") for one in tags)))
        if method in _KINDS:
            exposition.add(shown, _KINDS[method], labels, float(value), [float(value)], 1)

    metrics.listen(listen)
    try:
        return MetricsServer(lambda openmetrics: exposition.text(openmetrics=openmetrics), host, port)
    except OSError as error:
        typer.echo(
            f"cannot listen on {host}:{port} for /metrics: {error.strerror}; change [watch] metrics_port", err=True
        )
        raise typer.Exit(2) from error


def _without_secrets(_logger: object, _name: str, line: Any) -> str:
    return str(line) if redact.is_clean(line.encode()) else redact.text(line)


def _log_as_json() -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
            _without_secrets,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )


if __name__ == "__main__":
    app()
