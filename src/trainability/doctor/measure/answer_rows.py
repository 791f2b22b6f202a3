"""Which dimension of the answers is that of the examples, in a loop that is watched: asked of its own graph, on the side."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.measure.ahead import aside, buffers_put_back, can_be_asked
from trainability.doctor.measure.randomness import randomness_restored
from trainability.doctor.measure.transposed import along, ways

_FEWEST = 4  # examples


class AnswerRows:
    """Sends back what stands at one index of the answers, dimension by dimension, and sees which words it comes to.

    Attributes:
        words: that the model was given, as its caller has them.
        shape: of the answers.
        found: dimension of the examples in these words, and in the answers as `transposed.along` takes it; None where all
            answers go by several examples, and where it was not asked.
    """

    def __init__(self) -> None:
        self.words: Tensor | None = None
        self.shape: tuple[int, ...] = ()
        self.found: tuple[int, int] | None = None
        self._ends: tuple[Any, Any] | None = None
        self._model: nn.Module | None = None
        self._is_turned = False

    def follow(self, model: nn.Module, given: Tensor, looked_up: Tensor, vectors: Tensor, answers: Tensor) -> None:
        """Take the two ends of the graph, where it can be gone through twice.

        Args:
            model: the plain module.
            given: words that it was called with, (examples, steps) or the other way round.
            looked_up: the same, or turned, as an embedding was given them.
            vectors: what that embedding made.
            answers: what the model returned.
        """
        self._is_turned = not _are_equal(given, looked_up)
        is_known = not self._is_turned or _are_equal(given.T, looked_up)
        if self.words is None and is_known and answers.dim() > 1 and can_be_asked(model, answers):
            edge = torch.autograd.graph.get_gradient_edge
            self.shape = tuple(answers.shape)
            self.words, self._model, self._ends = given.detach(), model, (edge(answers), edge(vectors))

    def ask(self, gradient: Tensor) -> None:
        """Ask while the loop's backward pass is at the answers.

        Args:
            gradient: of the answers.
        """
        ends, model, self._ends = self._ends, self._model, None
        if ends is None or model is None or self.words is None:
            return
        for axis in (0, 1):
            count = self.words.shape[axis]
            found = [
                way for way in ways(gradient, count) if count >= _FEWEST and self._comes_to(ends, model, gradient, axis, way)
            ]
            if found:
                self.found = (axis, found[0]) if len(found) == 1 else None
                return

    def _comes_to(self, ends: tuple[Any, Any], model: nn.Module, gradient: Tensor, axis: int, way: int) -> bool:
        """Whether what is at one index comes to the words of the example with that index, and to no others."""
        assert self.words is not None
        count = self.words.shape[axis]
        row = count // 3 + 1
        sent = torch.zeros_like(gradient, memory_format=torch.contiguous_format)
        if way >= 0:
            sent.select(way, row).fill_(1.0)
        else:
            rows = sent.view(-1, *sent.shape[1 if sent.dim() == 2 else 2 :])
            (rows.view(count, -1, *rows.shape[1:])[row] if way == -1 else rows.view(-1, count, *rows.shape[1:])[:, row]).fill_(
                1.0
            )
        with aside(), randomness_restored(), buffers_put_back(model):
            (back,) = torch.autograd.grad([ends[0]], [ends[1]], grad_outputs=[sent], retain_graph=True, allow_unused=True)
        if back is None:
            return False
        reached = (back != 0).any(dim=-1)
        return along((reached.T if self._is_turned else reached)[..., None], axis, count) == {row}

    def forget(self) -> None:
        """Let go of the graph."""
        self._ends = self._model = None


def _are_equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool((one == other).all())
