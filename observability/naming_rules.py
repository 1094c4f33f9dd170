"""Rules for values that become part of a name in somebody else's service, each with its sentence.

A name that a service refuses would be found out document by document, after the start. So it is refused at the start.
Sources: Elasticsearch "Create index" and "Data streams", CloudWatch `CreateLogGroup` and `PutMetricData`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["ENVIRONMENT", "INDEX", "INDEX_PREFIX", "LOG_GROUP_PREFIX", "NAMESPACE", "Rule", "one_of"]


class Rule(NamedTuple):
    """A pattern that a value must match, whole, and the sentence that says so."""

    pattern: re.Pattern[str]
    sentence: str

    def broken_by(self, value: str) -> str:
        """The sentence where ``value`` breaks the rule, else ''."""
        return "" if self.pattern.fullmatch(value) else self.sentence


ENVIRONMENT = Rule(
    re.compile(r"[a-z0-9][a-z0-9._-]{0,99}"),
    "must be 1 to 100 lower-case letters, digits, '.', '_' or '-', and begin with a letter or digit,"
    " because it is part of the names of data streams and log groups",
)
LOG_GROUP_PREFIX = Rule(
    re.compile(r"(?!aws/)[A-Za-z0-9_/.#-]{0,300}"),
    "must be at most 300 letters, digits, '_', '-', '/', '.' or '#', and not begin with 'aws/',"
    " because it begins the names of log groups",
)
NAMESPACE = Rule(
    re.compile(r"(?!AWS/|:)(?=.*[^ ])[A-Za-z0-9._/#: -]{1,255}"),
    "must be 1 to 255 letters, digits, '.', '-', '_', '/', '#', ':' or blanks, and not begin with 'AWS/' or ':',"
    " because CloudWatch takes no other namespace of metrics",
)
INDEX = Rule(
    re.compile(r"(?:(?!\.{1,2}$)[a-z0-9.][a-z0-9._+-]{0,254})?"),
    "must be 1 to 255 lower-case letters, digits, '.', '_', '-' or '+', and begin with a letter, digit or '.',"
    " because it is the name of an index",
)

INDEX_PREFIX = Rule(
    re.compile(r"(?:[a-z0-9][a-z0-9._-]{0,49})?"),
    "must be at most 50 lower-case letters, digits, '.', '_' or '-', and begin with a letter or digit,"
    " because it begins the names of data streams, templates and policies",
)


def one_of(*words: str) -> Rule:
    """The rule of a value that is one of some words."""
    return Rule(re.compile("|".join(map(re.escape, words))), f"must be one of {', '.join(words)}")
