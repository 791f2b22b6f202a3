"""Sequences whose answers hand a gradient to the last steps alone, though they go by the first: a state that is detached."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import first_tensor
from trainability.doctor.measure import statistics
from trainability.doctor.measure.forward_pass import ForwardPass, callable_model
from trainability.doctor.measure.instead import exchanged
from trainability.doctor.measure.randomness import randomness_restored, seed_torch

_FEWEST = 8  # steps
_MOST_REACHED = 3  # of them; more is a window that was chosen, as in truncated backpropagation
_MOVE = 1e-2  # of the numbers' size: few choices change with it, and every smooth function does
_TELLING = 1e-5  # change of what is asked, over its size
_AS_A_LINE = 0.2  # how far what a move does may be off twice what half of it does, and off minus that of its opposite
_MOST_WEIGHTS = 24  # asked, with four passes each
_MISSED = 0.1  # of what a move of a weight does: that its gradient does not say

Forward = Callable[[Any, Any], Tensor]


def cut_steps(model: nn.Module, batch: Any, forward: Forward, seen: ForwardPass) -> tuple[int, int] | None:
    """Find sequences whose first steps an answer goes by, with a gradient of exactly zero, unlike the last ones.

    Args:
        model: as in the loop, in train mode with dropout off.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.
        seen: the same pass.

    Returns:
        How many of the last steps the gradient of an answer reaches, and of how many: steps of a tensor of numbers, or words
        that a table looks up. Of answers for each step that of the last is asked; where the model is not called once as a
        whole, the loss. None where it reaches more than three steps, where the answer does not change smoothly with the
        others, or not the same way twice; where a sequence that is one step shorter shows another number: then the state is
        detached every so many steps, on purpose; and where the gradients of all weights are whole, as of a layer that reads
        the last state of a net that is not trained.
    """
    is_called = len(seen.calls) == 1
    given = list(seen.inputs) if is_called else [tensor for _, tensor in seen.batch]
    whole = callable_model(seen) if is_called else None

    def ask(inputs: list[Any], place: int, steps: int) -> Tensor | None:
        if whole is not None:
            return _last_answer(whole(*inputs), inputs[place], steps)
        asked = batch
        for own, other in zip(given, inputs, strict=True):
            asked = exchanged(asked, own, other) if other is not own else asked
        return forward(model, asked).sum()

    for place, tensor in enumerate(given):
        if not isinstance(tensor, Tensor) or tensor.is_complex() or tensor.dim() not in (2, 3) or tensor.dtype == torch.bool:
            continue
        for steps in (1, 0) if tensor.dim() == 2 else (1, 0, 2):
            size = tensor.shape[steps]
            if size < _FEWEST:
                continue
            found = _Steps(model, ask, given, place, steps).num_reached()
            if found is None:
                continue
            shorter = [*given]
            shorter[place] = tensor.narrow(steps, 0, size - 1)
            again = found
            if is_called:
                with contextlib.suppress(Exception):  # it may take sequences of this length alone
                    again = _Steps(model, ask, shorter, place, steps).num_reached()
            return (found, size) if again == found else None
    return None


def _last_answer(returned: Any, asked: Tensor, steps: int) -> Tensor | None:
    """A number that goes by all of the answer's; of an answer for each step, by those for the last."""
    answer = first_tensor(returned)
    if answer is None or not answer.requires_grad or not answer.is_floating_point() or answer.dim() == 0:
        return None
    size = asked.shape[steps]
    if steps == 0 and (len(answer) != asked.shape[1] or len(answer) == size):
        return None  # rows of examples, which may share statistics without a gradient
    if steps > 0 and answer.dim() > 1 and answer.shape[1] == size:
        answer = answer.select(1, size - 1)
    draws = torch.Generator().manual_seed(1)
    return (answer * torch.randn(answer.shape, generator=draws).to(answer)).sum()


class _Steps:
    """One tensor of sequences, asked with moves of its numbers, or of those that its words are looked up as."""

    def __init__(
        self, model: nn.Module, ask: Callable[[list[Any], int, int], Tensor | None], given: list[Any], place: int, steps: int
    ) -> None:
        self.model, self.ask, self.given, self.place, self.steps = model, ask, given, place, steps
        self.tensor: Tensor = given[place]
        self.size = self.tensor.shape[steps]
        self.moves: list[Tensor] = []

    def num_reached(self) -> int | None:
        before, slopes = self._asked(0.0, 0), None
        weights = [p for p in self.model.parameters() if p.requires_grad][:_MOST_WEIGHTS]
        if before is not None and before.requires_grad and self.moves:
            slopes = torch.autograd.grad(before, [*self.moves, *weights], allow_unused=True)
        if before is None or slopes is None or not self._cover():
            return None
        slopes, of_weights = slopes[: len(self.moves)], slopes[len(self.moves) :]
        felt = self._by_step(slopes)
        if not bool(felt[-1]) or not bool(felt.isfinite().all()):
            return None
        first = int(felt.ne(0).nonzero()[0])  # the earliest step that has a gradient
        if self.size - first > _MOST_REACHED or not self._goes_by(float(before.detach()), first):
            return None
        return self.size - first if any(map(self._counts_for_more, weights, of_weights)) else None

    def _goes_by(self, before: float, first: int) -> bool:
        """Whether the answer changes with the first steps as a smooth function does."""

        def asked(size: float) -> float:
            found = self._asked(size, first)
            return float(found.detach()) if found is not None else before

        change, again = asked(_MOVE) - before, asked(0.0)
        if before != again or not abs(change) > _TELLING * abs(before):
            return False
        others = (2 * (asked(_MOVE / 2) - before), before - asked(-_MOVE))
        return all(abs(other - change) < _AS_A_LINE * abs(change) for other in others)

    def _counts_for_more(self, weight: nn.Parameter, slope: Tensor | None) -> bool:
        """Whether the answer goes by a weight otherwise than its gradient says: at steps that are cut off, too."""
        own = weight.data
        move = torch.randn(own.shape, generator=torch.Generator().manual_seed(0)).to(own) * (0.1 + own.abs().mean())

        def asked(size: float) -> float:
            weight.data = own + size * move  # exchanged, not written to
            found = self._asked(0.0, 0)
            return float(found.detach()) if found is not None else math.nan

        try:
            change, of_half = (asked(size) - asked(-size) for size in (_MOVE, _MOVE / 2))
        finally:
            weight.data = own
        said = 2 * _MOVE * float((slope * move).sum()) if slope is not None else 0.0
        return abs(2 * of_half - change) < _AS_A_LINE * abs(change) and abs(change - said) > _MISSED * max(
            abs(change), abs(said)
        )

    def _asked(self, size: float, first: int) -> Tensor | None:
        """Ask with the steps before `first` moved; keeps what was added, with a gradient."""
        self.moves, self.draws = [], torch.Generator().manual_seed(0)
        inputs = [*self.given]
        with torch.enable_grad(), randomness_restored():
            seed_torch(0)
            if self.tensor.is_floating_point():
                inputs[self.place] = self._moved(self.tensor.detach(), self.steps, size, first)
                return self.ask(inputs, self.place, self.steps)
            with self._looked_up(size, first):
                return self.ask(inputs, self.place, self.steps)

    def _moved(self, own: Tensor, steps: int | None, size: float, first: int) -> Tensor:
        move = torch.randn(own.shape, generator=self.draws).to(own) * (size * float(statistics.rms(own.detach())))
        if steps is not None:
            move.narrow(steps, first, own.shape[steps] - first).zero_()
        elif len(self.moves) >= first:
            move.zero_()
        self.moves.append(move.requires_grad_())
        return own + move

    @contextlib.contextmanager
    def _looked_up(self, size: float, first: int) -> Iterator[None]:
        """What tables make of the words: all at once, or step by step."""

        def look(module: nn.Module, args: Any, output: Any) -> Tensor | None:
            words = args[0] if args and isinstance(args[0], Tensor) else None
            if words is None or not isinstance(output, Tensor) or words.dtype != self.tensor.dtype:
                return None
            if words.shape == self.tensor.shape:
                return self._moved(output, self.steps, size, first)
            is_step = words.numel() == self.tensor.numel() // self.size and words.data_ptr() in places
            return self._moved(output, None, size, first) if is_step else None

        places = {self.tensor.select(self.steps, step).data_ptr() for step in range(self.size)}
        handles = [m.register_forward_hook(look) for m in self.model.modules() if isinstance(m, nn.Embedding)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _cover(self) -> bool:
        """Whether what was moved is one sequence: a single tensor of steps, or as many tensors as steps."""
        return len(self.moves) in (1, self.size)

    def _by_step(self, slopes: tuple[Tensor | None, ...]) -> Tensor:
        found = [torch.zeros_like(move) if g is None else g for g, move in zip(slopes, self.moves, strict=True)]
        if len(found) > 1:
            return torch.stack([g.abs().amax() for g in found])
        return found[0].abs().movedim(self.steps, 0).flatten(1).amax(dim=1)
