"""Whether a watched forecaster sees the number that it has to predict: read off the gradients of its own backward pass."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure import ahead
from trainability.doctor.measure.held_scale import over_steps
from trainability.doctor.measure.own_tokens import returns_code
from trainability.doctor.measure.series_ahead import Layout, layouts
from trainability.doctor.readings import SeriesAhead

_FEWEST_STEPS, _FEWEST_NUMBERS, _MOST_PAIRS, _MOST_NUMBERS = 6, 64, 16, 1 << 18
_MOST_BEHIND, _MOST_AHEAD = 8, 32  # steps
_SAME = 1e-3  # of the largest gradient, from which that of a squared difference may differ


class _First(NamedTuple):
    """The first layer that reads the series, and its output with the graph."""

    module: nn.Module
    given: Tensor
    made: Tensor


class _Pulled(NamedTuple):
    """What the loss asks an output for."""

    ours: Layout
    column: int
    by: int
    share: float
    step: int


class OwnSeries:
    """Follows one pass of a model of series.

    Monitor does not run the model, so it cannot exchange numbers and ask again. The gradient of a distance has the sign of the
    difference, at every place, so it shows which step of the input is the target; what one step asks for is sent back through
    the loop's own graph as far as the first layer, whose reach is known.

    Attributes:
        found: the number of steps that the targets are ahead, where they are seen.
    """

    def __init__(self) -> None:
        self.found: SeriesAhead | None = None
        self._first: _First | None = None
        self._made: list[weakref.ref[Tensor]] = []

    def see(self, module: nn.Module, args: Any, output: Any) -> None:
        """Look at a part of the model that has just run with gradients."""
        made = output[0] if isinstance(module, nn.RNNBase) else output
        if not isinstance(made, Tensor) or not made.requires_grad:
            return
        self._made.append(weakref.ref(made))
        is_first = self._first is None and isinstance(module, (nn.Conv1d, nn.Linear, nn.RNNBase))
        if is_first and args and isinstance(args[0], Tensor) and not args[0].requires_grad:
            self._first = _First(module, args[0].detach(), made)

    def answered(self, model: nn.Module, given: Any, returned: Any) -> None:
        """Look at what the model was given and returned, and wait for the gradient."""
        first, self._first = self._first, None
        answers = [t for _, t in tensors(returned)]
        series = next((t for _, t in tensors(given) if t.is_floating_point() and t.dim() in (2, 3)), None)
        if first is None or series is None or not answers or not answers[0].requires_grad or answers[0].dim() not in (2, 3):
            return
        output = answers[0]
        if max(output.numel(), series.numel()) > _MOST_NUMBERS or any(map(over_steps, model.modules())):
            return
        steps = [(ours, theirs) for ours, theirs in _aligned(output, series)]
        if not steps or not ahead.can_be_asked(model, output):
            return
        if any(
            returns_code(answers, torch.empty(series.shape[a.batch], series.shape[a.time], device="meta"), 1) for _, a in steps
        ):
            return
        edge = torch.autograd.graph.get_gradient_edge
        ends, said, values = (edge(output), edge(first.made)), output.detach(), series.detach()
        reach = list(_reaches(first, [(theirs, theirs.by_step(values)) for _, theirs in steps]))
        shape = first.made.shape

        def came(gradient: Tensor) -> None:
            if ahead.is_running() or self.found is not None:
                return
            if any(t is not None and t.retains_grad for t in (ref() for ref in self._made)):
                return
            with contextlib.suppress(Exception), torch.no_grad():  # one fact less
                for ours, theirs in steps:
                    pulled = _pulled(ours, said, gradient.detach(), theirs.by_step(values))
                    for layout, made_by, low, high in reach if pulled is not None else ():
                        if layout == theirs and pulled is not None:
                            back = _sent(model, ends, gradient, pulled)
                            if back is not None and back.shape == shape and _reads(made_by.by_step(back), pulled, low, high):
                                self.found = SeriesAhead(by=pulled.by, share=pulled.share)
                                return

        output.register_hook(came)

    def forget(self) -> None:
        """Let go of what keeps the graph alive."""
        self._first, self._made = None, []


def _aligned(output: Tensor, series: Tensor) -> Iterator[tuple[Layout, Layout]]:
    for ours in layouts(output):
        for theirs in layouts(series):
            sizes = [(t.shape[a.batch], t.shape[a.time]) for t, a in ((output, ours), (series, theirs))]
            if ours.batch == theirs.batch and sizes[0] == sizes[1] and sizes[0][1] >= _FEWEST_STEPS:
                yield ours, theirs


def _reaches(first: _First, series: list[tuple[Layout, Tensor]]) -> Iterator[tuple[Layout, Layout, int | None, int | None]]:
    """Layouts of the series and of the layer's output, and the steps that its output at a step reads, counted from there.

    None stands for all steps before, or behind.
    """
    module = first.module
    if isinstance(module, nn.Conv1d):
        own, made = Layout(0, 2), Layout(0, 2)
        if module.stride != (1,) or module.padding_mode != "zeros" or first.given.dim() != 3:
            return
        span = (module.kernel_size[0] - 1) * module.dilation[0]
        padding = {"same": span // 2, "valid": 0}.get(str(module.padding))
        padding = int(module.padding[0]) if padding is None else padding
    else:
        is_second = isinstance(module, nn.RNNBase) and not module.batch_first
        own = made = Layout(1, 0) if is_second else Layout(0, 1)
        span = padding = 0
    for layout, values in series:
        own = layout if isinstance(module, nn.Linear) else own
        made = own
        if (
            first.given.dim() < 2
            or first.given.dim() != first.made.dim()
            or (isinstance(module, nn.Linear) and layout.time == 2)
        ):
            continue
        read = own.by_step(first.given)
        start = _starts(read, values)
        if start is None or made.by_step(first.made).shape[1] != values.shape[1]:
            continue
        if isinstance(module, nn.RNNBase):
            yield layout, made, None, None if module.bidirectional else 0
        else:
            yield layout, made, -padding - start, span - padding - start


def _starts(read: Tensor, values: Tensor) -> int | None:
    """The step of what a layer reads at which the series begins, behind padding."""
    if len(read) != len(values) or read.shape[2] != values.shape[2]:
        return None
    num = values.shape[1]
    return next((at for at in range(read.shape[1] - num + 1) if torch.equal(read[:, at : at + num], values)), None)


def _pulled(ours: Layout, said: Tensor, gradient: Tensor, series: Tensor) -> _Pulled | None:
    """The later step of a column of the series that an output's column is pulled towards, at every place that counts."""
    outputs, pulls = ours.by_step(said), ours.by_step(gradient)
    if outputs.shape[2] * series.shape[2] > _MOST_PAIRS:
        return None
    for column in range(outputs.shape[2]):
        one, pull = outputs[..., column], pulls[..., column]
        found = [
            (by, exactly)
            for of in range(series.shape[2])
            for by in range(-_MOST_BEHIND, _MOST_AHEAD + 1)
            if (exactly := _is_pulled(one, pull, series[..., of], by)) is not None
        ]
        found = [pair for pair in found if pair[1]] or found
        asked = (pull != 0).any(dim=0)
        if len(found) != 1 or (by := found[0][0]) <= 0:
            continue
        ends = pull[:, -by:]
        filled = [torch.zeros_like(ends), series[:, :by, 0]]  # of a task that is to shift or to turn
        if bool(ends.any()) and any(_is_filled(ends, one[:, -by:] - fill, is_exact=found[0][1]) for fill in filled):
            continue
        places = asked[:-by].nonzero().flatten()
        return _Pulled(ours, column, by, float(len(places) / asked.sum()), int(places[len(places) // 2]))
    return None


def _is_filled(ends: Tensor, difference: Tensor, *, is_exact: bool) -> bool:
    """Whether the last steps are asked for these values; a squared difference tells it by more than its sign."""
    asked = ends != 0
    if bool((ends.sign() != difference.sign())[asked].any()):
        return False
    force, difference = ends[asked], difference[asked]
    factor = (force * difference).sum() / difference.square().sum()
    return not is_exact or bool((force - factor * difference).abs().max() <= _SAME * force.abs().max())


def _is_pulled(one: Tensor, pull: Tensor, series: Tensor, by: int) -> bool | None:
    """None if it is not; True where the gradient is a multiple of the difference, too, as that of a squared one is."""
    length = one.shape[1]
    first, last = max(0, -by), min(length, length - by)
    if last - first < 3:
        return None
    force, difference = pull[:, first:last], one[:, first:last] - series[:, first + by : last + by]
    asked = force != 0
    if int(asked.sum()) < _FEWEST_NUMBERS or bool((force.sign() != difference.sign())[asked].any()):
        return None
    force, difference = force[asked], difference[asked]
    factor = (force * difference).sum() / difference.square().sum()
    return bool((force - factor * difference).abs().max() <= _SAME * force.abs().max())


def _sent(model: nn.Module, ends: tuple[Any, Any], gradient: Tensor, pulled: _Pulled) -> Tensor | None:
    asked = torch.zeros_like(gradient)
    view = pulled.ours.by_step(asked)
    view[:, pulled.step, pulled.column] = pulled.ours.by_step(gradient)[:, pulled.step, pulled.column]
    return ahead.sent_back(model, *ends, asked)


def _reads(back: Tensor, pulled: _Pulled, low: int | None, high: int | None) -> bool:
    """Whether one of the steps that a gradient comes back to is made of the target."""
    steps = back.abs().flatten(2).sum(dim=(0, 2)).nonzero().flatten()
    target = pulled.step + pulled.by
    begins = steps + low <= target if low is not None else torch.ones_like(steps, dtype=torch.bool)
    ends = steps + high >= target if high is not None else torch.ones_like(steps, dtype=torch.bool)
    return bool((begins & ends).any())
