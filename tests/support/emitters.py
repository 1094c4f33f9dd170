"""The kinds of events and the metrics that a body of code really sends, read from its syntax.

A kind counts where an event of it reaches ``emit``, its ``_record``, ``observed`` or the ledger's ``pending.add``:
made in the call, held in a variable, returned by a function, or handed to one that emits it. A table of labels, a rule
or a page that only names a kind does not count.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import get_args

from observability.catalog import MetricType
from observability.events import by_action

KINDS = {kind.__name__: action for action, kind in by_action().items()}
_TYPES = set(get_args(MetricType))
_SINKS = {"emit", "observed", "_record"}
"""``_record`` is what ``emit`` does: it reports by it what was lost."""


@dataclass
class _Function:
    """A function: what it is made of, and as far as it is known which kinds it returns and what it emits.

    A parameter whose value is returned or emitted stands among the kinds as ``=name``.
    """

    module: str
    parameters: list[str]
    assigned: list[tuple[list[str], ast.expr]] = field(default_factory=list)
    returned: list[ast.expr] = field(default_factory=list)
    calls: list[ast.Call] = field(default_factory=list)
    returns: set[str] = field(default_factory=set)
    emits: set[str] = field(default_factory=set)


class Emitters:
    """The kinds that modules emit. ``sources`` is their text by their path, such as ``observability/emit.py``."""

    def __init__(self, sources):
        self._trees = {path: ast.parse(text) for path, text in sources.items()}
        self._given = self._given_emit()
        self._functions = {
            (path, node.name): _read(node, path)
            for path, tree in self._trees.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef)
        }
        self._imported = {path: dict(_imports(tree)) for path, tree in self._trees.items()}
        self._parts = {path: dict(_parts(tree)) for path, tree in self._trees.items()}
        learns = True
        while learns:
            learns = sum(self._look_at(one) for one in self._functions.values()) > 0

    def actions(self):
        """``event.action`` of each kind that is emitted somewhere."""
        found = set().union(*(one.emits for one in self._functions.values()))
        return {KINDS[name] for name in found if name in KINDS}

    def _given_emit(self):
        """Attributes that hold ``emit``: it is a parameter's default, or given for one, and the parameter is kept."""
        nodes = [node for tree in self._trees.values() for node in ast.walk(tree)]
        names = {node.arg for node in nodes if isinstance(node, ast.keyword) and _name(node.value) == "emit"}
        for arguments in (node for node in nodes if isinstance(node, ast.arguments)):
            last = [*arguments.args[len(arguments.args) - len(arguments.defaults) :], *arguments.kwonlyargs]
            defaults = [*arguments.defaults, *arguments.kw_defaults]
            names |= {one.arg for one, default in zip(last, defaults, strict=True) if _name(default) == "emit"}
        kept = set()
        for node in (node for node in nodes if isinstance(node, ast.Assign)):
            targets, values = (getattr(side, "elts", [side]) for side in (node.targets[0], node.value))
            pairs = zip(targets, values, strict=False)
            kept |= {one.attr for one, value in pairs if isinstance(one, ast.Attribute) and _name(value) in names}
        return kept

    def _look_at(self, function):
        """Follow the kinds through a function; True where something is new."""
        before = len(function.returns), len(function.emits)
        held = {name: {f"={name}"} for name in function.parameters}
        for names, value in function.assigned * 2:  # in a loop, a variable is made of one that is made below it
            for name in names:
                held[name] = held.get(name, set()) | self._kinds(value, held, function)
        for value in function.returned:
            function.returns |= self._kinds(value, held, function)
        for call in function.calls:
            for given in self._emitted(call, function):
                function.emits |= self._kinds(given, held, function)
        return before != (len(function.returns), len(function.emits))

    def _emitted(self, call, function):
        """Those arguments of a call that are emitted by it."""
        everything = [*call.args, *(word.value for word in call.keywords)]
        kept = isinstance(call.func, ast.Attribute) and call.func.attr in self._given
        if kept or _name(call.func) in _SINKS or ast.unparse(call.func) in {"pending.add", "pending_events.add"}:
            return everything
        called = self._resolved(call, function)
        return [value for name, value in _bound(call, called) if f"={name}" in called.emits] if called else []

    def _resolved(self, call, function):
        """The function of ours that a call calls: of its module, an imported one, a method beside it or of a part."""
        name, imported = _name(call.func), self._imported[function.module]
        if isinstance(call.func, ast.Name):
            return self._functions.get(imported.get(name, (function.module, name, ""))[:2])
        if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
            owner = call.func.value.id
            module = function.module if owner in {"self", "cls"} else _path(imported.get(owner, ("", "", ""))[2])
            return self._functions.get((module, name))
        if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Attribute):
            kind = self._parts[function.module].get(call.func.value.attr, "")
            return self._functions.get((imported.get(kind, (function.module, "", ""))[0], name))
        return None

    def _kinds(self, node, held, function):
        """The kinds that an expression is, holds or is made of."""
        if isinstance(node, ast.Name):
            return {node.id} if node.id in KINDS else held.get(node.id, set())
        if isinstance(node, ast.Compare):
            return set()
        found = set()
        if isinstance(node, ast.Call) and (called := self._resolved(node, function)):
            given = dict(_bound(node, called))
            for kind in called.returns:
                value = given.get(kind[1:]) if kind.startswith("=") else None
                found |= self._kinds(value, held, function) if value is not None else {kind} - {f"={kind[1:]}"}
            return found
        for child in ast.iter_child_nodes(node):
            found |= self._kinds(child, held, function)
        return found


def metrics_sent(sources):
    """Names of the metrics that are sent by a call of ``metrics``, or as a (name, type, …) of the relay's own."""
    for text in sources.values():
        for node in ast.walk(ast.parse(text)):
            first = None
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("metrics."):
                first = node.args[0] if node.args else None
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "Sample":
                first = node.args[0]
            elif isinstance(node, ast.Tuple) and len(node.elts) > 1 and getattr(node.elts[1], "value", "") in _TYPES:
                first = node.elts[0]
            if isinstance(first, ast.Constant):
                yield first.value


def _read(node, module):
    arguments = node.args
    parameters = [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    found = _Function(module, parameters)
    for part in ast.walk(node):
        if isinstance(part, (ast.Assign, ast.AnnAssign, ast.NamedExpr)) and part.value is not None:
            targets = part.targets if isinstance(part, ast.Assign) else [part.target]
            names = [one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)]
            found.assigned.append((names, part.value))
        elif isinstance(part, (ast.For, ast.comprehension)):
            found.assigned.append(([one.id for one in ast.walk(part.target) if isinstance(one, ast.Name)], part.iter))
        elif isinstance(part, (ast.Return, ast.Yield)) and part.value is not None:
            found.returned.append(part.value)
        elif isinstance(part, ast.Call):
            found.calls.append(part)
    return found


def _bound(call, called):
    """(parameter, argument) of a call."""
    names = called.parameters[1:] if called.parameters[:1] in (["self"], ["cls"]) else called.parameters
    yield from zip(names, call.args, strict=False)
    yield from ((word.arg, word.value) for word in call.keywords)


def _imports(tree):
    """(name, (path of its module, its name there, the module that it would be itself)) of what is imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for one in node.names:
                yield one.asname or one.name, (_path(node.module), one.name, f"{node.module}.{one.name}")


def _parts(tree):
    """(attribute, class) of what an ``__init__`` keeps of its parameters as they are."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            kinds = {one.arg: _name(one.annotation) for one in node.args.args if one.annotation is not None}
            for part in (part for part in ast.walk(node) if isinstance(part, ast.Assign)):
                targets, values = (getattr(side, "elts", [side]) for side in (part.targets[0], part.value))
                for one, value in zip(targets, values, strict=False):
                    if isinstance(one, ast.Attribute) and kinds.get(_name(value)):
                        yield one.attr, kinds[_name(value)]


def _path(module):
    return f"{module.replace('.', '/')}.py"


def _name(node):
    return getattr(node, "id", None) or getattr(node, "attr", "")
