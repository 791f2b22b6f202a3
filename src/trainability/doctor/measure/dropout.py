"""Dropout modules that leave almost nothing, at once or step by step, and what all of them add."""

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import first_tensor
from trainability.doctor.facts import LARGE_DROPOUT
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.randomness import randomness_restored, seed_torch
from trainability.doctor.measure.workspace import set_training

_FEWEST_CALLS = 4
_FEWEST_ANSWERS, _FEWEST_DROPPED, _OTHER_ZEROS = 16, 0.02, 0.01


def dropout_facts(model: nn.Module) -> dict[str, Any]:
    """The fields of `Facts` about dropout; empty where no module drops that much."""
    found = {
        name: float(module.p)
        for name, module in model.named_modules()
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.p >= LARGE_DROPOUT
    }
    return {"heavy_dropout": tuple(found), "dropout": max(found.values())} if found else {}


def dropout_noise(model: nn.Module) -> float:
    """Sum of p / (1 - p) over dropout modules: the relative variance of a unit that is kept with 1 - p and divided by it."""
    modules = (module for module in model.modules() if isinstance(module, nn.modules.dropout._DropoutNd))
    return sum(module.p / (1 - module.p) for module in modules if module.p < 1)


def dropped_state(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> tuple[str, float, int] | None:
    """A dropout module through which all memory of a recurrence goes, at every step anew.

    Args:
        model: runs in train mode; the caller puts modes, buffers and random state back.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.

    Returns:
        Its name, probability, and calls in one pass, of the one that leaves least; None where there is none. A module that a
        net uses at several places is none: no layer with weights is called as often. Nor is one whose step's result can be
        done without: what came before reaches the end on another way.
    """
    found = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.modules.dropout._DropoutNd) and 0 < module.p < 1
    }
    if not found:
        return None
    calls: Counter[nn.Module] = Counter()
    counting = [
        part.register_forward_hook(lambda module, args, output: calls.update([module]))
        for part in model.modules()
        if part in found.values() or any(p.dim() > 1 for p in part.parameters(recurse=False))
    ]
    _run(model, batch, forward, counting)
    weighted = {count for part, count in calls.items() if part not in found.values()}
    often = [(n, m) for n, m in found.items() if calls[m] >= _FEWEST_CALLS and calls[m] in weighted]
    often.sort(key=lambda item: calls[item[1]] * math.log1p(-item[1].p))
    for name, module in often:
        if _carries_all(model, module, batch, forward, calls[module]):
            return name, float(module.p), calls[module]
    return None


def dropped_answers(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor], seen: ForwardPass) -> float | None:
    """The share of the answers that dropout puts to zero in training; None where it drops none of them.

    Nor where the loss has no slope at any of them and has one elsewhere, as where the targets are masked as the answers are.

    Args:
        model: called once in the pass; runs in either mode; the caller puts modes, buffers and random state back.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.
        seen: the same pass, whose loss sets the answers against targets.
    """
    if len(seen.calls) != 1:
        return None
    shares = []
    for training in (True, True, False):
        made: list[Tensor | None] = []
        handle = seen.calls[0].model.register_forward_hook(
            lambda part, args, output, made=made: made.append(first_tensor(output))
        )
        loss = _run(model, batch, forward, [handle], training=training, seed=len(shares))
        answers = made[0] if len(made) == 1 else None
        if answers is None or answers.numel() < _FEWEST_ANSWERS or (training and _is_asked_elsewhere(loss, answers)):
            return None
        shares.append((answers.detach() == 0).float())
    one, other, without = shares
    if float(without.mean()) > _OTHER_ZEROS or one.shape != other.shape:
        return None
    share, both = float((one.mean() + other.mean()) / 2), float((one * other).mean())
    # Of places that are drawn anew, `both` is near the share's square; of the same places each time, near the share.
    is_drawn = both < (share + 1) / 2 * share
    return share if _FEWEST_DROPPED < share < 1 and is_drawn else None


def _is_asked_elsewhere(loss: Tensor, answers: Tensor) -> bool:
    """Whether the loss has a slope at answers that are not zero, and at none that is."""
    if not answers.requires_grad:
        return False
    (slope,) = torch.autograd.grad(loss.sum(), answers, allow_unused=True)
    dropped = answers.detach() == 0
    return slope is not None and bool((slope[~dropped] != 0).any()) and not bool((slope[dropped] != 0).any())


def _carries_all(model: nn.Module, module: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor], count: int) -> bool:
    """Whether the last result goes back to the first, and no more where one between them is a constant."""

    def reaches(cut: int | None) -> bool:
        made: list[Tensor] = []

        def hook(part: nn.Module, args: Any, output: Tensor) -> Tensor:
            made.append(output)
            return output.detach() if len(made) - 1 == cut else output

        _run(model, batch, forward, [module.register_forward_hook(hook)])
        if len(made) != count or not made[0].requires_grad or not made[-1].requires_grad:
            return False
        return torch.autograd.grad(made[-1].sum(), made[0], allow_unused=True)[0] is not None

    return reaches(None) and not reaches(count // 2)


def _run(
    model: nn.Module,
    batch: Any,
    forward: Callable[[Any, Any], Tensor],
    handles: list[Any],
    *,
    training: bool = True,
    seed: int | None = None,
) -> Tensor:
    set_training(model, training)
    try:
        with torch.enable_grad(), randomness_restored():
            if seed is not None:
                seed_torch(seed)
            return forward(model, batch)
    finally:
        for handle in handles:
            handle.remove()
