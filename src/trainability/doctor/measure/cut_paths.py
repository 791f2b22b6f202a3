"""Weights that the answer depends on, and that it hands no gradient back to, though a side term of the loss reaches them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import map_parts
from trainability.doctor.measure.forward_pass import ForwardPass, callable_model
from trainability.doctor.measure.graph import leaves_of
from trainability.doctor.measure.randomness import randomness_restored

_LAYERS = (nn.Linear, nn.modules.conv._ConvNd)
_SAME = 1e-5  # of a gradient's norm

Forward = Callable[[Any, Any], Tensor]


def cut_paths(model: nn.Module, batch: Any, forward: Forward, loss: Tensor, seen: ForwardPass) -> tuple[str, ...]:
    """Find weights of which the answer is made through something without a gradient: a choice, a rounding, a detach().

    Args:
        model: called once in the pass.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.
        loss: with its graph.
        seen: the same pass.

    Returns:
        Names of weights of linear layers and convolutions that the first tensor returned depends on and has no path to, while
        the loss has one: through a term that targets have no part in. A table that is chosen from is none of them: it is
        taught by its own cost, and what it is compared with by the answer. () where another tensor with rows that the model
        returns reaches them, as of a part that is trained by a loss of its own.
    """
    output = seen.output
    if len(seen.calls) != 1 or output is None or not output.requires_grad or output.dim() == 0:
        return ()
    by_answer, opaque = leaves_of(output)
    by_loss, hidden = leaves_of(loss)
    with_rows = [t for t in seen.returned if t is not output and t.requires_grad and t.dim() > 0 and t.numel() > 1]
    elsewhere = set().union(*(leaves_of(t)[0] for t in with_rows))
    cut = {
        name: p
        for name, p in model.named_parameters()
        if p.requires_grad and id(p) in by_loss and id(p) not in by_answer | elsewhere and _is_layers(model, name, seen)
    }
    if opaque or hidden or not cut or not by_answer:
        return ()
    if not _changes_answer(list(cut.values()), seen) or _has_targets_in_it(model, batch, forward, list(cut.values()), seen):
        return ()
    return tuple(cut)


def _is_layers(model: nn.Module, name: str, seen: ForwardPass) -> bool:
    """Whether it is the weight of a layer that ran on numbers: what it makes goes by what it is given."""
    owner, _, own = name.rpartition(".")
    return own == "weight" and owner in seen.called and isinstance(model.get_submodule(owner), _LAYERS)


def _changes_answer(weights: list[nn.Parameter], seen: ForwardPass) -> bool:
    kept = [p.detach().clone() for p in weights]
    draws = torch.Generator().manual_seed(0)

    def answer() -> Tensor:
        with torch.no_grad(), randomness_restored():
            torch.manual_seed(0)
            returned = callable_model(seen)(*seen.inputs)
        return next(t for t in ([returned] if isinstance(returned, Tensor) else returned) if isinstance(t, Tensor))

    before, again = answer(), answer()
    try:
        with torch.no_grad():
            for p, old in zip(weights, kept, strict=True):
                p.add_(torch.randn(p.shape, generator=draws).to(p) * (0.1 + old.abs().mean()))
        return bool(torch.equal(before, again)) and not torch.equal(before, answer())
    finally:
        with torch.no_grad():
            for p, old in zip(weights, kept, strict=True):
                p.copy_(old)


def _has_targets_in_it(model: nn.Module, batch: Any, forward: Forward, weights: list[nn.Parameter], seen: ForwardPass) -> bool:
    """Whether what reaches the weights changes with targets: with what the batch holds and the model is not given."""
    given = {t.data_ptr() for t in seen.inputs if isinstance(t, Tensor)}
    targets = [t for _, t in seen.batch if t.data_ptr() not in given and t.dim() > 0 and len(t) > 1]
    if not targets:
        return False

    def change(part: Any) -> Any:
        if isinstance(part, Tensor):
            return part.roll(1, dims=0) if any(part.data_ptr() == t.data_ptr() for t in targets) else part
        return map_parts(part, change)

    found = []
    for asked in (batch, change(batch)):
        with torch.enable_grad(), randomness_restored():
            torch.manual_seed(0)
            gradients = torch.autograd.grad(forward(model, asked).sum(), weights, allow_unused=True)
        found.append(torch.cat([torch.zeros(1), *(g.detach().float().flatten().cpu() for g in gradients if g is not None)]))
    own, other = found
    return len(own) != len(other) or float((own - other).norm()) > _SAME * float(own.norm())
