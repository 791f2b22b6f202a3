"""What a node of autograd's graph remembers of the call that made it; it does so after `backward`, too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any


def name_of(node: Any) -> str:
    """The class of a node, without its number: "AddBackward"."""
    return type(node).__name__.rstrip("0123456789")


def call_of(node: Any) -> str:
    """The function that made a node: "Add"."""
    return name_of(node).removesuffix("Backward")


def parents_of(node: Any) -> list[Any]:
    """The nodes that made what the call was given."""
    return [each for each, _ in node.next_functions if each is not None]


def shape_at(node: Any, place: int = 0) -> tuple[int, ...]:
    """Shape of what a node made, of several at a place; () where it does not remember."""
    metadata = getattr(node, "_input_metadata", None)
    return tuple(metadata[place].shape) if metadata and place < len(metadata) else ()


def given_shape(node: Any) -> tuple[int, ...]:
    """Of a view or a sum: the shape of what it was taken of; () where it does not remember."""
    return tuple(getattr(node, "_saved_self_sym_sizes", None) or ())


def within(roots: Sequence[Any], calls: tuple[str, ...] | None, most: int) -> Iterator[Any]:
    """Nodes from these on, behind nodes of these calls alone; None for any. At most so many."""
    seen = {id(root): root for root in roots}  # kept: an id lives as long as something refers to the node
    todo = list(roots)
    while todo and len(seen) < most:
        node = todo.pop()
        yield node
        if calls is not None and call_of(node) not in calls:
            continue
        new = {id(each): each for each in parents_of(node) if id(each) not in seen}
        seen |= new
        todo.extend(new.values())
