"""The old names of options, which files and variables of earlier versions still use; :func:`with_new_names` reads them.

``contrail config show`` says which of them are in use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["old_names_in_use", "old_variables", "with_new_names"]

_SECTIONS = {"contrail": "core"}
_OPTIONS = {
    ("journal", "keep_days"): "retention_days",
    ("relay", "catch_up_s"): "flush_timeout_s",
    ("relay", "history_days"): "ignore_older_days",
    ("watch", "routes"): "rules_file",
}
"""An option by its section, which is itself the new one, and its old name."""


def with_new_names(given: Mapping[str, Any], env: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """A file's sections and the variables, each under its new name; where both names stand, the new one counts."""
    file: dict[str, Any] = {}
    for section, options in sorted(given.items(), key=lambda item: item[0] not in _SECTIONS):  # old sections first
        name = _SECTIONS.get(section, section)
        if not isinstance(options, dict):
            file[name] = options
            continue
        old_first = sorted(options.items(), key=lambda item: (name, item[0]) not in _OPTIONS)
        kept = file.get(name, {})
        file[name] = {
            **(kept if isinstance(kept, dict) else {}),
            **{_OPTIONS.get((name, key), key): value for key, value in old_first},
        }
    new = dict(env)
    for old, name in _variables(env):
        new.pop(old)
        new.setdefault(name, env[old])
    return file, new


def old_names_in_use(given: Mapping[str, Any], env: Mapping[str, str]) -> list[str]:
    """A sentence for each old name in a file's sections and the variables."""
    said = [f"[{old}] is called [{new}] now" for old, new in _SECTIONS.items() if old in given]
    for section, options in given.items():
        name = _SECTIONS.get(section, section)
        keys = options if isinstance(options, dict) else ()
        said += [f"[{name}] {key} is called {_OPTIONS[name, key]} now" for key in keys if (name, key) in _OPTIONS]
    return [*said, *(f"{old} is called {new} now" for old, new in _variables(env))]


def old_variables(variable: str) -> list[str]:
    """The old names of a variable."""
    section, _, key = variable.removeprefix("CONTRAIL_").lower().partition("__")
    keys = [key, *(old for (of, old), new in _OPTIONS.items() if (of, new) == (section, key))]
    within = [section, *(old for old, new in _SECTIONS.items() if new == section)]
    found = [f"CONTRAIL_{one}__{name}".upper() for one in within for name in keys]
    return [name for name in found if name != variable]


def _variables(env: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The variables with an old name, and the new name of each."""
    for variable in env:
        prefix, _, key = variable.partition("__")
        if not prefix.startswith("CONTRAIL_") or not key:
            continue
        old = prefix.removeprefix("CONTRAIL_").lower()
        section = _SECTIONS.get(old, old)
        new = f"CONTRAIL_{section}__{_OPTIONS.get((section, key.lower()), key)}".upper()
        if new != variable.upper():
            yield variable, new
