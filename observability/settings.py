"""Every option, declared once: its section, name, type, bounds, default and meaning.

Values come from, first found wins: the environment (``CONTRAIL_<SECTION>__<KEY>``), the file named
by ``CONTRAIL_CONFIG``, ``contrail.toml`` in ``CONTRAIL_HOME``, and the defaults below.
``config/contrail.toml`` is generated from this module. No option holds a secret: those are Airflow
Connections, named here by their id.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from msgspec import Meta

from observability import catalog, option_types
from observability.airflow_options import airflow_home, airflow_option
from observability.errors import SettingsError
from observability.linear_patterns import linear_pattern
from observability.regular_files import is_file, is_folder
from observability.renamed_options import old_names_in_use, with_new_names
from observability.settings_source import ANOTHER_USER, read_sections, read_toml

if TYPE_CHECKING:
    from observability.settings_source import Check

__all__ = [
    "ALERTS_VARIABLE",
    "AirflowSettings",
    "CloudwatchSettings",
    "CoreSettings",
    "ElasticsearchSettings",
    "JournalSettings",
    "OtlpSettings",
    "RedactionSettings",
    "RelaySettings",
    "Settings",
    "SettingsError",
    "StatsdSettings",
    "StoreSettings",
    "WatchSettings",
    "config_file",
    "get_settings",
    "linear_pattern",
    "load_settings",
    "old_names",
    "option",
    "sections",
]


_AIRFLOW_PORT = 8080

ALERTS_VARIABLE = "CONTRAIL_ALERTS"
"""Holds the address itself of a first route: no option does, as it is a secret."""


def option(default: Any, doc: str, check: Check | None = None) -> Any:
    """A field with its default, the sentence that documents it, and what each of its texts is tried by.

    ``check`` raises ValueError with the rest of the sentence that begins with the option's name.
    """
    return field(default=default, metadata={"doc": doc, "check": check})


@dataclass(frozen=True, slots=True)
class CoreSettings:
    """Folders, names and addresses that the other sections build on."""

    home: str = option(
        "",
        "Folder that Contrail writes to; empty: $CONTRAIL_HOME, $AIRFLOW_HOME/contrail, ./.contrail or, where that is not there, ~/airflow/contrail.",
    )
    environment: option_types.Environment = option(
        "dev", "Name of the deployment. It ends the name of each data stream and tags each metric."
    )
    public_url: option_types.Url = option(
        "",
        "Address of the Airflow UI in links; empty: Airflow's [api] base_url, else http://127.0.0.1:<airflow.port>.",
    )
    kibana_url: option_types.Url = option(
        "", "Address of Kibana in links; empty: messages and pages have no link to Kibana."
    )
    runbook_url: option_types.Url = option(
        "",
        "Address of the runbooks (docs/runbooks/) in links; empty: the pages that the Airflow plugin serves.",
    )
    kibana_connection_id: str = option(
        "",
        "Airflow Connection with which boards are installed (host, login, password, extra {api_key, ca_certs}); empty: kibana_url.",
    )


@dataclass(frozen=True, slots=True)
class JournalSettings:
    """The event journal on disk."""

    directory: str = option("", "Folder of the event journal; empty: <home>/journal.")
    max_file_bytes: option_types.Bytes = option(67_108_864, "Bytes after which a new journal file is begun.")
    retention_days: option_types.RetentionDays = option(
        7, "Days until a journal file that every sink has acknowledged is deleted."
    )
    fsync: bool = option(
        False, "Wait for the disk at each event. Events then survive a power loss, and each costs milliseconds."
    )


@dataclass(frozen=True, slots=True)
class StatsdSettings:
    """Metrics, as processes send them."""

    enabled: bool = option(True, "Send metrics.")
    host: option_types.FilledText = option(
        "127.0.0.1", "Host to which metrics are sent: the relay, or any StatsD server."
    )
    port: option_types.Port = option(8125, "UDP port of that host.")
    flush_ms: option_types.Milliseconds = option(
        1000, "Milliseconds between two sends of aggregated metrics; a process also sends when it ends."
    )


@dataclass(frozen=True, slots=True)
class RedactionSettings:
    """Data to mask in everything that is written, besides the secrets that Airflow knows."""

    keys: tuple[str, ...] = option(
        (), "Words besides password, token, secret and the like: the value of a key that contains one is masked."
    )
    patterns: tuple[str, ...] = option(
        (),
        "Regular expressions (RE2 syntax) of personal data to mask. Set them in a file: in a variable, a comma ends a pattern.",
        linear_pattern,
    )

    def __post_init__(self) -> None:
        for pattern in self.patterns:
            linear_pattern(pattern)


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """The relay, which sends log files, events and metrics to the sinks."""

    sinks: tuple[option_types.SinkName, ...] = option(
        ("embedded",), "Sinks to send to: any of embedded, elasticsearch, cloudwatch, otlp."
    )
    log_folder: str = option(
        "",
        "Folder of the task logs (Airflow's base_log_folder); empty: $AIRFLOW__LOGGING__BASE_LOG_FOLDER or $AIRFLOW_HOME/logs.",
    )
    ignore_older_days: option_types.Days = option(
        0,
        "Logs that did not change for this many days when the relay first sees them are skipped; 0: all logs are sent.",
    )
    poll_ms: Annotated[int, Meta(ge=1, le=60_000)] = option(200, "Milliseconds between two looks for new lines.")
    batch_bytes: Annotated[int, Meta(ge=4_096, le=67_108_864)] = option(
        1_048_576, "Bytes that are read from one file and sent in one request, at most."
    )
    metrics_host: option_types.FilledText = option("127.0.0.1", "Address that /metrics (Prometheus) binds.")
    metrics_port: option_types.PortOrOff = option(0, "Port of /metrics, which Prometheus scrapes; 0: off.")
    statsd_host: option_types.FilledText = option("127.0.0.1", "Address that the StatsD listener binds.")
    statsd_port: option_types.PortOrAny = option(8125, "UDP port that the StatsD listener binds; 0: any free port.")
    statsd_interval_s: option_types.Seconds = option(10.0, "Seconds over which metrics are aggregated.")
    statsd_prefix: str = option(
        "",
        "Prefix that is removed from metric names (Airflow's [metrics] statsd_prefix); empty: the one in this host's Airflow configuration.",
    )
    statsd_socket_path: str = option(
        "",
        "Unix socket that takes StatsD as well; empty: Airflow's [metrics] statsd_socket_path (3.4) where it is set on this host.",
    )
    statsd_forward: option_types.Address = option(
        "", "Another StatsD server (host:port) that gets a copy of all metrics; empty: none."
    )
    component_metrics: tuple[option_types.ServerName, ...] = option(
        (),
        "What is read for the metrics of Airflow's own components: any of processes (this host's), database (PostgreSQL), broker (Redis or Valkey); empty: nothing.",
    )
    database_connection_id: str = option(
        "", "Airflow Connection of that database (type postgres); empty: Airflow's [database] sql_alchemy_conn."
    )
    broker_connection_id: str = option(
        "", "Airflow Connection of that broker (type redis); empty: Airflow's [celery] broker_url."
    )
    series_budget: Annotated[int, Meta(ge=1, le=1_000_000)] = option(
        2000, "Series of one metric in an interval, at most. The rest is merged into one series and counted."
    )
    spool_limit_bytes: option_types.Bytes = option(
        2_147_483_648, "Bytes on disk for records that a sink has not acknowledged yet, at most."
    )
    flush_timeout_s: Annotated[float, Meta(ge=0, le=3_600)] = option(
        10.0, "Seconds that the end of a task may take to deliver its log and events on a host without a relay."
    )
    dead_letter_limit_bytes: option_types.Bytes = option(268_435_456, "Bytes on disk for dead letters, at most.")


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """The store from which logs, events and metrics are read."""

    backend: option_types.Backend = option("embedded", "Store that is read: embedded, elasticsearch or cloudwatch.")
    path: str = option("", "File of the embedded store; empty: <home>/store.db.")
    retention_days: option_types.RetentionDays = option(30, "Days for which the embedded store keeps logs and metrics.")


@dataclass(frozen=True, slots=True)
class ElasticsearchSettings:
    """Elasticsearch as a sink and a store."""

    connection_id: str = option(
        "elasticsearch_default", "Airflow Connection: host, port, schema, login, password, extra {api_key, ca_certs}."
    )
    url: option_types.Url = option(
        "", "Address of a cluster that needs no credentials. It is used instead of the Connection."
    )
    index_prefix: option_types.IndexPrefix = option(
        "",
        "Prefix of the names of our data streams, templates and policies, as in acme-. After a change, run setup and install the boards again.",
    )
    compat_with: option_types.ServerMajor = option(0, "Major version whose API is spoken; 0: ask the server.")
    request_timeout_s: option_types.Seconds = option(30.0, "Seconds after which a request is given up and tried again.")
    compress: bool = option(
        False, "Compress requests (gzip). This helps on a slow network and costs time on a fast one."
    )
    mapped_keys: Annotated[int, Meta(ge=0, le=1_500)] = option(
        200, "Keys of log lines that become fields of their own, at most. The rest can be searched in airflow.extra."
    )


@dataclass(frozen=True, slots=True)
class CloudwatchSettings:
    """CloudWatch as a sink and a store."""

    connection_id: str = option(
        "aws_default", "Airflow Connection with credentials and region; empty: boto3 finds them in its own order."
    )
    region: option_types.Region = option("", "Region, if the Connection names none.")
    endpoint_url: option_types.Url = option("", "Another endpoint, as of LocalStack or moto; empty: AWS.")
    log_group_prefix: option_types.LogGroupPrefix = option(
        "/contrail", "Prefix of log groups: <prefix>/<environment>/<dataset>."
    )
    retention_days: option_types.RetentionDays = option(
        30,
        "Days of retention that are set on log groups which we create. CloudWatch rounds up to a value that it knows.",
    )
    namespace: option_types.Namespace = option("Contrail", "Namespace of our metrics.")


@dataclass(frozen=True, slots=True)
class OtlpSettings:
    """OpenTelemetry (OTLP over HTTP) as a sink. Without url and connection_id, OTEL_EXPORTER_OTLP_* say where to."""

    url: option_types.Url = option(
        "",
        "Address of a receiver that needs no credentials, as in http://collector:4318; /v1/logs, /v1/metrics and /v1/traces are added.",
    )
    connection_id: str = option(
        "", "Airflow Connection of the receiver (type http: host, port, schema, login, password, extra), after url."
    )
    signals: tuple[option_types.SignalName, ...] = option(
        ("logs", "metrics", "traces"), "Signals that are sent: any of logs, metrics, traces."
    )
    compression: option_types.Compression = option(
        "gzip", "Compression of requests: gzip or none. none costs less processor time on a fast network."
    )
    request_timeout_s: option_types.Seconds = option(10.0, "Seconds after which a request is given up and tried again.")
    receive_host: option_types.FilledText = option("127.0.0.1", "Address that the relay's own receiver of OTLP binds.")
    receive_port: option_types.PortOrOff = option(
        0,
        "Port at which the relay takes OTLP (HTTP/protobuf) of code in tasks, 4318 by custom; tasks are told of it. It needs the sink otlp; 0: off.",
    )
    receive_limit_bytes: option_types.Bytes = option(
        268_435_456, "Bytes on disk of such OTLP that is not sent on yet, at most; then requests are answered 429."
    )


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """The watcher, which finds what is wrong and notifies people."""

    api_url: option_types.Url = option(
        "",
        "Address of Airflow's API server; empty: on this host, at Airflow's [api] port (by HTTPS where ssl_cert is set).",
    )
    ledger_url: option_types.SqlUrl = option(
        "", "SQLAlchemy URL of the incident ledger; empty: SQLite in <home>/ledger.db."
    )
    rules_file: str = option("", "File of the alerting rules; empty: <home>/alerts.yaml, then config/alerts.yaml.")
    alerts_to: option_types.Reference = option(
        "",
        "Where all alerts go without a rules file: connection:<id>, variable:<key> or env:<NAME> of an address; empty: $CONTRAIL_ALERTS, else the Airflow Connection or Variable contrail_alerts.",
    )
    act_link_hours: Annotated[float, Meta(ge=0, le=720)] = option(
        72.0, "Hours for which the links in messages work that acknowledge, silence or rerun; 0: messages have none."
    )
    reconcile_s: option_types.Seconds = option(5.0, "Seconds between two polls of Airflow's API.")
    history_days: option_types.Days = option(
        90, "Days before the first start of which runs are read from Airflow's API; 0: none."
    )
    record: str = option(
        "",
        "Folder in which the watcher records what it was told and what it sent, for `contrail alerts replay`; empty: none.",
    )
    metrics_host: option_types.FilledText = option(
        "127.0.0.1", "Address that the watcher's /metrics (Prometheus) binds."
    )
    metrics_port: option_types.PortOrOff = option(0, "Port of the watcher's /metrics; 0: off.")
    kibana_alerts: option_types.Index = option(
        "",
        "Index in the [elasticsearch] cluster to which Kibana's rules write alerts (contrail-kibana-alerts); empty: it is not read.",
    )


@dataclass(frozen=True, slots=True)
class AirflowSettings:
    """The Airflow that Contrail is installed in, and the local one that `contrail up` starts."""

    in_api_server: bool = option(
        True,
        "Deliver and watch from inside Airflow's API server while neither `contrail relay` nor `contrail watch` does.",
    )
    host: option_types.FilledText = option("127.0.0.1", "Address that the API server binds.")
    port: option_types.Port = option(_AIRFLOW_PORT, "Port of the API server and UI.")
    dags_folder: str = option("", "Folder of the DAGs; empty: the repository's dags/.")
    parallelism: Annotated[int, Meta(ge=1, le=1_024)] = option(2, "Tasks that run at the same time, at most.")
    task_logs_to_stdout: bool = option(
        True,
        "Repeat the lines of tasks on the stdout of their component, as Airflow does; set to false where that stdout is kept and shipped.",
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """All options, by section; the paths are resolved."""

    core: CoreSettings
    journal: JournalSettings
    statsd: StatsdSettings
    redaction: RedactionSettings
    relay: RelaySettings
    store: StoreSettings
    elasticsearch: ElasticsearchSettings
    cloudwatch: CloudwatchSettings
    otlp: OtlpSettings
    watch: WatchSettings
    airflow: AirflowSettings

    @property
    def home(self) -> Path:
        """Folder of all that Contrail writes."""
        if self.core.home:
            return Path(self.core.home).expanduser()
        return default_home()

    @property
    def journal_directory(self) -> Path:
        """Folder of the event journal."""
        return Path(self.journal.directory) if self.journal.directory else self.home / "journal"

    @property
    def store_path(self) -> Path:
        """File of the embedded store."""
        return Path(self.store.path) if self.store.path else self.home / "store.db"

    @property
    def log_folder(self) -> Path:
        """Airflow's base log folder."""
        if self.relay.log_folder:
            return Path(self.relay.log_folder)
        if folder := os.environ.get("AIRFLOW__LOGGING__BASE_LOG_FOLDER"):
            return Path(folder)
        return airflow_home() / "logs"

    @property
    def api_url(self) -> str:
        """Address of Airflow's API server, without a slash at its end.

        Where no option of ours names it, it is on this host where Airflow's own ``[api]`` has it, except for an Airflow
        that ``contrail up`` starts, which has our port.
        """
        if self.watch.api_url:
            return self.watch.api_url.rstrip("/")
        scheme, port = "http", str(self.airflow.port)
        if self.airflow.port == _AIRFLOW_PORT and not is_folder(self.home / "keys"):
            scheme = "https" if airflow_option("api", "ssl_cert") else scheme
            port = airflow_option("api", "port") or port
        return f"{scheme}://{self.airflow.host}:{port}"

    @property
    def public_url(self) -> str:
        """Address of the Airflow UI for people, without a slash at its end."""
        named = self.core.public_url or airflow_option("api", "base_url")
        return (named or f"http://{self.airflow.host}:{self.airflow.port}").rstrip("/")

    @property
    def alert_index(self) -> str:
        """The index that Kibana's rules write to."""
        return self.watch.kibana_alerts or f"{self.elasticsearch.index_prefix}{catalog.ALERT_INDEX}"

    @property
    def log_filename_template(self) -> str:
        """Airflow's template of the names of task logs where its configuration here has one, else ""."""
        return airflow_option("logging", "log_filename_template")

    @property
    def statsd_prefix(self) -> str:
        """The prefix of Airflow's metric names, without the dot; "" for nothing."""
        return self.relay.statsd_prefix or airflow_option("metrics", "statsd_prefix", "airflow")

    @property
    def statsd_socket_path(self) -> str:
        """The Unix socket to which Airflow sends its metrics; "" for none."""
        return self.relay.statsd_socket_path or airflow_option("metrics", "statsd_socket_path")

    @property
    def ledger_url(self) -> str:
        """SQLAlchemy URL of the incident ledger."""
        return self.watch.ledger_url or f"sqlite:///{self.home / 'ledger.db'}"


def default_home() -> Path:
    """Contrail's home where no option names one."""
    if home := os.environ.get("CONTRAIL_HOME"):
        return Path(home).expanduser()
    of_airflow, here = airflow_home() / "contrail", Path.cwd() / ".contrail"
    if os.environ.get("AIRFLOW_HOME") or (is_folder(of_airflow) and not is_folder(here)):
        return of_airflow
    return here


def sections() -> dict[str, type[Any]]:
    """The sections by name, in the order in which they are documented."""
    hints = get_type_hints(Settings)
    return {part.name: hints[part.name] for part in fields(Settings)}


def load_settings(path: Path | None = None, environ: dict[str, str] | None = None) -> Settings:
    """Read the options from ``path`` (or where they usually are) and ``environ``.

    Raises :class:`SettingsError` naming, for each fault, the file or variable, the option and what is allowed.
    For a task of another user, who may not read the file, the variables alone hold.
    """
    env = dict(os.environ) if environ is None else environ
    source = path or config_file(env)
    given, unreadable = read_toml(source) if source else ({}, "")
    if unreadable and source and env.get(ANOTHER_USER) == "1" and not os.access(source, os.R_OK):
        given = {"core": {"home": env.get("CONTRAIL_HOME") or str(source.parent)}}
    elif unreadable:
        raise SettingsError(unreadable)
    known = sections()
    chosen, faults = read_sections(known, *with_new_names(given, env), str(source))
    if faults:
        raise SettingsError("\n".join([*faults, *old_names_in_use(given, env)]))
    return Settings(**{name: kind(**chosen[name]) for name, kind in known.items()})


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read once; ``get_settings.cache_clear()`` reads them anew."""
    return load_settings()


def old_names() -> list[str]:
    """A sentence for each old name of an option in this host's file and variables. Raises :class:`SettingsError`."""
    source = config_file()
    return old_names_in_use(read_toml(source)[0] if source else {}, os.environ)


def config_file(environ: dict[str, str] | None = None) -> Path | None:
    """The file that the options are read from, None where there is none. Raises :class:`SettingsError`.

    A task with ``run_as_user`` may not look into the home, or see the file: then its variables alone hold.
    """
    env = dict(os.environ) if environ is None else environ
    if named := env.get("CONTRAIL_CONFIG"):
        if not is_file(Path(named)) and env.get(ANOTHER_USER) != "1":
            raise SettingsError(f"CONTRAIL_CONFIG names {named}, which is not a file; correct or unset it")
        return Path(named)
    found = default_home() / "contrail.toml"
    return found if is_file(found) else None
