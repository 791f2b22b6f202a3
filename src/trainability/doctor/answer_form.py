"""In which shape a metric is to be asked: that of the model's own outputs and targets. Data only; no torch."""

import math

from trainability.doctor.audit_results import AnswerForm
from trainability.doctor.facts import Facts
from trainability.doctor.rehearsed import Task

_INDEXED = ("cross_entropy", "nll_loss")
_YES_OR_NO = ("binary_cross_entropy", "binary_cross_entropy_with_logits")
_DISTANCES = ("mse_loss", "l1_loss", "smooth_l1_loss")


def answer_form(facts: Facts | None, task: Task | None, num_classes: int | None) -> AnswerForm | None:
    """Finds the form of a program's answers.

    Args:
        facts: of the program; None if there are none.
        task: as the rehearsal recognised it.
        num_classes: of the task, or the width of the output, where one is known.

    Returns:
        The form; None where it is not known what the outputs mean.
    """
    loss = (facts.task_loss if facts is not None else None) or (task.loss if task is not None else None)
    if facts is not None and facts.output_shape and facts.target_shape:
        return _of_shapes(facts, loss)
    if loss is None or loss in _INDEXED:
        width = num_classes or (task.num_classes if task is not None else None)
        is_plain = task is None or task.kind in ("classification", "unknown")
        return AnswerForm(output=(width,)) if width is not None and width > 1 and is_plain else None
    return None


def _of_shapes(facts: Facts, loss: str | None) -> AnswerForm | None:
    output, target = facts.output_shape[1:], facts.target_shape[1:]
    is_float = facts.target_rms is not None
    if loss in _INDEXED or (loss is None and not is_float):
        return _indexed(facts, output, target)
    if math.prod(output) != math.prod(target) or facts.output_shape[0] != facts.target_shape[0]:
        return None
    if loss in _YES_OR_NO:
        kind = "binary" if math.prod(output) == 1 else "multilabel" if len(output) == 1 else "pixel_binary"
        probabilities = loss == "binary_cross_entropy"
        return AnswerForm(kind=kind, output=output, target=target, float_target=is_float, probabilities=probabilities)
    if loss in _DISTANCES and facts.compares_returned:  # not a part of them, or a function of one
        return AnswerForm(kind="regression", output=output, target=target, float_target=True)
    return None


def _indexed(facts: Facts, output: tuple[int, ...], target: tuple[int, ...]) -> AnswerForm | None:
    if len(output) == 1 and output[0] > 1 and (target == () or facts.output_shape[0] != facts.target_shape[0]):
        return AnswerForm(output=output)  # of tokens, too, where the model flattens them
    if len(output) < 2:
        return None
    if output[1:] == target and output[0] > 1:
        return AnswerForm(kind="pixel_classification", output=output, target=target)
    if output[:-1] == target and output[-1] > 1:
        return AnswerForm(kind="token_classification", output=output, target=target)
    return None
