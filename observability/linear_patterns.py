"""Regular expressions of people, compiled so that no text can make them slow."""

from __future__ import annotations

import re
from typing import Any

from observability.errors import SettingsError

__all__ = ["linear_pattern"]


def linear_pattern(pattern: str) -> Any:
    """A person's regular expression as RE2 matches it: in time that grows as the text does.

    Raises SettingsError where that cannot be, as with a look at what is around a match, or a reference back into it.
    """
    import re2  # only who has patterns pays for it

    try:
        re.compile(pattern)
    except re.error as error:
        raise SettingsError(f"must be regular expressions, and {pattern!r} is not one: {error}") from None
    quiet = re2.Options()
    quiet.log_errors = False
    try:
        return re2.compile(pattern, quiet)
    except re2.error as error:
        why = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise SettingsError(
            f"must be regular expressions in RE2's syntax (https://github.com/google/re2/wiki/Syntax),"
            f" and {pattern!r} cannot be matched in linear time: {why}"
        ) from None
