"""Calls of `clip_grad_norm_` in a body: at the wrong place, where they change nothing, or to next to nothing at every step."""

from __future__ import annotations

import contextlib
import math
import statistics
from collections.abc import Iterator
from typing import Any

from torch.nn.utils import clip_grad

from trainability.doctor.measure import stance
from trainability.doctor.measure.dropped_results import DroppedResults
from trainability.doctor.measure.loop import Loop
from trainability.doctor.measure.nested import modules
from trainability.doctor.rehearsed import Clipped

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
        self._found: list[tuple[float, float]] = []  # of this body, thresholds and norms of gradients that are there
        self._bodies: list[list[tuple[float, float]]] = []
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
        norm = rest[0] if rest else words.get("total_norm")
        if there and norm is not None:
            self._found.append((self._limit, float(norm)))
        return self._own(held, max_norm, *rest, **words)

    def begin_body(self) -> None:
        """Forget evaluations of the loss, which run the body without its steps, and a body that raised."""
        self._leave()
        self._steps, self._calls, self._found = 0, [], []
        if self._bodies_left and self.dropped.found is None:
            self._bodies_left -= 1
            self._is_entered = True
            self.dropped.__enter__()

    def end_body(self) -> None:
        """Read what one pass through the body did."""
        self._leave()
        self._bodies.append(list(self._found))
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

    def clipped(self) -> Clipped | None:
        """The field `clipped` of `Rehearsal`."""
        once = [found[0] for found in self._bodies if len(found) == 1]
        if len(once) < len(self._bodies) or len(once) < _FEWEST or set(self._kinds) != {"between"}:
            return None
        limits, norms = {limit for limit, _ in once}, [norm for _, norm in once]
        if len(limits) > 1 or not 0 < max(limits) < min(norms) or not max(norms) < math.inf:
            return None
        return Clipped(limit=max(limits), norm=statistics.median(norms))

    def close(self) -> None:
        """Remove hooks and patches."""
        self._leave()
        for handle in self._handles:
            handle.remove()
        if self._own is not None:
            setattr(clip_grad, _SCALES, self._own)


@contextlib.contextmanager
def clips_raised(limit: float) -> Iterator[None]:
    """Have `clip_grad_norm_` clip at this threshold, where its own is lower, while the block runs."""
    own: Any = getattr(clip_grad, _SCALES, None)

    def raised(parameters: Any, max_norm: float, *rest: Any, **words: Any) -> Any:
        return own(parameters, max(float(max_norm), limit), *rest, **words)

    if own is not None:
        setattr(clip_grad, _SCALES, raised)
    try:
        yield
    finally:
        if own is not None:
            setattr(clip_grad, _SCALES, own)
