"""Which examples have a part in which sequence of a loss that takes (steps, batch, classes)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.instead import exchanged
from trainability.doctor.measure.randomness import randomness_restored, seed_torch
from trainability.doctor.measure.workspace import set_training

_FEWEST, _SLIGHT = 4, 1e-5  # examples; change over the largest value
Forward = Callable[[Any, Any], Tensor]


def mixed_sequences(model: nn.Module, batch: Any, forward: Forward, seen: ForwardPass) -> tuple[int, int] | None:
    """Exchange one example's input at a time, and see which sequences of `ctc_loss` change.

    Args:
        model: runs in eval mode; the caller puts modes, buffers and random state back.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.
        seen: the same pass.

    Returns:
        How many of how many examples have a part in other sequences than their own; None without `ctc_loss`, and where its
        argument does not repeat, or has not as many sequences as there are examples.
    """
    shown = {x.data_ptr() for x in seen.inputs if isinstance(x, Tensor)}
    given = next((t for _, t in seen.batch if t.data_ptr() in shown and t.dim() and t.is_floating_point()), None)
    if given is None or len(given) < _FEWEST or not any(name == "ctc_loss" for name, _ in seen.terms):
        return None
    set_training(model, False)

    def ask(tensor: Tensor) -> Tensor | None:
        with torch.no_grad(), randomness_restored(), _Told() as told:
            seed_torch(0)
            forward(model, exchanged(batch, given, tensor))
        return told.given

    own, again = ask(given), ask(given)
    if own is None or again is None or own.dim() != 3 or own.shape[1] != len(given) or not torch.equal(own, again):
        return None
    asked, mixed = 0, 0
    for row in dict.fromkeys((0, len(given) // 2, len(given) - 1)):
        moved = given.clone()
        moved[row] = given[row - 1]
        now = ask(moved)
        if now is None or now.shape != own.shape:
            return None
        apart = (now - own).abs().nan_to_num().amax(dim=(0, 2))
        changed = set((apart > _SLIGHT * float(own.abs().nan_to_num().max())).nonzero().flatten().tolist())
        asked, mixed = asked + bool(changed), mixed + bool(changed - {row})
    return (mixed, asked) if asked else None


class _Told(TorchFunctionMode):
    """Keeps what `ctc_loss` is given as log-probabilities."""

    given: Tensor | None = None

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if getattr(func, "__name__", "") == "ctc_loss" and self.given is None and args:
            self.given = args[0].detach().float()
        return func(*args, **(kwargs or {}))
