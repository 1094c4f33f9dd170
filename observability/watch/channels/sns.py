"""A topic of Amazon SNS, with the credentials of the AWS Connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from observability.watch import render
from observability.watch.channels.channel import ChannelRefused, ChannelUnavailable, reference

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from observability.watch.channels.channel import Contacts
    from observability.watch.messages import Message
    from observability.watch.route import ChannelSpec

__all__ = ["open_channel"]

_SUBJECT_MOST = 100
_REFUSED = {
    "AuthorizationError",
    "InvalidParameter",
    "NotFound",
    "InvalidClientTokenId",
    "AccessDenied",
    "KMSAccessDenied",
}


class _Sns:
    def __init__(self, name: str, topic: str, client: Any) -> None:
        self._name, self._topic, self._client = name, topic, client

    def send(self, message: Message, *, resent: bool) -> None:  # noqa: ARG002 - a FIFO topic has the key
        import botocore.exceptions

        asked: dict[str, Any] = {"TopicArn": self._topic, "Subject": _subject(message), "Message": render.text(message)}
        words = {
            "kind": message.kind,
            "severity": message.severity,
            "cause": message.cause or "none",
            "dag_id": message.dag_id or "none",
        }
        asked["MessageAttributes"] = {key: {"DataType": "String", "StringValue": value} for key, value in words.items()}
        if self._topic.endswith(".fifo"):
            asked |= {"MessageDeduplicationId": message.dedup_key, "MessageGroupId": message.incident_id or "contrail"}
        try:
            self._client.publish(**asked)
        except botocore.exceptions.ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            kind = ChannelRefused if code in _REFUSED else ChannelUnavailable
            raise kind(f"{self._name}: SNS answered {code}") from error
        except botocore.exceptions.BotoCoreError as error:
            raise ChannelUnavailable(f"{self._name}: {error}") from error

    def close(self) -> None:
        self._client.close()


def _subject(message: Message) -> str:
    """SNS takes 100 printable ASCII characters that begin with a letter, digit or punctuation."""
    words = "".join(c if 32 <= ord(c) < 127 else "?" for c in render.subject(message))  # noqa: PLR2004 - ASCII
    return words[:_SUBJECT_MOST].strip() or "Contrail"


def open_channel(name: str, spec: ChannelSpec, contacts: Contacts, _home: Path) -> _Sns:
    """The topic that ``spec`` refers to, in the region of its ARN."""
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        raise ChannelRefused(f"channel {name} needs boto3: install contrail-etl[cloudwatch]") from None
    topic = reference(str(spec.topic), contacts)
    known: dict[str, Any] = {}
    if spec.connection:
        try:
            contact = contacts.connection(spec.connection)
        except LookupError:
            raise ChannelRefused(f"there is no Airflow Connection {spec.connection}") from None
        known = {"aws_access_key_id": contact.login or None, "aws_secret_access_key": contact.password or None}
        known |= {"endpoint_url": contact.extra.get("endpoint_url")}
    config = Config(connect_timeout=spec.timeout, read_timeout=spec.timeout, retries={"total_max_attempts": 1})
    return _Sns(name, topic, boto3.client("sns", region_name=topic.split(":")[3], config=config, **known))
