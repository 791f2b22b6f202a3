"""Cross-entropy, which is taken where a setup names no loss, and labels that it does not fit."""

from typing import Any

import torch
from torch import Tensor

from trainability.doctor.setup import Setup


def check_default_loss(setup: Setup, batch: Any) -> None:
    """Refuse labels that are amounts where no loss was given: what is said of cross-entropy would be said of no loss of theirs.

    Args:
        setup: of the program.
        batch: the first one; (input, label), of which labels may be class probabilities, (examples, classes), rows of sum 1.

    Raises:
        ValueError: no loss was given, and the labels are no classes.
    """
    if setup.loss_fn is not None or setup.training_step is not None or setup.step is not None:
        return
    label = batch[1] if isinstance(batch, tuple | list) and len(batch) == 2 else None
    if not isinstance(label, Tensor) or not label.is_floating_point():
        return
    sums = label.sum(dim=1) if label.dim() > 1 and label.shape[1] > 1 else None
    if sums is not None and bool((label >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=1e-2):
        return
    raise ValueError(
        f"no loss_fn was given, and labels are {str(label.dtype).removeprefix('torch.')} of shape {tuple(label.shape)}; "
        "cross-entropy, which is taken then, expects class indices: give the loop's own loss, such as "
        "loss_fn=torch.nn.MSELoss()"
    )
