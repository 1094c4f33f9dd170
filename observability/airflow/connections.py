"""Airflow Connections as credentials: environment, secrets backend or metadata database, as Airflow finds them.

``python -m observability.airflow.connections <id>`` prints one as JSON, for a process that cannot afford
to import Airflow. Host, port and extras mean what the provider of the Connection's type says; a type without a
provider of its own is an address by https. AWS Connections are resolved to keys (assumed roles included), with
their expiry.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.models.connection import Connection
from airflow.sdk.exceptions import AirflowException, AirflowRuntimeError

from observability.credentials import Credentials, CredentialsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.credentials import Credentials as AwsCredentials

__all__ = ["resolve"]

_MISSING = (AirflowException, AirflowRuntimeError)
_ELASTICSEARCH_PORT = 9200
_SLACK = "hooks.slack.com/services"
_HTTP_UNUSED = frozenset(
    {"stream", "allow_redirects", "max_redirects", "trust_env", "check_response", "srv_lookup", "url"}
)
"""Extras of the HTTP provider that are no headers, and that we do not use."""
_OURS = frozenset(
    {"api_key", "basic_auth", "bearer_auth", "ca_certs", "verify_certs", "client_cert", "client_key", "headers"}
    | {"http_compress", "opaque_id", "request_timeout", "ssl_assert_fingerprint", "ssl_assert_hostname"}
)
"""Options of the Elasticsearch client, which an HTTP Connection to a cluster or to Kibana may hold as well."""
_AWS_SERVICES = ("logs", "cloudwatch", "sns")


def resolve(connection_id: str) -> Credentials:
    """The Connection of that id. Raises :class:`CredentialsError` naming it and the remedy."""
    try:
        connection = Connection.get_connection_from_secrets(connection_id)
    except _MISSING as error:
        raise CredentialsError(
            f"there is no Airflow Connection {connection_id!r} ({error}); add it with `airflow connections add`, "
            "or name another by the option connection_id"
        ) from error
    return _READERS.get(connection.conn_type, _plain)(connection)


def _plain(connection: Connection) -> Credentials:
    url = _address(connection.host, connection.schema or "https", connection.port)
    return Credentials(url, connection.login or "", connection.password or "", connection.extra_dejson)


def _elasticsearch(connection: Connection) -> Credentials:
    """As ``ElasticsearchSQLHook`` reads it: extras stand in place of fields, the port is 9200 where none is named."""
    extra = dict(connection.extra_dejson)
    host, port = extra.pop("host", connection.host), extra.pop("port", connection.port)
    scheme = extra.pop("scheme", connection.schema) or "http"
    login, password = extra.pop("user", connection.login) or "", extra.pop("password", connection.password) or ""
    if not host:
        raise CredentialsError(f"Connection {connection.conn_id!r} names no host of an Elasticsearch")
    return Credentials(_address(host, scheme, port or _ELASTICSEARCH_PORT), login, password, extra)


def _http(connection: Connection) -> Credentials:
    """As ``HttpHook`` reads it: what is no option of a request is a header."""
    given = dict(connection.extra_dejson)
    extra = {name: given.pop(name) for name in _OURS & set(given)}
    verify, cert = given.pop("verify", given.pop("verify_ssl", None)), given.pop("cert", None)
    timeout, proxies = given.pop("timeout", None), given.pop("proxies", given.pop("proxy", None))
    url = _address(connection.host, connection.schema or "http", connection.port)
    if isinstance(verify, str):
        extra.setdefault("ca_certs", verify)
    elif verify is False:
        extra.setdefault("verify_certs", verify)
    if cert:
        extra["client_cert"], extra["client_key"] = cert if isinstance(cert, list) else (cert, None)
    if timeout:
        extra.setdefault("request_timeout", timeout)
    if isinstance(proxies, dict):
        scheme = url.partition("://")[0]
        proxies = proxies.get(scheme) or proxies.get("all")
    if proxies:
        extra["proxy"] = proxies
    if "url" in given:
        extra["url"] = given["url"]
    headers = {name: str(value) for name, value in given.items() if name not in _HTTP_UNUSED}
    extra["headers"] = headers | (extra.get("headers") or {})
    return Credentials(url, connection.login or "", connection.password or "", extra)


def _slack(connection: Connection) -> Credentials:
    """As ``SlackWebhookHook`` reads it: the password is the token, or the whole address."""
    token = (connection.password or "").strip()
    if not token:
        raise CredentialsError(f"Connection {connection.conn_id!r} holds no password, which is the webhook's token")
    prefix = f"extra__{connection.conn_type}__"
    extra = {name.removeprefix(prefix): value for name, value in connection.extra_dejson.items()}
    url = token
    if "://" not in token:
        base = _address(connection.host or _SLACK, connection.schema or "https", None)
        url = f"{base.rstrip('/')}/{token.lstrip('/')}"
    options = {"request_timeout": extra.get("timeout"), "proxy": extra.get("proxy")}
    return Credentials(url.rstrip("/"), "", token, {name: value for name, value in options.items() if value})


def _pagerduty(connection: Connection) -> Credentials:
    """As ``PagerdutyHook`` reads it: the password is a key of the account, events go by the extra ``routing_key``."""
    key = connection.extra_dejson.get("routing_key")
    if not key:
        raise CredentialsError(
            f"Connection {connection.conn_id!r} has no extra routing_key; its password is a key of the account"
        )
    return Credentials(password=str(key))


def _aws(connection: Connection) -> Credentials:
    """As ``AwsGenericHook`` reads it."""
    from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook

    connection_id = connection.conn_id
    hook = AwsGenericHook[Any](aws_conn_id=connection_id, client_type="logs")
    session = hook.get_session()
    found: AwsCredentials | None = session.get_credentials()
    if found is None:
        raise CredentialsError(f"Connection {connection_id!r} leads to no AWS credentials; add keys or a role to it")
    keys = found.get_frozen_credentials()
    expiry = getattr(found, "_expiry_time", None)  # of some kinds of credentials not known before they are used
    endpoints = {service: hook.conn_config.get_service_endpoint_url(service) for service in _AWS_SERVICES}
    extra = {
        "session_token": keys.token,
        "region_name": hook.region_name or session.region_name,
        "endpoints": {service: url for service, url in endpoints.items() if url},
        "verify": hook.verify,
        "config_kwargs": hook.conn_config.extra_config.get("config_kwargs"),
        "expiry": expiry.isoformat() if expiry else None,
    }
    options = {key: value for key, value in extra.items() if value not in (None, "", {})}
    return Credentials("", keys.access_key, keys.secret_key, options)


_READERS: dict[str, Callable[[Connection], Credentials]] = {
    "aws": _aws,
    "elasticsearch": _elasticsearch,
    "http": _http,
    "pagerduty": _pagerduty,
    "slackwebhook": _slack,
}


def _address(host: str | None, scheme: str, port: int | str | None) -> str:
    """The URL of a Connection; "" where it names no host. A host may bring its own scheme, port and path."""
    if not host:
        return ""
    if "://" in host:
        scheme, _, host = host.partition("://")
    place, slash, path = host.partition("/")
    if place.count(":") > 1 and not place.startswith("["):
        place = f"[{place}]"
    if port and ":" not in place.rpartition("]")[2]:
        place = f"{place}:{port}"
    return f"{scheme}://{place}{slash}{path}"


def main() -> None:
    """Print the Connection named on the command line; the reason and status 1 where there is none."""
    try:
        print(json.dumps(asdict(resolve(sys.argv[1]))))  # noqa: T201 - the answer to the process that asked
    except CredentialsError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
