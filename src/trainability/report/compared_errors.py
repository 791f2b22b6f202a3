"""The errors of several runs side by side: in numbers, class by class, and as confusion matrices."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from trainability.evaluation.error_analysis import ErrorAnalysis
from trainability.formats import NONE, percent
from trainability.report.confusion import confusion_figure
from trainability.report.error_section import read_errors
from trainability.report.look import Figure
from trainability.training.record import Run

MOST_CLASSES = 20


@dataclass(frozen=True, kw_only=True)
class ComparedErrors:
    """Errors of runs.

    Attributes:
        rows: label, and a text for every run.
        classes: likewise, the top-1 error of each class.
        note: which classes these are.
        confusions: a matrix for every run with saved predictions.
        problems: what could not be read.
    """

    rows: list[tuple[str, list[str]]]
    classes: list[tuple[str, list[str]]]
    note: str
    confusions: tuple[Figure, ...]
    problems: tuple[str, ...]


def compared_errors(names: Sequence[str], runs: Sequence[Run]) -> ComparedErrors | None:
    """Lay out the errors of runs; None if no run has saved predictions."""
    problems, found, confusions = [], [], []
    for number, (name, run) in enumerate(zip(names, runs, strict=True)):
        kept, problem = read_errors(run)
        problems += [f"{name}: {line}" for line in problem]
        found.append(None if kept is None else kept[1])
        if kept is not None:
            figure = confusion_figure(kept[1].confusion, kept[0].class_names)
            confusions.append(dataclasses.replace(figure, name=f"confusion-{number}", title=name))
    if not any(found):
        return None
    classes = _classes(found)
    return ComparedErrors(
        rows=[
            ("Protocol", [NONE if one is None else one.protocol for one in found]),
            ("Validation images wrong", [_wrong(one) for one in found]),
            (
                "Effective number of predicted classes",
                [NONE if one is None else f"{one.spread.effective_predicted:.1f}" for one in found],
            ),
            ("Most confused", [_most_confused(one) for one in found]),
        ],
        classes=classes[:MOST_CLASSES],
        note=(
            f"The {MOST_CLASSES} of {len(classes)} classes whose errors differ most between the runs."
            if len(classes) > MOST_CLASSES
            else "Classes whose errors differ most between the runs come first."
        ),
        confusions=tuple(confusions),
        problems=tuple(problems),
    )


def _wrong(one: ErrorAnalysis | None) -> str:
    if one is None:
        return NONE
    num_images = sum(row.num_images for row in one.classes)
    wrong = num_images - int(one.confusion.trace())  # an image without a prediction is wrong, too
    return f"{wrong:,} of {num_images:,} ({percent(wrong / num_images)})"


def _most_confused(one: ErrorAnalysis | None) -> str:
    if one is None or not one.pairs:
        return NONE
    pair = one.pairs[0]
    return f"{pair.label} taken for {pair.predicted}, {pair.count:,} image{'' if pair.count == 1 else 's'}"


def _classes(found: Sequence[ErrorAnalysis | None]) -> list[tuple[str, list[str]]]:
    """List the error of each class in every run; those that differ most between runs first, then the highest."""
    errors = [{} if one is None else {row.name: row.top1_error for row in one.classes} for one in found]

    def order(name: str) -> tuple[float, float]:
        present = [by_name[name] for by_name in errors if name in by_name]
        return min(present) - max(present), -max(present)

    names = sorted(dict.fromkeys(name for by_name in errors for name in by_name), key=order)
    return [(name, [percent(by_name.get(name)) for by_name in errors]) for name in names]
