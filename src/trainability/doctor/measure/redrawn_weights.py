"""Weights that are drawn anew between two steps of their optimizer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from trainability.doctor.measure.statistics import local

STEPS_COMPARED, _FEW_WEIGHTS = 6, 1 << 20  # steps at which weights are compared; few are compared at all steps
_UNLIKE = 0.5  # cosine below which they are others


class RedrawnWeights:
    """Compares the weights that an optimizer's step finds with those that its last step left.

    Args:
        parameters: of the loop, by name.

    Attributes:
        counts: weights by name that were drawn anew between two steps of their optimizer, and how often.
    """

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        self.counts: Counter[str] = Counter()
        self._parameters = parameters
        self._left: dict[str, Tensor] = {}  # weights as the last step of their optimizer left them
        self._compared, self._is_small = 0, sum(p.numel() for p in parameters.values()) <= _FEW_WEIGHTS

    def stepping(self, held: set[int]) -> None:
        """An optimizer that holds these parameters, by id, is about to step."""
        for name, left in self._left.items():
            now = local(self._parameters[name].detach())
            if id(self._parameters[name]) not in held or not bool(left.any() and now.any()):
                continue
            unlike = float(nn.functional.cosine_similarity(now.flatten(), left.flatten(), dim=0)) < _UNLIKE
            self.counts[name] += unlike and not torch.equal(now, left.clamp(now.min(), now.max()))  # as a critic's weights
        self._compared += bool(self._left)

    def stepped(self, held: set[int], *, keep: bool) -> None:
        """An optimizer that holds these parameters has stepped.

        Args:
            held: ids of parameters.
            keep: whether the weights are remembered, to see whether the next step of this optimizer finds them as they are now.
        """
        self._left = {name: tensor for name, tensor in self._left.items() if id(self._parameters[name]) not in held}
        if keep and (self._is_small or self._compared < STEPS_COMPARED):
            kept = {name: local(p.detach()).clone() for name, p in self._parameters.items() if id(p) in held and p.dim() > 1}
            self._left |= kept
