"""Parameters that no gradient reaches, told apart by the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.facts import Unreached
from trainability.doctor.graph_facts import MOST_ASKED
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.graph import leaves_of

Forward = Callable[[Any, Any], Tensor]


def unreached(
    model: nn.Module,
    batch: Any,
    forward: Forward,
    loss: Tensor,
    seen: ForwardPass,
    managed: set[str] | None,
    turns: Iterable[set[str]] = (),
) -> dict[str, Any]:
    """The field `unreached` of `Facts`: parameters that no gradient of the loss reaches, and why of each.

    Args:
        model: as in the loop, in train mode.
        batch: what it was asked.
        forward: of (model, batch), the loss.
        loss: of that batch, with its graph.
        seen: the forward pass that made it.
        managed: names of the parameters that the optimizer holds; None or none of them: all count.
        turns: names of the parameters of each of several models or optimizers: if no loss of this batch reaches any of them, a
            later batch may train them.
    """
    reached, opaque = leaves_of(loss)
    missing = {
        name: p
        for name, p in model.named_parameters()
        if p.requires_grad and id(p) not in reached and (not managed or name in managed)
    }
    if opaque or not missing or len(missing) == sum(p.requires_grad for p in model.parameters()):
        return {}
    returned: set[int] = set()
    for tensor in seen.returned:
        if tensor.grad_fn is not None:
            returned |= leaves_of(tensor)[0]

    def ask() -> float:
        with torch.no_grad(), torch.random.fork_rng(devices=[loss.device] if loss.is_cuda else []):
            torch.manual_seed(0)
            return float(forward(model, batch).sum())

    waiting = {name for names in turns if names and names <= missing.keys() for name in names}
    before = ask()
    repeats = before == ask()
    found = []
    for name, p in list(missing.items())[:MOST_ASKED]:
        if not repeats:
            reason = "unknown"
        elif id(p) in returned:
            reason = "not in the loss"
        elif _changes_loss(p, ask, before):
            reason = "turn" if name in waiting else "detached"
        else:
            spare = p.dim() < 2 and _is_used(model, name, reached)
            reason = "spare" if spare else "dropped" if _was_computed(model, name, seen) else "unused"
        found.append(Unreached(name=name, reason=reason))
    return {"unreached": tuple(found)}


def _changes_loss(parameter: Tensor, ask: Callable[[], float], before: float) -> bool:
    kept = parameter.detach().clone()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[parameter.device] if parameter.is_cuda else []):
            torch.manual_seed(1)
            parameter.add_(torch.randn_like(parameter) * (1.0 + kept.abs().mean()))
        return ask() != before
    finally:
        with torch.no_grad():
            parameter.copy_(kept)


def _is_used(model: nn.Module, name: str, reached: set[int]) -> bool:
    """Whether a gradient reaches others of the module that owns the parameter: what it makes is used, without this one."""
    return any(id(p) in reached for p in model.get_submodule(name.rpartition(".")[0]).parameters())


def _was_computed(model: nn.Module, name: str, seen: ForwardPass) -> bool:
    """Whether the module that owns the parameter ran; a parameter of a module with others inside is asked for by hand."""
    owner = name.rpartition(".")[0]
    return owner in seen.called
