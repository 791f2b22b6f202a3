"""Limits in a body that change nothing: calls of `clip_grad_norm_` at the wrong place, and dropped results."""

from __future__ import annotations

import math
from typing import Any

from torch.nn.utils import clip_grad

from trainability.doctor.measure import stance
from trainability.doctor.measure.copies import modules
from trainability.doctor.measure.dropped_results import DroppedResults
from trainability.doctor.measure.loop import Loop

_FEWEST = 3  # bodies that clip
_FIRST = 3  # bodies whose functions are traced
_SCALES = "_clip_grads_with_norm_"  # what clip_grad_norm_ calls with the norm, however it was imported


class Clips:
    """Whether gradients are clipped where it changes no step: before there are any, or after all steps.

    Attributes:
        dropped: looks for dropped results, in the first bodies.
    """

    def __init__(self, loop: Loop) -> None:
        self._steps, self._limit = 0, 0.0
        self._calls: list[tuple[int, bool]] = []  # steps made before, and whether there was a gradient
        self._kinds: list[str] = []
        self.dropped = DroppedResults(loop.parameters, modules(list(loop.others)))
        is_compiled = stance.has_compiled() or any(hasattr(model, "_orig_mod") for model in loop.models)
        self._bodies_left, self._is_entered = 0 if is_compiled else _FIRST, False
        self._handles = [
            o.register_step_post_hook(self._on_step) for o in loop.optimizers if hasattr(o, "register_step_post_hook")
        ]
        self._own: Any = getattr(clip_grad, _SCALES, None)
        if self._own is not None:
            setattr(clip_grad, _SCALES, self._seen)

    def _on_step(self, *_: Any) -> None:
        self._steps += 1

    def _seen(self, parameters: Any, max_norm: float, *rest: Any, **words: Any) -> Any:
        held = list(parameters) if not hasattr(parameters, "grad") else [parameters]
        there = any(p.grad is not None and (p.grad.is_sparse or bool(p.grad.any())) for p in held)
        self._calls.append((self._steps, there))
        self._limit = float(max_norm)
        return self._own(held, max_norm, *rest, **words)

    def begin_body(self) -> None:
        """Forget evaluations of the loss, which run the body without its steps."""
        self._steps, self._calls = 0, []
        if self._bodies_left and self.dropped.found is None:
            self._bodies_left -= 1
            self._is_entered = True
            self.dropped.__enter__()

    def end_body(self) -> None:
        """Read what one pass through the body did."""
        self._leave()
        if self._calls and self._steps:
            late = all(steps == self._steps and there for steps, there in self._calls)
            early = all(not there for _, there in self._calls)
            self._kinds.append("after" if late else "before" if early else "between")

    def _leave(self) -> None:
        if self._is_entered:
            self._is_entered = False
            self.dropped.__exit__(None, None, None)

    def found(self) -> tuple[str, float] | None:
        """The field `vain_clip` of `Rehearsal`."""
        is_one = len(self._kinds) >= _FEWEST and len(set(self._kinds)) == 1 and self._kinds[0] != "between"
        # With an infinite norm nothing is clipped: the call is there for the norm that it returns.
        return (self._kinds[0], self._limit) if is_one and math.isfinite(self._limit) else None

    def close(self) -> None:
        """Remove hooks and patches."""
        self._leave()
        for handle in self._handles:
            handle.remove()
        if self._own is not None:
            setattr(clip_grad, _SCALES, self._own)
