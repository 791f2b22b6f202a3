"""Outputs and targets of which it is known how many are right, in the shape of any model's own."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from trainability.doctor.audit_results import AnswerForm

SIZE = 120  # examples; not 100: a count of hits must not pass for percent
_SURER = 20.0  # times the logits: probabilities are then 0 and 1
_LONGEST = 4  # tokens or pixels along one dimension
_INDEXED = {"classification": 1, "token_classification": -1, "pixel_classification": 1}


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Outputs and targets of some examples.

    Attributes:
        output: (examples, ...), in the model's own shape.
        target: (examples, ...).
        right: (examples,) bool: which of them are right.
    """

    output: Tensor
    target: Tensor
    right: Tensor

    def rows(self, index: Tensor) -> "Answers":
        """Some of the examples, in this order."""
        return Answers(output=self.output[index], target=self.target[index], right=self.right[index])


def answers(form: AnswerForm, num_right: int, *, sure: bool = True) -> Answers:
    """Makes answers of which the last `num_right` examples are right and the others wrong.

    Args:
        form: of output and target. Long ones are cut to 4 tokens or pixels along each dimension.
        num_right: of 120.
        sure: whether outputs are far from where a yes becomes a no; only where there are yes and no.
    """
    right = torch.arange(SIZE) >= SIZE - num_right
    if form.kind in _INDEXED:
        output, target = _classes(form, right)
    elif form.kind == "regression":
        output, target = _values(form, right)
    else:
        output, target = _yes_or_no(form, right, 1.0 if sure else 0.1)
    return Answers(output=output, target=target, right=right)


def constant_answers(form: AnswerForm) -> Answers:
    """Answers that name class 0 for every example."""
    made = answers(form, SIZE)
    width = _INDEXED[form.kind]
    output = torch.zeros_like(made.output)
    output.select(width, 0).fill_(1.0)
    return Answers(output=output, target=made.target, right=made.right)


def _short(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(min(size, _LONGEST) for size in shape)


def _wide(right: Tensor, shape: tuple[int, ...]) -> Tensor:
    return right.reshape(-1, *[1] * len(shape)).expand(-1, *shape)


def _classes(form: AnswerForm, right: Tensor) -> tuple[Tensor, Tensor]:
    width = _INDEXED[form.kind]
    num_classes = form.output[0 if width == 1 else -1]
    places = _short(form.output[1:] if width == 1 else form.output[:-1])
    steps = torch.arange(math.prod(places)).reshape(1, *places)
    labels = (torch.arange(SIZE).reshape(-1, *[1] * len(places)) + steps) % num_classes
    logits = torch.linspace(0.0, 0.5, num_classes).expand(*labels.shape, num_classes).clone()
    logits.scatter_(-1, labels[..., None], torch.where(_wide(right, places), 2.0, -2.0)[..., None])
    output = (logits.softmax(-1) if form.probabilities else logits).movedim(-1, width).contiguous()
    target = labels.float() if form.float_target else labels
    return output, target.reshape(SIZE, *places)


def _yes_or_no(form: AnswerForm, right: Tensor, size: float) -> tuple[Tensor, Tensor]:
    places = _short(form.output) if form.kind == "pixel_binary" else form.output
    number = torch.arange(SIZE * math.prod(places)).reshape(SIZE, *places)
    place = number % math.prod(places)
    yes = (torch.arange(SIZE).reshape(-1, *[1] * len(places)) + place) % 2 == 0
    # The surest of several labels is never the first, so that comparing arg-maxima is wrong.
    sureness = size * (2.0 + 2.0 * place / math.prod(places))
    output = torch.where(yes == _wide(right, places), sureness, -sureness)
    output = output.sigmoid() if form.probabilities else output
    shape = _short(form.target) if form.kind == "pixel_binary" else form.target
    return output, (yes.float() if form.float_target else yes.long()).reshape(SIZE, *shape)


def _values(form: AnswerForm, right: Tensor) -> tuple[Tensor, Tensor]:
    places = _short(form.output) if len(form.output) > 1 else form.output
    shape = _short(form.target) if len(form.output) > 1 else form.target
    if form.levels:  # a metric may compare signs, or round
        place = torch.arange(SIZE * math.prod(places)).reshape(SIZE, *places)
        levels = torch.tensor(form.levels)
        target, other = levels[place % len(levels)], levels[(place + len(levels) // 2) % len(levels)]
        return torch.where(_wide(right, places), target, other), target.reshape(SIZE, *shape)
    generator = torch.Generator().manual_seed(0)
    target = 3.0 + 2.0 * torch.randn(SIZE, *places, generator=generator)
    off = torch.randn(SIZE, *places, generator=generator)
    target, off = (target.sigmoid(), 0.1 * off) if form.probabilities else (target, off)
    output = torch.where(_wide(right, places), target, target + off)
    return output, target.reshape(SIZE, *shape)


def other_ways(form: AnswerForm) -> Iterator[tuple[str, Callable[[Answers], Answers]]]:
    """Ways in which loops bring outputs and targets to a metric, the model's own shape first."""
    yield "as they are", lambda made: made
    if form.output != () and form.output[-1] == 1:
        yield "squeezed", lambda made: _changed(made, made.output.squeeze(-1), made.target.reshape(made.output.shape[:-1]))
    if form.kind not in _INDEXED:
        yield "squeezed", lambda made: _changed(made, made.output, made.target.reshape(made.output.shape))
        yield "squeezed", lambda made: _changed(made, made.output, made.target.long())
    if form.kind in ("token_classification", "pixel_classification"):
        yield "flattened", lambda made: _flattened(made, _INDEXED[form.kind])
    elif form.kind != "classification" and len(form.output) > 0:
        yield "flattened", lambda made: _changed(made, made.output.flatten(), made.target.flatten())


def hard_ways(form: AnswerForm) -> Iterator[tuple[str, Callable[[Answers], Answers]]]:
    """Ways that make something else of the outputs before the metric: probabilities, classes."""
    if form.kind in _INDEXED:
        width = _INDEXED[form.kind]
        yield "as classes", lambda made: _changed(made, made.output.argmax(width), made.target)
        if not form.probabilities:  # a metric may count none but sure answers
            yield "surer", lambda made: _changed(made, _SURER * made.output, made.target)
    elif form.kind != "regression":
        if not form.probabilities:
            yield "as probabilities", lambda made: _changed(made, made.output.sigmoid(), made.target)
        middle = 0.5 if form.probabilities else 0.0
        yield "as classes", lambda made: _changed(made, (made.output > middle).to(made.target.dtype), made.target)


def _changed(made: Answers, output: Tensor, target: Tensor) -> Answers:
    if output.shape[0] != made.right.shape[0]:  # flattened: every answer is a row of its own
        return Answers(output=output, target=target, right=made.right.repeat_interleave(len(output) // len(made.right)))
    return Answers(output=output, target=target, right=made.right)


def _flattened(made: Answers, width: int) -> Answers:
    return _changed(made, made.output.movedim(width, -1).flatten(0, -2), made.target.flatten())


def _accuracy(made: Answers) -> float:
    return float(made.right.double().mean())


def _cross_entropy(made: Answers) -> float:
    return float(F.cross_entropy(made.output.double(), made.target))


def _r2(made: Answers) -> float:
    output, target = made.output.double().reshape(made.target.shape), made.target.double()
    return float(1 - (output - target).square().sum() / (target - target.mean()).square().sum())


def _distance(made: Answers) -> Tensor:
    return made.output.double().reshape(made.target.shape) - made.target.double()


MEASURES: dict[str, Callable[[Answers], float]] = {
    "accuracy": _accuracy,
    "error": lambda made: 1 - _accuracy(made),
    "cross_entropy": _cross_entropy,
    "mse": lambda made: float(_distance(made).square().mean()),
    "rmse": lambda made: float(_distance(made).square().mean().sqrt()),
    "mae": lambda made: float(_distance(made).abs().mean()),
    "r2": _r2,
}


def measures_of(form: AnswerForm) -> tuple[str, ...]:
    """What a metric of this kind of task may be, the likeliest first."""
    if form.kind == "regression":
        return "mse", "rmse", "mae", "r2", "accuracy", "error"
    return (
        ("accuracy", "error", "cross_entropy")
        if form.kind in ("classification", "pixel_classification")
        else ("accuracy", "error")
    )
