"""What a model answers and what was asked, as rows of logits and classes, and what they say of the loss."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from trainability.doctor.batches import tensors
from trainability.doctor.measure import statistics
from trainability.doctor.tasks import entropy


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Rows of a classifier's output.

    Attributes:
        logits: (rows, classes) float32, a row per example, pixel or token; None if the output is none.
        classes: (rows,) true classes; None if labels are no classes of these rows.
    """

    logits: Tensor | None = None
    classes: Tensor | None = None


def answers(output: Any, labels: Any, loss: float) -> Answers:
    """Find logits and classes.

    An output (batch, classes) is taken for logits as it is. In any other the rows are guessed by shape, and believed only where
    their cross-entropy is the loss that the program computed.

    Args:
        output: of the model.
        labels: as the loss takes them.
        loss: that the program computed.
    """
    if isinstance(output, Tensor) and output.dim() == 2 and output.is_floating_point() and output.shape[1] > 1:
        logits = output.detach().float()
        fits = _is_classes(labels) and labels.dim() == 1 and len(labels) == len(logits)
        inside = fits and int(labels.min()) >= 0 and int(labels.max()) < logits.shape[1]
        return Answers(logits=logits, classes=labels.long() if inside else None)
    for _, logits in tensors(output):
        for _, asked in tensors(labels):
            for rows, classes in _pairings(logits, asked):
                kept = classes >= 0
                if not bool(kept.any()) or int(classes.max()) >= rows.shape[1]:
                    continue
                rows, classes = rows.detach()[kept].float(), classes[kept].long()
                if math.isclose(float(F.cross_entropy(rows, classes)), loss, rel_tol=1e-3):
                    return Answers(logits=rows, classes=classes)
    return Answers()


def _is_classes(labels: Any) -> bool:
    return isinstance(labels, Tensor) and not labels.is_floating_point() and not labels.is_complex() and labels.numel() > 0


def _pairings(logits: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    if not logits.is_floating_point() or logits.dim() < 2 or not _is_classes(labels):
        return
    if logits.shape[-1] > 1 and labels.numel() == logits[..., 0].numel():
        yield logits.flatten(0, -2), labels.flatten()
    if logits.dim() > 2 and logits.shape[1] > 1 and labels.shape == (logits.shape[0], *logits.shape[2:]):
        yield logits.movedim(1, -1).flatten(0, -2), labels.flatten()
    if logits.dim() == 3 and labels.shape == logits.shape[:2] and labels.shape[1] > 1:
        yield logits[:, :-1].flatten(0, -2), labels[:, 1:].flatten()  # the next token, shifted inside the loss


def loss_facts(loss: Tensor, found: Answers, labels: Any) -> dict[str, Any]:
    """Fields of `ProbeResult` about the loss, the logits and the labels."""
    facts: dict[str, Any] = {"loss": float(loss.detach())}
    asked = labels if found.classes is None and _is_classes(labels) and labels.dim() == 1 else found.classes
    if asked is not None:
        facts |= {"label_min": int(asked.min()), "label_max": int(asked.max())}
    if found.logits is None:
        return facts
    logits, classes = found.logits, found.logits.shape[1]
    facts |= {
        "num_logits": classes,
        "logit_rms": float(statistics.rms(logits)),
        "logit_spread": float(logits.std(dim=0, correction=0).square().mean().sqrt()),
        "outputs_are_probabilities": bool(
            ((logits >= 0) & (logits <= 1)).all() and ((logits.sum(dim=1) - 1).abs() < 1e-3).all()
        ),
    }
    if found.classes is not None:
        facts |= {
            "cross_entropy": float(F.cross_entropy(logits, found.classes)),
            "predicted_class_entropy": entropy(logits.argmax(dim=1), classes),
            "label_entropy": entropy(found.classes, classes),
        }
    return facts
