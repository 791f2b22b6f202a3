"""What the predictions of an evaluation show: how they spread over the classes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def prediction_fields(predictions: Tensor, labels: Tensor) -> dict[str, Any]:
    """Fields of `Evaluation` about the classes that were predicted.

    Args:
        predictions: (examples,) arg-max classes.
        labels: (examples,) true classes.
    """
    width = int(max(predictions.max(), labels.max())) + 1
    share = torch.bincount(predictions.flatten(), minlength=width).double() / predictions.numel()
    true = torch.bincount(labels.flatten(), minlength=width).double() / labels.numel()
    return {
        "predicted_class_entropy": float(-torch.special.xlogy(share, share).sum()),
        "label_entropy": float(-torch.special.xlogy(true, true).sum()),
        "most_predicted_class": int(share.argmax()),
        "most_predicted_fraction": float(share.max()),
    }
