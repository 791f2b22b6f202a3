"""A network's predictions for every validation image, saved in the run directory as `predictions.npz`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainability.evaluation import archive
from trainability.evaluation.metrics import Errors, errors

FILE = "predictions.npz"
NUM_TOP = 5
ARRAYS = ("labels", "top", "top_probability", "true_probability", "loss")


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The predictions for a validation set, in its order.

    Attributes:
        labels: (num,) int64, the true classes.
        top: (num, 5 or the number of classes if that is smaller) int64, the most probable classes, the best first; -1 if
            the network gave NaN.
        top_probability: same shape as `top`, float32, their softmax; NaN if the network gave NaN.
        true_probability: (num,) float32, the true class's softmax.
        loss: (num,) float64, -ln of the true class's softmax.
        class_names: one per class.
        protocol: of the evaluation, in words.
    """

    labels: np.ndarray
    top: np.ndarray
    top_probability: np.ndarray
    true_probability: np.ndarray
    loss: np.ndarray
    class_names: tuple[str, ...]
    protocol: str

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    @property
    def errors(self) -> Errors:
        """Loss, top-1 and top-5 error, from counts and an exactly rounded sum, so that the images' order does not matter."""
        hits = self.top == self.labels[:, None]
        return errors(
            math.fsum(self.loss.tolist()),
            int(hits[:, 0].sum()),
            int(hits.any(1).sum()),
            len(self),
            len(self.class_names),
        )


def from_log_probabilities(
    log_probabilities: Tensor, labels: Tensor, *, class_names: tuple[str, ...], protocol: str
) -> Predictions:
    """Reduce log-probabilities to what the analysis needs.

    Args:
        log_probabilities: (num, classes) float64, ln of the softmax.
        labels: (num,) int64.
        class_names: one per class.
        protocol: in words.
    """
    # Equal probabilities are ranked by class number, as in `metrics.ranks`.
    values, order = torch.sort(log_probabilities, dim=1, descending=True, stable=True)
    values, order = values[:, :NUM_TOP], order[:, :NUM_TOP]
    order = torch.where(log_probabilities.isnan().any(1, keepdim=True), -1, order)
    own = log_probabilities.gather(1, labels[:, None]).squeeze(1)
    return Predictions(
        labels=labels.numpy(),
        top=order.numpy(),
        top_probability=values.exp().float().numpy(),
        true_probability=own.exp().float().numpy(),
        loss=-own.numpy(),
        class_names=class_names,
        protocol=protocol,
    )


def joined(parts: Sequence[Predictions], positions: Sequence[int]) -> Predictions:
    """Join the predictions for parts of a validation set.

    Args:
        parts: one or more.
        positions: of their images in the set, part after part.

    Returns:
        The joined predictions, in the set's order.
    """
    order = np.argsort(np.asarray(positions))
    fields = {name: np.concatenate([getattr(part, name) for part in parts])[order] for name in ARRAYS}
    return replace(parts[0], **fields)


def save(predictions: Predictions, path: Path) -> None:
    """Write predictions atomically."""
    words = {"class_names": np.array(predictions.class_names, dtype=np.str_), "protocol": np.array(predictions.protocol)}
    archive.write({name: getattr(predictions, name) for name in ARRAYS} | words, path)


def load(path: Path) -> Predictions:
    """Read predictions.

    Raises:
        ValueError: there are none, or the file is damaged.
    """
    try:
        arrays = archive.read(path)
        kept = Predictions(
            **{name: arrays[name] for name in ARRAYS},
            class_names=tuple(arrays["class_names"].tolist()),
            protocol=str(arrays["protocol"]),
        )
        if not _fit(kept):
            raise ValueError
        return kept
    except FileNotFoundError:
        raise ValueError(f"{path}: no predictions; trainability evaluate {path.parent} makes them") from None
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"{path}: not the predictions of a run; the file was changed or damaged, or is of a version without a"
            f" checksum; trainability evaluate {path.parent} makes it anew"
        ) from None


def _fit(kept: Predictions) -> bool:
    """Whether the arrays' shapes agree with each other and with the class names."""
    num_images, num_classes = len(kept), len(kept.class_names)
    shape = (num_images, min(NUM_TOP, num_classes))
    return (
        num_images > 0
        and kept.top.shape == kept.top_probability.shape == shape
        and kept.labels.shape == kept.true_probability.shape == kept.loss.shape == (num_images,)
        and kept.labels.dtype.kind == kept.top.dtype.kind == "i"
        and 0 <= int(kept.labels.min()) <= int(kept.labels.max()) < num_classes
        and -1 <= int(kept.top.min()) <= int(kept.top.max()) < num_classes
    )
