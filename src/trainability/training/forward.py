"""The forward pass of a micro-batch, as the loop runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.models.vgg import set_dropout_keys
from trainability.training.engine import Engine

if TYPE_CHECKING:
    from trainability.data.loader import MicroBatch


def forward(network: nn.Module, model: nn.Module, micro: MicroBatch, engine: Engine) -> tuple[Tensor, Tensor]:
    """Run a micro-batch forward.

    Returns:
        (batch,) float32 cross-entropy per example, 0 for fillers, and (batch, classes) logits.
    """
    set_dropout_keys(model, micro.keys)
    with engine.autocast():
        logits = network(micro.images)
    losses = F.cross_entropy(logits.float(), micro.labels, reduction="none")
    # A filler's loss is replaced, not multiplied by 0: 0 times Inf is NaN.
    return torch.where(micro.weights > 0, losses, 0.0), logits
