"""Hash the code of a function and, transitively, of all functions, classes and constants of this package it names.

Comments, docstrings, and names and paths of modules do not count: moving or documenting code recomputes nothing.
"""

import ast
import hashlib
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec, resolve_name
from pathlib import Path
from typing import Any, NamedTuple

from datasets.fingerprint import Hasher

_PACKAGE = __name__.partition(".")[0]
# Their code does not affect rows: settings count by value, replies by the journal's keys, columns by the features.
_EXCLUDED = tuple(
    f"{_PACKAGE}.{name}" for name in ("errors", "recipe", "settings", "teacher", "core.schema", "core.transform")
)


class _Source(NamedTuple):
    """A parsed module: its definitions, and the places (module, name) that imports from this package bind to a name."""

    definitions: dict[str, ast.stmt]
    imports: dict[str, set[tuple[str, str]]]


def code_version(function: Callable[..., Any]) -> str:
    """Return a hash of the syntax trees of a function and of all in this package that it depends on.

    A function that is no top-level definition of a source file (a notebook's, a lambda) is hashed by its own code.
    """
    module, name = function.__module__, function.__qualname__
    return _version(module, name) if name in _parse(module).definitions else str(Hasher.hash(function))


@cache
def _version(module: str, name: str) -> str:
    dumps = sorted(ast.dump(node) for node in _reach(module, name).values())
    return hashlib.sha256("\n".join(dumps).encode()).hexdigest()[:16]


def _reach(module: str, name: str) -> dict[tuple[str, str], ast.stmt]:
    """Return a definition and all that it depends on in this package, by module and name."""
    found: dict[tuple[str, str], ast.stmt] = {}
    pending = [(module, name)]
    while pending:
        module, name = pending.pop()
        if (module, name) not in found:
            found[module, name] = node = _parse(module).definitions[name]
            pending += _references(module, node)
    return found


def _references(module: str, node: ast.stmt) -> Iterator[tuple[str, str]]:
    """Yield the places of all definitions that a node names, directly or as an attribute of an imported module."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            yield from _resolve(module, part.id)
        elif isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name):
            for package, name in _parse(module).imports.get(part.value.id, ()):
                yield from _resolve(f"{package}.{name}", part.attr)


def _resolve(module: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield where a name is defined, through re-exports; nothing if that is excluded or outside the package."""
    source = _parse(module)
    if name not in source.definitions:
        for place in source.imports.get(name, ()):
            yield from _resolve(*place)
    elif not module.startswith(_EXCLUDED):
        yield module, name


@cache
def _parse(module: str) -> _Source:
    """Parse a module; the result is empty if it has no source file."""
    source = _Source({}, {})
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):  # a name in a module that is no package; __main__
        spec = None
    if spec is None or not (spec.origin or "").endswith(".py"):
        return source
    tree = ast.parse(Path(str(spec.origin)).read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            target = resolve_name("." * node.level + (node.module or ""), spec.parent)
            if target.partition(".")[0] == _PACKAGE:
                for alias in node.names:
                    source.imports.setdefault(alias.asname or alias.name, set()).add((target, alias.name))
    _Undocumented().visit(tree)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            source.definitions[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            source.definitions.update({target.id: node for target in targets if isinstance(target, ast.Name)})
    return source


class _Undocumented(ast.NodeTransformer):
    """Remove docstrings, those of attributes included, and imports, whose targets count by themselves."""

    def visit(self, node: ast.AST) -> ast.AST | None:
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and type(node.value.value) is str
        return None if is_text or isinstance(node, ast.ImportFrom) else self.generic_visit(node)
