"""Series of numbers whose targets are the input some steps later, and whether the model sees them: by exchange."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trainability.doctor.measure import statistics
from trainability.doctor.measure.calls import Call
from trainability.doctor.measure.forward_pass import ForwardPass, callable_model
from trainability.doctor.measure.held_scale import HeldScale
from trainability.doctor.measure.influence import answer
from trainability.doctor.measure.own_tokens import returns_code
from trainability.doctor.readings import SeriesAhead

_FEWEST_STEPS, _MOST_ROWS, _MOST_PLACES, _MOST_COLUMNS = 6, 8, 8, 64
_MOST_AHEAD = 64  # steps, that a loss cuts off by itself
_MOST_NUMBERS = 1 << 20
_SAME = 1e-5
_CHANGE = 1e-4  # of the outputs' rms, as for tokens


class Layout(NamedTuple):
    """Where examples, steps and columns lie; a table (examples, steps) has no columns."""

    batch: int
    time: int

    def by_step(self, values: Tensor) -> Tensor:
        """(examples, steps, columns)."""
        rest = [dim for dim in range(values.dim()) if dim not in self]
        moved = values.permute(self.batch, self.time, *rest)
        return moved if moved.dim() == 3 else moved.unsqueeze(-1)


class _Later(NamedTuple):
    """Targets of one column that are an input's column some steps later."""

    column: int
    of_input: int
    by: int


def series_ahead(seen: ForwardPass, call: Call, loss: Tensor) -> SeriesAhead | None:
    """Look for targets that the model is given in place of having to predict them.

    Args:
        seen: the pass.
        call: of the model that is asked; it is put into eval mode.
        loss: with its graph.

    Returns:
        None where targets are no later values of an input, at the same step and not behind; where the answers do not change
        when these are exchanged with values that come still later in the same example, as of a causal model, even if it
        normalises each example by itself; and where it cannot be asked.
    """
    output = call.returned[0] if call.returned else None
    if output is None or not output.requires_grad or not output.is_floating_point() or output.dim() not in (2, 3):
        return None
    (gradient,) = torch.autograd.grad(loss, output, allow_unused=True, retain_graph=True)
    if gradient is None or not bool(gradient.any()):
        return None
    series = [i for i, x in enumerate(call.inputs) if isinstance(x, Tensor) and x.is_floating_point() and x.dim() in (2, 3)]
    for target in _targets(seen, output, gradient) if series else ():
        for position in series:
            found = _asked(seen, call, position, output, gradient, target)
            if found is not None:
                return found
    return None


def _targets(seen: ForwardPass, output: Tensor, gradient: Tensor) -> Iterator[Tensor]:
    """What is set against the output, place by place; NaN where nothing is."""
    if seen.against is not None and (part := _laid_out(output, *seen.against)) is not None:
        yield part
        return
    for _, tensor in seen.batch:
        if tensor.is_floating_point():
            fitting = [laid for laid in _windows(tensor, output) if _is_set_against(laid, output, gradient)]
            if len(fitting) == 1:
                yield fitting[0]


def _windows(tensor: Tensor, output: Tensor) -> Iterator[Tensor]:
    """A tensor of the batch in the output's shape, and moved along one dimension, as a step cuts inputs and targets out."""
    if _fits(tensor, output):
        tensor = tensor.reshape(output.shape)
        yield tensor
    if tensor.dim() != output.dim() or output.numel() > _MOST_NUMBERS:
        return
    for dim, length in enumerate(output.shape):
        others = [tensor.shape[d] == output.shape[d] for d in range(output.dim()) if d != dim]
        for by in range(1, _MOST_AHEAD + 1) if all(others) and min(length, tensor.shape[dim]) >= _FEWEST_STEPS else ():
            num = min(length, tensor.shape[dim] - by)
            if num > 1:
                laid = torch.full_like(output.detach(), float("nan"))
                laid.narrow(dim, 0, num).copy_(tensor.narrow(dim, by, num))
                yield laid


def _is_set_against(laid: Tensor, output: Tensor, gradient: Tensor) -> bool:
    """The gradient of a distance has the sign of the difference, wherever the loss counts it."""
    asked = gradient != 0
    return bool(((output.detach() - laid).sign() == gradient.sign())[asked].all())


def _fits(tensor: Tensor, output: Tensor) -> bool:
    return [n for n in tensor.shape if n != 1] == [n for n in output.shape if n != 1]


def _laid_out(output: Tensor, compared: Tensor, target: Tensor) -> Tensor | None:
    """The target at the places of the output that were cut out of it; NaN elsewhere. None where they were not only cut."""
    if compared.shape != target.shape or not compared.requires_grad:
        return None
    if compared is output:
        return target.detach()
    count = torch.arange(1, compared.numel() + 1, device=compared.device, dtype=compared.dtype).view_as(compared)
    if int(count.max()) != compared.numel():  # too many for the numbers' precision
        return None
    (place,) = torch.autograd.grad(compared, output, count, allow_unused=True, retain_graph=True)
    if place is None:
        return None
    cut = place != 0
    index = place[cut].long() - 1
    if len(index) != compared.numel() or not torch.equal(compared.detach().flatten()[index], output.detach()[cut]):
        return None
    laid = torch.full_like(output.detach(), float("nan"))
    laid[cut] = target.detach().flatten()[index].to(laid.dtype)
    return laid


def _asked(
    seen: ForwardPass, call: Call, position: int, output: Tensor, gradient: Tensor, target: Tensor
) -> SeriesAhead | None:
    given = call.inputs[position].detach()
    for ours in layouts(output):
        for theirs in layouts(given):
            length = output.shape[ours.time]
            sizes = (given.shape[theirs.batch], given.shape[theirs.time])
            if ours.batch != theirs.batch or (output.shape[ours.batch], length) != sizes:
                continue
            if returns_code(seen.returned, torch.empty((len(given), length), device="meta"), 1):
                continue
            asked = ours.by_step(gradient != 0)
            later = _later(ours.by_step(target), asked, theirs.by_step(given))
            if later is not None:
                return _exchanged(call, position, (ours, theirs), asked, later)
    return None


def layouts(values: Tensor) -> list[Layout]:
    if values.dim() == 2:
        return [Layout(0, 1)]
    return [Layout(0, 1), Layout(0, 2), Layout(1, 0)]


def _later(target: Tensor, asked: Tensor, given: Tensor) -> list[_Later] | None:
    """By column of the target, the column of the input that has its values later: in all examples, at every step that counts.

    None where a column is there now or earlier, too, as of a series that repeats itself; where none is later; and where what
    comes behind the end of the input is its beginning, or one number for all, as of a task that is to shift or to turn.
    """
    examples, length, columns = target.shape
    if examples < 4 or length < _FEWEST_STEPS or max(columns, given.shape[2]) > _MOST_COLUMNS:
        return None
    few = slice(0, 4 * _MOST_ROWS)
    target, asked, given = target[few], asked[few].any(dim=0), given[few]
    found = []
    for column in range(columns):
        places = asked[:, column].nonzero().flatten()
        if len(places) < 3:
            continue
        start = int(places[len(places) // 4])
        same = (given == target[:, start, column][:, None, None]).all(dim=0)  # (steps, columns)
        candidates = [(int(t) - start, int(c)) for t, c in same.nonzero()]
        fitting = [pair for pair in candidates if _agrees(target[..., column], asked[:, column], given[..., pair[1]], pair[0])]
        if any(by <= 0 for by, _ in fitting) or bool((target[:, start, column] == target[0, start, column]).all()):
            return None
        found += [_Later(column, of_input, by) for by, of_input in fitting[:1]]
    return found or None


def _agrees(target: Tensor, asked: Tensor, given: Tensor, by: int) -> bool:
    length = target.shape[1]
    first, last = max(0, -by), min(length, length - by)
    if last - first < 2 or not bool(asked[first:last].any()):
        return False
    counted = asked[first:last]
    if not bool((target[:, first:last] == given[:, first + by : last + by])[:, counted].all()):
        return False
    ends = asked[last:]
    if by <= 0 or not bool(ends.any()):
        return True
    new, begun = target[:, last:][:, ends], given[:, :by][:, ends]
    return not torch.equal(new, begun) and bool((new != new[:1]).any())


def _exchanged(
    call: Call, position: int, layouts: tuple[Layout, Layout], asked: Tensor, later: list[_Later]
) -> SeriesAhead | None:
    """Exchange the target's own value with one still later, and look whether the answer at its step changes."""
    theirs = layouts[1]
    model, size = callable_model(call), call.inputs[position].shape[theirs.batch]
    rows = min(size, _MOST_ROWS) if theirs.batch == 0 else size
    cut = [
        x[:rows] if isinstance(x, Tensor) and x.dim() > 0 and theirs.batch == 0 and len(x) == size else x for x in call.inputs
    ]
    with HeldScale(call.model) as held:
        return _compared(held, model, cut, position, layouts, asked, later)


def _compared(
    held: HeldScale,
    model: nn.Module,
    cut: list[Any],
    position: int,
    layouts: tuple[Layout, Layout],
    asked: Tensor,
    later: list[_Later],
) -> SeriesAhead | None:
    (ours, theirs), length = layouts, asked.shape[1]
    whole = answer(model, cut, None)
    held.is_kept = True
    again = answer(model, cut, None)
    if whole is None or again is None or float((whole - again).abs().max()) > _SAME * float(statistics.rms(whole)):
        return None
    whole = again
    num_seen = num_tried = num_given = num_asked = 0
    before = cut[position]
    for one in later:
        counted = asked[:, :, one.column].any(dim=0)
        num_asked += int(counted.sum())
        num_given += int(counted[: length - one.by].sum())
        places = counted[: length - one.by - 1].nonzero().flatten()
        for place in places[:: max(1, len(places) // (_MOST_PLACES // min(len(later), _MOST_PLACES)))].tolist():
            cut[position] = _swapped(before, theirs, place + one.by, one.of_input)
            other = answer(model, cut, None)
            if other is None:
                return None
            change = (ours.by_step(other) - ours.by_step(whole))[:, place, one.column].abs().max()
            num_seen += float(change) > _CHANGE * float(statistics.rms(whole))
            num_tried += 1
    if 2 * num_seen <= num_tried:
        return None
    return SeriesAhead(by=min(one.by for one in later), share=num_given / num_asked)


def _swapped(given: Tensor, layout: Layout, step: int, column: int) -> Tensor:
    """The same with a column's value of this step exchanged with its last, so that no mean over the example changes."""
    changed = given.clone()
    view = layout.by_step(changed)
    last = view.shape[1] - 1
    view[:, [step, last], column] = view[:, [last, step], column]
    return changed
