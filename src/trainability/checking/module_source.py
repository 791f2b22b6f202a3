"""What a module of the user's says of itself before it is imported, which would run all of it. No torch."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BY_NAME = ("globals", "vars", "locals", "setattr", "exec", "eval", "__getattr__", "__dict__", "modules")
"""A module that mentions one of these may get names that its source does not show."""


@dataclass(frozen=True, kw_only=True)
class ModuleSource:
    """A module's source.

    Attributes:
        run: the command that watches the module as a script.
        functions: functions and classes that it defines.
        names: all that it gives a value.
        may_have_others: names that its source does not show.
        works: whether it calls its own functions, or loops, as it is imported.
        is_guarded: whether something in it runs as a script only.
    """

    run: str
    functions: tuple[str, ...]
    names: frozenset[str]
    may_have_others: bool
    works: bool
    is_guarded: bool

    @property
    def advice(self) -> str:
        """What to do with a script, as the end of a message: "; trainability run train.py watches the script as it is"."""
        if not (self.works or self.is_guarded):
            return ""
        loop = "importing it runs it: code that trains belongs behind if __name__ == '__main__':, or " if self.works else ""
        return f"; {loop}{self.run} watches the script as it is"


def module_source(name: str) -> ModuleSource | None:
    """Read a module, importing at most the packages that it is in.

    Args:
        name: dotted, as in an import.

    Returns:
        None where the module is imported already, is not found, or is not Python that can be read: an import says why.
    """
    if name in sys.modules:
        return None
    try:
        spec = importlib.util.find_spec(name)
    except (Exception, SystemExit):  # of a package that it is in
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    path = Path(spec.origin)
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    outside = list(_outside_functions(tree))
    functions = tuple(node.name for node in outside if isinstance(node, _DEFINES))
    everywhere = list(ast.walk(tree))
    return ModuleSource(
        run=f"trainability run {path.name}" if path.parent == Path.cwd() else f"trainability run -m {name}",
        functions=functions,
        names=frozenset(functions).union(*map(_given, outside), *(n.names for n in everywhere if isinstance(n, ast.Global))),
        may_have_others=any(_is_by_name(node) for node in everywhere),
        works=any(_works(statement, functions) for statement in tree.body),
        is_guarded=any(map(_is_guard, tree.body)),
    )


_DEFINES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """What stands below a node and is not within a function or a class."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, (*_DEFINES, ast.Lambda)):
            yield from _outside_functions(child)


def _given(node: ast.AST) -> set[str]:
    """Names that an import or an assignment gives a value."""
    if isinstance(node, ast.alias):
        return {node.asname or node.name.partition(".")[0]}
    return {node.id} if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else set()


def _is_by_name(node: ast.AST) -> bool:
    name = {ast.alias: "name", ast.Name: "id", ast.Attribute: "attr", ast.FunctionDef: "name"}.get(type(node))
    return name is not None and getattr(node, name) in ("*", *_BY_NAME)


def _is_guard(statement: ast.stmt) -> bool:
    """`if __name__ == "__main__":`."""
    tested = ast.walk(statement.test) if isinstance(statement, ast.If) else ()
    return any(isinstance(node, ast.Name) and node.id == "__name__" for node in tested)


def _works(statement: ast.stmt, functions: tuple[str, ...]) -> bool:
    if _is_guard(statement) or isinstance(statement, _DEFINES):
        return False
    for node in [statement, *_outside_functions(statement)]:
        is_own_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in functions
        if isinstance(node, ast.While | ast.For) or (is_own_call and isinstance(statement, ast.Expr)):
            return True
    return False
