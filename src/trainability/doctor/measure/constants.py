"""What the best answer costs that is the same for every example, under a loss of any kind: searched for."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import first_tensor, map_parts, to_device
from trainability.doctor.measure.exits import exit_as_error
from trainability.doctor.measure.last_part import heads_of
from trainability.doctor.measure.loop import Loop
from trainability.doctor.measure.loss_number import scalar
from trainability.doctor.measure.put_back import keep_attributes
from trainability.doctor.measure.randomness import random_state, randomness_restored, set_random_state
from trainability.doctor.tasks import lowest, output_form, shaped

_MOST_NUMBERS = 1 << 19  # of outputs; a hundred losses of more take seconds
_NEEDS_INPUTS = 0.7  # of the constant's cost: answers of their own for each example must come below it
_ROUNDS, _BATCHES = 30, 8
_FORWARDS, _COSTS = 11, 100  # that a search takes about
_AT_ONCE = 1e-3  # seconds
_UNSURE = 0.15  # standard error over the mean of the batches' costs, from which the cost is not known
_NEAR = 1.2
_EXAMPLES_A_NUMBER = 10.0  # of a single batch, that a row of several numbers is fitted to

Forward = Callable[[Any, Any], Tensor]
# One number for all, one a unit, one a place and unit.
_WIDTHS: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda row: row.reshape((-1,) + (1,) * (row.dim() - 1))[:1],
    lambda row: row.reshape((-1,) + (1,) * (row.dim() - 2) + row.shape[-1:])[:1] if row.dim() > 1 else row,
    lambda row: row,
)


def constant_loss(
    model: nn.Module,
    batches: Sequence[Any],
    forward: Forward,
    *,
    seconds: float = math.inf,
    heads: Sequence[nn.Module] = (),
    beside: bool = False,
) -> float | None:
    """Return the first number of `constant_and_own`, with the same arguments."""
    found = constant_and_own(model, batches, forward, seconds=seconds, heads=heads, beside=beside)
    return None if found is None else found[0]


def constant_and_own(
    model: nn.Module,
    batches: Sequence[Any],
    forward: Forward,
    *,
    seconds: float = math.inf,
    heads: Sequence[nn.Module] = (),
    beside: bool = False,
) -> tuple[float, float] | None:
    """Search for the loss of the best answer that is the same for every example.

    The model runs once on each batch. Then the first tensor that each of its calls returned is replaced by one row for all
    examples, which is moved to where the loss of the first batch is lowest; what else it returned stays as it was. The row has
    one number for all, one a unit, or one a place and unit. It is held against the other batches, since a row that is fitted to
    a few examples knows their luck; of a single batch only rows of a few numbers count.

    Args:
        model: is handed to `forward`, and called as a whole; the caller puts modes, buffers and random state back.
        batches: as the loop draws them; one at least.
        forward: of (model, batch), the loss: one number.
        seconds: that the search may take, by its first forward pass and its first loss.
        heads: parts of the model whose answers are replaced, where it is never called as a whole; () for the model.
        beside: only where more was returned beside these tensors.

    Returns:
        The loss, and what answers of their own for each example of the first batch cost. None where the model is not called,
        returns no rows or too many numbers; where the search does not fit the time; where the loss has no lowest value; where
        batches differ so much that the mean of theirs is not known; and where answers of their own for each example cost no
        less, so that a constant is no worse than any.
    """
    began = time.monotonic()
    replay = partial(_Replayed, model, heads or (model,), forward)
    with torch.enable_grad(), replay(batches[0]) as replayed:
        left = seconds - _FORWARDS * (time.monotonic() - began)
        if beside and not replayed.has_more:
            return None
        if not replayed.outputs or left <= 0 or _COSTS * _seconds_of_a_cost(replayed) > left:
            return None
        fitted = [row for wide in _WIDTHS if (row := _fit(replayed, wide)) is not None]
        if not fitted:
            return None
        constant, cost = min(fitted, key=lambda row: row[1])
        # From the constant on, a little apart, since of equal answers some losses have no gradient.
        each = [_apart(row, output) for row, output in zip(constant, replayed.outputs, strict=True)]
        own = lowest(lambda: replayed.cost(each), each, max_iter=_ROUNDS)
    if own is None or not own < _NEEDS_INPUTS * cost:
        return None
    found = min(_held_against(replay, batches, len(replayed.outputs[0]), *row) for row in fitted)
    return (found, own) if math.isfinite(found) else None


def rehearsed_constant(
    loop: Loop, batches: Sequence[Any], state: dict[str, Any], *, seconds: float, before: bool = True
) -> tuple[float, float] | None:
    """Search in a rehearsal, on batches of the loop's own size, since some losses compare within one.

    Args:
        loop: before its first step, or after its last.
        batches: of which the first few are asked.
        state: random state to begin with.
        seconds: that it may take; None is returned where it would take more.
        before: its first step. After the last one only models are asked that return more than a tensor: what they return
            beside the answers, as the divergence of a code, has come to what it costs by then.

    Returns:
        As `constant_and_own`.
    """
    forward = loop.forward_only
    if forward is None or len(loop.models) != 1:
        return None
    asked = [to_device(batch, loop.device) for batch in batches[:_BATCHES]]

    def cost(model: nn.Module, batch: Any) -> Tensor:
        with exit_as_error():
            return scalar(forward(model, batch))

    try:
        with randomness_restored(), loop.undisturbed(afresh=before):
            set_random_state(state)
            heads = heads_of(loop, asked[0], state)
            set_random_state(state)
            return constant_and_own(loop.models[0], asked, cost, seconds=seconds, heads=heads, beside=not before)
    except Exception:  # a loss may look at more than outputs, such as their gradients
        return None


def _seconds_of_a_cost(replayed: _Replayed) -> float:
    """Of one loss with its gradient, with the first example's answer for all; the faster of two, as the first is often slow."""
    fastest = math.inf
    for _ in range(2):
        began = time.monotonic()
        rows = [output.detach()[:1].requires_grad_() for output in replayed.outputs]
        cost = replayed.cost(rows)
        if cost.requires_grad:
            torch.autograd.grad(cost, rows, allow_unused=True)
        fastest = min(fastest, time.monotonic() - began)
        if fastest < _AT_ONCE:
            break
    return fastest


def _fit(replayed: _Replayed, wide: Callable[[Tensor], Tensor]) -> tuple[list[Tensor], float] | None:
    """The row for each call, the same for calls of one part and shape, and what it costs."""
    rows = [output.detach()[:1] for output in replayed.outputs]
    keys = [(part, row.shape[1:]) for part, row in zip(replayed.parts, rows, strict=True)]
    one = {key: torch.zeros_like(wide(row)).requires_grad_() for key, row in zip(keys, rows, strict=True)}
    constant = [one[key] for key in keys]
    cost = lowest(lambda: replayed.cost(constant), list(one.values()), max_iter=_ROUNDS)
    return (constant, cost) if cost is not None and cost > 0 else None


def _held_against(
    replay: Callable[[Any], _Replayed], batches: Sequence[Any], examples: int, constant: list[Tensor], fitted: float
) -> float:
    """What a row costs on batches that it was not fitted to; infinite where that cannot be known."""
    numbers = max(row.numel() for row in constant)
    costs: list[float] = []
    for batch in batches[1:]:
        with torch.enable_grad(), replay(batch) as replayed:
            if len(replayed.outputs) == len(constant) and all(map(_fits, constant, replayed.outputs)):
                costs.append(float(replayed.cost(constant).detach()))
    if not costs:
        return fitted if numbers == 1 or numbers <= examples / _EXAMPLES_A_NUMBER else math.inf
    each = [fitted, *costs]
    if statistics.stdev(each) > _UNSURE * statistics.fmean(each) * math.sqrt(len(each)):
        return math.inf  # a few examples make most of the loss, as of long tails
    if numbers == 1:
        return statistics.fmean(each)
    held = statistics.fmean(costs)  # as far above what is true as the fit is below it, where the two are near
    return (held + fitted) / 2 if held < _NEAR * fitted else held


def _fits(row: Tensor, output: Tensor) -> bool:
    return row.dim() == output.dim() and all(a in (1, b) for a, b in zip(row.shape, output.shape, strict=True))


def _has_rows(output: Tensor | None) -> bool:
    return output is not None and output.is_floating_point() and output.dim() > 0 and len(output) > 1


def _apart(constant: Tensor, output: Tensor) -> Tensor:
    draws = torch.randn(output.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    return (constant.detach() + 0.1 * draws.to(output)).requires_grad_()


class _Replayed:
    """Keeps what a model, or parts of it, return in one forward pass, and gives it back with other answers in its place.

    Attributes:
        outputs: the first tensor of each call; empty where one has no rows, or all have too many numbers.
        parts: the number of the part that was called, by call.
    """

    def __init__(self, model: nn.Module, parts: Sequence[nn.Module], forward: Forward, batch: Any) -> None:
        self.outputs: list[Tensor] = []
        self._model, self._batch, self._loss = model, batch, forward
        self._own = [(part, part.forward, vars(part).get("forward")) for part in parts]
        # A weight of the loss that grows with the calls, and noise, are to be the same in every question.
        self._state, self._buffers = random_state(), [(b, b.detach().clone()) for b in model.buffers()]
        self._calls: list[Any] = []
        self.parts: list[int] = []
        self._answers: list[Tensor] | None = None
        self._next = 0

    def __enter__(self) -> _Replayed:
        for place, (part, own, _) in enumerate(self._own):
            part.forward = partial(self._forward, place, own)
        self._put_back = keep_attributes(self._model)
        try:
            self._loss(self._model, self._batch)
        except BaseException:
            self.__exit__()
            raise
        found = [first_tensor(call) for call in self._calls]
        if all(map(_has_rows, found)) and sum(x.numel() for x in found if x is not None) <= _MOST_NUMBERS:
            self.outputs = [output for output in found if output is not None]
            self._shapes = [shaped(output_form(x), x) for x in self.outputs]
        return self

    @property
    def has_more(self) -> bool:
        """Whether any call returned more than a tensor."""
        return any(not isinstance(call, Tensor) for call in self._calls)

    def __exit__(self, *details: Any) -> None:
        for part, _, was_set in self._own:
            del part.forward
            if was_set is not None:
                part.forward = was_set

    def cost(self, rows: Sequence[Tensor]) -> Tensor:
        """The loss with these answers, one a call, for all examples or one for each."""
        self._next = 0
        self._put_back()
        with torch.no_grad():
            for buffer, old in self._buffers:
                buffer.copy_(old)
        set_random_state(self._state)
        self._answers = [
            shape(row.expand(output.shape)) for shape, row, output in zip(self._shapes, rows, self.outputs, strict=True)
        ]
        return self._loss(self._model, self._batch).sum()

    def _forward(self, place: int, own: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self._answers is None:
            self.parts.append(place)
            self._calls.append(own(*args, **kwargs))
            return self._calls[-1]
        returned, answer = self._calls[self._next], self._answers[self._next]
        self._next += 1
        first = first_tensor(returned)

        def change(part: Any) -> Any:
            if part is first:
                return answer
            return part.detach() if isinstance(part, Tensor) else map_parts(part, change)

        return change(returned)
