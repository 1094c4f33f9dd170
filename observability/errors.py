"""The errors of Contrail: one tree, each with the exit code of a command that ends by it, and with a remedy.

ContrailError                     4  something that is needed is away, or refuses
├── ConfigurationError            2  something that a person wrote cannot be used
│   ├── ArgumentError                an argument of a command
│   ├── SettingsError                contrail.toml, or a variable (a ValueError)
│   ├── RulesError                   alerts.yaml (a WatchError)
│   ├── CredentialsError             a Connection
│   ├── ProxyRefused                 a proxy that a client cannot speak to
│   └── MetricError                  a metric that the catalogue does not allow (a ValueError)
├── ServiceError                     a service gave no answer, or refused
│   ├── ClusterUnreachable           Elasticsearch gave no whole answer
│   │   └── AnswerTooLarge           it is larger than is read
│   ├── ClusterError                 Elasticsearch refused
│   ├── OldestServer                 Elasticsearch is too old
│   ├── AwsUnanswered                AWS gave no answer that can be understood
│   ├── SinkUnavailable              a sink takes no records now
│   ├── ServerUnavailable            a server that Airflow stands on cannot be read
│   └── InstallError                 a dashboard, rule or alarm was not taken
├── StoreError                       a store cannot be read
├── RelayError                       the relay cannot run
│   └── StatsdUnavailable            its socket cannot be opened (an OSError)
├── JournalError                     the journal cannot be written (an OSError)
├── WatchError                       the watcher cannot do something
│   ├── LedgerError                  ─ LedgerUnavailable
│   ├── ChannelError                 ─ ChannelUnavailable, ChannelRefused
│   └── ApiError                     ─ ApiUnavailable (Airflow's API)
└── PlatformError                    the local platform cannot start, stop or answer
    └── NodeError                    its Elasticsearch cannot be fetched or started

The message of an error names the thing, what happened to it and what to do. ``remedy`` is the general advice for its
kind, which :mod:`observability.cli` prints where the message names none. docs/reference/exit-codes.md lists the exit
codes. Exceptions that steer a walk and never end a command stand where they are raised: ``Replaced`` of the tail,
``Broken`` and ``Off`` of the doctor, ``AuditError`` of the audit of channels, ``AnswerTooLong`` of an answer that is
read within bounds, ``NotRegular`` of a file that is none.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "AnswerTooLarge",
    "ApiError",
    "ApiUnavailable",
    "ArgumentError",
    "AwsUnanswered",
    "ChannelError",
    "ChannelRefused",
    "ChannelUnavailable",
    "ClusterError",
    "ClusterUnreachable",
    "ConfigurationError",
    "ContrailError",
    "CredentialsError",
    "InstallError",
    "JournalError",
    "LedgerError",
    "LedgerUnavailable",
    "MetricError",
    "NodeError",
    "OldestServer",
    "PlatformError",
    "ProxyRefused",
    "RelayError",
    "RulesError",
    "ServerUnavailable",
    "ServiceError",
    "SettingsError",
    "SinkUnavailable",
    "StatsdUnavailable",
    "StoreError",
    "WatchError",
]

# ruff: noqa: N818 - names that end in Unavailable or Refused say what a service does, as the status lines of HTTP do


class ContrailError(Exception):
    """Anything that Contrail says it cannot do."""

    exit_code: ClassVar[int] = 4
    remedy: ClassVar[str] = "contrail doctor checks each part and says what to do"

    @property
    def advice(self) -> str:
        """The message, with the general remedy where it names none: "what happened; what to do"."""
        return str(self) if ";" in str(self) else f"{self}; {self.remedy}"


class ConfigurationError(ContrailError):
    """Something that a person wrote cannot be used."""

    exit_code = 2
    remedy = "contrail config show prints each option and where it was set"


class ArgumentError(ConfigurationError):
    """An argument of a command that cannot be used; the message names it and what can be."""

    remedy = "the command with --help says what it takes"


class SettingsError(ConfigurationError, ValueError):
    """A configuration that cannot be used; the message names where, what and the remedy."""


class WatchError(ContrailError):
    """Something that the watcher or a command of it cannot do; the message names it and the remedy."""


class RulesError(ConfigurationError, WatchError):
    """Rules that cannot be used: one line per mistake, each with file, line, key and remedy."""

    remedy = "contrail alerts check says whether the corrected file can be used"


class CredentialsError(ConfigurationError):
    """A Connection that cannot be read; the message names it and the remedy."""

    remedy = "airflow connections get <id> prints what Airflow knows of the Connection"


class ProxyRefused(ConfigurationError):
    """A proxy that a client of ours cannot speak to; the message names the remedy."""

    remedy = "correct the proxy variables, or list the host in NO_PROXY"


class MetricError(ConfigurationError, ValueError):
    """A metric that the catalogue does not allow; the message names it and what is allowed."""

    remedy = "docs/reference/metrics.md lists the metrics and their tags"


class JournalError(ContrailError, OSError):
    """A record could not be written whole; the message names the file and the reason."""

    remedy = "make the folder writable and free space on its disk"


class StoreError(ContrailError):
    """A store that cannot answer; the message names it, what happened and the remedy."""


class ServiceError(ContrailError):
    """A service gave no answer, or refused."""


class ClusterUnreachable(ServiceError):
    """No whole answer came: refused, cut, timed out; the request may have been applied all the same."""


class AnswerTooLarge(ClusterUnreachable):
    """The answer is larger than is read; a page of fewer documents may be asked for."""


class ClusterError(ServiceError):
    """The cluster answered that it will not: ``status``, the ``kind`` of error, and its reason as message."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


class OldestServer(ServiceError):
    """The server is too old for these templates; the message names both versions."""

    remedy = "upgrade the server; docs/stores.md lists the versions that are tried"


class AwsUnanswered(ServiceError):
    """No answer came, or none that can be understood; the request may have been carried out all the same."""


class RelayError(ContrailError):
    """The relay cannot run; the message says why and what to do."""


class SinkUnavailable(ServiceError):
    """The service does not take records now; the batch is sent again later.

    ``retry_after_s`` is the service's own wish, where it gave one.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ServerUnavailable(ServiceError):
    """A server that Airflow stands on cannot be read; the message names the reason and the remedy."""


class StatsdUnavailable(RelayError, OSError):
    """The socket cannot be opened; the message names the address and the remedy."""


class LedgerError(WatchError):
    """A ledger that cannot be used; the message names it and the remedy."""


class LedgerUnavailable(LedgerError):
    """The database does not answer now; what was to be written is written again later."""


class ChannelError(WatchError):
    """A message was not taken; the text names the channel and the reason, without secrets."""

    remedy = "contrail alerts test sends a message through the whole path and waits until it has arrived"


class ChannelUnavailable(ChannelError):
    """The service does not take messages now; ``retry_after_s`` is its own wish, where it gave one."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ChannelRefused(ChannelError):
    """The service will never take this message, or the channel is configured wrongly.

    ``perhaps_too_long`` where the answer may have been about the size: the essentials are worth one more try.
    """

    def __init__(self, message: str, *, perhaps_too_long: bool = False) -> None:
        super().__init__(message)
        self.perhaps_too_long = perhaps_too_long


class ApiError(WatchError):
    """Airflow's API refused; the message names the call, the answer and the remedy."""


class ApiUnavailable(ApiError):
    """Airflow's API does not answer now."""


class PlatformError(ContrailError):
    """The platform cannot start, stop or answer; the message names the thing and the remedy."""

    remedy = "contrail status shows what runs and where its logs are"


class NodeError(PlatformError):
    """The node cannot be fetched or started; the message says why and what to do."""


class InstallError(ServiceError):
    """A service did not take something; the message names it, the answer and the remedy."""

    remedy = "correct what the service names, and install again; what is installed already stays"
