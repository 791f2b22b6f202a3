"""The audit of the metric: it is asked what is known, in the shape of the model's own outputs and targets."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from trainability.doctor.audit_results import AnswerForm, MetricAudit, MetricCase
from trainability.doctor.error_line import error_line
from trainability.doctor.measure.known_answers import (
    MEASURES,
    SIZE,
    Answers,
    answers,
    constant_answers,
    hard_ways,
    measures_of,
    other_ways,
)
from trainability.doctor.told import told

_SAME = 1e-4
_TEN_CLASSES = AnswerForm()
Way = Callable[[Answers], Answers]
Ask = Callable[[Sequence[Answers]], tuple[float, str | None]]


@dataclass(frozen=True, kw_only=True)
class _Question:
    name: str
    batches: tuple[Answers, ...]

    @property
    def whole(self) -> Answers:
        return Answers(
            output=torch.cat([part.output for part in self.batches]),
            target=torch.cat([part.target for part in self.batches]),
            right=torch.cat([part.right for part in self.batches]),
        )


def audit_metric(
    metric: Any,
    num_classes: int = 10,
    *,
    form: AnswerForm | None = None,
    in_structure: Callable[[Tensor], Any] = lambda output: output,
) -> MetricAudit:
    """Asks the metric questions whose answers are known.

    Args:
        metric: one of: a function of a list of (output, target) batches, the way the loop evaluates a whole set; an object
            with `update(output, target)`, `compute()` and perhaps `reset()`; or a function of one (output, target). The last
            cannot show how batches are joined, and is asked about one batch only. It returns a number, or several in a list,
            tensor, dict or tuple, of which the first counts (of a dict, what is called an accuracy or an error); of a pair of
            a count and the number of answers, their ratio. Accuracy, top-k accuracy or error, in [0, 1] or percent;
            cross-entropy; of values, a squared or absolute error or R squared. What is none of these is asked only for what
            holds of any.
        num_classes: C of the logits, at least 2, where no form is given.
        form: of the model's own outputs and targets; `None` for logits (batch, num_classes) and class indices.
        in_structure: puts outputs (examples, ...) into what the model returns, such as a tuple, which the metric takes.

    Returns:
        The audit; `diagnose(Evidence(metric=...))` reads it. A metric that raises is a wrong answer, not an error.

    Raises:
        ValueError: num_classes below 2, or a metric that is none of the above.
    """
    if num_classes < 2:
        raise ValueError(f"num_classes is {num_classes}; a metric needs at least 2")
    ask, joins = _asker(metric, in_structure)
    own = form or AnswerForm(output=(num_classes,))
    ways = [(name, own, way) for name, way in other_ways(own)]
    if own.kind == "classification" and own.output != _TEN_CLASSES.output:
        ways.append(("with ten classes", _TEN_CLASSES, lambda made: made))  # top-5 of three classes means nothing
    best: MetricAudit | None = None
    raises = False
    for hard, (name, asked, way) in [
        *((False, item) for item in ways),
        *((True, (name, own, way)) for name, way in hard_ways(own)),
    ]:
        audit = replace(_asked(ask, asked, way, joins), asked_as=name, form=own, raises=raises)
        if not audit.wrong:
            # Sure answers are right, those near a half are not: a threshold that is not the model's own.
            unsure = None if hard else _unsure(ask, asked, way, audit)
            return replace(audit, cases=(*audit.cases, unsure)) if unsure is not None else audit
        best = best or audit
        raises = any(case.error for case in best.cases)
    assert best is not None
    return best


def takes(metric: Any, output: Any, target: Any) -> bool:
    """Whether the metric returns a number for these outputs and does not raise.

    Args:
        metric: as for `audit_metric`.
        output: of the model, as it returns it.
        target: of the same examples.
    """
    ask, _ = _asker(metric, lambda output: output)
    _, error = ask((Answers(output=output, target=target, right=torch.zeros(len(target), dtype=torch.bool)),))
    return error is None


def _questions(form: AnswerForm, joins: bool) -> list[_Question]:
    mixed = answers(form, 48)
    shuffled = torch.randperm(SIZE, generator=torch.Generator().manual_seed(0))
    # The last 48 are right and the others wrong: a mean of batch means, or the last batch alone, differs from 0.4.
    questions = [
        _Question(name="every answer right", batches=(answers(form, SIZE),)),
        _Question(name="every answer wrong", batches=(answers(form, 0),)),
        _Question(name="48 of 120 right", batches=(mixed,)),
        _Question(name="48 of 120 right, asked again", batches=(mixed,)),
        _Question(name="48 of 120 right, shuffled", batches=(mixed.rows(shuffled),)),
        _Question(name="48 of 120 right, all of them twice", batches=(mixed.rows(torch.arange(2 * SIZE) % SIZE),)),
    ]
    if joins:
        for size in (64, 32, 7, 1):
            parts = tuple(mixed.rows(part) for part in torch.arange(SIZE).split(size))
            questions.append(_Question(name=f"batches of {size}, the last of {SIZE % size or size}", batches=parts))
    return questions


def _asked(ask: Ask, form: AnswerForm, way: Way, joins: bool) -> MetricAudit:
    """The metric's answers in one form, beside those of the measure that they fit best."""
    questions = _questions(form, joins)
    got = [ask([way(part) for part in question.batches]) for question in questions]
    (perfect, _), (nothing, _) = got[:2]
    scale = 100.0 if max(perfect, nothing) > 1.5 else 1.0
    tried = []
    for measure in measures_of(form):
        divisor = scale if measure in ("accuracy", "error") else 1.0
        cases = tuple(
            MetricCase(name=question.name, expected=MEASURES[measure](question.whole), got=value / divisor, error=error)
            for question, (value, error) in zip(questions, got, strict=True)
        )
        is_error = measure not in ("accuracy", "r2")
        tried.append(MetricAudit(cases=cases, measure=measure, is_error=is_error))
    fitting = min(tried, key=lambda audit: (len(audit.wrong), audit.is_error != (perfect < nothing)))
    if fitting.wrong and not _fits_alone(fitting):
        own = _by_itself(questions, got) or _by_count(questions, got, form)
        if own is not None:
            return own
    constant = None
    if form.kind == "classification" and fitting.measure in ("accuracy", "error"):
        value, _ = ask([way(constant_answers(form))])
        constant = value / scale if math.isfinite(value) else None
    return replace(fitting, constant_score=constant)


def _fits_alone(audit: MetricAudit) -> bool:
    """Whether the measure is known from single batches, so that joined ones are to agree with it."""
    return not replace(audit, cases=audit.cases[:6]).wrong


def _by_itself(questions: list[_Question], got: list[tuple[float, str | None]]) -> MetricAudit | None:
    """For a measure that is not known: what it says of one batch is what it is to say of the same answers again.

    It is taken for a measure of a whole set only if more right answers are better, and it does not depend on how often it was
    asked, on the order, or on the number of answers. A best value other than 0 or 1 is left in the cases.
    """
    values = [value for value, _ in got]
    perfect, nothing, mixed, again, shuffled, doubled = values[:6]
    ordered = perfect < mixed < nothing or perfect > mixed > nothing
    if not ordered or not all(math.isclose(mixed, other, rel_tol=1e-3, abs_tol=_SAME) for other in (again, shuffled, doubled)):
        return None
    best = 0.0 if perfect < nothing else 100.0 if perfect > 2 else 1.0
    expected = [best, nothing, *[mixed] * (len(values) - 2)]
    cases = tuple(
        MetricCase(name=question.name, expected=right, got=value, error=error)
        for question, (value, error), right in zip(questions, got, expected, strict=True)
    )
    return MetricAudit(cases=cases, measure="unknown", is_error=perfect < nothing)


def _by_count(questions: list[_Question], got: list[tuple[float, str | None]], form: AnswerForm) -> MetricAudit | None:
    """For a count, or a sum over examples: it orders the answers rightly, and is twice as large of all of them twice.

    Of classes and marks, it is a whole number, as a count, a distance of words or a sum of ranks is, or a cost, which is above
    zero where every answer is right: a count divided by another number than that of the examples is a mistake. Of values, it
    may also grow with the root of the number, as a norm does.
    """
    values = [value for value, _ in got]
    perfect, nothing, mixed, again, shuffled, doubled = values[:6]
    joined = values[6:]
    ordered = perfect < mixed < nothing or perfect > mixed > nothing
    if not ordered or not all(math.isclose(mixed, other, rel_tol=1e-3) for other in (again, shuffled, *joined)):
        return None
    are_values = form.kind == "regression"
    is_sum = math.isclose(doubled, 2 * mixed, rel_tol=1e-3)
    is_norm = are_values and math.isclose(doubled, math.sqrt(2) * mixed, rel_tol=1e-3)
    if not is_sum and not is_norm:
        return None
    are_whole = all(abs(value - round(value)) <= _SAME for value in values)
    if not (are_values or are_whole or 0 < perfect < nothing):
        return None
    cases = tuple(
        MetricCase(name=question.name, expected=value, got=value) for question, value in zip(questions, values, strict=True)
    )
    return MetricAudit(cases=cases, measure="count", is_error=perfect < nothing)


def _unsure(ask: Ask, form: AnswerForm, way: Way, audit: MetricAudit) -> MetricCase | None:
    """The answers close to where a yes becomes a no; None where there is no such place, or the metric is right there."""
    if form.kind not in ("binary", "multilabel", "pixel_binary") or audit.measure not in ("accuracy", "error"):
        return None
    made = answers(form, 48, sure=False)
    value, error = ask([way(made)])
    value /= 100.0 if max(case.got for case in audit.cases[:2]) > 1.5 else 1.0
    case = MetricCase(name="48 of 120 right, by little", expected=MEASURES[audit.measure](made), got=value, error=error)
    return case if replace(audit, cases=(case,)).wrong else None


def _asker(metric: Any, in_structure: Callable[[Any], Any]) -> tuple[Ask, bool]:
    """A function from batches to (value, error text), and whether the metric joins batches by itself."""
    stateful = callable(getattr(metric, "update", None)) and callable(getattr(metric, "compute", None))
    if not stateful and not callable(metric):
        raise ValueError(
            f"the metric is {told(metric)}; expected a function of (outputs, targets), or an object with update and compute"
        )
    joins = stateful or _num_required(metric) < 2

    def value(batches: list[tuple[Any, Tensor]]) -> Any:
        if stateful:
            return _computed(metric, batches)
        return metric(batches) if joins else metric(*batches[0])

    def ask(batches: Sequence[Answers]) -> tuple[float, str | None]:
        try:
            pairs = [(in_structure(part.output.clone()), part.target.clone()) for part in batches]
            return _one_number(value(pairs), sum(part.target.numel() for part in batches)), None
        except Exception as error:
            return math.nan, f"the metric raised {error_line(error)}"

    return ask, joins


def _one_number(value: Any, num_answers: int) -> float:
    """The metric's answer; of several, as for topk=(1, 5), the first; of a count and the number of answers, their ratio."""
    if isinstance(value, Mapping):
        named = [key for key in value if any(word in str(key).lower() for word in ("acc", "err", "top"))]
        return _one_number(value[(named or list(value))[0]], num_answers)
    if isinstance(value, Tensor) and value.dim() > 0:
        value = value.flatten().tolist()
    if isinstance(value, list | tuple):
        if len(value) == 2 and not isinstance(value[1], Mapping | list | tuple) and float(value[1]) == num_answers:
            return float(value[0]) / num_answers
        return _one_number(value[0], num_answers)
    return float(value)


def _computed(metric: Any, batches: Sequence[tuple[Any, Tensor]]) -> Any:
    if callable(getattr(metric, "reset", None)):
        metric.reset()
    for output, target in batches:
        metric.update(output, target)
    return metric.compute()


def _num_required(function: Any) -> int:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 2  # a builtin without a signature: taken as metric(output, target)
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds and p.default is inspect.Parameter.empty for p in parameters)
