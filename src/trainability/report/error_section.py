"""The page's section on the errors, from the saved predictions of a run."""

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
"""Longest class name, in characters, that leaves room for bars on half the page."""


@dataclass(frozen=True, kw_only=True)
class ShareRow:
    """How often a class is predicted, and how often it occurs; the lengths of bars are in percent of their cell."""

    name: str
    answers: str
    labels: str
    answers_length: float
    labels_length: float


@dataclass(frozen=True, kw_only=True)
class Card:
    """A wrong image; `source` is a data URI, `None` if it has no thumbnail."""

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
    """Contents of the section on errors.

    Attributes:
        intro: number of wrong predictions, and the protocol.
        answers: distribution of the predictions over the classes, in words.
        has_collapsed: whether few classes get most of the predictions.
        confusion: the figure.
        classes: those with the highest error.
        classes_note: which classes the table shows.
        has_long_names: whether a name in the table of classes is long.
        has_top5: whether the top-5 error is defined.
        pairs: the most confused.
        shares: of the most frequent predictions.
        entropies: of predictions and labels, in words.
        gallery: the worst wrong images; None if no image is wrong.
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
    gallery: Gallery | None


def read_errors(run: Run) -> tuple[tuple[Predictions, ErrorAnalysis] | None, list[str]]:
    """Read a run's saved predictions, and analyse them.

    Returns:
        Both, `None` without predictions, and notes about a damaged file.
    """
    path = run.folder / predictions.FILE
    if not path.exists():
        return None, []
    try:
        kept = predictions.load(path)
    except ValueError:
        return None, [f"Errors: {path.name} was changed or damaged; evaluate the run again."]
    if run.data and (tuple(run.data["class_names"]), run.data["num_val"]) != (kept.class_names, len(kept)):
        return None, [f"Errors: {path.name} does not have this run's classes or images."]
    return (kept, error_analysis(kept)), []


def error_section(run: Run) -> tuple[ErrorSection | None, list[str]]:
    """Make the section from a run's saved predictions.

    Returns:
        The section, `None` without predictions, and notes about damaged or missing files.
    """
    found, damaged = read_errors(run)
    if found is None:
        return None, damaged
    kept, analysis = found
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
                ("predictions", spread.predicted_entropy, spread.effective_predicted),
                ("images", spread.label_entropy, spread.effective_labelled),
            )
        ),
        gallery=_gallery(analysis, small),
    )
    return section, problems


def _thumbnails(run: Run, analysis: ErrorAnalysis) -> tuple[dict[int, np.ndarray], list[str]]:
    path = run.folder / thumbnails.FILE
    listed = {image.position for image in (*analysis.worst, *analysis.most_confident)}
    again = "evaluate the run again."
    if not listed:
        return {}, []
    if not path.exists():
        return {}, [f"Wrong images: no thumbnails (no {path.name}); {again}"]
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
    """Describe the distribution of the predictions over the classes; a collapse is mentioned first."""
    spread = analysis.spread
    silent = (
        f" The network gave NaN for {percent(spread.no_answer_fraction)} of the images." if spread.no_answer_fraction else ""
    )
    if not spread.num_predicted:
        return f"There is no prediction.{silent}"
    entropies = f"entropy {spread.predicted_entropy:.2f} nats against the labels' {spread.label_entropy:.2f}"
    counts = analysis.confusion.sum(0)
    if not spread.has_collapsed:
        return (
            f"Effective number of predicted classes: {spread.effective_predicted:.1f}, of the labels"
            f" {spread.effective_labelled:.1f} ({entropies}).{_never(kept, counts)}{silent}"
        )
    # The most frequent classes, as many as the predictions' effective number of classes.
    most = np.argsort(-counts, kind="stable")[: max(1, round(spread.effective_predicted))]
    share = percent(counts[most].sum() / counts.sum())
    own = percent(np.isin(kept.labels, most).mean())
    get, are = ("get", "are") if len(most) > 1 else ("gets", "is")
    return (
        f"Predictions have collapsed: {len(most):,} of {spread.num_classes:,} classes {get} {share} of the predictions but"
        f" {are} {own} of the images: {_listed(kept, most)} ({entropies}).{silent}"
    )


def _never(kept: Predictions, counts: np.ndarray) -> str:
    absent = np.setdiff1d(kept.labels, np.flatnonzero(counts))
    return f" Never predicted: {_listed(kept, absent)}." if len(absent) else ""


def _listed(kept: Predictions, numbers: np.ndarray) -> str:
    named = [f"“{kept.class_names[number]}”" for number in numbers[:MOST_NAMED]]
    named += [f"{len(numbers) - MOST_NAMED:,} more"] if len(numbers) > MOST_NAMED else []
    return " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)


def _classes_note(num_classes: int) -> str:
    if num_classes > MOST_CLASSES:
        return f"The {MOST_CLASSES} classes with the highest error, of {num_classes:,}."
    return "All classes that occur, the highest error first."


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


def _gallery(analysis: ErrorAnalysis, small: Mapping[int, np.ndarray]) -> Gallery | None:
    """Show each of the worst images once: the least probable true classes, and the most confident wrong predictions."""
    images = {image.position: image for image in (*analysis.worst, *analysis.most_confident)}
    if not images:
        return None
    cards = []
    for image in sorted(images.values(), key=lambda image: image.true_probability):
        pixels = small.get(image.position)
        height, width = (0, 0) if pixels is None else pixels.shape[:2]
        cards.append(Card(image=image, source=None if pixels is None else data_uri(pixels), height=height, width=width))
    return Gallery(
        title="Worst images",
        note="The wrong images to whose true class the net gives the lowest probability, which come first, and those of whose"
        " wrong class it is surest. Each class is shown with its probability. Wrong labels are often among them.",
        cards=tuple(cards),
    )
