"""AWS's own authority: a client that may call only what a policy of ours allows."""

from __future__ import annotations

import fnmatch
import json

from observability.store.aws import iam_policy

__all__ = ["DeniedError", "guarded"]


class DeniedError(AssertionError):
    """A call that the policy does not allow, where AWS would answer AccessDenied."""


def guarded(client, settings, who, *, without=""):
    """``client``, with the rights of the statement ``who`` of our policy, less the action ``without``."""
    [statement] = [one for one in iam_policy(settings)["Statement"] if one["Sid"] == who]
    actions = {action for action in statement["Action"] if action != f"logs:{without}"}

    def check(model, params, **_):
        asked = json.loads(params["body"])
        parts = [
            f"arn:${{Partition}}:logs:${{Region}}:${{AccountId}}:log-group:{asked['logGroupName']}",
            f"log-stream:{asked.get('logStreamName', '')}",
        ]
        if f"logs:{model.name}" not in actions:
            raise DeniedError(f"{who} may not call {model.name}")
        if not any(_covers(resource, ":".join(parts)) for resource in statement["Resource"]):
            raise DeniedError(f"{who} may not call {model.name} on {parts}")

    client.meta.events.register_last("before-call.cloudwatch-logs", check)
    return client


def _covers(pattern, resource):
    literal = pattern.replace("[", "[[]").replace("${", "$[{]")
    return fnmatch.fnmatchcase(resource, literal)
