"""Kinds of task: how each is recognised, what chance costs, and how low its loss can go.

Nothing is guessed: a kind is recognised where the loss that it would have, computed anew from the output and a target of the
batch, is the loss that the program computed. The rest is "unknown".
"""

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from trainability.doctor.rehearsed import Task

# Two ways to compute one mean differ by rounding, of bfloat16 at worst where the model runs under autocast.
_SAME_LOSS = 1e-3
# A best constant answer is not a thousand times better than the answer zero; a loss without a floor is, and more.
_ENDLESS = 1e3
_WHOLE = 1e-2  # of one, what probabilities of a whole may lack in half precision
_FORMS = {
    "SoftmaxBackward": "probabilities",
    "LogSoftmaxBackward": "log_probabilities",
    "SigmoidBackward": "probabilities",
    "TanhBackward": "tanh",
    "ReluBackward": "nonnegative",
}
# Nodes of the graph that hand values on as they are.
_SAME_VALUES = ("View", "Squeeze", "Unsqueeze", "Reshape", "Transpose", "Permute", "T", "Clone", "Select", "Slice", "ToCopy")


@dataclass(frozen=True)
class Kind:
    """One way to ask: a loss, the outputs and targets that it takes, what chance costs and the lowest loss.

    Attributes:
        loss: name of the function in `torch.nn.functional`.
        fits: of (output, target): whether shapes and types are those of this kind.
        cost: of (output, target): the mean loss.
        chance: of target and number of classes: the loss of the best constant output.
        floor: of target, number of classes and form: the lowest loss.
    """

    loss: str
    fits: Callable[[Tensor, Tensor], bool]
    cost: Callable[[Tensor, Tensor], Tensor]
    chance: Callable[[Tensor, int], float]
    floor: Callable[[Tensor, int, str], float]


def entropy(classes: Tensor, num_classes: int) -> float:
    """Entropy in nats of class indices; negative ones, which losses ignore, are left out."""
    counted = torch.bincount(classes[classes >= 0].flatten(), minlength=num_classes).double()
    share = counted / counted.sum().clamp(min=1)
    return float(-torch.special.xlogy(share, share).sum())


def probability_floor(num_classes: int) -> float:
    """Lowest cross-entropy where probabilities are taken for logits: one is 1, the others 0."""
    return math.log(math.e + num_classes - 1) - 1


def _classes(output: Tensor, target: Tensor, rows: Callable[[torch.Size], tuple[int, ...]], width: int) -> bool:
    if output.dim() < 2 or not output.is_floating_point() or target.is_floating_point() or target.dtype == torch.bool:
        return False
    num_classes = output.shape[width]
    counted = target[target >= 0]
    return (
        num_classes > 1
        and tuple(target.shape) == rows(output.shape)
        and counted.numel() > 0
        and int(counted.max()) < num_classes
        and bool(((target >= 0) | (target == -100) | (target == -1)).all())
    )


def _indexed(output: Tensor, target: Tensor, width: int, loss: Callable[..., Tensor]) -> Tensor:
    rows = output.detach().movedim(width, -1).flatten(0, -2)
    labels = target.flatten().long()
    kept = labels >= 0
    return loss(rows[kept].double(), labels[kept])


def _indexed_kind(loss: str, rows: Callable[[torch.Size], tuple[int, ...]], width: int) -> Kind:
    def floor(target: Tensor, num_classes: int, form: str) -> float:
        if loss == "cross_entropy":
            return probability_floor(num_classes) if form == "probabilities" else 0.0
        return {"log_probabilities": 0.0, "probabilities": -1.0}.get(form, -math.inf)

    return Kind(
        loss=loss,
        fits=lambda output, target: _classes(output, target, rows, width),
        cost=lambda output, target: _indexed(output, target, width, getattr(F, loss)),
        chance=entropy,
        floor=floor,
    )


def _same_shape(output: Tensor, target: Tensor) -> bool:
    return output.is_floating_point() and output.shape == target.shape and output.numel() > 0


def _yes_or_no(output: Tensor, target: Tensor) -> bool:
    return _same_shape(output, target) and bool(((target >= 0) & (target <= 1)).all())


def _columns(target: Tensor) -> Tensor:
    """Rows over which one constant can be the answer: units of an output (batch, units), channels of (batch, channels, ...)."""
    wide = target.detach().double()
    return wide.movedim(1, -1).flatten(0, -2) if wide.dim() >= 2 else wide.reshape(-1, 1)


def _binary_chance(target: Tensor, num_classes: int) -> float:
    share = _columns(target).mean(dim=0)
    return float(-(torch.special.xlogy(share, share) + torch.special.xlogy(1 - share, 1 - share)).mean())


def _binary_floor(target: Tensor, num_classes: int, form: str, *, logits: bool) -> float:
    wide = target.detach().double()
    own = -(torch.special.xlogy(wide, wide) + torch.special.xlogy(1 - wide, 1 - wide))  # targets between 0 and 1
    if logits and form == "probabilities":  # a logit in [0, 1]: log(1 + e^z) - z y is lowest at its ends, or between
        ends = (wide / (1 - wide)).log().clamp(0, 1)
        return float((F.softplus(ends) - ends * wide).mean())
    return float(own.mean())


def _binary_kind(loss: str) -> Kind:
    logits = loss.endswith("with_logits")
    return Kind(
        loss=loss,
        fits=lambda o, t: _yes_or_no(o, t) and (logits or bool(((o >= 0) & (o <= 1)).all())),
        cost=lambda o, t: getattr(F, loss)(o.detach().double(), t.double()),
        chance=_binary_chance,
        floor=functools.partial(_binary_floor, logits=logits),
    )


_RANGES = {
    "probabilities": (0.0, 1.0),
    "log_probabilities": (-math.inf, 0.0),
    "tanh": (-1.0, 1.0),
    "nonnegative": (0.0, math.inf),
}


def _distance_kind(loss: str, best: Callable[[Tensor], Tensor]) -> Kind:
    cost = getattr(F, loss)

    def chance(target: Tensor, num_classes: int) -> float:
        columns = _columns(target)
        return float(cost(best(columns).expand_as(columns), columns))

    def floor(target: Tensor, num_classes: int, form: str) -> float:
        wide = target.detach().double()
        return float(cost(wide.clamp(*_RANGES.get(form, (-math.inf, math.inf))), wide))

    return Kind(
        loss=loss,
        fits=_same_shape,
        cost=lambda output, target: cost(output.detach().double(), target.double()),
        chance=chance,
        floor=floor,
    )


def _middle(columns: Tensor) -> Tensor:
    return columns.quantile(0.5, dim=0) if columns.shape[0] < 1 << 16 else columns[: 1 << 16].quantile(0.5, dim=0)


def _rows_first(shape: torch.Size) -> tuple[int, ...]:
    return (shape[0], *shape[2:])


def _rows_before(shape: torch.Size) -> tuple[int, ...]:
    return tuple(shape[:-1])


KINDS: dict[str, tuple[Kind, ...]] = {
    "classification": tuple(_indexed_kind(loss, _rows_first, 1) for loss in ("cross_entropy", "nll_loss")),
    "token_classification": tuple(_indexed_kind(loss, _rows_before, -1) for loss in ("cross_entropy", "nll_loss")),
    "binary": tuple(_binary_kind(loss) for loss in ("binary_cross_entropy_with_logits", "binary_cross_entropy")),
    "regression": (
        _distance_kind("mse_loss", lambda columns: columns.mean(dim=0)),
        _distance_kind("l1_loss", _middle),
        _distance_kind("smooth_l1_loss", _middle),
    ),
}


def output_form(output: Tensor) -> str:
    """What the last operation makes of the outputs, read off the graph of the backward pass: see `Task.form`."""
    node: Any = output.grad_fn
    while node is not None:
        name = type(node).__name__.rstrip("0123456789")
        if name in _FORMS:
            return _FORMS[name]
        if not name.removesuffix("Backward").startswith(_SAME_VALUES):
            return "values"
        node = next((above for above, _ in node.next_functions if above is not None), None)
    return "values"


def recognise(output: Any, targets: Iterable[tuple[str, Tensor]], loss: float) -> Task:
    """Find the kind of task by what the loss is.

    Args:
        output: of the model; a tensor (with its graph, where its form shall be known), else the kind is unknown.
        targets: tensors of the batch that may be the target, the likeliest first, with where they were found.
        loss: that the program computed from the output: a mean over the answers.

    Returns:
        The task; one of kind "unknown" where no kind's loss is the program's.
    """
    if not isinstance(output, Tensor) or not math.isfinite(loss):
        return Task()
    form = output_form(output)
    for place, target in targets:
        for answers, asked in _pairings(output, target):
            for name, kinds in KINDS.items():
                for kind in kinds:
                    if kind.fits(answers, asked):
                        cost = float(kind.cost(answers, asked))
                        if math.isclose(cost, loss, rel_tol=_SAME_LOSS, abs_tol=1e-7):
                            return _task(name, kind, _measured_form(name, kind, form, answers), place, answers, asked)
    return Task(form=form)


def _measured_form(name: str, kind: Kind, form: str, output: Tensor) -> str:
    """Log-probabilities are also told by their sum, where the graph ends in something else."""
    if kind.loss != "nll_loss" or form != "values":
        return form
    sums = output.detach().double().logsumexp(dim=1 if name == "classification" else -1)
    return "log_probabilities" if bool((sums.abs() < 1e-3).all()) else form


def _pairings(output: Tensor, target: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Output and target as they are, and as loops bring them together."""
    yield output, target
    if output.dim() == 3 and not target.is_floating_point() and target.shape == output.shape[:2] and target.shape[1] > 1:
        yield output[:, :-1], target[:, 1:]  # the next token, shifted inside the loss
    if output.dim() >= 2 and not target.is_floating_point() and target.numel() == output[..., 0].numel() and target.dim() > 0:
        yield output.flatten(0, -2), target.flatten()
    if output.dim() == target.dim() + 1 and output.shape[-1] == 1:
        yield output.squeeze(-1), target


def _task(name: str, kind: Kind, form: str, place: str, output: Tensor, target: Tensor) -> Task:
    if kind.loss == "binary_cross_entropy" and form == "probabilities":
        form = "values"  # what the loss takes are probabilities: a sigmoid limits nothing
    width = {"classification": 1, "token_classification": -1}.get(name)
    num_classes = output.shape[width] if width is not None else None
    if name == "classification" and output.dim() > 2:
        name = "pixel_classification"
    elif name == "binary" and target.numel() > target.shape[0]:
        name = "multilabel" if target.dim() == 2 else "pixel_binary"
    return Task(
        kind=name,
        loss=kind.loss,
        form=form,
        target=place,
        num_classes=num_classes,
        chance=kind.chance(target, num_classes or 0),
        floor=kind.floor(target, num_classes or 0, form),
    )


def shaped(form: str, output: Tensor) -> Callable[[Tensor], Tensor]:
    """Return what keeps free numbers to the values that outputs of a form can have.

    Args:
        form: see `Task.form`.
        output: (batch, ...); probabilities of which none are seen to add up to one are each of their own, as of a sigmoid.
    """
    dim = _whole_dim(output.exp() if form == "log_probabilities" else output) if form.endswith("probabilities") else None
    shapes: dict[str, Callable[[Tensor], Tensor]] = {
        "probabilities": torch.sigmoid if dim is None else functools.partial(torch.softmax, dim=dim),
        "log_probabilities": F.logsigmoid if dim is None else functools.partial(torch.log_softmax, dim=dim),
        "tanh": torch.tanh,
        "nonnegative": F.softplus,
    }
    return shapes.get(form, lambda free: free)


def _whole_dim(probabilities: Tensor) -> int | None:
    """The dimension along which probabilities add up to one; None where there is none."""
    values = probabilities.detach().float()
    dims = [dim for dim in range(1, values.dim()) if values.shape[dim] > 1]
    return next((dim for dim in dims if bool(((values.sum(dim=dim) - 1).abs() < _WHOLE).all())), None)


def lowest(loss: Callable[[], Tensor], free: Sequence[Tensor], *, max_iter: int = 60) -> float | None:
    """Lower a loss by what is free, and return what it comes to.

    Args:
        loss: of what is free, one number.
        free: leaves with a gradient; they are written to.
        max_iter: iterations of L-BFGS.

    Returns:
        The loss; None where it is not finite or falls without end.
    """
    optimizer = torch.optim.LBFGS(list(free), max_iter=max_iter, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        if value.requires_grad:
            value.backward()
        return value

    with torch.enable_grad():
        start = float(closure().detach())
        if not math.isfinite(start):
            return None
        if any(leaf.grad is not None for leaf in free):
            optimizer.step(closure)
        end = float(closure().detach())
    return end if math.isfinite(end) and end > start - _ENDLESS * (abs(start) + 1) else None


def chance_by_search(loss: Callable[[Tensor], Tensor], output: Tensor, form: str) -> float | None:
    """Loss of the best constant answer, for a loss of an unknown kind: searched for, with one number per output unit.

    Args:
        loss: of the outputs alone, targets fixed; one number.
        output: (batch, units) or (batch,); where each example has more than one row of answers, what one constant is, is open.
        form: see `Task.form`; the constant is kept to it.

    Returns:
        The loss; None where the output has another shape, the loss is not finite or falls without end.
    """
    if output.dim() > 2 or not output.is_floating_point():
        return None
    shape = shaped(form, output)
    free = torch.zeros_like(output.detach()[:1], requires_grad=True)
    return lowest(lambda: loss(shape(free).expand(output.shape)), [free])
