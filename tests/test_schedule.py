"""Learning rates, step by step."""

import dataclasses
import math

import pytest
import torch

from trainability.config import OptimConfig
from trainability.training.schedule import Plateau, after_evaluation, learning_rate


def rates(optim: OptimConfig, num_steps: int) -> list[float]:
    return [learning_rate(optim, step=step, steps_per_epoch=10, plateau=Plateau()) for step in range(num_steps)]


def test_constant_and_warmup() -> None:
    optim = OptimConfig(lr=0.1, schedule="constant", warmup_steps=4)
    assert rates(optim, 6) == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])


def test_steps() -> None:
    optim = OptimConfig(lr=1.0, schedule="steps", step_epochs=(1, 2))
    assert rates(optim, 30) == pytest.approx([1.0] * 10 + [0.1] * 10 + [0.01] * 10)


def test_cosine_ends_at_zero() -> None:
    optim = OptimConfig(lr=1.0, schedule="cosine", epochs=10, warmup_steps=10)
    curve = rates(optim, 100)
    assert curve[10] == 1.0
    assert curve[55] == pytest.approx(0.5)
    assert curve[-1] == pytest.approx(0.5 * (1 + math.cos(math.pi * 89 / 90)))


def test_plateau_drops_after_patience_and_at_most_three_times() -> None:
    optim = OptimConfig(lr=1.0, schedule="plateau", patience_epochs=2, max_drops=3)
    plateau, drops = Plateau(), []
    for epoch, error in enumerate([0.9, 0.8, 0.8, 0.85, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7]):
        plateau = after_evaluation(plateau, optim, error=error, step=epoch)
        drops.append(plateau.num_drops)
    assert drops == [0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 3]
    assert (plateau.best_error, plateau.best_step) == (0.7, 4)
    assert learning_rate(optim, step=5, steps_per_epoch=10, plateau=plateau) == pytest.approx(1e-3)


def test_other_schedules_remember_the_best_but_never_drop() -> None:
    optim = OptimConfig(schedule="constant", patience_epochs=1)
    plateau = Plateau()
    for error in (0.5, 0.6, 0.6):
        plateau = after_evaluation(plateau, optim, error=error, step=1)
    assert plateau.num_drops == 0
    assert dataclasses.replace(plateau, epochs_since=0) == Plateau(best_error=0.5, best_step=1, best_watched=0.5)


def test_the_plateau_of_another_error_and_threshold_is_torchs() -> None:
    optim = OptimConfig(
        schedule="plateau", plateau_metric="top5", plateau_threshold=0.1, patience_epochs=3, max_drops=9, momentum=0.9
    )
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=optim.lr)
    # On accuracy, as the log's code has it; torch drops at the evaluation after `patience` bad ones.
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="max", factor=optim.drop_factor, patience=optim.patience_epochs - 1, threshold=0.1
    )
    plateau = Plateau()
    for step, top5_error in enumerate((0.9, 0.89, 0.895, 0.88, 0.5, 0.5, 0.49, 0.48, 0.47, 0.46, 0.2, 0.3, 0.3, 0.3, 0.3)):
        plateau = after_evaluation(plateau, optim, error=0.95, top5_error=top5_error, step=step)
        theirs.step(1 - top5_error)
        ours = learning_rate(optim, step=step, steps_per_epoch=1, plateau=plateau)
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"])
    assert plateau.num_drops > 1
    assert (plateau.best_error, plateau.best_step) == (0.95, 0)


def test_below_five_classes_the_top1_error_is_watched() -> None:
    optim = OptimConfig(schedule="plateau", plateau_metric="top5", patience_epochs=1)
    plateau = after_evaluation(Plateau(), optim, error=0.5, step=1)
    assert after_evaluation(plateau, optim, error=0.6, step=2).num_drops == 1
    assert after_evaluation(plateau, optim, error=0.4, step=2).num_drops == 0
