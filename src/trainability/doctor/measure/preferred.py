"""What a loss prefers: right answers put in the place of the model's own, and wrong ones."""

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.instead import loss_of, pull, returned_once
from trainability.doctor.measure.nodes import call_of, name_of, parents_of, within
from trainability.doctor.tasks import output_form

_SURE = 6.0  # a logit: its probability is 0.998
_MARGIN = 0.1
_RARELY = 0.02  # of the range: what an undecided answer gains over wrong ones where one in fifty is a yes
_NEARLY_NOTHING = 0.1  # of what undecided answers cost
_SLIGHTLY = 1 / 60  # of the way from undecided to sure: a tenth of a logit
_ASIDE = (0.05, 0.1, 0.2, 0.4)  # of the deviation of the targets
_FAR = 20.0
_NEAR_ZERO = 1e-4
_OTHERS = 0.1  # share of the examples
_MOST_NODES = 500
_PRODUCTS = ("Mm", "Addmm", "Bmm", "Baddbmm", "Mv", "Convolution", "Mul", "Linear")
_FASTER = 3.0  # times as far at twice the distance: 2 along a line, 4 along a square


def preferences(
    model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor], seen: ForwardPass
) -> dict[str, tuple[float, float] | None]:
    """Ask the loss what it makes of right, of undecided and of wrong answers.

    Args:
        model: returns one tensor, and is called once.
        batch: one input and one target, a class, yes or no (0 or 1), or a number for each output.
        forward: of (model, batch), the loss.
        seen: the same pass with the model's own answers.

    Returns:
        `prefers_wrong`: the losses of right and of wrong answers, where right ones cost more than undecided ones, and those
        more than wrong ones, each by a tenth of the whole range; else None. Where undecided answers cost as much as half right
        and half wrong ones (a score of all answers, such as a Dice coefficient), a fiftieth. Of yes and no also None where
        undecided answers cost a tenth less than that, or where yes to everything costs the most: whether a large output is a
        yes is the program's to say.
        `sure_of_wrong`: the losses of wrong and of undecided answers to classes, or to yes and no, where right and wrong ones
        each cost less than a tenth of undecided ones, and from there the loss falls towards the wrong ones; of yes or no alone,
        with right answers to the other, too; else None.
    """
    nothing: dict[str, tuple[float, float] | None] = {"prefers_wrong": None, "sure_of_wrong": None}
    output, targets = seen.output, [t for _, t in seen.batch if not any(t is given for given in seen.inputs)]
    if output is None or len(seen.returned) != 1 or len(targets) != 1 or len(seen.batch) != 2 or not output.is_floating_point():
        return nothing
    form = output_form(output)
    for right, wrong in _answers(output.detach(), targets[0]):
        undecided = (right + wrong) / 2
        # A target of 0 and 1 beside one output each is yes or no, whatever its format.
        dim = _dim_of_classes(output, targets[0]) if _are_classes(output, targets[0]) else None

        def ask(answer: Tensor, dim: int | None = dim) -> float | None:
            return _loss_of(model, batch, forward, _shaped(answer, form, dim))

        best, worst = ask(right), ask(wrong)
        if best is None or worst is None:
            continue
        middle = ask(undecided)
        if middle is None:  # as a correlation with what is the same everywhere
            middle = _half_right(ask, right, wrong)
            if middle is None:
                continue
        are_marks = dim is None and _are_marks(targets[0])
        is_asked = max(best, worst) < _NEARLY_NOTHING * middle and (dim is not None or are_marks)
        if is_asked and _falls_to_wrong(ask, right, undecided, wrong, middle):
            return nothing | {"sure_of_wrong": (worst, middle)}
        if are_marks and (found := _sure_of_one(ask, (right, wrong), (best, middle))) is not None:
            return nothing | {"sure_of_wrong": found}
        is_turned = _is_turned(ask, (right, wrong), (best, middle, worst), are_marks)
        if is_turned and dim is None and not are_marks:
            asked = functools.partial(_loss_of, model, batch, forward)
            is_turned = any(_is_peak(asked, answer) for answer in _right_values(_shaped(right, form, dim), right))
        if is_turned and not _loss_has_head(model, batch, forward):
            return nothing | {"prefers_wrong": (best, worst)}
    return nothing


def _falls_to_wrong(
    ask: Callable[[Tensor], float | None], right: Tensor, undecided: Tensor, wrong: Tensor, middle: float
) -> bool:
    """Whether the loss falls from undecided answers to wrong ones, and rises to right ones."""
    sides = [ask(undecided + _SLIGHTLY * (end - undecided)) for end in (right, wrong)]
    return sides[0] is not None and sides[1] is not None and sides[1] < middle < sides[0]


def _sure_of_one(
    ask: Callable[[Tensor], float | None], answers: tuple[Tensor, Tensor], losses: tuple[float, float]
) -> tuple[float, float] | None:
    """The losses of wrong and of undecided answers to yes alone, or to no alone, where wrong ones cost next to nothing."""
    (right, wrong), (best, middle) = answers, losses
    for is_one in (right > 0, right < 0):
        changed = torch.where(is_one, wrong, right)
        worst = ask(changed) if 0 < int(is_one.sum()) < is_one.numel() else None
        if worst is None or max(best, worst) >= _NEARLY_NOTHING * middle:
            continue
        undecided = torch.where(is_one, (right + wrong) / 2, right)
        of_one = ask(undecided)
        is_asked = of_one is not None and max(best, worst) < _NEARLY_NOTHING * of_one
        if is_asked and of_one is not None and _falls_to_wrong(ask, right, undecided, changed, of_one):
            return worst, of_one
    return None


def _is_turned(
    ask: Callable[[Tensor], float | None], answers: tuple[Tensor, Tensor], losses: tuple[float, float, float], are_marks: bool
) -> bool:
    """Whether right answers cost more than undecided ones, and those more than wrong ones."""
    (right, wrong), (best, middle, worst) = answers, losses
    spread = best - worst
    if not (spread > 1e-3 and min(best - middle, middle - worst) > _RARELY * spread):
        return False
    half = _half_right(ask, right, wrong)
    half = (best + worst) / 2 if half is None else half
    # A loss of yes or no that is cheaper undecided than half right grows towards both ends of each answer: it is turned by
    # what a yes means (a small energy, a small distance), and has a floor. A score that is minimised has none of it. An
    # overlap goes by sums over all answers, so that undecided ones cost what half right ones do, little where a yes is rare.
    if are_marks and middle < half - _MARGIN * spread:
        return False
    if min(best - middle, middle - worst) <= (_RARELY if abs(middle - half) < _MARGIN * spread else _MARGIN) * spread:
        return False
    if not are_marks:
        return True
    # Without a yes there is no overlap: a score costs least then. One minus the overlap of what the program calls no costs
    # most where all is yes, and is sound.
    all_yes, all_no = (ask(sign * _SURE * torch.ones_like(right)) for sign in (1, -1))
    return all_yes is None or all_no is None or not all_no < all_yes - _RARELY * spread or all_yes < best - _RARELY * spread


def _right_values(shaped: Tensor, right: Tensor) -> Iterator[Tensor]:
    """What the outputs may be where they are right: the targets, or their logarithms or logits."""
    yield shaped
    if not torch.equal(shaped, right):
        yield right
    if bool((right >= 0).all()):
        yield right.clamp(min=_NEAR_ZERO).log()
        if bool((right <= 1).all()):
            yield right.clamp(_NEAR_ZERO, 1 - _NEAR_ZERO).logit()


def _is_peak(ask: Callable[[Tensor], float | None], right: Tensor) -> bool:
    """Whether a loss of numbers falls on and on as answers leave the targets: else these are not what it takes for right.

    A loss may scale or wrap what it is given, as angles; the targets are then any answer.
    """
    deviation = right.std(dim=0, keepdim=True)
    step = deviation * (0.5 + torch.rand(right.shape, generator=torch.Generator().manual_seed(0)).to(right))
    least, most = right.min(), right.max()  # a loss may take no numbers but shares
    for sign in (1, -1):
        costs = [ask(right), *(ask((right + sign * size * step).clamp(least, most)) for size in _ASIDE)]
        if any(after is None or before is None or not after < before for before, after in itertools.pairwise(costs)):
            return False
    return True


def _half_right(ask: Callable[[Tensor], float | None], right: Tensor, wrong: Tensor) -> float | None:
    """The mean loss of answers of which every second is right, and of those of which every other is: drawn, but repeatable."""
    chosen = torch.rand(right.shape, generator=torch.Generator().manual_seed(0)).to(right.device) < 0.5
    losses = [ask(torch.where(chosen, *pair)) for pair in ((right, wrong), (wrong, right))]
    return None if losses[0] is None or losses[1] is None else sum(losses) / 2  # type: ignore[arg-type]


def one_output(
    model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor], seen: ForwardPass, most: int = 16
) -> int | None:
    """An output unit that takes the loss to nothing by itself: by 20 up or down, whatever the others say.

    Args:
        model: returns one tensor (batch, units) or (batch, 1), and is called once.
        batch: what it is asked.
        forward: of (model, batch), the loss.
        seen: the same pass with the model's own answers.
        most: units that are asked.

    Returns:
        The unit; None where there is none, where the loss is not above 1e-6 by itself, or targets are classes or all alike.
    """
    output, target = seen.output, seen.target()
    if output is None or len(seen.returned) != 1 or output.dim() != 2 or not 2 <= output.shape[1] <= most:
        return None
    if target is None or not target.is_floating_point() or len(target) < 4 or bool((target == target[:1]).all()):
        return None
    own = output.detach()
    before = _loss_of(model, batch, forward, own)
    if before is None or not before > 1e-6:
        return None
    for unit in range(own.shape[1]):
        for shift in (_FAR, -_FAR):
            moved = own.clone()
            moved[:, unit] += shift
            after = _loss_of(model, batch, forward, moved)
            if after is not None and abs(after) < 1e-9 * before:
                return unit
    return None


def floorless(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor], most: int = 4) -> int | None:
    """A tensor that the model returns of which the loss falls ever faster as it is moved away, in one direction.

    Args:
        model: called once.
        batch: what it is asked.
        forward: of (model, batch), the loss.
        most: returned tensors that are asked.

    Returns:
        Its place among those returned; None where the loss falls along none, or no faster than a line: a critic's answer, a
        log-determinant and the log-probabilities of a policy have no floor, either.
    """
    own = returned_once(model, batch, forward)
    if own is None:
        return None

    def moved(place: int, by: float) -> list[Tensor]:
        return [t + by if k == place else t for k, t in enumerate(own.tensors)]

    def ask(place: int, by: float) -> float | None:
        try:
            return float(loss_of(model, batch, forward, own, moved(place, by)).detach())
        except (RuntimeError, ValueError):  # what differentiates the outputs by itself, or refuses such numbers
            return None

    for place, tensor in enumerate(own.tensors[:most]):
        if not tensor.is_floating_point() or tensor.numel() < 2:
            continue
        size = max(float(tensor.abs().max()), 1.0)
        for direction in (size, -size):
            by = _falls_faster(functools.partial(ask, place), direction)
            if by is None:
                continue
            slope = pull(model, batch, forward, own, answers=moved(place, by), place=place)
            if slope is not None and _for_all(slope * by):
                return place
    return None


def _for_all(rises: Tensor) -> bool:
    """Whether it falls for all examples: of a policy's outcomes the loss wants some nearer, and others further away."""
    rows = rises.flatten(1).sum(dim=1) if rises.dim() > 1 else rises
    return float((rows > 0).float().mean()) < _OTHERS


def _falls_faster(ask: Callable[[float], float | None], direction: float) -> float | None:
    """How far away a loss falls ever faster: 20 times a direction, or nearer where it is not finite at twice that."""
    start = ask(0.0)
    for far in (_FAR, _FAR / 4, _FAR / 16):
        near, further = ask(far * direction), ask(2 * far * direction)
        if start is None or near is None or further is None or math.inf in (near, further):
            return None
        if math.isfinite(further):
            falls = near < start - _FAR * (abs(start) + 1e-3) and further - start < _FASTER * (near - start)
            return far * direction if falls else None
    return None


def _loss_has_head(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> bool:
    """Whether the loss multiplies the outputs by trained weights: they are then embeddings, not predictions."""
    own = returned_once(model, batch, forward)
    if own is None:
        return False
    outputs = [t.clone().requires_grad_(t.is_floating_point()) for t in own.tensors]
    nodes = list(within([loss_of(model, batch, forward, own, outputs).grad_fn], None, _MOST_NODES))
    comes_from: dict[int, set[str]] = {}

    def sources(node: Any) -> set[str]:
        """Of "output" and "weight", what a node is computed from."""
        if id(node) not in comes_from:
            comes_from[id(node)] = set()
            if name_of(node) == "AccumulateGrad":
                is_output = any(node.variable is output for output in outputs)
                comes_from[id(node)] = {"output" if is_output else "weight"} if is_output or node.variable.dim() > 1 else set()
            else:
                comes_from[id(node)] = set().union(*map(sources, parents_of(node)))
        return comes_from[id(node)]

    products = (node for node in nodes if call_of(node) in _PRODUCTS)
    return any({"output"} in given and {"weight"} in given for given in ([*map(sources, parents_of(n))] for n in products))


def _loss_of(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor], answer: Tensor) -> float | None:
    calls = []

    def replaced(module: nn.Module, args: Any, output: Any) -> Any:
        calls.append(isinstance(output, Tensor) and output.shape == answer.shape)
        # Terms of a loss are told by their gradient.
        return answer.detach().requires_grad_(torch.is_grad_enabled()) if calls[-1] else output

    handle = model.register_forward_hook(replaced)
    try:
        with torch.no_grad():
            loss = float(forward(model, batch).sum())
    except (RuntimeError, ValueError):  # a loss that refuses such numbers
        return None
    finally:
        handle.remove()
    return loss if calls == [True] and loss == loss and abs(loss) != float("inf") else None


def _dim_of_classes(output: Tensor, target: Tensor) -> int:
    return 1 if output.dim() == 2 or tuple(target.shape) == (output.shape[0], *output.shape[2:]) else -1


def _answers(output: Tensor, target: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Right and wrong answers as logits, or as values."""
    if _are_classes(output, target):
        dim = _dim_of_classes(output, target)
        classes = output.shape[dim]
        rows = tuple(output.movedim(dim, -1).shape[:-1])
        if tuple(target.shape) == rows and classes > 1 and int(target.max()) < classes:
            known = target.clamp(min=0).long()
            right, wrong = (F.one_hot(c, classes).to(output.dtype) for c in (known, (known + 1) % classes))
            yield tuple(_SURE * (2 * x - 1).movedim(-1, dim) for x in (right, wrong))  # type: ignore[misc]
        return
    if target.numel() != output.numel() or target.squeeze().shape != output.squeeze().shape:
        return
    y = target.to(output.dtype).reshape(output.shape)
    if float(y.max() - y.min()) == 0:
        return
    if _are_marks(y):
        yield _SURE * (2 * y - 1), _SURE * (1 - 2 * y)
    else:
        yield y, 2 * y.mean(dim=0, keepdim=True) - y


def _are_classes(output: Tensor, target: Tensor) -> bool:
    """Whether targets are indices of classes; whole numbers of 0 and 1 beside as many outputs are yes and no."""
    if target.is_floating_point() or target.dtype == torch.bool or output.dim() < 2:
        return False
    return target.squeeze().shape != output.squeeze().shape or not _are_marks(target)


def _are_marks(target: Tensor) -> bool:
    return bool(((target == 0) | (target == 1)).all())


def _shaped(answer: Tensor, form: str, dim: int | None) -> Tensor:
    """In the form of the model's own outputs; `dim` is that of the classes, None for marks and values."""
    if form == "log_probabilities":
        return F.logsigmoid(answer) if dim is None else torch.log_softmax(answer, dim=dim)
    if form == "probabilities":
        return answer.sigmoid() if dim is None else torch.softmax(answer, dim=dim)
    return answer.tanh() if form == "tanh" else answer
