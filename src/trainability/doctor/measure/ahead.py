"""Whether outputs for earlier tokens go by later ones, in a loop that is watched: asked of its own graph, on the side.

Monitor does not run the model, so it cannot exchange tokens and ask again. While the loop's backward pass is at the logits, the
graph behind them is whole: what the first half of the places asks for is sent back through it once more, as far as the words
that were looked up, and thrown away. No parameter gets a gradient from that; random state and buffers are put back.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.measure.randomness import randomness_restored

_MOST_LOOKS = 2  # a projection that starts at zero lets nothing through at the first
_MOST_NODES = 20_000
_running = False


def is_running() -> bool:
    """Whether what runs backward now is a question on the side, which hooks are not to take for the loop's."""
    return _running


@contextlib.contextmanager
def aside() -> Iterator[None]:
    """Say so meanwhile."""
    global _running
    _running = True
    try:
        yield
    finally:
        _running = False


class Ahead:
    """Asks the first steps that are looked at.

    Attributes:
        share: largest gradient on the second half of the words over that on the first, of what the first half of the places
            asks for; None while it could not be asked.
        is_first: no step has been looked at before.
    """

    def __init__(self) -> None:
        self.share: float | None = None
        self.is_first = True
        self._num_looks = 0
        self._model: nn.Module | None = None
        self._ends: tuple[Any, Any] | None = None
        self._made: list[weakref.ref[Tensor]] = []

    def see(self, output: Any) -> None:
        """Note what a module of the model has made, and who might want its gradient."""
        if isinstance(output, Tensor) and self._wants_more:
            self._made.append(weakref.ref(output))

    @property
    def _wants_more(self) -> bool:
        return not self.share and self._num_looks < _MOST_LOOKS

    @property
    def is_retained(self) -> bool:
        """Whether somebody keeps the gradient of what a module has made, which a question would write to."""
        return any(t is not None and t.retains_grad for t in (ref() for ref in self._made))

    def follow(self, model: nn.Module, logits: Tensor, words: Tensor) -> None:
        """Take the two ends of the graph, where it can be gone through twice."""
        if self._wants_more and can_be_asked(model, logits):
            edge = torch.autograd.graph.get_gradient_edge
            self._model, self._ends = model, (edge(logits), edge(words))

    def ask(self, gradient: Tensor, shape: torch.Size, time: int) -> None:
        """Send back what the first half of the places asks for.

        Args:
            gradient: of the logits.
            shape: of the words: (examples, steps), or the other way round.
            time: the dimension of the steps.
        """
        ends, model, self._ends = self._ends, self._model, None
        if ends is None or model is None or self.is_retained:
            return
        self._num_looks += 1
        kept = shape[time] // 2
        asked = gradient.clone().view(*shape, -1)
        asked.narrow(time, kept, shape[time] - kept).zero_()
        found = sent_back(model, *ends, asked.view_as(gradient))
        if found is None:
            return
        size = found.detach().float().abs()
        own, later = (float(size.narrow(time, *part).amax()) for part in ((0, kept), (kept, shape[time] - kept)))
        self.share = later / own if 0 < own < float("inf") else None

    def forget(self) -> None:
        """Let go of the graph."""
        self.is_first = False
        self._ends = self._model = None
        self._made = []


def sent_back(model: nn.Module, logits: Any, words: Any, gradient: Tensor) -> Tensor | None:
    """Send a gradient of the logits back to words, aside: both ends are edges of the graph. None where none comes back."""
    with aside(), randomness_restored(), buffers_put_back(model):
        (found,) = torch.autograd.grad([logits], [words], grad_outputs=[gradient], retain_graph=True, allow_unused=True)
    return found


def can_be_asked(model: nn.Module, logits: Tensor) -> bool:
    """Whether a second pass changes nothing: no statistics of a batch, no shards, no function of the program's own."""
    if any(isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training for m in model.modules()):
        return False
    if any(hasattr(p, "to_local") for p in model.parameters()):
        return False
    seen, found = set(), [logits.grad_fn]
    while found:
        node: Any = found.pop()
        if node is None or node in seen:
            continue
        if len(seen) == _MOST_NODES or isinstance(node, torch.autograd.function.BackwardCFunction):
            return False
        seen.add(node)
        found += [above for above, _ in node.next_functions]
    return True


@contextlib.contextmanager
def buffers_put_back(model: nn.Module) -> Iterator[None]:
    """What is computed again in a backward pass, as by `torch.utils.checkpoint`, may write."""
    before = [(buffer, buffer._version, buffer.detach().clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, version, kept in before:
                if buffer._version != version:
                    buffer.copy_(kept)
