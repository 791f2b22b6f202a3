"""What the best answer costs that is the same for every example, under a loss of any kind: searched for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import first_tensor, map_parts, to_device
from trainability.doctor.measure.loop import Loop, scalar
from trainability.doctor.measure.randomness import randomness_restored, set_random_state
from trainability.doctor.tasks import lowest, output_form, shaped

_MOST_NUMBERS = 1 << 19  # of outputs; a hundred losses of more take seconds
_NEEDS_INPUTS = 0.7  # of the constant's cost: answers of their own for each example must come below it
_ROUNDS, _BATCHES = 30, 4


def constant_loss(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> float | None:
    """Search for the loss of the best answer that is the same for every example of a batch.

    The model runs once. Then the first tensor that each of its calls returned is replaced by one row for all examples, which
    is moved to where the loss is lowest; what else it returned stays as it was.

    Args:
        model: is handed to `forward`, and called as a whole; the caller puts modes, buffers and random state back.
        batch: as the loop draws it.
        forward: of (model, batch), the loss: one number.

    Returns:
        The loss. None where the model is not called, returns no rows or too many numbers; where the loss has no lowest value;
        and where answers of their own for each example cost no less, so that a constant is no worse than any.
    """
    with torch.enable_grad(), _Replayed(model) as replayed:
        forward(model, batch)
        returned = [first_tensor(call) for call in replayed.calls]
        if not returned or not all(_has_rows(output) for output in returned):
            return None
        outputs = [output for output in returned if output is not None]
        if sum(output.numel() for output in outputs) > _MOST_NUMBERS:
            return None
        shapes = [shaped(output_form(output), output.shape[-1] if output.dim() > 1 else 1) for output in outputs]

        def cost(answers: Callable[[int], Tensor]) -> Tensor:
            replayed.answer_with(shape(answers(i)).expand(output.shape) for i, (shape, output) in enumerate(rows))
            return forward(model, batch).sum()

        rows = list(zip(shapes, outputs, strict=True))
        one = {output.shape[1:]: torch.zeros_like(output.detach()[:1], requires_grad=True) for output in outputs}
        constant = lowest(lambda: cost(lambda i: one[outputs[i].shape[1:]]), list(one.values()), max_iter=_ROUNDS)
        if constant is None or not constant > 0:
            return None
        # From the constant on, a little apart, since of equal answers some losses have no gradient.
        each = [_apart(one[output.shape[1:]], output) for output in outputs]
        own = lowest(lambda: cost(lambda i: each[i]), each, max_iter=_ROUNDS)
        return constant if own is not None and own < _NEEDS_INPUTS * constant else None


def rehearsed_constant(loop: Loop, batches: Sequence[Any], state: dict[str, Any]) -> float | None:
    """Search in a rehearsal: the mean over batches of the loop's own size, since some losses compare within one.

    Args:
        loop: before its first step.
        batches: of which the first few are asked.
        state: random state to begin with.
    """
    forward = loop.forward_only
    if forward is None or len(loop.models) != 1:
        return None
    found = []
    for batch in batches[:_BATCHES]:
        try:
            with randomness_restored(), loop.undisturbed(afresh=True):
                set_random_state(state)
                found.append(constant_loss(loop.models[0], to_device(batch, loop.device), lambda m, b: scalar(forward(m, b))))
        except Exception:  # a loss may look at more than outputs, such as their gradients
            return None
    known = [cost for cost in found if cost is not None]
    return sum(known) / len(known) if known and len(known) == len(found) else None


def _has_rows(output: Tensor | None) -> bool:
    return output is not None and output.is_floating_point() and output.dim() > 0 and len(output) > 1


def _apart(constant: Tensor, output: Tensor) -> Tensor:
    draws = torch.randn(output.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    return (constant.detach() + 0.1 * draws.to(output)).requires_grad_()


class _Replayed:
    """Keeps what a model returns in its calls, and gives it back with other answers in its place.

    Attributes:
        calls: what each call returned.
    """

    def __init__(self, model: nn.Module) -> None:
        self.calls: list[Any] = []
        self._model, self._own = model, model.forward
        self._was_set = vars(model).get("forward")
        self._answers: Iterator[Tensor] | None = None
        self._next = 0

    def __enter__(self) -> _Replayed:
        self._model.forward = self._forward
        return self

    def __exit__(self, *_: Any) -> None:
        del self._model.forward
        if self._was_set is not None:
            self._model.forward = self._was_set

    def answer_with(self, answers: Iterator[Tensor]) -> None:
        """Give these answers, one a call, from the first call on."""
        self._answers, self._next = answers, 0

    def _forward(self, *args: Any, **kwargs: Any) -> Any:
        if self._answers is None:
            self.calls.append(self._own(*args, **kwargs))
            return self.calls[-1]
        returned, answer = self.calls[self._next], next(self._answers)
        self._next += 1
        first = first_tensor(returned)

        def change(part: Any) -> Any:
            if part is first:
                return answer
            return part.detach() if isinstance(part, Tensor) else map_parts(part, change)

        return change(returned)
