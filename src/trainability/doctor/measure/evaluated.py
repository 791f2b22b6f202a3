"""What predictions and labels say of an evaluation: errors counted anew, and the best constant answer beside them."""

from typing import Any

import torch
from torch import Tensor

_MOST_CLASSES = 1_000_000


def evaluated(predictions: Tensor | None, labels: Tensor | None) -> dict[str, Any]:
    """Counts what an evaluation was given.

    Args:
        predictions: (examples, ...) arg-max classes, or (examples, classes) logits; of a regression, values.
        labels: true classes or values, one for each prediction.

    Returns:
        Fields of `Evaluation`; none where the two do not fit together, or there are none.
    """
    if predictions is None or labels is None or predictions.numel() == 0 or labels.numel() == 0:
        return {}
    given, true = predictions.detach().cpu(), labels.detach().cpu()
    if given.dim() == true.dim() + 1 and given.is_floating_point() and given.shape[1] > 1 and not true.is_floating_point():
        given = given.argmax(1)
    if given.numel() != true.numel():
        return {}
    given, true = given.flatten(), true.flatten()
    return _of_classes(given.long(), true.long()) if _are_classes(given) and _are_classes(true) else _of_values(given, true)


def _are_classes(values: Tensor) -> bool:
    if values.is_complex():
        return False
    if values.is_floating_point() and not bool((values == values.round()).all()):
        return False
    return int(values.max()) < _MOST_CLASSES and (not values.is_floating_point() or int(values.min()) >= -1)


def _of_classes(given: Tensor, true: Tensor) -> dict[str, Any]:
    counted = true >= 0  # labels below 0 are left out, as losses do
    given, true = given[counted].clamp(min=0), true[counted]
    if len(true) == 0:
        return {}
    width = int(max(given.max(), true.max())) + 1
    share, frequency = (torch.bincount(part, minlength=width).double() / len(true) for part in (given, true))
    return {
        "predicted_class_entropy": float(-torch.special.xlogy(share, share).sum()),
        "label_entropy": float(-torch.special.xlogy(frequency, frequency).sum()),
        "most_predicted_class": int(share.argmax()),
        "most_predicted_fraction": float(share.max()),
        "counted_error": float((given != true).double().mean()),
        "largest_label": int(frequency.argmax()),
        "largest_label_fraction": float(frequency.max()),
        "num_examples": len(true),
    }


def _of_values(given: Tensor, true: Tensor) -> dict[str, Any]:
    wide, spread = true.double(), float(true.double().var(correction=0))
    if not spread > 0:
        return {"num_examples": len(true)}
    squared = float((given.double() - wide).square().mean())
    return {"r_squared": 1 - squared / spread, "target_variance": spread, "num_examples": len(true)}
