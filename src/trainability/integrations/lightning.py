"""The doctor in Lightning's Trainer, of `lightning` or of `pytorch_lightning`."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainability.checking.check import check as check_any
from trainability.doctor.diagnosis import Diagnosis
from trainability.doctor.measure.randomness import randomness_restored
from trainability.extras import require
from trainability.integrations.own_step import network_of, own_forms
from trainability.integrations.watching import StopOn, Watching

_NAME = (
    "pytorch_lightning"
    if "pytorch_lightning" in sys.modules and "lightning.pytorch" not in sys.modules
    else "lightning.pytorch"
)
"""A Trainer of one of the two takes callbacks of its own kind; which one is in use shows in what is imported."""
if _NAME == "lightning.pytorch":
    require("lightning")
_lightning: Any = import_module(_NAME)


def check(
    module: Any,
    datamodule: Any,
    *,
    clip: float | None = None,
    num_classes: int | None = None,
    planned_steps: int | None = None,
    rehearse_seconds: float | None = 10.0,
) -> Diagnosis:
    """`trainability.check` on a module's own `training_step` and `configure_optimizers`, before `Trainer.fit`.

    Args:
        module: a `LightningModule` with one optimizer; it is as before afterwards. What it overrides of a step
            (`optimizer_zero_grad`, `optimizer_step`, `on_before_optimizer_step` and the like) is rehearsed, and so is manual
            optimisation.
        datamodule: a `LightningDataModule`, or a loader of training batches.
        clip: the Trainer's `gradient_clip_val`.
        num_classes: of the task.
        planned_steps: updates of the whole fit.
        rehearse_seconds: see `trainability.check`.

    Returns:
        The diagnosis; print it, or pass it to `LightningMonitor(before=...)`.

    Raises:
        ValueError: several optimizers, or it cannot be looked at; one line.
    """
    with randomness_restored(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # self.log warns that there is no Trainer
        train_loader, val_loader = _loaders(datamodule)
        optimizer = _only_optimizer(module.configure_optimizers())
        name, network = network_of(module, optimizer)
        return check_any(
            network,
            train_loader,
            **own_forms(module, name, _lightning.LightningModule, clip),
            optimizer=optimizer,
            val_loader=val_loader,
            clip=clip,
            num_classes=num_classes,
            planned_steps=planned_steps,
            rehearse_seconds=rehearse_seconds,
        )


def _loaders(datamodule: Any) -> tuple[Any, Any]:
    """Loaders of training and validation batches; the latter may be missing."""
    if not hasattr(datamodule, "train_dataloader"):
        return datamodule, None
    datamodule.prepare_data()
    datamodule.setup("fit")
    # Asked of a module that defines none, Lightning raises an error of its own.
    has_validation = type(datamodule).val_dataloader is not _lightning.LightningDataModule.val_dataloader
    return datamodule.train_dataloader(), datamodule.val_dataloader() if has_validation else None


def _only_optimizer(configured: Any) -> torch.optim.Optimizer:
    """The optimizer in what `configure_optimizers` returned, in any of its forms."""
    given = configured
    if isinstance(given, Mapping):
        given = given.get("optimizer")
    if isinstance(given, tuple | list) and given and isinstance(given[0], tuple | list):
        given = given[0]  # ([optimizers], [schedulers])
    if isinstance(given, tuple | list) and len(given) == 1:
        given = given[0]["optimizer"] if isinstance(given[0], Mapping) else given[0]
    if not isinstance(given, torch.optim.Optimizer):
        raise ValueError(
            f"configure_optimizers returned {type(configured).__name__}; check takes one optimizer. For several, give"
            " trainability.check the whole step: check(models, loader, step=..., optimizer=...)"
        )
    return given


class LightningMonitor(_lightning.Callback):
    """Watches a `Trainer.fit`: `Trainer(callbacks=[LightningMonitor()])`.

    Sees the loss before it is divided for accumulation, gradients unscaled and before clipping, several optimizers
    (also with manual optimisation), and validation metrics. Findings are printed to the standard error stream as they
    arise, and a line with the verdict at the end. Weights are bitwise identical with and without it.

    Args:
        every: sample layers at every so many optimizer steps.
        stop_on: "doomed" stops the fit (`trainer.should_stop`) once the verdict is "dead" or "unstable".
        run: directory for `trainability watch` and `report`; with several optimizers, one for each below it. If it holds a run
            already, the next free one beside it.
        config: what the run's page shows; `None` takes the module's hyperparameters (`save_hyperparameters`).
        num_classes: of the task; for chance level.
        before: of `check`, to be read together with what the fit shows.

    Raises:
        ValueError: `stop_on` is something else.
    """

    def __init__(
        self,
        every: int = 50,
        stop_on: StopOn | None = None,
        *,
        run: str | Path | None = None,
        config: Mapping[str, Any] | None = None,
        num_classes: int | None = None,
        before: Diagnosis | None = None,
    ) -> None:
        super().__init__()
        settings = {"run": run, "config": config, "num_classes": num_classes, "before": before}
        self.watching = Watching(every, stop_on, settings)
        self._has_config = config is not None or run is None
        self._factor = 1.0
        self._loss: Tensor | None = None
        self._scaler: Any = None

    @property
    def diagnosis(self) -> Diagnosis:
        """What is known so far; with several optimizers, of the part that fares worst."""
        return self.watching.diagnosis

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Attach."""
        facts: dict[str, Any] = {"clip": trainer.gradient_clip_val or None}  # 0 is off, too
        if not self._has_config:
            facts["config"] = dict(pl_module.hparams)
        planned = trainer.estimated_stepping_batches
        if planned > 0 and math.isfinite(planned):
            facts["planned_steps"] = int(planned)
        if len(trainer.optimizers) == 1:
            facts["first_step"] = trainer.global_step + 1
        self._factor = float(trainer.accumulate_grad_batches) if pl_module.automatic_optimization else 1.0
        self.watching.begin(pl_module, trainer.optimizers, is_eager=not pl_module.automatic_optimization, **facts)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Count epochs."""
        self.watching.begin_epoch(trainer.current_epoch + 1)

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        """Keep the loss, which a loss scaler has scaled by now."""
        self._scaler = getattr(trainer.precision_plugin, "scaler", None)
        scale = self._scaler._scale if self._scaler is not None else None
        self._loss = loss if scale is None else loss / scale

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        """A backward pass is over."""
        if self._loss is not None:
            self.watching.follower.backward(self._loss, self._scaler)
            self._loss = None

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: torch.optim.Optimizer) -> None:
        """Gradients are complete, unscaled, and not clipped by the Trainer yet."""
        self.watching.follower.stepping(optimizer, factor=self._factor)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """A batch is done: ask the Trainer to stop, where that is asked for."""
        if self.watching.must_stop:
            trainer.should_stop = True

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Note the validation metrics."""
        if not trainer.sanity_checking:
            self.watching.evaluated(trainer.callback_metrics)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Detach."""
        self.watching.end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Detach."""
        self.watching.end(exception)
