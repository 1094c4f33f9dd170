"""The kinds of values in ``alerts.yaml``: durations, times of day, days, zones, globs, references."""

from __future__ import annotations

import re
from datetime import datetime, time
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

__all__ = [
    "DAYS",
    "Clock",
    "Days",
    "Duration",
    "Glob",
    "Globs",
    "Moment",
    "Reference",
    "Severity",
    "Strict",
    "Word",
    "Words",
    "Zone",
    "parse_duration",
]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_REFERENCE = re.compile(r"^(connection|variable|env):[A-Za-z0-9_.\-]+$")


_DAY_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_LONGEST_S = 3650 * 86_400.0
"""Ten years: a longer wait is a slip of the pen, and no calendar takes it."""
_ID_LONGEST = 250
_ID = re.compile(r"[\w.\-]*")


def parse_duration(value: Any) -> Any:
    """Seconds from ``90``, ``30s``, ``5m``, ``2h`` or ``1d``."""
    if isinstance(value, str) and (found := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd])\s*", value)):
        return float(found[1]) * _UNITS[found[2]]
    return value


def _reference(value: str) -> str:
    if not _REFERENCE.match(value):
        raise ValueError(
            "must be connection:<id>, variable:<key> or env:<NAME>: addresses and secrets are not written here"
        )
    return value


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"unknown time zone {value!r}; use a name such as Europe/Berlin") from None
    return value


def _clock(value: str) -> str:
    """``HH:MM``, or several with dashes between, each a time of day; the last may be 24:00."""
    parts = value.split("-") if value else []
    for part in parts[:-1] if len(parts) > 1 and parts[-1] == "24:00" else parts:
        try:
            time.fromisoformat(part)
        except ValueError:
            raise ValueError(f"{part!r} is not a time of day; write 00:00 to 23:59") from None
    return value


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _days(value: Any) -> Any:
    """Days as ``mon`` … ``sun``, from their names in any length and case, and from ranges such as ``mon-fri``."""
    if not isinstance(value, (str, list)):
        raise ValueError(f"{value!r} is not a list of days; write {', '.join(DAYS)}")  # noqa: TRY004 - pydantic wants it
    found: list[str] = []
    for word in _as_list(value):
        first, dash, last = str(word).partition("-")
        begin, end = _day(first, word), _day(last, word) if dash else _day(first, word)
        found += [DAYS[number % 7] for number in range(begin, end + 1 if end >= begin else end + 8)]
    return list(dict.fromkeys(found))


def _day(word: str, written: Any) -> int:
    asked = word.strip().lower().rstrip(".")
    for number, (short, name) in enumerate(zip(DAYS, _DAY_NAMES, strict=True)):
        if asked in {short, f"{short}s", name, f"{name}s"} or (asked.startswith(short) and name.startswith(asked)):
            return number
    raise ValueError(f"{written!r} is none of {', '.join(DAYS)}, nor a range of them such as mon-fri")


def _glob(pattern: str, info: ValidationInfo) -> str:
    what = "task id" if info.field_name == "task" else "DAG id"
    if said := _glob_mistake(pattern, what):
        raise ValueError(said)
    return pattern


def _glob_mistake(pattern: str, what: str) -> str:
    """The reason why no id can match a glob; empty: some can. An id has letters, digits, ``_``, ``-`` and ``.``."""
    literal = re.sub(r"\[!?\]?[^\]]*\]", "_", pattern).replace("*", "").replace("?", "_")
    wrong = " ".join(sorted(set(_ID.sub("", literal))))
    if not pattern.strip():
        return f"an empty glob matches no {what}; write * for every one"
    if pattern in {".*", ".+"}:
        return f"{pattern!r} is a regular expression; as a glob, * matches every {what}"
    if len(literal) > _ID_LONGEST:
        return f"no {what} has more than {_ID_LONGEST} characters"
    if not wrong:
        return ""
    hint = f"there is no {wrong!r} in one (globs know *, ? and [abc])"
    if pattern.startswith("!"):
        hint = "a glob cannot exclude; put a route for what is excluded before this one"
    elif "," in pattern:
        hint = f"write several as a list: [{', '.join(part.strip() for part in pattern.split(','))}]"
    return f"{pattern!r} matches no {what}: {hint}"


def _word(value: str) -> str:
    if not value.strip():
        raise ValueError("an empty word matches nothing; leave the key out")
    return value


def _moment(value: Any) -> Any:
    if isinstance(value, (int, float)):
        raise ValueError("write a moment such as 2026-01-31T22:00 (or 2026-01-31T22:00+01:00)")  # noqa: TRY004 - pydantic wants ValueError
    return value


Duration = Annotated[
    float,
    BeforeValidator(parse_duration, json_schema_input_type=float | str),
    Field(ge=0, le=_LONGEST_S, allow_inf_nan=False),
]
Reference = Annotated[str, BeforeValidator(_reference)]
Zone = Annotated[str, BeforeValidator(_zone)]
Clock = Annotated[str, AfterValidator(_clock)]
Word = Annotated[str, AfterValidator(_word)]
Glob = Annotated[str, AfterValidator(_glob)]
Words = Annotated[list[Word], BeforeValidator(_as_list, json_schema_input_type=str | list[str])]
Globs = Annotated[list[Glob], BeforeValidator(_as_list, json_schema_input_type=str | list[str])]
Days = Annotated[list[str], BeforeValidator(_days, json_schema_input_type=str | list[str])]
Moment = Annotated[datetime, BeforeValidator(_moment, json_schema_input_type=str)]
Severity = Literal["info", "warning", "error", "critical"]


class Strict(BaseModel):
    """A mapping of the rules: no key beside those that are declared, and no change after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
