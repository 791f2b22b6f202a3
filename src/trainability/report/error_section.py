"""The answers that were kept with a run -> what the page says about its errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from trainability.evaluation import predictions, thumbnails
from trainability.evaluation.error_analysis import ClassErrors, ErrorAnalysis, Pair, WrongImage, error_analysis
from trainability.evaluation.predictions import Predictions
from trainability.formats import percent
from trainability.report.confusion import confusion_figure
from trainability.report.look import Figure
from trainability.report.thumbnail import data_uri
from trainability.training.record import Run

MOST_CLASSES = 20
MOST_NAMED = 3
LONG_NAME = 14
"""Characters of a class name above which half the page has no room for bars beside it."""


@dataclass(frozen=True, kw_only=True)
class ShareRow:
    """How often a class is the answer, and how often it occurs; the lengths are bars in percent of their cell."""

    name: str
    answers: str
    labels: str
    answers_length: float
    labels_length: float


@dataclass(frozen=True, kw_only=True)
class Card:
    """A wrong image; `source` is a data URI, `None` where no thumbnail of it was kept."""

    image: WrongImage
    source: str | None
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Wrong images of a kind."""

    title: str
    note: str
    cards: tuple[Card, ...]


@dataclass(frozen=True, kw_only=True)
class ErrorSection:
    """What the page says about a run's errors.

    Attributes:
        intro: how many answers were wrong, and how the network was asked.
        answers: how they are spread over the classes.
        has_collapsed: whether few classes get most of them.
        confusion: the figure.
        classes: those with the highest error.
        classes_note: which they are.
        has_long_names: whether a name in the table of classes is long.
        has_top5: whether the top-5 error is defined.
        pairs: the most confused.
        shares: of the most frequent answers.
        entropies: of answers and labels, in words.
        galleries: of wrong images.
    """

    intro: str
    answers: str
    has_collapsed: bool
    confusion: Figure
    classes: tuple[ClassErrors, ...]
    classes_note: str
    has_long_names: bool
    has_top5: bool
    pairs: tuple[Pair, ...]
    shares: tuple[ShareRow, ...]
    entropies: tuple[tuple[str, str, str], ...]
    galleries: tuple[Gallery, ...]


def error_section(run: Run) -> tuple[ErrorSection | None, list[str]]:
    """Read what was kept of a run's answers.

    Returns:
        The section, `None` without answers, and what of it is damaged or missing.
    """
    path = run.folder / predictions.FILE
    if not path.exists():
        return None, []
    try:
        kept = predictions.load(path)
    except ValueError:
        return None, [f"Errors: {path.name} was changed or damaged; evaluating the run again makes it anew."]
    if run.data and (tuple(run.data["class_names"]), run.data["num_val"]) != (kept.class_names, len(kept)):
        return None, [f"Errors: {path.name} is of other classes or images than this run's."]
    analysis = error_analysis(kept)
    small, problems = _thumbnails(run, analysis)
    spread, worst = analysis.spread, analysis.classes[:MOST_CLASSES]
    section = ErrorSection(
        intro=_intro(kept),
        answers=_spread_in_words(kept, analysis),
        has_collapsed=spread.has_collapsed,
        confusion=confusion_figure(analysis.confusion, kept.class_names),
        classes=worst,
        classes_note=_classes_note(len(analysis.classes)),
        has_long_names=any(len(name or "") > LONG_NAME for row in worst for name in (row.name, row.taken_for)),
        has_top5=kept.errors.top5_error is not None,
        pairs=analysis.pairs,
        shares=_shares(analysis),
        entropies=tuple(
            (who, f"{entropy:.2f}", f"{equal:.1f}")
            for who, entropy, equal in (
                ("answers", spread.predicted_entropy, spread.effective_predicted),
                ("images", spread.label_entropy, spread.effective_labelled),
            )
        ),
        galleries=_galleries(analysis, small),
    )
    return section, problems


def _thumbnails(run: Run, analysis: ErrorAnalysis) -> tuple[dict[int, np.ndarray], list[str]]:
    path = run.folder / thumbnails.FILE
    listed = {image.position for image in (*analysis.worst, *analysis.most_confident)}
    again = "evaluating the run again makes it anew."
    if not listed:
        return {}, []
    if not path.exists():
        return {}, [f"Wrong images: no thumbnails were kept (no {path.name}); {again}"]
    try:
        small = thumbnails.load(path)
    except ValueError:
        return {}, [f"Wrong images: {path.name} was changed or damaged; {again}"]
    absent = listed - small.keys()
    return small, [f"Wrong images: {path.name} lacks {len(absent)} of {len(listed)}; {again}"] if absent else []


def _intro(kept: Predictions) -> str:
    wrong, num_images = round(kept.errors.top1_error * len(kept)), len(kept)
    return f"{wrong:,} of {num_images:,} validation images wrong ({percent(wrong / num_images)}). Protocol: {kept.protocol}."


def _spread_in_words(kept: Predictions, analysis: ErrorAnalysis) -> str:
    """Say how the answers are spread over the classes, and plainly so where few classes get most of them."""
    spread = analysis.spread
    silent = (
        f" The network gave NaN for {percent(spread.no_answer_fraction)} of the images." if spread.no_answer_fraction else ""
    )
    if not spread.num_predicted:
        return f"No image got an answer.{silent}"
    entropies = f"entropy {spread.predicted_entropy:.2f} nats against the labels' {spread.label_entropy:.2f}"
    counts = analysis.confusion.sum(0)
    if not spread.has_collapsed:
        return (
            f"The answers are spread as over {spread.effective_predicted:.1f} equally frequent classes, the labels as over"
            f" {spread.effective_labelled:.1f} ({entropies}).{_never(kept, counts)}{silent}"
        )
    # As many as the answers' entropy amounts to: the classes that get most of them.
    most = np.argsort(-counts, kind="stable")[: max(1, round(spread.effective_predicted))]
    share = percent(counts[most].sum() / counts.sum())
    own = percent(np.isin(kept.labels, most).mean())
    get, are = ("get", "are") if len(most) > 1 else ("gets", "is")
    return (
        f"Predictions have collapsed: {len(most):,} of {spread.num_classes:,} classes {get} {share} of the answers but"
        f" {are} {own} of the images: {_listed(kept, most)} ({entropies}).{silent}"
    )


def _never(kept: Predictions, counts: np.ndarray) -> str:
    absent = np.setdiff1d(kept.labels, np.flatnonzero(counts))
    return f" Never the answer: {_listed(kept, absent)}." if len(absent) else ""


def _listed(kept: Predictions, numbers: np.ndarray) -> str:
    named = [f"“{kept.class_names[number]}”" for number in numbers[:MOST_NAMED]]
    named += [f"{len(numbers) - MOST_NAMED:,} more"] if len(numbers) > MOST_NAMED else []
    return " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)


def _classes_note(num_classes: int) -> str:
    if num_classes > MOST_CLASSES:
        return f"The {MOST_CLASSES} classes with the highest error, of {num_classes:,}; the worst first."
    return "Every class that occurs, the worst first."


def _shares(analysis: ErrorAnalysis) -> tuple[ShareRow, ...]:
    rows = analysis.spread.most_predicted
    longest = max((max(answers, labels) for _, answers, labels in rows), default=1)
    return tuple(
        ShareRow(
            name=name,
            answers=percent(answers),
            labels=percent(labels),
            answers_length=100 * answers / longest,
            labels_length=100 * labels / longest,
        )
        for name, answers, labels in rows
    )


def _galleries(analysis: ErrorAnalysis, small: Mapping[int, np.ndarray]) -> tuple[Gallery, ...]:
    sources = {position: data_uri(pixels) for position, pixels in small.items()}

    def cards(images: tuple[WrongImage, ...]) -> tuple[Card, ...]:
        return tuple(
            Card(image=image, source=sources.get(image.position), height=height, width=width)
            for image in images
            for height, width in [small[image.position].shape[:2] if image.position in small else (0, 0)]
        )

    worst = Gallery(
        title="Worst images",
        note="Wrong, with the lowest probability for the true class. Wrong labels are often among them."
        " Beside each class: its probability.",
        cards=cards(analysis.worst),
    )
    confident = Gallery(
        title="Most confident wrong answers",
        note="Wrong, with the highest probability for the answer.",
        cards=cards(analysis.most_confident),
    )
    return tuple(gallery for gallery in (worst, confident) if gallery.cards)
