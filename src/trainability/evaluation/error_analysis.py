"""What a network gets wrong: which classes, which pairs, which images, and whether it answers the same for everything."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainability.evaluation.predictions import Predictions

COLLAPSED_RATIO = 0.5
"""At or below so many times the labels' effective number of classes, the answers have collapsed. A net that has learned has a
ratio near 1, however it errs, and one that guesses evenly too; a net of two answers for ten classes has 0.2."""


@dataclass(frozen=True, kw_only=True)
class ClassErrors:
    """One class of the validation set.

    Attributes:
        number: of the class.
        name: of the class.
        num_images: of it in the validation set.
        num_predicted: images, of any class, for which it was the answer.
        top1_error: share of its images that got another answer.
        top5_error: share whose five best answers lack it; `None`, not defined, below five classes.
        taken_for: the class it is most often taken for; `None` if it never is.
        taken_for_fraction: share of its images that are.
    """

    number: int
    name: str
    num_images: int
    num_predicted: int
    top1_error: float
    top5_error: float | None
    taken_for: str | None
    taken_for_fraction: float


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Images of one class that were taken for another.

    Attributes:
        label: the true class.
        predicted: the answer.
        count: number of images.
        fraction: of the true class's images that got an answer.
    """

    label: str
    predicted: str
    count: int
    fraction: float


@dataclass(frozen=True, kw_only=True)
class WrongImage:
    """An image that got a wrong answer.

    Attributes:
        position: in the validation set.
        label: the true class.
        predicted: the answer.
        true_probability: softmax of the true class.
        predicted_probability: softmax of the answer.
    """

    position: int
    label: str
    predicted: str
    true_probability: float
    predicted_probability: float


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How the answers are spread over the classes, against how the labels are.

    A net that has collapsed gives few answers whatever it sees: its entropy is far below that of the labels. The exponential
    of an entropy is a number of equally frequent classes that would have it.

    Attributes:
        num_classes: that there are.
        num_labelled: classes that occur among the labels.
        num_predicted: classes that are ever the answer.
        label_entropy: in nats.
        predicted_entropy: in nats.
        no_answer_fraction: share of images for which the network gave NaN.
        most_predicted: (class, share of all images that got it, share of all images that are it), the most frequent first.
    """

    num_classes: int
    num_labelled: int
    num_predicted: int
    label_entropy: float
    predicted_entropy: float
    no_answer_fraction: float
    most_predicted: tuple[tuple[str, float, float], ...]

    @property
    def effective_labelled(self) -> float:
        """Number of equally frequent classes with the labels' entropy."""
        return math.exp(self.label_entropy)

    @property
    def effective_predicted(self) -> float:
        """Number of equally frequent classes with the answers' entropy."""
        return math.exp(self.predicted_entropy)

    @property
    def has_collapsed(self) -> bool:
        """Whether few classes get most answers, far fewer than the labels are spread over."""
        return self.num_predicted > 0 and self.effective_predicted <= COLLAPSED_RATIO * self.effective_labelled


@dataclass(frozen=True, kw_only=True)
class ErrorAnalysis:
    """What a network gets wrong on its validation set.

    Attributes:
        protocol: how it was asked.
        classes: a row per class that occurs, the highest top-1 error first.
        confusion: (classes, classes) int64, images of the row's class that got the column's answer. An image without an
            answer (NaN) is in no column.
        pairs: the most confused, by number of images.
        spread: of the answers.
        worst: wrong images with the lowest softmax of the true class first: mislabelled ones are among them.
        most_confident: wrong images with the highest softmax of the answer first.
    """

    protocol: str
    classes: tuple[ClassErrors, ...]
    confusion: np.ndarray
    pairs: tuple[Pair, ...]
    spread: Spread
    worst: tuple[WrongImage, ...]
    most_confident: tuple[WrongImage, ...]


def error_analysis(predictions: Predictions, *, num_pairs: int = 10, num_images: int = 12) -> ErrorAnalysis:
    """Analyse the answers that were kept with a run.

    Args:
        predictions: from `predictions.load`.
        num_pairs: most confused pairs, and most predicted classes, to list.
        num_images: wrong images to list, of each kind.
    """
    confusion = confusion_matrix(predictions)
    return ErrorAnalysis(
        protocol=predictions.protocol,
        classes=class_errors(predictions, confusion),
        confusion=confusion,
        pairs=confused_pairs(confusion, predictions.class_names, num_pairs),
        spread=spread(predictions, num_pairs),
        # Equal softmaxes, as 0 often is, are told apart by the loss, which does not underflow.
        worst=_wrong(predictions, np.lexsort((-predictions.loss, predictions.true_probability)), num_images),
        most_confident=_wrong(predictions, np.lexsort((-predictions.loss, -predictions.top_probability[:, 0])), num_images),
    )


def confusion_matrix(predictions: Predictions) -> np.ndarray:
    """Count the images of every class by the answer that they got. Returns (classes, classes) int64, rows are true classes."""
    num_classes = len(predictions.class_names)
    answered = predictions.top[:, 0] >= 0
    cells = predictions.labels[answered] * num_classes + predictions.top[answered, 0]
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def class_errors(predictions: Predictions, confusion: np.ndarray) -> tuple[ClassErrors, ...]:
    """Measure the error of every class that occurs, the highest first; of equal ones, the one with more images."""
    names = predictions.class_names
    counts = np.bincount(predictions.labels, minlength=len(names))
    in_top = (predictions.top == predictions.labels[:, None]).any(1)
    top5_correct = np.bincount(predictions.labels[in_top], minlength=len(names))
    rows = []
    for number in np.flatnonzero(counts).tolist():
        others = confusion[number].copy()
        correct, others[number] = int(others[number]), 0
        taken_for = int(others.argmax())
        rows.append(
            ClassErrors(
                number=number,
                name=names[number],
                num_images=int(counts[number]),
                num_predicted=int(confusion[:, number].sum()),
                top1_error=1 - correct / int(counts[number]),
                top5_error=1 - int(top5_correct[number]) / int(counts[number]) if len(names) >= 5 else None,
                taken_for=names[taken_for] if others[taken_for] else None,
                taken_for_fraction=int(others[taken_for]) / int(counts[number]),
            )
        )
    return tuple(sorted(rows, key=lambda row: (-row.top1_error, -row.num_images, row.number)))


def confused_pairs(confusion: np.ndarray, class_names: tuple[str, ...], num_pairs: int) -> tuple[Pair, ...]:
    """List the pairs of classes with the most confused images; of equal ones, the larger share of the true class first."""
    totals = confusion.sum(1)
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    labels, answers = np.nonzero(wrong)
    counts = wrong[labels, answers]
    fractions = counts / totals[labels]
    order = np.lexsort((-fractions, -counts))[:num_pairs]
    return tuple(
        Pair(
            label=class_names[labels[place]],
            predicted=class_names[answers[place]],
            count=int(counts[place]),
            fraction=float(fractions[place]),
        )
        for place in order
    )


def spread(predictions: Predictions, num_listed: int) -> Spread:
    """Compare how often each class is the answer to how often it occurs."""
    names, num_images = predictions.class_names, len(predictions)
    answers = predictions.top[:, 0]
    labelled = np.bincount(predictions.labels, minlength=len(names))
    predicted = np.bincount(answers[answers >= 0], minlength=len(names))
    order = [number for number in np.argsort(-predicted, kind="stable")[:num_listed].tolist() if predicted[number]]
    return Spread(
        num_classes=len(names),
        num_labelled=int((labelled > 0).sum()),
        num_predicted=int((predicted > 0).sum()),
        label_entropy=entropy(labelled),
        predicted_entropy=entropy(predicted),
        no_answer_fraction=float((answers < 0).mean()),
        most_predicted=tuple(
            (names[number], int(predicted[number]) / num_images, int(labelled[number]) / num_images) for number in order
        ),
    )


def entropy(counts: np.ndarray) -> float:
    """Measure the entropy, in nats, of the shares that counts have; 0 where nothing was counted."""
    shares = counts[counts > 0] / max(1, counts.sum())
    return max(0.0, float(-(shares * np.log(shares)).sum()))


def _wrong(predictions: Predictions, order: np.ndarray, num_images: int) -> tuple[WrongImage, ...]:
    names, answers = predictions.class_names, predictions.top[:, 0]
    is_wrong = (answers >= 0) & (answers != predictions.labels)
    return tuple(
        WrongImage(
            position=int(position),
            label=names[predictions.labels[position]],
            predicted=names[answers[position]],
            true_probability=float(predictions.true_probability[position]),
            predicted_probability=float(predictions.top_probability[position, 0]),
        )
        for position in order[is_wrong[order]][:num_images]
    )


def tables(analysis: ErrorAnalysis, *, num_classes: int = 10) -> dict[str, list[dict[str, Any]]]:
    """Lay the analysis out as tables of plain values, for the terminal and the report alike.

    Args:
        analysis: from `error_analysis`.
        num_classes: classes to list, of those with the highest error.

    Returns:
        Title -> rows; every row maps a column's heading to a word, a whole number, or, where the heading ends in "%", a
        number in percent. A table without rows is left out.
    """
    found = analysis.spread
    rows: dict[str, list[dict[str, Any]]] = {
        "Answers against labels": [
            {
                "": who,
                "classes that occur": num,
                "entropy, nats": round(nats, 3),
                "as many equal classes": round(math.exp(nats), 1),
            }
            for who, num, nats in (
                ("labels", found.num_labelled, found.label_entropy),
                ("answers", found.num_predicted, found.predicted_entropy),
            )
        ],
        "Most frequent answers": [
            {"class": name, "of the answers %": _percent(share), "of the labels %": _percent(own)}
            for name, share, own in found.most_predicted
        ],
        "Classes with the highest error": [
            {
                "class": row.name,
                "images": row.num_images,
                "top-1 error %": _percent(row.top1_error),
                "top-5 error %": _percent(row.top5_error),
                "mostly taken for": row.taken_for or "-",
                "of its images %": _percent(row.taken_for_fraction),
            }
            for row in analysis.classes[:num_classes]
        ],
        "Most confused pairs": [
            {"class": pair.label, "taken for": pair.predicted, "images": pair.count, "of its images %": _percent(pair.fraction)}
            for pair in analysis.pairs
        ],
        "Worst images": _image_rows(analysis.worst),
        "Most confident wrong answers": _image_rows(analysis.most_confident),
    }
    return {title: table for title, table in rows.items() if table}


def _image_rows(images: tuple[WrongImage, ...]) -> list[dict[str, Any]]:
    return [
        {
            "image": image.position,
            "class": image.label,
            "taken for": image.predicted,
            "softmax of the class %": _percent(image.true_probability),
            "of the answer %": _percent(image.predicted_probability),
        }
        for image in images
    ]


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else round(100 * fraction, 2)
