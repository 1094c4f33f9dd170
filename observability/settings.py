"""Every knob, declared once: its section, name, type, default and meaning.

Values come from, first found wins: the environment (``CONTRAIL_<SECTION>__<KEY>``), the file named
by ``CONTRAIL_CONFIG``, ``contrail.toml`` in ``CONTRAIL_HOME``, and the defaults below.
``config/contrail.toml`` is generated from this module. No knob holds a secret: those are Airflow
Connections, named here by their id.
"""

from __future__ import annotations

import configparser
import os
import re
import sys
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from observability import catalog, naming_rules

if TYPE_CHECKING:
    from observability.naming_rules import Rule

__all__ = [
    "AirflowSettings",
    "CloudwatchSettings",
    "ContrailSettings",
    "ElasticsearchSettings",
    "JournalSettings",
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
    "sections",
]

_T = TypeVar("_T")


class SettingsError(ValueError):
    """A configuration that cannot be used; the message names where, what and the remedy."""


def knob(default: Any, doc: str, rule: Rule | None = None) -> Any:
    """A field with its default, the sentence that documents it, and the rule that its words obey."""
    default = tuple(default) if isinstance(default, (list, tuple)) else default
    return field(default=default, metadata={"doc": doc, "rule": rule})


@dataclass(frozen=True, slots=True)
class ContrailSettings:
    """Options that everything else starts from."""

    home: str = knob(
        "", "Folder of all that Contrail writes; empty: $CONTRAIL_HOME, $AIRFLOW_HOME/contrail or ./.contrail."
    )
    environment: str = knob(
        "dev",
        "Name of the deployment: the last part of each data stream, and a tag on each metric.",
        naming_rules.ENVIRONMENT,
    )
    public_url: str = knob(
        "",
        "Address of the Airflow UI as people reach it, for links; empty: Airflow's [api] base_url, else http://127.0.0.1:<airflow.port>.",
    )
    kibana_url: str = knob("", "Address of Kibana as people reach it, for links; empty: no such links.")
    runbook_url: str = knob(
        "",
        "Address under which people reach the pages of docs/runbooks/, for links; empty: the page that our plugin serves.",
    )
    kibana_connection_id: str = knob(
        "",
        "Airflow Connection (host, login, password, extra {api_key, ca_certs}) that installs boards; empty: kibana_url.",
    )


@dataclass(frozen=True, slots=True)
class JournalSettings:
    """The facts on disk."""

    directory: str = knob("", "Folder of the event journal; empty: <home>/journal.")
    max_file_bytes: int = knob(67_108_864, "A journal file that reaches this size is followed by a new one.")
    keep_days: int = knob(7, "A journal that every sink has is deleted after so many days.")
    fsync: bool = knob(False, "Wait for the disk at each event: survives power loss, costs milliseconds.")


@dataclass(frozen=True, slots=True)
class StatsdSettings:
    """Metrics on their way out of a process."""

    enabled: bool = knob(True, "Send metrics at all.")
    host: str = knob("127.0.0.1", "Where the relay (or any StatsD server) listens.")
    port: int = knob(8125, "UDP port of it.")
    flush_ms: int = knob(1000, "A process sends what it has aggregated this often, and when it ends.")


def linear_pattern(pattern: str) -> Any:
    """A person's regular expression as RE2 matches it: in time that grows as the text does.

    Raises SettingsError where that cannot be, as with a look at what is around a match, or a reference back into it.
    """
    import re2  # only who has patterns pays for it

    try:
        re.compile(pattern)
    except re.error as error:
        raise SettingsError(f"[redaction] patterns: {pattern!r} is no regular expression: {error}") from None
    quiet = re2.Options()
    quiet.log_errors = False
    try:
        return re2.compile(pattern, quiet)
    except re2.error as error:
        why = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise SettingsError(
            f"[redaction] patterns: {pattern!r} cannot be matched in linear time: {why};"
            " write it in the syntax of RE2 (https://github.com/google/re2/wiki/Syntax)"
        ) from None


@dataclass(frozen=True, slots=True)
class RedactionSettings:
    """Options of what is masked in everything that is written, beside the secrets that Airflow knows."""

    keys: tuple[str, ...] = knob(
        (), "More words: the value of a key that contains one is masked, as with password, token, secret."
    )
    patterns: tuple[str, ...] = knob(
        (), "Regular expressions (RE2's syntax) of personal data to mask; a file only, a comma ends one in a variable."
    )

    def __post_init__(self) -> None:
        for pattern in self.patterns:
            linear_pattern(pattern)


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """Options of the relay, which carries bytes from disk and socket to the sinks."""

    sinks: tuple[str, ...] = knob(
        ("embedded",),
        "Where to send: any of embedded, elasticsearch, cloudwatch.",
        naming_rules.one_of("embedded", "elasticsearch", "cloudwatch"),
    )
    log_folder: str = knob(
        "", "Airflow's base_log_folder; empty: $AIRFLOW__LOGGING__BASE_LOG_FOLDER or $AIRFLOW_HOME/logs."
    )
    history_days: int = knob(
        0, "A log that did not change for more days when it is first seen is left out; 0: all logs are carried."
    )
    poll_ms: int = knob(200, "How often files are looked at for new lines.")
    batch_bytes: int = knob(1_048_576, "Most bytes read from one file and sent in one request.")
    statsd_host: str = knob("127.0.0.1", "Address the StatsD listener binds.")
    statsd_port: int = knob(8125, "UDP port of it.")
    statsd_interval_s: float = knob(10.0, "Metrics are aggregated over this many seconds.")
    statsd_prefix: str = knob(
        "",
        "Airflow's [metrics] statsd_prefix, which is taken off names; empty: what Airflow's configuration here says.",
    )
    statsd_socket_path: str = knob(
        "",
        "Unix socket on which StatsD is taken as well; empty: Airflow's [metrics] statsd_socket_path (3.4), where one is set here.",
    )
    statsd_forward: str = knob("", "host:port of another StatsD server that gets a copy; empty: none.")
    series_budget: int = knob(2000, "Most series of one metric per interval; the rest is folded into one and counted.")
    spool_limit_bytes: int = knob(2_147_483_648, "Most disk held for records not yet acknowledged by every sink.")
    catch_up_s: float = knob(
        10.0, "Where no relay runs, the end of a task takes at most so long to deliver its log and events."
    )
    dead_letter_limit_bytes: int = knob(268_435_456, "Most disk used by dead letters.")


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Options of the store from which logs, events and metrics are read."""

    backend: str = knob(
        "embedded",
        "embedded, elasticsearch or cloudwatch.",
        naming_rules.one_of("embedded", "elasticsearch", "cloudwatch"),
    )
    path: str = knob("", "File of the embedded store; empty: <home>/store.db.")
    retention_days: int = knob(30, "The embedded store forgets logs and metrics older than this.")


@dataclass(frozen=True, slots=True)
class ElasticsearchSettings:
    """Elasticsearch as a sink and a store."""

    connection_id: str = knob(
        "elasticsearch_default", "Airflow Connection: host, port, schema, login, password, extra {api_key, ca_certs}."
    )
    url: str = knob("", "Address without credentials, where there is no Connection.")
    index_prefix: str = knob(
        "",
        "Begins the name of each data stream, template and policy of ours, as in acme-; run setup and install the boards again.",
        naming_rules.INDEX_PREFIX,
    )
    compat_with: int = knob(0, "Major version of an older server (8); 0: ask the server.")
    request_timeout_s: float = knob(30.0, "A request that takes longer is tried again.")
    compress: bool = knob(False, "Compress what is sent (gzip): a slow network gains, a local one loses.")
    mapped_keys: int = knob(
        200, "Most keys of log lines that become fields; the rest is kept and searchable in airflow.extra."
    )


@dataclass(frozen=True, slots=True)
class CloudwatchSettings:
    """CloudWatch as a sink and a store."""

    connection_id: str = knob(
        "aws_default", "Airflow Connection with credentials and region; empty: boto3's own chain."
    )
    region: str = knob("", "Region, where the Connection names none.")
    endpoint_url: str = knob("", "Another endpoint (LocalStack, moto); empty: AWS.")
    log_group_prefix: str = knob("/contrail", "Log groups are <prefix>/<env>/<dataset>.", naming_rules.LOG_GROUP_PREFIX)
    retention_days: int = knob(30, "Retention set on log groups that we create.")
    namespace: str = knob("Contrail", "Namespace of the metrics.", naming_rules.NAMESPACE)


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """Options of the watcher, which decides that something is wrong, and notifies."""

    api_url: str = knob("", "Address of Airflow's API server; empty: http://127.0.0.1:<airflow.port>.")
    ledger_url: str = knob("", "SQLAlchemy URL of the incident ledger; empty: SQLite in <home>/ledger.db.")
    routes: str = knob("", "Routes file; empty: <home>/alerts.yaml, then config/alerts.yaml.")
    reconcile_s: float = knob(5.0, "How often Airflow's API is asked what happened.")
    kibana_alerts: str = knob(
        "",
        "Index that Kibana's rules write to (contrail-kibana-alerts), in the [elasticsearch] cluster; empty: not read.",
        naming_rules.INDEX,
    )


@dataclass(frozen=True, slots=True)
class AirflowSettings:
    """The Airflow that ``contrail up`` starts."""

    host: str = knob("127.0.0.1", "Address the API server binds.")
    port: int = knob(8080, "Port of the API server and UI.")
    dags_folder: str = knob("", "DAGs folder; empty: the repository's dags/.")
    parallelism: int = knob(2, "Task processes at once.")
    task_logs_to_stdout: bool = knob(
        True,
        "Whether a component repeats its tasks' lines on its stdout, as Airflow does; false where that is kept and shipped.",
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """All knobs, by section; the paths are resolved."""

    contrail: ContrailSettings
    journal: JournalSettings
    statsd: StatsdSettings
    redaction: RedactionSettings
    relay: RelaySettings
    store: StoreSettings
    elasticsearch: ElasticsearchSettings
    cloudwatch: CloudwatchSettings
    watch: WatchSettings
    airflow: AirflowSettings

    @property
    def home(self) -> Path:
        """Folder of all that Contrail writes."""
        if self.contrail.home:
            return Path(self.contrail.home).expanduser()
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
        """Address of Airflow's API server, without a slash at its end."""
        return (self.watch.api_url or f"http://{self.airflow.host}:{self.airflow.port}").rstrip("/")

    @property
    def public_url(self) -> str:
        """Address of the Airflow UI for people, without a slash at its end."""
        named = self.contrail.public_url or _airflow_option("api", "base_url")
        return (named or f"http://{self.airflow.host}:{self.airflow.port}").rstrip("/")

    @property
    def alert_index(self) -> str:
        """The index that Kibana's rules write to."""
        return self.watch.kibana_alerts or f"{self.elasticsearch.index_prefix}{catalog.ALERT_INDEX}"

    @property
    def log_filename_template(self) -> str:
        """Airflow's template of the names of task logs where its configuration here has one, else ""."""
        return _airflow_option("logging", "log_filename_template")

    @property
    def statsd_prefix(self) -> str:
        """The prefix of Airflow's metric names, without the dot; "" for nothing."""
        return self.relay.statsd_prefix or _airflow_option("metrics", "statsd_prefix", "airflow")

    @property
    def statsd_socket_path(self) -> str:
        """The Unix socket to which Airflow sends its metrics; "" for none."""
        return self.relay.statsd_socket_path or _airflow_option("metrics", "statsd_socket_path")

    @property
    def ledger_url(self) -> str:
        """SQLAlchemy URL of the incident ledger."""
        return self.watch.ledger_url or f"sqlite:///{self.home / 'ledger.db'}"


def _airflow_option(section: str, key: str, default: str = "") -> str:
    """An option as Airflow has it, from its variable or its file, without importing Airflow."""
    if (named := os.environ.get(f"AIRFLOW__{section}__{key}".upper())) is not None:
        return named.strip()
    file = Path(os.environ.get("AIRFLOW_CONFIG") or airflow_home() / "airflow.cfg").expanduser()
    try:
        found = configparser.ConfigParser(interpolation=None, strict=False)
        found.read_string(file.read_text("utf-8"))
        return found.get(section, key, fallback=default).replace("%%", "%").strip()
    except (OSError, UnicodeDecodeError, configparser.Error):
        return default


def airflow_home() -> Path:
    """Airflow's home by Airflow's own rule."""
    return Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()


def default_home() -> Path:
    """Contrail's home where no knob names one."""
    if home := os.environ.get("CONTRAIL_HOME"):
        return Path(home).expanduser()
    if os.environ.get("AIRFLOW_HOME"):
        return airflow_home() / "contrail"
    return Path.cwd() / ".contrail"


def sections() -> dict[str, type[Any]]:
    """The sections by name, in the order in which they are documented."""
    hints = get_type_hints(Settings)
    return {part.name: hints[part.name] for part in fields(Settings)}


def load_settings(path: Path | None = None, environ: dict[str, str] | None = None) -> Settings:
    """Read the knobs from ``path`` (or where they usually are) and ``environ``.

    Raises :class:`SettingsError` naming the file or variable, the key and the remedy.
    """
    env = dict(os.environ) if environ is None else environ
    source = path or config_file(env)
    values = _read_toml(source) if source else {}
    known = sections()
    for name in values:
        if name not in known:
            raise SettingsError(f"{source}: unknown section [{name}]{_suggest(name, known)}")
    built = {name: _build(name, kind, values.get(name, {}), source, env) for name, kind in known.items()}
    _refuse_unknown_variables(env, known)
    return Settings(**built)


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read once; ``get_settings.cache_clear()`` reads them anew."""
    return load_settings()


def config_file(environ: dict[str, str] | None = None) -> Path | None:
    """The file that the knobs are read from, None where there is none. Raises :class:`SettingsError`."""
    env = dict(os.environ) if environ is None else environ
    if named := env.get("CONTRAIL_CONFIG"):
        if not Path(named).is_file():
            raise SettingsError(f"CONTRAIL_CONFIG names {named}, which is no file; correct or unset it")
        return Path(named)
    found = default_home() / "contrail.toml"
    return found if found.is_file() else None


def _read_toml(path: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise SettingsError(f"{path}: {error}") from error


def _build(name: str, kind: type[_T], given: Any, source: Path | None, env: dict[str, str]) -> _T:
    if not isinstance(given, dict):
        raise SettingsError(f"{source}: [{name}] must be a section, not a value")
    hints = get_type_hints(kind)
    rules = {part.name: part.metadata.get("rule") for part in fields(kind)}  # type: ignore[arg-type]
    chosen: dict[str, Any] = {}
    for key, value in given.items():
        if key not in hints:
            raise SettingsError(f"{source}: unknown key {key!r} in [{name}]{_suggest(key, hints)}")
        variable = f"CONTRAIL_{name}__{key}".upper()
        if variable not in env:
            chosen[key] = _value(value, hints[key], f"{source}: [{name}] {key}", rules[key])
    for key, hint in hints.items():
        variable = f"CONTRAIL_{name}__{key}".upper()
        if variable in env:
            chosen[key] = _value(env[variable], hint, variable, rules[key])
    return kind(**chosen)


def _value(given: Any, hint: Any, where: str, rule: Rule | None) -> Any:
    value = _convert(given, hint, where)
    for one in value if isinstance(value, tuple) else [value]:
        if rule is not None and (sentence := rule.broken_by(str(one))):
            raise SettingsError(f"{where} {sentence}; it is {str(one)[:100]!r}")
    return value


def _refuse_unknown_variables(env: dict[str, str], known: dict[str, type[Any]]) -> None:
    names = {f"CONTRAIL_{name}__{part.name}".upper() for name, kind in known.items() for part in fields(kind)}
    for variable in env:
        if variable.startswith("CONTRAIL_") and "__" in variable and variable not in names:
            raise SettingsError(f"unknown variable {variable}{_suggest(variable, names)}")


def _convert(value: Any, hint: Any, where: str) -> Any:
    if hint is bool:
        words = {
            "true": True,
            "1": True,
            "yes": True,
            "on": True,
            "false": False,
            "0": False,
            "no": False,
            "off": False,
        }
        if isinstance(value, bool):
            return value
        if str(value).lower() in words:
            return words[str(value).lower()]
        raise SettingsError(f"{where} must be true or false, not {value!r}")
    if hint in (int, float):
        try:
            return hint(value)
        except (TypeError, ValueError):
            raise SettingsError(f"{where} must be a number, not {value!r}") from None
    if hint is str:
        return str(value)
    parts = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise SettingsError(f"{where} must be a list of strings, not {value!r}")
    return tuple(parts)


def _suggest(name: str, known: Any) -> str:
    import difflib

    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known))}"
