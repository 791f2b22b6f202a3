"""Norms of a step's gradients at every step: the parameters are looked for once, their norms taken in one operation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks

from trainability.doctor.measure import statistics

# As many gauges as make a dead layer among them harmless, but small ones: their norm is taken twice a step.
_FEWEST_GAUGES, _MOST_GAUGES, _GAUGES_SIZE = 3, 8, 1 << 14
_UNCHANGED = 1 - 1e-4  # clip ratio of gradients that nothing was written to; it is at most 1


@dataclass(frozen=True, kw_only=True)
class StepNorms:
    """Of gradients that are complete and not clipped, on their device.

    Attributes:
        each: (gradients,) of every parameter that the optimizer steps; None where none has a gradient.
        gauges: (gradients,) of the gauges; None where none has a gradient.
        is_partial: some trained parameters have no gradient.
    """

    each: Tensor | None
    gauges: Tensor | None
    is_partial: bool


class GradientNorms:
    """Norms of the gradients that an optimizer steps.

    What many norms together come to is left to their reader, who takes many steps at once. Walking through a model's modules
    takes longer than the norms, so its parameters are kept. They are looked for again at `refresh`, which sampled steps call,
    when any module was given a parameter or a module since `begin`, and when the number of those with a gradient changes.

    Between `take` and the optimizer's step most loops write to no gradient, which PyTorch's own counts of writes tell without
    any arithmetic. Writes through `.data` are not counted; so the counts are believed only after a measured step whose
    gradients were as the counts said, and never again after one whose were not.

    Args:
        model: the plain module.

    Attributes:
        gauges: few parameters whose gradients tell of clipping, which scales all alike.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._managed: set[int] = set()
        self._stepped: list[nn.Parameter] = []
        self._num_trained = self._num_found = 0
        self._is_old, self._is_plain = True, False
        self._handles: list[Any] = []
        # The gauges' gradients as `take` found them, with their counts of writes, and their norms.
        self._held: list[Tensor] = []
        self._counts: list[int] = []
        self._held_norms: Tensor | None = None
        self._believes_counts: bool | None = None
        self._counts_said_unwritten = False
        self.gauges: list[nn.Parameter] = []

    def begin(self) -> None:
        """Watch for replaced parameters, by PyTorch's global hooks, which nothing but a replacement calls."""
        self._handles = [
            module_hooks.register_module_parameter_registration_hook(self._on_registration),
            module_hooks.register_module_module_registration_hook(self._on_registration),
        ]

    def end(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _on_registration(self, module: nn.Module, name: str, registered: Any) -> None:
        self._is_old = True

    def refresh(self, managed: set[int]) -> None:
        """Look for the parameters anew.

        Args:
            managed: ids of those in the optimizer's groups. Nobody clears the gradients of the others, which grow and harm
                nothing; where it has none of the model's, all count.
        """
        self._managed, self._is_old = managed, False
        present = [p for p in self._model.parameters() if not nn.parameter.is_lazy(p)]
        stepped = [p for p in present if id(p) in managed]
        stepped = stepped if any(p.requires_grad for p in stepped) else present
        self._num_trained = sum(p.requires_grad for p in present)
        self.gauges = gauges_of([p for p in stepped if p.requires_grad])
        # Gauges first: their norms are then a slice of all.
        self._stepped = list({id(p): p for p in (*self.gauges, *stepped)}.values())

    def take(self, *, gauges_only: bool = False) -> StepNorms:
        """Norms of the gradients as they are now. Nothing waits for the device.

        Args:
            gauges_only: leave out the others; whether some are missing is not looked at either.
        """
        if gauges_only and not self._is_old:
            return StepNorms(each=None, gauges=self.take_gauges(), is_partial=False)
        found = [] if self._is_old else _gradients(self._stepped)
        if len(found) != self._num_found or not found:
            self.refresh(self._managed)
            found = _gradients(self._stepped)
            self._num_found, self._is_plain = len(found), _are_plain(found)
        each = _norms(found, are_plain=self._is_plain)
        is_whole = len(found) == len(self._stepped)
        self._hold(found[: len(self.gauges if is_whole else _gradients(self.gauges))], each)
        return StepNorms(each=each, gauges=self._held_norms, is_partial=len(found) < self._num_trained)

    def take_gauges(self) -> Tensor | None:
        """Norms of the gauges' gradients as they are now; None where none has one."""
        found = _gradients(self.gauges)
        norms = _norms(found, are_plain=_are_plain(found))
        self._hold(found, norms)
        return norms

    def take_gauges_again(self, *, measures: bool) -> Tensor | None:
        """Norms of the gauges' gradients as they are now: the same tensor as before where nothing was written to them.

        None where some have been cleared since, as those of a discriminator before its generator's step: that is no clipping.

        Args:
            measures: do not go by the counts of writes; `judge_counts` then says whether they were right.
        """
        found = _gradients(self.gauges)
        if len(found) < len(self._held):
            return None
        is_same = len(found) == len(self._held) and all(a is b for a, b in zip(found, self._held, strict=True))
        is_unwritten = is_same and [gradient._version for gradient in found] == self._counts
        self._counts_said_unwritten = is_unwritten and measures
        if is_unwritten and self._believes_counts and not measures:
            return self._held_norms
        return _norms(found, are_plain=_are_plain(found))

    def judge_counts(self, clip_ratio: float | None) -> None:
        """Tells whether the counts of writes can be believed, by the last step, which was measured."""
        if self._counts_said_unwritten and clip_ratio is not None and self._believes_counts is not False:
            self._believes_counts = clip_ratio > _UNCHANGED

    def let_go(self) -> None:
        """Keep no gradient beyond its step: the head's may be a large one, whose memory the next forward pass is to have."""
        self._held, self._counts, self._held_norms = [], [], None

    def _hold(self, gauges: list[Tensor], norms: Tensor | None) -> None:
        self._held_norms = norms[: len(gauges)] if norms is not None and gauges else None
        self._held = gauges if self._is_plain else []
        self._counts = [gradient._version for gradient in self._held]


def gauges_of(parameters: Sequence[nn.Parameter]) -> list[nn.Parameter]:
    """Clipping scales all gradients alike, so a few small ones before and after tell the ratio.

    The last one is the head's bias as a rule, which still has a gradient where a dead net's weights have none.
    """
    small = sorted(parameters, key=lambda p: (p.dim() < 2, p.numel()))[:_MOST_GAUGES]
    while len(small) > _FEWEST_GAUGES and sum(p.numel() for p in small) > _GAUGES_SIZE:
        small.pop()
    return list({id(p): p for p in (*small, *parameters[-1:])}.values())


def _gradients(parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    return [gradient for p in parameters if (gradient := p.grad) is not None and p.requires_grad]


def _are_plain(gradients: list[Tensor]) -> bool:
    """Whether none is of a subclass (a shard answers for all processes, which waits for them) or in double precision."""
    return all(type(gradient) is Tensor and gradient.dtype != torch.float64 for gradient in gradients)


def _norms(gradients: list[Tensor], *, are_plain: bool) -> Tensor | None:
    """Of each one, at least in single precision: squares of half-precision numbers overflow."""
    if not gradients:
        return None
    try:
        norms = _norms_of(gradients, torch.float32) if are_plain else None
    except (RuntimeError, TypeError):  # sparse, complex
        norms = None
    if norms is None:
        whole = [statistics.local(gradient) for gradient in gradients]
        norms = _norms_of(whole, None if torch.float64 in {gradient.dtype for gradient in whole} else torch.float32)
    device = norms[0].device
    return torch.stack([norm if norm.device == device else norm.to(device) for norm in norms])


def _norms_of(gradients: list[Tensor], dtype: torch.dtype | None) -> Sequence[Tensor]:
    return torch._foreach_norm(gradients, 2, dtype=dtype)  # pyright: ignore[reportPrivateImportUsage]
