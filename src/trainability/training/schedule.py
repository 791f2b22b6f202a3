"""The learning rate as a pure function of the step and of the past validation errors."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from trainability.config import OptimConfig


@dataclass(frozen=True, kw_only=True)
class Plateau:
    """State of the plateau schedule.

    Attributes:
        best_error: lowest top-1 validation error so far, in [0, 1].
        best_step: steps done when it was measured.
        best_watched: best value so far of the error that the schedule watches (`optim.plateau_metric`), in [0, 1].
        epochs_since: evaluations since the best one or the last drop.
        num_drops: drops of the learning rate so far.
    """

    best_error: float = math.inf
    best_step: int = 0
    best_watched: float = math.inf
    epochs_since: int = 0
    num_drops: int = 0


def after_evaluation(
    plateau: Plateau, optim: OptimConfig, *, error: float, top5_error: float | None = None, step: int
) -> Plateau:
    """Update the state with an epoch's validation error.

    Args:
        plateau: state before.
        optim: with `plateau_metric`, `plateau_threshold`, `patience_epochs` and `max_drops`.
        error: top-1 validation error in [0, 1].
        top5_error: likewise; `None` below five classes, where the top-1 error is watched instead.
        step: steps done.

    Returns:
        The new state; every schedule records the best error.
    """
    watched = top5_error if optim.plateau_metric == "top5" and top5_error is not None else error
    if error < plateau.best_error:
        plateau = replace(plateau, best_error=error, best_step=step)
    # As torch's ReduceLROnPlateau on an accuracy: a better accuracy must exceed the best so far times 1 + threshold.
    if 1 - watched > (1 - plateau.best_watched) * (1 + optim.plateau_threshold):
        return replace(plateau, best_watched=watched, epochs_since=0)
    waited = plateau.epochs_since + 1
    if optim.schedule == "plateau" and waited >= optim.patience_epochs and plateau.num_drops < optim.max_drops:
        return replace(plateau, epochs_since=0, num_drops=plateau.num_drops + 1)
    return replace(plateau, epochs_since=waited)


def learning_rate(optim: OptimConfig, *, step: int, steps_per_epoch: int, plateau: Plateau) -> float:
    """Return the learning rate of a step.

    Args:
        optim: learning rate and schedule.
        step: counted from 0 over the run.
        steps_per_epoch: to convert epochs.
        plateau: state after the last evaluation.
    """
    if step < optim.warmup_steps:
        return optim.lr * (step + 1) / optim.warmup_steps
    if optim.schedule == "plateau":
        return optim.lr * optim.drop_factor**plateau.num_drops
    if optim.schedule == "steps":
        return optim.lr * optim.drop_factor ** sum(step >= epoch * steps_per_epoch for epoch in optim.step_epochs)
    if optim.schedule == "cosine":
        total = max(1, optim.epochs * steps_per_epoch - optim.warmup_steps)
        return optim.lr * 0.5 * (1 + math.cos(math.pi * (step - optim.warmup_steps) / total))
    return optim.lr
