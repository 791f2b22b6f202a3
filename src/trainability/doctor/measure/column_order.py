"""Whether a loss takes the columns of an output in their order, or gives them names and places of its own, by its source."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterable
from typing import Any

_MOVES = frozenset({"flip", "fliplr", "flipud", "reversed", "roll", "sort", "sorted", "argsort", "index_select", "gather"})
_SIZES = ("shape", "size")


def keeps_columns(functions: Iterable[Any], count: int) -> bool:
    """Read whether no column of a tensor gets a name or another place.

    Args:
        functions: of the program, as are part of its loss.
        count: of the columns.

    Returns:
        False where one of them takes a column by a number (`out[:, 0]`), unpacks so many values of a call or attribute
        (`high, low = out.unbind(1)`) or moves columns (`flip`, `reversed`, `[::-1]`), and where there is no source to read.
    """
    trees = [_tree(function) for function in functions]
    if not trees:
        return False
    return all(tree is not None and not any(_names_or_moves(node, count) for node in ast.walk(tree)) for tree in trees)


def _tree(function: Any) -> ast.AST | None:
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):  # typed into a session, or one of several lambdas of a line
        return None


def _names_or_moves(node: ast.AST, count: int) -> bool:
    if isinstance(node, ast.Call):
        called = node.func
        return (called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")) in _MOVES
    if isinstance(node, ast.Assign):
        return any(_unpacks(target, node.value, count) for target in node.targets)
    if isinstance(node, ast.Slice):
        return node.step is not None and _is_negative(node.step)
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple):
        return any(_is_place(each) for each in node.slice.elts[1:])
    return False


def _unpacks(target: ast.AST, value: ast.AST, count: int) -> bool:
    """Whether so many names are given to parts of what a call, an attribute or an index returns; a batch is a name alone."""
    if not isinstance(target, ast.Tuple | ast.List) or len(target.elts) != count:
        return False
    called = value.func if isinstance(value, ast.Call) else value
    return isinstance(value, ast.Call | ast.Attribute | ast.Subscript) and getattr(called, "attr", "") not in _SIZES


def _is_place(index: ast.AST) -> bool:
    """Whether an index is a whole number, or is counted from the end."""
    return _is_negative(index) or isinstance(index, ast.BinOp) or (isinstance(index, ast.Constant) and type(index.value) is int)


def _is_negative(index: ast.AST) -> bool:
    return isinstance(index, ast.UnaryOp) and isinstance(index.op, ast.USub)
