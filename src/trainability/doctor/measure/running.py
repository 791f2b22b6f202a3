"""Running statistics of batch norm: how slowly they leave the mean 0 and the variance 1 that they start from."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

SLOW = 0.01  # of a momentum: below, a hundred batches leave a third and more of the start
_FRESH = 2  # batches, after which they are still those of the start


def running_facts(model: nn.Module) -> dict[str, Any]:
    """The field of `Facts` about them: the slowest of those that are at their start; nothing where none is slow."""
    found = {
        name: float(module.momentum)
        for name, module in model.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
        and module.momentum is not None
        and module.num_batches_tracked is not None
        and int(module.num_batches_tracked) <= _FRESH
    }
    slow = {name: momentum for name, momentum in found.items() if momentum < SLOW}
    return {"slow_statistics": min(slow.items(), key=lambda item: item[1])} if slow else {}


def shared_statistics(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> tuple[str, int, float] | None:
    """A batch norm that one pass of the model calls several times, on numbers of which no one mean and variance is right.

    Args:
        model: in train mode; its buffers are restored by whoever asks.
        batch: what it was asked.
        forward: of (model, batch), the loss.

    Returns:
        Its name, the calls, and by what factor the square of what evaluation makes of one of them is off (where all calls share
        their mean and mean square); the worst. None where no batch norm is called twice in a pass.
    """
    calls: dict[str, list[tuple[Tensor, Tensor]]] = {}
    norms = {name: m for name, m in model.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}

    def begin(module: nn.Module, given: Any) -> None:
        calls.clear()

    def noted(name: str) -> Callable[[nn.Module, Any], None]:
        def note(module: nn.Module, given: Any) -> None:
            rows = given[0].detach().transpose(0, 1).flatten(1).double()
            calls.setdefault(name, []).append((rows.mean(dim=1), rows.var(dim=1)))

        return note

    with contextlib.ExitStack() as stack, torch.no_grad(), torch.random.fork_rng(devices=[]):
        stack.callback(model.register_forward_pre_hook(begin).remove)
        for name, module in norms.items():
            if module.track_running_stats:
                stack.callback(module.register_forward_pre_hook(noted(name)).remove)
        forward(model, batch)
    found = [(name, len(seen), _off(seen)) for name, seen in calls.items() if len(seen) > 1]
    return max(found, key=lambda item: item[2], default=None)


def _off(seen: list[tuple[Tensor, Tensor]]) -> float:
    """Median over channels of the mean square behind the shared statistics over 1, or 1 over it; of the worst call."""
    means, variances = torch.stack([m for m, _ in seen]), torch.stack([v for _, v in seen])
    shared_mean, shared = means.mean(dim=0), variances.mean(dim=0)
    squares = ((means - shared_mean) ** 2 + variances) / shared.clamp(min=1e-30)
    return float(torch.maximum(squares, 1 / squares.clamp(min=1e-30)).median(dim=1).values.max())
