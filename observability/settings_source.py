"""Reads options from a TOML file and from the environment, and names everything in them that cannot be used.

A section is a frozen dataclass, each option a field. The field's type says what is allowed
(:mod:`observability.option_types`).
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeAlias, get_origin
from urllib.parse import urlsplit

import msgspec

from observability.option_types import allowed, hints_of
from observability.regular_files import read_regular

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ANOTHER_USER", "read_sections", "read_toml"]

ANOTHER_USER = "_AIRFLOW__REEXECUTED_PROCESS"
"""Airflow sets it for a task with ``run_as_user``, which may not read a file that is its owner's only."""
_YES_AND_NO = {"yes": "true", "on": "true", "no": "false", "off": "false"}
_LONGEST_SHOWN = 100
Check: TypeAlias = Callable[[str], object]


def read_toml(path: Path) -> tuple[dict[str, Any], str]:
    """The file's sections, and the sentence that says why it cannot be read; one of the two is empty."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(read_regular(path).decode()), ""
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        return {}, f"{path}: {error}"
    except RecursionError:
        return {}, f"{path}: it is nested too deeply"


def read_sections(
    known: Mapping[str, type[Any]], given: Mapping[str, Any], env: Mapping[str, str], source: str
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The chosen values by section and option, and one sentence for each fault of ``given`` and ``env``.

    ``given`` is what the file ``source`` says, and a variable of ``env`` wins over it, also where the file's value is
    at fault. Options that nobody chose are left out.
    """
    faults = [f"{source}: unknown section [{name}]{_nearest(name, known)}" for name in given if name not in known]
    chosen: dict[str, dict[str, Any]] = {}
    for name, kind in known.items():
        section = given.get(name, {})
        if not isinstance(section, dict):
            faults.append(f"{source}: [{name}] must be a section, not a value")
            section = {}
        hints = hints_of(kind)
        faults += [
            f"{source}: unknown key {key!r} in [{name}]{_nearest(key, hints)}" for key in section if key not in hints
        ]
        chosen[name] = {}
        for part in fields(kind):
            variable = f"CONTRAIL_{name}__{part.name}".upper()
            if variable in env:
                where, value = variable, _from_text(env[variable], hints[part.name])
            elif part.name in section:
                where, value = f"{source}: [{name}] {part.name}", section[part.name]
            else:
                continue
            value, fault = _checked(value, hints[part.name], part.metadata.get("check"))
            chosen[name][part.name] = value
            faults += [f"{where} {fault}"] if fault else []
    return chosen, faults + _unknown_variables(known, env)


def _from_text(text: str, hint: Any) -> Any:
    """Return the value of a variable: a list is split at commas, and yes, no, on and off stand for booleans."""
    if get_origin(hint) is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    return _YES_AND_NO.get(text.lower(), text) if hint is bool else text


def _checked(value: Any, hint: Any, check: Check | None) -> tuple[Any, str]:
    """The value as ``hint`` wants it, and the sentence that says why it cannot be."""
    if isinstance(value, str) and get_origin(hint) is tuple:
        value = _from_text(value, hint)
    try:
        found = msgspec.convert(value, hint, strict=False)
    except msgspec.ValidationError:
        return None, f"{allowed(hint)}; it is {_shown(value)}"
    if check is None:
        return found, ""
    try:
        for one in found:
            check(one)
    except ValueError as error:
        return None, str(error)
    return found, ""


def _shown(value: Any) -> str:
    """The value as a message repeats it: cut, and without the name and password of an address."""
    if isinstance(value, str) and "@" in value:
        parts = urlsplit(value)
        value = (
            f"{parts.scheme}://***@{value.rpartition('@')[2]}" if parts.scheme else f"***@{value.rpartition('@')[2]}"
        )
    shown = repr(value)
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}…"


def _unknown_variables(known: Mapping[str, type[Any]], env: Mapping[str, str]) -> list[str]:
    names = {f"CONTRAIL_{name}__{part.name}".upper() for name, kind in known.items() for part in fields(kind)}
    flat = {name.replace("__", "_"): name for name in names}
    faults = []
    for variable in env:
        if variable in names or not variable.upper().startswith("CONTRAIL_"):
            continue
        if meant := flat.get(variable.upper().replace("__", "_")):  # one underscore, or lower case
            faults.append(f"unknown variable {variable}; did you mean {meant!r}?")
        elif variable.startswith("CONTRAIL_") and "__" in variable:
            faults.append(f"unknown variable {variable}{_nearest(variable, names)}")
    return faults


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known))}"
