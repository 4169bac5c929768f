"""A hash of the code of a function: what it says, not where it lies or how it is commented.

It covers the function and, transitively, every function, class and constant of this package that it names. Names,
comments, docstrings and paths of modules do not count, so moving or documenting code recomputes nothing.
"""

import ast
import hashlib
from collections.abc import Callable, Iterator
from copy import deepcopy
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
    """A module, parsed: its definitions by name, and what its imports bind (module, or module and name in it)."""

    definitions: dict[str, ast.stmt]
    imports: dict[str, tuple[str, str]]


def code_version(function: Callable[..., Any]) -> str:
    """Return a hash of the syntax trees of a function and of all in this package that it depends on.

    A function that is no top-level definition of a source file (a notebook's, a lambda) is hashed by its own code.
    """
    source = _parse(function.__module__)
    if source is None or function.__qualname__ not in source.definitions:
        return str(Hasher.hash(function))
    return _version(function.__module__, function.__qualname__)


@cache
def _version(module: str, name: str) -> str:
    dumps = sorted(ast.dump(_Undocumented().visit(deepcopy(node))) for node in _reach(module, name).values())
    return hashlib.sha256("\n".join(dumps).encode()).hexdigest()[:16]


def _reach(module: str, name: str) -> dict[tuple[str, str], ast.stmt]:
    """Return a definition and all that it depends on in this package, by module and name."""
    found: dict[tuple[str, str], ast.stmt] = {}
    pending = [(module, name)]
    while pending:
        place = pending.pop()
        if place not in found and (node := _definition(*place)) is not None:
            found[place] = node
            pending += _references(place[0], node)
    return found


def _definition(module: str, name: str) -> ast.stmt | None:
    source = _parse(module)
    return source.definitions.get(name) if source else None


def _references(module: str, node: ast.stmt) -> Iterator[tuple[str, str]]:
    """Yield module and name of all in this package that a definition names, through re-exports."""
    source = _parse(module)
    assert source
    imports = {**source.imports, **_imports(module, node)}
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            yield from _resolve(module, part.id, imports)
        elif isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id in imports:
            base, name = imports[part.value.id]
            yield from _resolve(f"{base}.{name}", part.attr, {})


def _resolve(module: str, name: str, imports: dict[str, tuple[str, str]]) -> Iterator[tuple[str, str]]:
    while name in imports:
        module, name = imports[name]
        source = _parse(module)
        imports = source.imports if source and name not in source.definitions else {}
    if not module.startswith(_EXCLUDED) and _definition(module, name) is not None:
        yield module, name


@cache
def _parse(module: str) -> _Source | None:
    """Parse a module; None if it has no source file, or is a third party's."""
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):  # a name in a module that is no package; __main__
        return None
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    tree = ast.parse(Path(spec.origin).read_bytes())
    definitions: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            definitions[node.name] = node
        elif isinstance(node, ast.Assign):
            definitions.update({target.id: node for target in node.targets if isinstance(target, ast.Name)})
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            definitions[node.target.id] = node
    top_level = ast.Module([node for node in tree.body if isinstance(node, ast.ImportFrom)], [])
    return _Source(definitions, _imports(module, top_level))


def _imports(module: str, node: ast.AST) -> dict[str, tuple[str, str]]:
    """Return what the `from` imports inside a node bind, of this package."""
    spec = find_spec(module)
    package = spec.parent if spec else None
    found = {}
    for part in ast.walk(node):
        if isinstance(part, ast.ImportFrom):
            target = resolve_name("." * part.level + (part.module or ""), package) if part.level else part.module or ""
            if target.split(".")[0] == _PACKAGE:
                found.update({alias.asname or alias.name: (target, alias.name) for alias in part.names})
    return found


class _Undocumented(ast.NodeTransformer):
    """Leave out docstrings, attributes' ones included, and imports, whose targets count by themselves."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:  # the name that ast calls
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else node

    def visit_ImportFrom(self, _: ast.ImportFrom) -> None:  # the name that ast calls
        return None
