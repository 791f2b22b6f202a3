"""What a node of autograd's graph stores about its call, also after `backward`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

# Nodes that hand values on as they are.
SAME_VALUES = (
    "View",
    "UnsafeView",
    "Squeeze",
    "Unsqueeze",
    "Reshape",
    "Transpose",
    "Permute",
    "T",
    "Clone",
    "Select",
    "Slice",
    "ToCopy",
    "Index",
    "Alias",
)


def name_of(node: Any) -> str:
    """The class of a node, without its number: "AddBackward"."""
    return type(node).__name__.rstrip("0123456789")


def call_of(node: Any) -> str:
    """The function of a node: "Add"."""
    return name_of(node).removesuffix("Backward")


def parents_of(node: Any) -> list[Any]:
    """The nodes of the call's inputs."""
    return [each for each, _ in node.next_functions if each is not None]


def shape_at(node: Any, place: int = 0) -> tuple[int, ...]:
    """Shape of a node's output, or of the output at an index; () if it is not stored."""
    metadata = getattr(node, "_input_metadata", None)
    return tuple(metadata[place].shape) if metadata and place < len(metadata) else ()


def given_shape(node: Any) -> tuple[int, ...]:
    """Input shape of a view or a sum; () if it is not stored."""
    return tuple(getattr(node, "_saved_self_sym_sizes", None) or ())


def wrapped(dim: int, dims: int) -> int:
    """A dimension as a node keeps it, unsigned, counted from the first of so many."""
    dim = dim - 2**64 if dim >= 2**63 else dim
    return dim % dims if dims else 0


def within(roots: Sequence[Any], calls: tuple[str, ...] | None, most: int) -> Iterator[Any]:
    """Nodes from the roots on, continuing only behind nodes of `calls` (None: any); at most `most`."""
    seen = {id(root): root for root in roots}  # kept, because an id is unique only while its node lives
    todo = list(roots)
    while todo and len(seen) < most:
        node = todo.pop()
        yield node
        if calls is not None and call_of(node) not in calls:
            continue
        new = {id(each): each for each in parents_of(node) if id(each) not in seen}
        seen |= new
        todo.extend(new.values())
