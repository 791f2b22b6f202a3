"""Weights that are drawn anew, or cut off, between two steps of their optimizer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from trainability.doctor.measure.statistics import local

_FEWEST_LAYERS = 2
STEPS_COMPARED, _FEW_WEIGHTS = 6, 1 << 20  # steps at which weights are compared; few are compared at all steps
_UNLIKE = 0.5  # cosine below which they are others
CUT, _FEWEST_CUT = 0.25, 3  # of a weight's numbers that are at the limit; steps


class RedrawnWeights:
    """Compares the weights that an optimizer's step finds with those that its last step left.

    Args:
        parameters: of the loop, by name.

    Attributes:
        counts: weights by name that were drawn anew between two steps of their optimizer, and how often.
        cut: weights by name of which, between two steps, a quarter or more was set to one limit and its negative, and the rest
            was left; how often, the limit, and the share at it.
    """

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        self.counts: Counter[str] = Counter()
        self.cut: dict[str, tuple[int, float, float]] = {}
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
            is_cut = torch.equal(now, left.clamp(now.min(), now.max()))  # as a critic's weights
            self.counts[name] += unlike and not is_cut
            if is_cut and not torch.equal(now, left):
                limit = float(now.abs().max())
                share = float((now.abs() == limit).float().mean()) if float(now.max()) == -float(now.min()) else 0.0
                count, _, least = self.cut.get(name, (0, limit, 1.0))
                if share >= CUT:
                    self.cut[name] = count + 1, limit, min(share, least)
        self._compared += bool(self._left)

    def limited(self) -> tuple[tuple[str, ...], float, float] | None:
        """Weights of layers that were cut off at three steps or more, two or more and half of all: names, limit, least share.

        A parameter of the model's own may have limits that are the problem's, as a perturbation of images has.
        """
        cut = {name: (limit, share) for name, (count, limit, share) in self.cut.items() if count >= _FEWEST_CUT}
        found = {name: each for name, each in cut.items() if name.rpartition(".")[2].startswith("weight")}
        if len(found) < _FEWEST_LAYERS or 2 * len(found) < sum(p.dim() > 1 for p in self._parameters.values()):
            return None
        limits = [limit for limit, _ in found.values()]
        return (tuple(found), limits[0], min(share for _, share in found.values())) if len(set(limits)) == 1 else None

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
