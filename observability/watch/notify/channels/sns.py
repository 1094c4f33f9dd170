"""A topic of Amazon SNS, with the credentials of the AWS Connection: keys, a session token, or an assumed role."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from observability.credentials import CredentialsError
from observability.watch.notify import render
from observability.watch.notify.channels.channel import ChannelError, ChannelRefused, ChannelUnavailable, reference
from observability.watch.notify.channels.webhook import is_certificate, refusal
from observability.watch.notify.size_limits import fitted, shorten, utf8_bytes

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from observability.watch.notify.channels.channel import Contacts
    from observability.watch.notify.message import Message
    from observability.watch.rules.config import ChannelSpec

__all__ = ["open_channel"]

_SUBJECT_MOST = 99
"""AWS: less than 100 characters."""
_KEY = re.compile(r"[!-~]{1,128}")
_BYTES_MOST = 256_000
"""Of 262,144 that SNS takes; the attributes count as well."""
_ARN_COLONS = 5
_PASSING = re.compile(
    "throttl|toomany|(limit|throughput)exceeded|timeout|slowdown|priorrequest|inprogress", re.IGNORECASE
)
"""The codes of AWS that speak of the moment and not of the request; they come with status 400 as well."""


class _Sns:
    def __init__(self, name: str, topic: str, client: Any) -> None:
        self._name, self._topic, self._client = name, topic, client

    def send(self, message: Message, *, resent: bool) -> None:  # noqa: ARG002 - a FIFO topic has the key
        import botocore.exceptions

        from observability.store.aws import AwsUnanswered, ask

        asked: dict[str, Any] = {"TopicArn": self._topic, "Subject": _subject(message)}
        asked["Message"] = fitted(message, render.text, _BYTES_MOST, utf8_bytes)
        words = {
            "kind": message.kind,
            "severity": message.severity,
            "cause": message.cause or "none",
            "dag_id": shorten(message.dag_id or "none", 250),
        }
        asked["MessageAttributes"] = {key: {"DataType": "String", "StringValue": value} for key, value in words.items()}
        if self._topic.endswith(".fifo"):
            group = message.incident_id or "contrail"
            asked |= {"MessageDeduplicationId": _key(message.dedup_key), "MessageGroupId": _key(group)}
        try:
            ask(self._client, "publish", **asked)
        except botocore.exceptions.ClientError as error:
            raise _refusal(self._name, error.response) from error
        except AwsUnanswered as error:
            never = is_certificate(error) or isinstance(error.__cause__, botocore.exceptions.ParamValidationError)
            raise (ChannelRefused if never else ChannelUnavailable)(f"{self._name}: {error}") from error

    def close(self) -> None:
        self._client.close()


def _refusal(name: str, answer: Any) -> ChannelError:
    """The consequence of an error that AWS names: its status decides, as for every service, unless it is throttled."""
    code = str(answer.get("Error", {}).get("Code", ""))
    if _PASSING.search(code):
        return ChannelUnavailable(f"{name}: SNS answered {code}")
    return refusal(f"{name}: SNS", int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode") or 500), code)


def _subject(message: Message) -> str:
    """SNS takes 99 printable ASCII characters that begin with a letter, digit or punctuation."""
    words = "".join(c if 32 <= ord(c) < 127 else "?" for c in render.subject(message))  # noqa: PLR2004 - ASCII
    return words[:_SUBJECT_MOST].strip() or "Contrail"


def _key(key: str) -> str:
    """The key, or its checksum: SNS takes 128 letters, digits and signs, and no blank."""
    return key if _KEY.fullmatch(key) else hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


def open_channel(name: str, spec: ChannelSpec, contacts: Contacts, _home: Path) -> _Sns:
    """The topic that ``spec`` refers to, in the region of its ARN, with keys or a role as the Connection says."""
    try:
        from botocore.config import Config

        from observability.store.aws import aws_client
    except ImportError:
        raise ChannelRefused(f"channel {name} needs the Amazon provider: install contrail-etl[cloudwatch]") from None
    topic = reference(str(spec.topic), contacts)
    if not topic.startswith("arn:") or topic.count(":") != _ARN_COLONS:
        raise ChannelRefused(
            f"{spec.topic} holds no ARN of a topic, such as arn:aws:sns:eu-central-1:123456789012:alerts"
        )
    config = Config(connect_timeout=spec.timeout, read_timeout=spec.timeout, retries={"total_max_attempts": 1})
    try:
        client = aws_client("sns", spec.connection or "", config, region=topic.split(":")[3])
    except CredentialsError as error:
        raise ChannelUnavailable(f"{name}: {error}") from error
    return _Sns(name, topic, client)
