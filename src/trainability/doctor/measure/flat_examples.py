"""Examples of which a term of the loss is as large as it gets, and has no slope: what most answers do wrong it cannot tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from trainability.doctor.measure.forward_pass import ForwardPass

_FEWEST = 16
_MOST = 0.8  # share of the examples
_EQUAL, _APART = 1e-5, 1e-3  # of the largest cost
_MOST_NODES = 10_000


def flat_examples(loss: Tensor, seen: ForwardPass) -> tuple[float, float] | None:
    """Look at each mean or sum over the examples that is a part of the loss: which have a slope, and what they cost.

    Args:
        loss: with its graph.
        seen: the same pass.

    Returns:
        The share of the examples without a slope, and what each of them costs, of the first such term of which four fifths and
        more have none and cost the same, no other example costs more, and some cost less; or of which all cost the same, and
        that is not nothing. None where there is none: what is met costs least, and what a factor of zero or a mask leaves out
        is asked nothing.
    """
    answers = [t for t in seen.returned if t.requires_grad and t.dim() > 0]
    size = len(answers[0]) if answers else 0
    if size < _FEWEST or any(len(t) != size for t in answers):
        return None
    for term in seen.reduced:
        if len(term) != size:
            continue
        (pulled,) = torch.autograd.grad(loss, [term], allow_unused=True, retain_graph=True)
        slopes = torch.autograd.grad(term.sum(), answers, allow_unused=True, retain_graph=True)
        known = [slope.reshape(size, -1) for slope in slopes if slope is not None]
        wanted = pulled.flatten(1).sum(dim=1) if pulled is not None and pulled.dim() > 1 else pulled
        if not known or wanted is None or not (bool((wanted > 0).all()) or bool((wanted < 0).all())):
            continue
        values = term.detach().flatten(1).sum(dim=1) if term.dim() > 1 else term.detach()
        costs = values * wanted.sign()
        flat = ~torch.stack([(slope != 0).any(dim=1) for slope in known]).any(dim=0)
        share, largest = float(flat.float().mean()), float(costs.max())
        scale = float(costs.abs().max())
        if not share >= _MOST or not bool(costs.isfinite().all()) or not bool((costs[flat] >= largest - _EQUAL * scale).all()):
            continue
        is_unlike = float(costs.min()) < largest - _APART * scale or (share == 1.0 and largest > 0)
        if is_unlike and not _are_left_out(term, answers, flat):
            return share, float(values[flat][0])
    return None


def _are_left_out(term: Tensor, answers: Sequence[Tensor], flat: Tensor) -> bool:
    """Whether a constant factor is zero, or a mask chooses, for just these examples, whatever the answers are.

    Rewards that are mostly zero, weights and masks do so; a likelihood of a density, an entropy or a score may be better than
    the nothing that is left of them.
    """
    seen, found = {answer.grad_fn for answer in answers}, [term.grad_fn]
    while found and len(seen) < _MOST_NODES:
        node: Any = found.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if any(_tells_apart(constant, flat) for constant in _constants(node)):
            return True
        found += [above for above, _ in node.next_functions]
    return False


def _constants(node: Any) -> list[Tensor]:
    names = {"MulBackward0": ("_saved_self", "_saved_other"), "WhereBackward0": ("_saved_condition",)}
    names["MaskedFillBackward0"] = ("_saved_mask",)
    saved = [getattr(node, name, None) for name in names.get(node.name(), ())]
    return [tensor for tensor in saved if isinstance(tensor, Tensor) and not tensor.requires_grad]


def _tells_apart(constant: Tensor, flat: Tensor) -> bool:
    """Whether a factor (examples, ...) or a mask is zero for all of these; or a mask is true for them, and not for others."""
    if constant.dim() == 0 or len(constant) != len(flat):
        return False
    rows = constant.detach().reshape(len(flat), -1)
    zero, true = (rows == 0).all(dim=1), (rows != 0).all(dim=1)
    return bool((zero | ~flat).all()) or (constant.dtype == torch.bool and bool((true | ~flat).all()) and not bool(true.all()))
