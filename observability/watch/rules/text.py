"""The text of ``alerts.yaml`` as values, and the line and key of each of them.

The YAML is read as version 1.2 reads it: ``10:00`` and ``yes`` are text. A number or a date that nobody can read stays
text as well, so that whoever checks the value can name its line and key.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from observability.errors import RulesError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RulesError", "RulesText"]

_DEEPEST = 32
"""Levels of nesting that are read; the rules need eight."""
_WHOLE = re.compile(r"[-+]?[0-9]+$")
_BOOL, _INT, _FLOAT, _MOMENT = (f"tag:yaml.org,2002:{name}" for name in ("bool", "int", "float", "timestamp"))


class _Loader(yaml.SafeLoader):
    """YAML's plain values, without those that only look like numbers, dates or switches."""


_NO_CHARACTER = re.compile(r"\\U(?!000[0-9A-Fa-f]|0010)[0-9A-Fa-f]{8}")


def _or_text(construct: Callable[[_Loader, Any], Any]) -> Callable[[_Loader, Any], Any]:
    """The constructor of a plain value, which answers its text where there is no such number, day or switch."""

    def value_or_text(loader: _Loader, node: Any) -> Any:
        try:
            return construct(loader, node)
        except (ValueError, OverflowError, KeyError, AttributeError, IndexError):  # what SafeLoader raises for them
            return loader.construct_scalar(node)

    return value_or_text


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, _WHOLE if tag == _INT else pattern)
        for tag, pattern in resolvers
        if tag != _BOOL or first in set("tTfF")  # `no` and `on` are names
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_constructor(_INT, _or_text(lambda loader, node: int(loader.construct_scalar(node))))
_Loader.add_constructor(_FLOAT, _or_text(_Loader.construct_yaml_float))
_Loader.add_constructor(_BOOL, _or_text(_Loader.construct_yaml_bool))
_Loader.add_constructor(_MOMENT, _or_text(_Loader.construct_yaml_timestamp))


class RulesText:
    """A file's text with the places of its keys. Raises :class:`RulesError` where it is not YAML, or not a mapping."""

    def __init__(self, text: str | bytes, source: str) -> None:
        self._source = source
        self.values: dict[str, Any] = {}
        text = self._decoded(text) if isinstance(text, bytes) else text
        try:
            self._refuse_depth(text)
            self._tree: Any = yaml.compose(text, Loader=_Loader)
            self._refuse_doubles(self._tree, (), set())
            values = _Loader(text).get_single_data()
        except yaml.YAMLError as error:
            raise self._not_yaml(error) from error
        except (OverflowError, ValueError) as error:  # PyYAML makes a character of whatever number stands there
            raise self._no_character(text) from error
        if not isinstance(values, dict):
            raise RulesError(f"{source}:1: the file must be a mapping with channels, receivers and routes")
        self.values = values

    def mistake(self, path: tuple[str | int, ...], said: str) -> str:
        """One line about the value at ``path``: file, line, key and what is wrong."""
        line, key = self._line_of(path)
        return f"{self._source}:{line}: {key or 'the file'}: {said}"

    def _decoded(self, raw: bytes) -> str:
        try:
            return raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = raw[: error.start].count(b"\n") + 1
            raise RulesError(f"{self._source}:{line}: the file must be UTF-8; byte {error.start} is not") from error

    def _not_yaml(self, error: yaml.YAMLError) -> RulesError:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        return RulesError(f"{self._source}{line}: {getattr(error, 'problem', None) or error}")

    def _no_character(self, text: str) -> RulesError:
        found = _NO_CHARACTER.search(text)
        line = f":{text.count(chr(10), 0, found.start()) + 1}" if found else ""
        return RulesError(f"{self._source}{line}: {found[0] if found else 'an escape'} is not a character")

    def _refuse_depth(self, text: str) -> None:
        """Look at the text without recursion first: what builds the values has one, and Python's stack an end."""
        depth, key = 0, ""
        for event in yaml.parse(text, Loader=_Loader):
            if isinstance(event, yaml.ScalarEvent) and depth == 1 and _at(event).column == 0:
                key = event.value
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:
                line = _at(event).line + 1
                said = f"nested more than {_DEEPEST} levels deep; look for a bracket that is not closed"
                raise RulesError(f"{self._source}:{line}: {key or 'the file'}: {said}")

    def _refuse_doubles(self, node: Any, path: tuple[str | int, ...], looked_at: set[int]) -> None:
        """A key that stands twice in a mapping: the first one would say nothing."""
        if id(node) in looked_at:  # an alias may stand for what it is a part of
            return
        looked_at.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            for number, one in enumerate(node.value):
                self._refuse_doubles(one, (*path, number), looked_at)
        if not isinstance(node, yaml.MappingNode):
            return
        seen: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in seen:
                where = ".".join(str(part) for part in (*path, name))
                raise RulesError(f"{self._source}:{line}: {where}: stands in line {seen[name]} already")
            seen[name] = line
            self._refuse_doubles(value, (*path, name), looked_at)

    def _line_of(self, path: tuple[str | int, ...]) -> tuple[int, str]:
        node, words = self._tree, []
        line = node.start_mark.line + 1
        for part in path:
            words.append(str(part))
            if isinstance(node, yaml.MappingNode):
                found = next(((k, v) for k, v in node.value if k.value == str(part)), None)
                if found is None:
                    break
                line, node = found[0].start_mark.line + 1, found[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line + 1
        return line, ".".join(words)


def _at(event: Any) -> Any:
    return event.start_mark
