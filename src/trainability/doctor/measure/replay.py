"""The functions of a loss, computed again with other outputs, targets and parameters of its own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import map_parts, tensors
from trainability.doctor.measure.graph import behind_views, leaves_of
from trainability.doctor.measure.nodes import name_of, wrapped

_IN_PLACE = frozenset(
    {"__setitem__", "__iadd__", "__isub__", "__imul__", "__idiv__", "__itruediv__", "__ifloordiv__", "__ipow__", "__imod__"}
    | {"__iand__", "__ior__", "__ixor__"}
)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One function that was called, with what it was given and what came out."""

    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: tuple[Tensor, ...]

    def reads(self) -> Iterator[Tensor]:
        """Tensors that it was given."""
        return (tensor for _, tensor in tensors((self.args, self.kwargs)))

    def written(self) -> Tensor | None:
        """A tensor that it writes into."""
        name = getattr(self.func, "__name__", "")
        in_place = name in _IN_PLACE or (name.endswith("_") and not name.startswith("__"))
        first = self.args[0] if in_place and self.args and isinstance(self.args[0], Tensor) else None
        return self.kwargs.get("out", first)

    def writes(self) -> tuple[Tensor, ...]:
        """What is another afterwards."""
        return self.results if (written := self.written()) is None else (*self.results, written)


@dataclass(frozen=True, kw_only=True)
class Called:
    """One call of the model, or of a part of it that the loop calls by itself.

    Attributes:
        inputs: the tensors that it was given.
        returned: what it returned.
        is_whole: it was the model that was called.
    """

    inputs: tuple[Tensor, ...]
    returned: Any
    is_whole: bool


class _Answers(nn.Module):
    """Returns what another model returned, call by call, with a graph of the function that bounds it.

    Attributes:
        leaves: free numbers behind every returned tensor that has a gradient.
    """

    def __init__(self, calls: list[Called], numbers: dict[str, Tensor]) -> None:
        super().__init__()
        self.returned: Any = None
        self.leaves = nn.ParameterList()
        self._bound: dict[int, Callable[[], Tensor]] = {}
        for tensor in (tensor for call in calls for _, tensor in tensors(call.returned)):
            if tensor.requires_grad and id(tensor) not in self._bound:
                free, bound = _unbound(tensor)
                self.leaves.append(nn.Parameter(free))
                self._bound[id(tensor)] = functools.partial(bound, self.leaves[-1])
        for name, number in numbers.items():
            self.register_parameter(name.replace(".", "_"), nn.Parameter(number.detach().clone()))

    def forward(self, *inputs: Tensor) -> Any:
        return self.again()

    def again(self) -> Any:
        """What the call returned whose turn it is."""

        def answer(part: Any) -> Any:
            if not isinstance(part, Tensor):
                return map_parts(part, answer)
            return self._bound[id(part)]() if part.requires_grad else part.detach().clone()

        return answer(self.returned)


class Replay:
    """The loss of other outputs, targets and parameters of the loss's own.

    Attributes:
        model: stands for the model; returns its outputs.
        batch: tensors that the model was given, and those that the loss was given beside its outputs.
    """

    def __init__(
        self,
        *,
        calls: list[Called],
        lines: list[Line],
        loss: Tensor,
        numbers: dict[str, Tensor],
        targets: list[Tensor],
        cast: tuple[str, torch.dtype | None],
    ) -> None:
        whole = [call for call in calls if call.is_whole]
        inputs = list({id(tensor): tensor for call in whole for tensor in call.inputs}.values())
        self.model, self._lines, self._loss = _Answers(calls, numbers), lines, loss
        self._calls = calls
        self._names = {id(tensor): name.replace(".", "_") for name, tensor in numbers.items()}
        self._writes = any(line.written() is not None for line in lines)
        self._kept, self._autocast = [*inputs, *targets], cast
        self.batch = tuple(tensor.detach() for tensor in self._kept)

    def __call__(self, model: nn.Module, batch: Any, *, calls_parts: bool = False) -> Tensor:
        """The loss, one number with its graph.

        Args:
            model: `self.model`, whose `forward` may be another.
            batch: `self.batch`, or other tensors in its place.
            calls_parts: `model` is also called for what a part of the model returned that the loop called by itself.
        """
        # What is written into may be a view of what the loop has given, which stays as it is.
        own = torch.clone if self._writes else (lambda tensor: tensor)
        values = {id(old): own(new) for old, new in zip(self._kept, batch, strict=True)}
        values |= {key: self.model.get_parameter(name) for key, name in self._names.items()}
        for call in self._calls:
            self.model.returned = call.returned
            given = (values[id(tensor)] for tensor in call.inputs) if call.is_whole else ()
            answer = model(*given) if call.is_whole or calls_parts else self.model.again()
            old, new = ([tensor for _, tensor in tensors(part)] for part in (call.returned, answer))
            values |= {id(a): b for a, b in zip(old, new, strict=True)}

        def now(part: Any) -> Any:
            if not isinstance(part, Tensor):
                return map_parts(part, now)
            return values[id(part)] if id(part) in values else own(part.detach())

        device, dtype = self._autocast
        with torch.autocast(device, dtype=dtype, enabled=dtype is not None, cache_enabled=False):
            for line in self._lines:
                found = line.func(*now(line.args), **now(line.kwargs))
                values |= {id(old): new for old, (_, new) in zip(line.results, tensors(found), strict=True)}
        return values[id(self._loss)].sum()

    def moved_by(self, managed: set[int]) -> set[str]:
        """Names of the parameters of `model` that stand for what was made of parameters with one of these ids."""
        made = {id(t): t for call in self._calls for _, t in tensors(call.returned) if t.requires_grad}
        found = [leaves_of(tensor) if tensor.grad_fn is not None else ({id(tensor)}, False) for tensor in made.values()]
        return {f"leaves.{k}" for k, (leaves, is_hidden) in enumerate(found) if is_hidden or leaves & managed}


def _unbound(output: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Free numbers, and the function that bounds them to the outputs, where the graph says that one does."""
    node, plain = output.grad_fn, output.detach()
    name = name_of(node) if node is not None else ""
    if "oftmax" not in name:  # a dimension of what was viewed is another one; what bounds each number bounds it in any shape
        node = behind_views(node)
        name = name_of(node) if "oftmax" not in name_of(node) else ""
    if name in ("SoftmaxBackward", "LogSoftmaxBackward"):
        dim = wrapped(node._saved_dim, plain.dim())  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
        if name == "SoftmaxBackward":
            return plain.clamp(min=torch.finfo(plain.dtype).tiny).log(), lambda free: free.softmax(dim)
        return plain.clone(), lambda free: free.log_softmax(dim)
    if name == "SigmoidBackward":
        eps = torch.finfo(plain.dtype).eps
        return plain.clamp(eps / 4, 1 - eps / 2).logit(), torch.sigmoid
    if name == "TanhBackward":
        return plain.clamp(-1 + 1e-6, 1 - 1e-6).atanh(), torch.tanh
    if name == "ReluBackward":
        return plain.clone(), torch.relu
    if name == "ExpBackward":
        return plain.clamp(min=torch.finfo(plain.dtype).tiny).log(), torch.exp
    if name == "SoftplusBackward" and node._saved_beta == node._saved_threshold / 20 == 1:  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
        return plain.clamp(min=1e-30).expm1().log().where(plain < 20, plain), nn.functional.softplus
    return plain.clone(), torch.clone


def is_own_function(tensor: Tensor) -> bool:
    """Whether a function of a user's own made it, whose gradient is its own, too."""
    return isinstance(tensor.grad_fn, torch.autograd.function.BackwardCFunction)
