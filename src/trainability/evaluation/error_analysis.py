"""Analyse the errors of a network: by class, by pair of classes, by image, and whether its predictions have collapsed."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainability.evaluation.metrics import Errors
from trainability.evaluation.predictions import Predictions

COLLAPSED_RATIO = 0.5
"""Predictions have collapsed if their effective number of classes is at most this fraction of the labels'. The ratio is near 1
for a net that has learned, and for one that guesses evenly; it is 0.2 for a net that predicts two classes of ten."""


@dataclass(frozen=True, kw_only=True)
class ClassErrors:
    """One class of the validation set.

    Attributes:
        number: of the class.
        name: of the class.
        num_images: of it in the validation set.
        num_predicted: images, of any class, for which it was predicted.
        top1_error: fraction of its images with another prediction.
        top5_error: fraction of its images for which it is not among the five most probable classes; `None` (not defined)
            below five classes.
        taken_for: the class most often predicted instead; `None` if there is none.
        taken_for_fraction: fraction of its images for which that class was predicted.
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
    """Images of one class for which another was predicted.

    Attributes:
        label: the true class.
        predicted: the predicted class.
        count: number of images.
        fraction: of the true class's images that have a prediction.
    """

    label: str
    predicted: str
    count: int
    fraction: float


@dataclass(frozen=True, kw_only=True)
class WrongImage:
    """An image with a wrong prediction.

    Attributes:
        position: in the validation set.
        label: the true class.
        predicted: the predicted class.
        true_probability: softmax of the true class.
        predicted_probability: softmax of the predicted class.
    """

    position: int
    label: str
    predicted: str
    true_probability: float
    predicted_probability: float


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How predictions and labels are distributed over the classes.

    A collapsed net predicts few classes whatever the image: the entropy of its predictions is far below that of the labels. The
    exponential of an entropy is the number of equally frequent classes with that entropy.

    Attributes:
        num_classes: number of classes.
        num_labelled: classes that occur among the labels.
        num_predicted: classes that are predicted at least once.
        label_entropy: in nats.
        predicted_entropy: in nats.
        no_answer_fraction: fraction of images for which the network gave NaN.
        most_predicted: (class, fraction of the predictions, fraction of the labels), the most frequently predicted first.
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
        """Number of equally frequent classes with the predictions' entropy."""
        return math.exp(self.predicted_entropy)

    @property
    def has_collapsed(self) -> bool:
        """Whether the predictions cover far fewer classes than the labels."""
        return self.num_predicted > 0 and self.effective_predicted <= COLLAPSED_RATIO * self.effective_labelled


@dataclass(frozen=True, kw_only=True)
class ErrorAnalysis:
    """The errors of a network on its validation set.

    Attributes:
        protocol: of the evaluation, in words.
        classes: a row per class that occurs, the highest top-1 error first.
        confusion: (classes, classes) int64, images of the row's class for which the column's class was predicted. An image
            without a prediction (NaN) is in no column.
        pairs: the most confused, by number of images.
        spread: of the predictions.
        worst: wrong images, the lowest softmax of the true class first; mislabelled images are often among them.
        most_confident: wrong images, the highest softmax of the predicted class first.
    """

    protocol: str
    classes: tuple[ClassErrors, ...]
    confusion: np.ndarray
    pairs: tuple[Pair, ...]
    spread: Spread
    worst: tuple[WrongImage, ...]
    most_confident: tuple[WrongImage, ...]


def error_analysis(predictions: Predictions, *, num_pairs: int = 10, num_images: int = 12) -> ErrorAnalysis:
    """Analyse the saved predictions of a run.

    Args:
        predictions: from `predictions.load`.
        num_pairs: how many confused pairs, and frequently predicted classes, to list.
        num_images: how many wrong images to list, of each kind.
    """
    confusion = confusion_matrix(predictions)
    return ErrorAnalysis(
        protocol=predictions.protocol,
        classes=class_errors(predictions, confusion),
        confusion=confusion,
        pairs=confused_pairs(confusion, predictions.class_names, num_pairs),
        spread=spread(predictions, num_pairs),
        # Softmax values are often equal (0); the loss, which does not underflow, orders them.
        worst=_wrong(predictions, np.lexsort((-predictions.loss, predictions.true_probability)), num_images),
        most_confident=_wrong(predictions, np.lexsort((-predictions.loss, -predictions.top_probability[:, 0])), num_images),
    )


def confusion_matrix(predictions: Predictions) -> np.ndarray:
    """Count images by true class (row) and predicted class (column). Returns (classes, classes) int64."""
    num_classes = len(predictions.class_names)
    answered = predictions.top[:, 0] >= 0
    cells = predictions.labels[answered] * num_classes + predictions.top[answered, 0]
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def class_errors(predictions: Predictions, confusion: np.ndarray) -> tuple[ClassErrors, ...]:
    """Compute the error of every class that occurs, the highest first; among equal ones, the class with more images."""
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
    """List the most confused pairs by number of images; among equal ones, the larger fraction of the true class first."""
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
    """Compare how often each class is predicted with how often it occurs."""
    names, num_images = predictions.class_names, len(predictions)
    answers = predictions.top[:, 0]
    labelled = np.bincount(predictions.labels, minlength=len(names))
    predicted = np.bincount(answers[answers >= 0], minlength=len(names))
    order = [number for number in np.argsort(-predicted, kind="stable")[:num_listed].tolist() if predicted[number]]
    return Spread(
        num_classes=len(names),
        num_labelled=int((labelled > 0).sum()),
        num_predicted=int((predicted > 0).sum()),
        label_entropy=entropy_of_counts(labelled),
        predicted_entropy=entropy_of_counts(predicted),
        no_answer_fraction=float((answers < 0).mean()),
        most_predicted=tuple(
            (names[number], int(predicted[number]) / num_images, int(labelled[number]) / num_images) for number in order
        ),
    )


def entropy_of_counts(counts: np.ndarray) -> float:
    """Compute the entropy of counts in nats; 0 if all counts are 0."""
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


def as_dict(analysis: ErrorAnalysis, found: Errors, *, num_classes: int = 10) -> dict[str, Any]:
    """Return the analysis as plain values, for JSON; errors and fractions are in [0, 1].

    Args:
        analysis: from `error_analysis`.
        found: errors of the same predictions.
        num_classes: how many classes to list, those with the highest error. The confusion matrix has all.
    """
    values = dataclasses.asdict(analysis)
    values["classes"] = values["classes"][:num_classes]
    values["confusion"] = analysis.confusion.tolist()
    values["spread"]["has_collapsed"] = analysis.spread.has_collapsed
    return {"errors": dataclasses.asdict(found), **values}


def tables(analysis: ErrorAnalysis, *, num_classes: int = 10) -> dict[str, list[dict[str, Any]]]:
    """Lay out the analysis as tables of plain values.

    Args:
        analysis: from `error_analysis`.
        num_classes: how many classes to list, those with the highest error.

    Returns:
        Title -> rows; every row maps a column's heading to a word, a whole number, or, if the heading ends in "%", a number in
        percent. Tables without rows are left out.
    """
    found = analysis.spread
    rows: dict[str, list[dict[str, Any]]] = {
        "Predictions against labels": [
            {
                "": who,
                "classes present": num,
                "entropy, nats": round(nats, 3),
                "effective classes": round(math.exp(nats), 1),
            }
            for who, num, nats in (
                ("labels", found.num_labelled, found.label_entropy),
                ("predictions", found.num_predicted, found.predicted_entropy),
            )
        ],
        "Most frequent predictions": [
            {"class": name, "of the predictions %": _percent(share), "of the labels %": _percent(own)}
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
        "Most confident wrong predictions": _image_rows(analysis.most_confident),
    }
    return {title: table for title, table in rows.items() if table}


def _image_rows(images: tuple[WrongImage, ...]) -> list[dict[str, Any]]:
    return [
        {
            "image": image.position,
            "class": image.label,
            "taken for": image.predicted,
            "softmax of the class %": _percent(image.true_probability),
            "of the prediction %": _percent(image.predicted_probability),
        }
        for image in images
    ]


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else round(100 * fraction, 2)
