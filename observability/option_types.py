"""The types of options: msgspec checks a value by them, and :func:`allowed` says for people what each takes.

A name that a service refuses would be found out document by document, after the start. So it is refused at the start.
Sources: Elasticsearch "Create index" and "Data streams", CloudWatch `CreateLogGroup` and `PutMetricData`.
"""

from __future__ import annotations

import types
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from msgspec import Meta

__all__ = [
    "Address",
    "Backend",
    "Bytes",
    "Compression",
    "Days",
    "Environment",
    "FilledText",
    "Index",
    "IndexPrefix",
    "LogGroupPrefix",
    "Milliseconds",
    "Namespace",
    "Port",
    "PortOrAny",
    "PortOrOff",
    "Reference",
    "Region",
    "RetentionDays",
    "Seconds",
    "ServerMajor",
    "ServerName",
    "SignalName",
    "SinkName",
    "SqlUrl",
    "Url",
    "allowed",
    "hints_of",
]

_A_YEAR_OF_LINES = 36_500
_PEBIBYTE = 2**50

Port: TypeAlias = Annotated[int, Meta(ge=1, le=65_535)]
PortOrOff: TypeAlias = Annotated[int, Meta(ge=0, le=65_535)]
PortOrAny: TypeAlias = Annotated[int, Meta(ge=0, le=65_535)]
Milliseconds: TypeAlias = Annotated[int, Meta(ge=1, le=3_600_000)]
Seconds: TypeAlias = Annotated[float, Meta(ge=0.05, le=86_400)]
Days: TypeAlias = Annotated[int, Meta(ge=0, le=_A_YEAR_OF_LINES)]
RetentionDays: TypeAlias = Annotated[int, Meta(ge=1, le=_A_YEAR_OF_LINES)]
Bytes: TypeAlias = Annotated[int, Meta(ge=4_096, le=_PEBIBYTE)]
Backend: TypeAlias = Literal["embedded", "elasticsearch", "cloudwatch"]
SinkName: TypeAlias = Literal["embedded", "elasticsearch", "cloudwatch", "otlp"]
ServerName: TypeAlias = Literal["processes", "database", "broker"]
SignalName: TypeAlias = Literal["logs", "metrics", "traces"]
Compression: TypeAlias = Literal["gzip", "none"]
ServerMajor: TypeAlias = Literal[0, 8, 9]


def _text(pattern: str, description: str) -> Meta:
    return Meta(pattern=rf"\A(?:{pattern})\Z", description=description)


FilledText: TypeAlias = Annotated[str, _text(r"\S(?:.*\S)?", "must be a text that is not empty")]
Url: TypeAlias = Annotated[
    str, _text(r"|https?://[^\s/]\S*", "must be an address that begins with http:// or https://, or empty")
]
SqlUrl: TypeAlias = Annotated[
    str, _text(r"|[a-z][a-z0-9+._]*://\S*", "must be an SQLAlchemy URL, as in postgresql://host/database, or empty")
]
Address: TypeAlias = Annotated[
    str, _text(r"|(?:[^\s:]+|\[[0-9a-fA-F:.]+\]|[0-9a-fA-F:.]+):[0-9]{1,5}", "must be host:port, or empty")
]
Region: TypeAlias = Annotated[
    str, _text(r"[a-z0-9-]{0,63}", "must be the name of a region, as in eu-central-1, or empty")
]
Environment: TypeAlias = Annotated[
    str,
    _text(
        r"[a-z0-9][a-z0-9._-]{0,99}",
        "must be 1 to 100 lower-case letters, digits, '.', '_' or '-', and begin with a letter or digit,"
        " because it is part of the names of data streams and log groups",
    ),
]
LogGroupPrefix: TypeAlias = Annotated[
    str,
    _text(
        r"(?!aws/)[A-Za-z0-9_/.#-]{0,300}",
        "must be at most 300 letters, digits, '_', '-', '/', '.' or '#', and not begin with 'aws/',"
        " because it begins the names of log groups",
    ),
]
Namespace: TypeAlias = Annotated[
    str,
    _text(
        r"(?!AWS/|:)(?=.*[^ ])[A-Za-z0-9._/#: -]{1,255}",
        "must be 1 to 255 letters, digits, '.', '-', '_', '/', '#', ':' or blanks, and not begin with 'AWS/' or ':',"
        " because CloudWatch takes no other namespace of metrics",
    ),
]
Reference: TypeAlias = Annotated[
    str,
    _text(
        r"(?:(?:connection|variable|env):[A-Za-z0-9_.-]+)?",
        "must be connection:<id>, variable:<key> or env:<NAME>, because no option holds a secret",
    ),
]
Index: TypeAlias = Annotated[
    str,
    _text(
        r"(?:(?!\.{1,2}\Z)[a-z0-9.][a-z0-9._+-]{0,254})?",
        "must be 1 to 255 lower-case letters, digits, '.', '_', '-' or '+', and begin with a letter, digit or '.',"
        " because it is the name of an index",
    ),
]
IndexPrefix: TypeAlias = Annotated[
    str,
    _text(
        r"(?:[a-z0-9][a-z0-9._-]{0,49})?",
        "must be at most 50 lower-case letters, digits, '.', '_' or '-', and begin with a letter or digit,"
        " because it begins the names of data streams, templates and policies",
    ),
]

_PLAIN = {
    bool: "must be true or false",
    int: "must be a whole number",
    float: "must be a number",
    str: "must be a text",
    list: "must be a list of texts",
}


def hints_of(kind: type[Any]) -> dict[str, Any]:
    """The types of a section's options by name, with their bounds."""
    return get_type_hints(kind, include_extras=True)


def allowed(hint: Any) -> str:
    """The sentence that says what an option of the type ``hint`` takes: "must be a whole number from 1 to 65,535"."""
    if get_origin(hint) is Literal:
        return f"must be one of {', '.join(str(choice) for choice in get_args(hint))}"
    if get_origin(hint) is tuple:
        inner = get_args(hint)[0]
        return _PLAIN[list] if inner is str else f"{_PLAIN[list]}; each {allowed(inner)}"
    if not isinstance(hint, types.GenericAlias) and hasattr(hint, "__metadata__"):
        plain, meta = get_args(hint)[:2]
        return meta.description or f"{_PLAIN[plain]} from {meta.ge:,} to {meta.le:,}"
    return _PLAIN[hint]
