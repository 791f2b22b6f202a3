"""A run of this package as a `Setup`: what a program of the user's own would give."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.config import RunConfig
from trainability.doctor.setup import Setup
from trainability.training.engine import Engine
from trainability.training.parts import TrainingParts


class _Batches:
    """The images and labels of each step of the first epoch, as the loop gets them; can be read again."""

    def __init__(self, parts: TrainingParts) -> None:
        self.parts = parts

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for step in self.parts.loader.steps(0):
            micro_batches = list(step)
            yield torch.cat([m.images for m in micro_batches]), torch.cat([m.labels for m in micro_batches])


def _in_precision(engine: Engine) -> Callable[[nn.Module, tuple[Tensor, Tensor]], Tensor]:
    """The loss of a batch as the loop computes it: the network in the run's precision, the cross-entropy in float32."""

    def training_step(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        with engine.autocast():
            logits = model(batch[0])
        return F.cross_entropy(logits.float(), batch[1])

    return training_step


LACKS = "the schedule of the learning rate, micro-batches, and faults of the loop"
"""What the steps of a `Setup` lack, and those of the run have."""


def setup_of_run(parts: TrainingParts, config: RunConfig, engine: Engine, planned_steps: int) -> Setup:
    """Return network, batches, loss, optimizer, clipping and precision of a run; sets the optimizer's rate to `optim.lr`.

    Its steps lack what `LACKS` says, and draw dropout from the generator in place of keys; faults of data and metric are in
    the parts.

    Args:
        parts: what it trains with.
        config: complete.
        engine: device and precision.
        planned_steps: of the whole run.
    """
    autocasts = engine.precision == "bf16"
    for group in parts.optimizer.param_groups:
        group["lr"] = config.optim.lr
    return Setup(
        model=parts.model,
        train_loader=_Batches(parts),
        loss_fn=None if autocasts else F.cross_entropy,
        training_step=_in_precision(engine) if autocasts else None,
        optimizer=parts.optimizer,
        num_classes=parts.loader.num_classes,
        clip=config.optim.clip,
        planned_steps=planned_steps,
    )
