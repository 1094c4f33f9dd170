"""CloudWatch Logs over botocore: the client, the names of what we keep there, and every call that we make.

botocore alone, because a relay has no memory to spare for boto3; no hidden retries, because a request
that botocore sends again may store its events twice.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.credentials import CredentialProvider, CredentialResolver, RefreshableCredentials
from botocore.exceptions import BotoCoreError, HTTPClientError
from botocore.parsers import ResponseParserError

from observability import catalog, redact
from observability.credentials import CredentialsError, resolve, verified
from observability.errors import AwsUnanswered
from observability.log_template import without_trigger
from observability.proxies import ProxyRefused, http_proxy_for

if TYPE_CHECKING:
    from observability.credentials import Credentials
    from observability.settings import Settings

__all__ = [
    "CALLS",
    "AwsUnanswered",
    "ask",
    "aws_client",
    "group_name",
    "iam_policy",
    "logs_client",
    "metrics_part",
    "stream_name",
]

CALLS: dict[str, tuple[str, ...]] = {
    "ContrailRelayWrites": (
        "CreateLogGroup",
        "CreateLogStream",
        "GetLogEvents",
        "PutLogEvents",
        "PutRetentionPolicy",
    ),
    "ContrailReads": ("FilterLogEvents",),
}
"""Every operation of CloudWatch Logs that we call, by who calls it; the IAM policy is made of it."""

_LONGEST_STREAM = 512
_NO_ANSWER = (BotoCoreError, HTTPClientError, ResponseParserError)
_MISSHAPEN = (AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""The errors of botocore at an answer that is not of AWS's shape: JSON of another kind, bytes that are no text."""


def ask(client: Any, call: str, **named: Any) -> dict[str, Any]:
    """The answer of AWS to ``call``.

    Raises botocore's ``ClientError`` for an error that AWS names, ``CredentialsError``, and :class:`AwsUnanswered`.
    """
    try:
        answer = getattr(client, call)(**named)
    except _NO_ANSWER as error:
        raise AwsUnanswered(str(error)) from error
    except _MISSHAPEN as error:
        raise AwsUnanswered(f"what came back is not an answer of AWS's ({type(error).__name__}: {error})") from error
    if not isinstance(answer, dict) or not _is_of_aws(call, answer):
        # botocore takes any 200 for success, also the page of a proxy
        raise AwsUnanswered("what came back is not an answer of AWS's; look at what stands in between")
    return answer


def _is_of_aws(call: str, answer: dict[str, Any]) -> bool:
    """True for an answer with AWS's request id, or one that a stand-in without it may give.

    That speaks JSON, answers with a member that was asked for, or has nothing to say where AWS has nothing either.
    """
    about = answer.get("ResponseMetadata")
    if about is None or about.get("RequestId") or answer.keys() - {"ResponseMetadata"}:
        return True
    headers = about.get("HTTPHeaders", {})
    if "json" in str(headers.get("content-type")):
        return True
    return call != "put_log_events" and str(headers.get("content-length", "0")) == "0"


def logs_client(settings: Settings) -> Any:
    """A client with the credentials of ``[cloudwatch]``. Raises ``CredentialsError`` or botocore's errors."""
    options = settings.cloudwatch
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=30, max_pool_connections=4)
    return aws_client("logs", options.connection_id, config, region=options.region, endpoint_url=options.endpoint_url)


def aws_client(service: str, connection_id: str, config: Config, *, region: str = "", endpoint_url: str = "") -> Any:
    """A client of ``service`` as the Airflow Connection says, renewed with it; without one, by AWS's own chain.

    The options of the Connection (``config_kwargs``) win over ``config``, but for retries, which would store twice.
    """
    session = botocore.session.get_session()
    extra: dict[str, Any] = {}
    if connection_id:
        found = resolve(connection_id)
        extra = dict(found.extra)
        verified(extra, "verify")
        redact.add_secret(found.password)
        redact.add_secret(str(extra.get("session_token") or ""))
        _use(session, found, connection_id)
    given: dict[str, Any] = {
        "region_name": region or extra.get("region_name") or session.get_config_variable("region"),
        "endpoint_url": endpoint_url or (extra.get("endpoints") or {}).get(service),
        "verify": extra.get("verify"),
    }
    return _behind_proxy(session, service, given, config.merge(_options(extra.get("config_kwargs") or {})))


def _behind_proxy(session: Any, service: str, given: dict[str, Any], config: Config) -> Any:
    """A client that asks the proxy that is named for its endpoint; botocore knows neither ALL_PROXY nor networks.

    The endpoint is known when there is a client, so with a proxy in the environment the client is made twice.
    """
    client = session.create_client(service, config=config, **given)
    if config.proxies is not None:
        return client
    url = client.meta.endpoint_url
    try:
        proxy = http_proxy_for(url)
    except ProxyRefused as error:
        raise CredentialsError(str(error)) from None
    if proxy is None and not getproxies():
        return client
    client.close()
    return session.create_client(
        service, config=config.merge(Config(proxies={urlsplit(url).scheme: proxy} if proxy else {})), **given
    )


def _options(kwargs: dict[str, Any]) -> Config:
    """The ``config_kwargs`` of a Connection, as the Amazon provider reads it."""
    options = {name: value for name, value in kwargs.items() if name != "retries"}
    if options.get("signature_version") == "unsigned":
        options["signature_version"] = UNSIGNED
    return Config(**options)


def group_name(settings: Settings, dataset: str, environment: str = "") -> str:
    """The log group of a dataset: ``<prefix>/<environment>/<dataset>``."""
    return f"{settings.cloudwatch.log_group_prefix}/{environment or settings.core.environment}/{dataset}"


def stream_name(source: str, group: str) -> str:
    """The log stream of a file: a try's log has the name that Airflow's own CloudWatch reader looks for."""
    name = without_trigger(source) if group.startswith("dag_id=") else group
    name = name.replace(":", "_").replace("*", "_")
    if len(name) <= _LONGEST_STREAM:
        return name
    digest = hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
    return f"{name[: _LONGEST_STREAM - 17]}-{digest}"


def metrics_part(document: dict[str, Any], namespace: str, milliseconds: int) -> dict[str, Any]:
    """The part by which CloudWatch reads a metric out of a metric document (EMF); empty for one that is not sent.

    The dimension sets are the catalogue's. A timer becomes up to 100 values (the most that EMF takes) with
    the quantiles of its interval, so its percentiles hold; its SampleCount does not beyond 100.
    """
    name = document.get("metric.name", "")
    tags = {tag: str(document[field]) for tag, field in catalog.TAGS.items() if field in document}
    tags |= document.get("metric.tags", {})
    sets = [dimensions for dimensions in catalog.DIMENSIONS.get(name, ()) if all(tag in tags for tag in dimensions)]
    if not sets:
        return {}
    used = {tag: tags[tag] for dimensions in sets for tag in dimensions}
    directive = {"Namespace": namespace, "Dimensions": sets, "Metrics": [{"Name": name, "Unit": _unit(name)}]}
    about = {"Timestamp": milliseconds, "CloudWatchMetrics": [directive]}
    return {"_aws": about, **used, name: _values(document)}


def iam_policy(settings: Settings, environment: str = "") -> dict[str, Any]:
    """The least that the relay and the readers need; ``${…}`` is yours to fill in.

    ``environment`` stands in place of that of the settings, and may be a ``${…}`` as well.
    """
    account = "arn:${Partition}:logs:${Region}:${AccountId}:log-group:"
    groups = [
        f"{account}{group_name(settings, dataset, environment)}{part}"
        for dataset in catalog.DATASETS
        for part in ("", ":log-stream:*")
    ]
    statements = [
        {"Sid": who, "Effect": "Allow", "Action": [f"logs:{call}" for call in calls], "Resource": groups}
        for who, calls in CALLS.items()
    ]
    return {"Version": "2012-10-17", "Statement": statements}


class _FromConnection(CredentialProvider):  # type: ignore[misc]
    METHOD = "airflow-connection"

    def __init__(self, connection_id: str, first: Credentials) -> None:
        super().__init__()
        self._id = connection_id
        self._first = first

    def load(self) -> Any:
        return RefreshableCredentials.create_from_metadata(
            _metadata(self._first), refresh_using=lambda: _metadata(resolve(self._id)), method=self.METHOD
        )


def _use(session: Any, found: Credentials, connection_id: str) -> None:
    if found.extra.get("expiry"):
        provider = _FromConnection(connection_id, found)
        session.register_component("credential_provider", CredentialResolver([provider]))
    elif found.login:
        session.set_credentials(found.login, found.password, found.extra.get("session_token"))


def _metadata(found: Credentials) -> dict[str, Any]:
    return {
        "access_key": found.login,
        "secret_key": found.password,
        "token": found.extra.get("session_token"),
        "expiry_time": datetime.fromisoformat(str(found.extra["expiry"])).isoformat(),
    }


def _unit(name: str) -> str:
    spec = catalog.METRICS.get(name) or catalog.AIRFLOW_METRICS.get(name)
    return {"ms": "Milliseconds", "s": "Seconds", "bytes": "Bytes"}.get(spec.unit if spec else "", "Count")


def _values(document: dict[str, Any]) -> float | list[float]:
    if document.get("metric.type") != "timer" or "metric.p50" not in document:
        value: float = document.get("metric.value", 0)
        return value
    known = [(0.0, "min"), (0.5, "p50"), (0.95, "p95"), (0.99, "p99"), (1.0, "max")]
    points = [(share, float(document[f"metric.{field}"])) for share, field in known]
    number = max(1, min(100, int(document.get("metric.count", 1))))
    return [_quantile(points, (index + 0.5) / number) for index in range(number)]


def _quantile(points: list[tuple[float, float]], share: float) -> float:
    for (low, from_), (high, to) in pairwise(points):
        if share <= high:
            return from_ + (to - from_) * (share - low) / (high - low)
    return points[-1][1]
