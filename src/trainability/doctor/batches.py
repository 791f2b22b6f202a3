"""Batches of any structure: tuples of any length, dicts and other mappings, dataclasses, also nested."""

import copy
import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def empty_line(loader: Any) -> str:
    """Say that a loader gave no batch, and what to give in place of one that can be read once only."""
    why = "; an iterator can be read once only: give a DataLoader or a list of batches" if isinstance(loader, Iterator) else ""
    if getattr(loader, "drop_last", False) and (size := getattr(loader, "batch_size", None)) is not None:
        why = f"; drop_last=True leaves out a batch of fewer than {size} examples: give a smaller batch_size"
    return f"train_loader is empty; expected at least one batch{why}"


def tensors(batch: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a batch, each with its path: `[0]`, `.pixel_values`, `['labels']`."""
    if isinstance(batch, Tensor):
        yield path, batch
    elif isinstance(batch, Mapping):
        for key in batch:
            yield from tensors(batch[key], f"{path}[{key!r}]")
    elif isinstance(batch, tuple | list):
        for index, item in enumerate(batch):
            yield from tensors(item, f"{path}[{index}]")
    elif _is_dataclass(batch):
        for field in dataclasses.fields(batch):
            yield from tensors(getattr(batch, field.name), f"{path}.{field.name}")


def first_tensor(batch: Any) -> Tensor | None:
    """The first tensor of a batch, or of what a module returned; None if there is none."""
    return next((tensor for _, tensor in tensors(batch)), None)


def are_views_of_one(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are views of one, or one of them is a view of the other."""
    return (a if a._base is None else a._base) is (b if b._base is None else b._base)


def map_parts(batch: Any, change: Callable[[Any], Any]) -> Any:
    """Rebuild a container, of the same type, with `change` applied to each part; anything else is returned unchanged."""
    if isinstance(batch, Mapping):
        changed = {key: change(batch[key]) for key in batch}
        if type(batch) is dict:
            return changed
        twin: Any = copy.copy(batch)  # a BatchEncoding keeps its other attributes
        for key, value in changed.items():
            twin[key] = value
        return twin
    if isinstance(batch, tuple | list):
        items = [change(item) for item in batch]
        return type(batch)(*items) if hasattr(batch, "_fields") else type(batch)(items)
    if _is_dataclass(batch):
        twin = copy.copy(batch)
        for field in dataclasses.fields(batch):
            object.__setattr__(twin, field.name, change(getattr(batch, field.name)))
        return twin
    return batch


def to_device(batch: Any, device: torch.device | str) -> Any:
    """Move every tensor to a device; objects of other types by their method `to`, if they have one (a batch of graphs)."""
    own = getattr(batch, "to", None)
    return own(device) if callable(own) else map_parts(batch, lambda part: to_device(part, device))


def cloned(batch: Any) -> Any:
    """A copy of a batch: of its tensors, and of objects of other types if they can be copied."""
    if isinstance(batch, Tensor):
        return batch.detach().clone().requires_grad_(batch.requires_grad)
    rebuilt = map_parts(batch, cloned)
    if rebuilt is batch and not isinstance(batch, str | bytes | int | float | bool | type(None)):
        try:
            return copy.deepcopy(batch)
        except Exception:
            return batch
    return rebuilt


def call_model(model: Callable[..., Any], inputs: Any) -> Any:
    """Call a model as training loops do: with a dict's entries by name, or a tuple's items in order, if it accepts them so.

    A model whose forward takes one argument gets the dict or the tuple itself.
    """
    forward = getattr(model, "forward", model)
    try:
        taken = inspect.signature(forward).parameters.values()
    except (TypeError, ValueError):
        taken = ()
    names = {p.name for p in taken if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    if isinstance(inputs, Mapping):
        anything = any(p.kind is p.VAR_KEYWORD for p in taken)
        by_name = (anything and len(names & set(inputs)) > 0) or set(inputs) <= names
        return model(**inputs) if by_name else model(inputs)
    if isinstance(inputs, tuple | list) and not hasattr(inputs, "_fields"):
        places = sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in taken)
        several = any(p.kind is p.VAR_POSITIONAL for p in taken) or places > 1 or len(inputs) == 1
        return model(*inputs) if several else model(inputs)
    return model(inputs)


def batch_size(batch: Any) -> int | None:
    """Examples in a batch: the size of the first dimension, if it is the same for all tensors; else None.

    Rows of a sparse tensor, as of a graph's adjacency, are not taken for examples, and cannot be cut off.
    """
    sizes = {tensor.shape[0] if tensor.dim() and tensor.layout == torch.strided else None for _, tensor in tensors(batch)}
    return sizes.pop() if len(sizes) == 1 else None


def most_rows(batch: Any) -> int:
    """The largest first dimension of a batch's tensors: its examples, where parts of it have other sizes."""
    return max((len(tensor) for _, tensor in tensors(batch) if tensor.dim()), default=0)


def num_batches(loader: Any) -> int | None:
    """Number of batches of a loader; None where it has no length, as a stream, or is empty."""
    try:
        return len(loader) or None
    except (TypeError, NotImplementedError):
        return None


def first_examples(batch: Any, count: int) -> Any:
    """The first examples of a batch, if every tensor has one row per example; else the whole batch.

    Flattened labels are longer than the batch, and the tensors of a graph differ in length: such a batch is not cut.
    """
    size = batch_size(batch)
    return batch if size is None or size <= count else _cut(batch, size, slice(count))


def ends(batch: Any, count: int) -> list[Any]:
    """Half of so many examples from the beginning of a batch, and half from its end; the whole batch where it has no more.

    A `collate_fn` may put one kind of examples behind the other, as negatives behind positives.
    """
    size = batch_size(batch)
    if size is None or size <= count or count < 2:
        return [first_examples(batch, count)]
    return [_cut(batch, size, slice(count // 2)), _cut(batch, size, slice(size - (count - count // 2), None))]


def halves(batch: Any) -> tuple[Any, Any] | None:
    """Two halves of a batch's examples, without the last where they are odd; None for a batch that is not cut."""
    size = batch_size(batch)
    if size is None or size < 2:
        return None
    return _cut(batch, size, slice(size // 2)), _cut(batch, size, slice(size // 2, 2 * (size // 2)))


def _cut(batch: Any, size: int, which: slice) -> Any:
    names = isinstance(batch, tuple | list) and len(batch) == size and first_tensor(batch) is None
    if isinstance(batch, Tensor) or names:
        return batch[which]
    return map_parts(batch, lambda part: _cut(part, size, which))


def fit_together(batches: Sequence[Any]) -> bool:
    """Whether several batches can be joined to one: of one structure, with shapes that differ in the first dimension alone."""
    shapes = {tuple((path, tensor.shape[1:], tensor.dtype) for path, tensor in tensors(batch)) for batch in batches}
    return len(shapes) == 1 and all(batch_size(batch) is not None for batch in batches) and not _holds_more(batches[0])


def joined(batches: Sequence[Any]) -> Any | None:
    """Several batches joined to one; None if they do not fit together: different structure, or texts of different length."""
    if len(batches) == 1:
        return batches[0]
    if not fit_together(batches):
        return None
    parts = [list(tensors(batch)) for batch in batches]
    columns = iter([torch.cat([part[i][1] for part in parts]) for i in range(len(parts[0]))])

    def replaced(part: Any) -> Any:
        return next(columns) if isinstance(part, Tensor) else map_parts(part, replaced)

    return replaced(batches[0])


def _holds_more(batch: Any) -> bool:
    """Whether a batch holds anything besides tensors: texts, numbers, objects of other types."""
    if isinstance(batch, Mapping):
        return any(_holds_more(batch[key]) for key in batch)
    if isinstance(batch, tuple | list):
        return any(_holds_more(item) for item in batch)
    return not isinstance(batch, Tensor)


def _is_dataclass(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)
