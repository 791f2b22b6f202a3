"""Numbers that a flow hands on as they are: how many of its couplings read nothing else, and whether they need no change."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure.randomness import generators_restored, randomness_restored

_MOST_EXAMPLES = 2000
_PLAIN = 5.0  # standard errors
_MATTERS = 0.15  # of a moment with variance 1 under the normal distribution; half its square is about what it costs in nats


@dataclass
class _Call:
    """Of a module: the number of the call around it, and what it is given."""

    around: int | None
    given: tuple[Tensor, ...]
    read: set[int] = field(default_factory=set)


def couplings(model: nn.Module, run: Callable[[], Any], own: Tensor, kept: set[int]) -> int:
    """How many couplings of a flow read numbers that it keeps, and nothing else of the example.

    Args:
        model: the flow.
        run: calls it with the example.
        own: the example: (1, ...), with a gradient.
        kept: places of its numbers that are handed on as they are.

    Returns:
        Modules in which such a net is called; or half the number of nets, where one module calls them all, as a coupling may
        have one net for its scales and another for its shifts. 0 where the model is not given the example.
    """
    calls, running, handles = list[_Call](), list[int](), []

    def enter(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        given = tuple(t for _, t in tensors((args, kwargs)) if t.requires_grad)
        calls.append(_Call(running[-1] if running else None, given))
        running.append(len(calls) - 1)

    def leave(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        running.pop()

    for module in model.modules():
        handles += [module.register_forward_pre_hook(enter, with_kwargs=True, prepend=True)]
        handles += [module.register_forward_hook(leave, with_kwargs=True)]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    nets: dict[int, _Call] = {}
    for number, call in enumerate(calls):
        if call.around in nets:  # a layer of one
            nets[number] = call
            continue
        call.read = _read(call.given, own)
        if call.read and call.read <= kept:
            nets[number] = call
    outer = [call for call in nets.values() if call.around not in nets]
    return max(len({call.around for call in outer}), len(outer) // 2)


def _read(given: Iterable[Tensor], own: Tensor) -> set[int]:
    """Places of the numbers of an example that some tensors depend on."""
    found: set[int] = set()
    draws = torch.Generator().manual_seed(0)
    for t in given:
        weights = torch.randn(t.shape, generator=draws).to(t)
        slope: Any = None
        with contextlib.suppress(RuntimeError):  # written to since: what it was given is not known
            (slope,) = torch.autograd.grad((t * weights).sum(), own, retain_graph=True, allow_unused=True)
        found |= set(slope.flatten().nonzero().flatten().tolist()) if slope is not None else set()
    return found


def examples_of(batches: Iterable[Any], place: str, own: Tensor) -> Tensor:
    """Examples of the first batches, (examples, numbers), from where a tensor is found in each; else those of the tensor."""
    rows, count = list[Tensor](), 0
    with randomness_restored(), generators_restored(batches):
        for batch in batches:
            found = dict(tensors(batch)).get(place)
            if found is None or found.shape[1:] != own.shape[1:]:
                break
            rows.append(found.detach().cpu())
            count += len(found)
            if count >= _MOST_EXAMPLES:
                break
    return (torch.cat(rows) if count > len(own) else own.detach().cpu()).flatten(1)


def is_normal(numbers: Tensor) -> bool:
    """Whether numbers, (examples, columns), may be standard normal and independent: moments up to the fourth, in pairs.

    Each moment is that of a Hermite polynomial: mean 0 and variance 1 under the normal distribution.
    """
    z = numbers.double()
    first, second = z, (z**2 - 1) / math.sqrt(2)
    third, fourth = (z**3 - 3 * z) / math.sqrt(6), (z**4 - 6 * z**2 + 3) / math.sqrt(24)
    alone = torch.stack([p.mean(dim=0) for p in (first, second, third, fourth)])
    pairs = [a.T @ b / len(z) for a, b in ((first, first), (first, second), (second, second))]
    beside = torch.stack([p - torch.diag(p.diagonal()) for p in pairs])
    largest = max(float(alone.abs().max()), float(beside.abs().max()))
    return largest <= max(_MATTERS, _PLAIN / math.sqrt(len(z)))
