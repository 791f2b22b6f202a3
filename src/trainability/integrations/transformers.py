"""The doctor in the Trainer of Transformers."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from trainability.checking.check import check as check_any
from trainability.doctor.diagnosis import Diagnosis
from trainability.doctor.measure.nested import optimizers
from trainability.doctor.measure.pass_scales import Divisors
from trainability.doctor.measure.randomness import randomness_restored
from trainability.extras import require
from trainability.integrations.watching import StopOn, Watching
from trainability.loops.events import listening, parameters_of

require("transformers")
_transformers: Any = import_module("transformers")


def check(trainer: Any, *, num_classes: int | None = None, rehearse_seconds: float | None = 10.0) -> Diagnosis:
    """`trainability.check` on what a Trainer would do: its model, batches, loss, optimizer and clipping, before `train()`.

    Args:
        trainer: a `transformers.Trainer`, as it is before `train()`, and afterwards.
        num_classes: of the task.
        rehearse_seconds: see `trainability.check`.

    Returns:
        The diagnosis; print it, or pass it to `TransformersMonitor(before=...)`.

    Raises:
        ValueError: it cannot be looked at; one line.
    """
    kept = trainer.optimizer
    with randomness_restored():
        try:
            optimizer = next(iter(optimizers(trainer.create_optimizer())))
        finally:
            trainer.optimizer = kept

        def training_step(model: Any, batch: Any) -> Any:
            return trainer.compute_loss(model, trainer._prepare_inputs(batch))

        return check_any(
            trainer.model,
            trainer.get_train_dataloader(),
            training_step=training_step,
            optimizer=optimizer,
            val_loader=trainer.get_eval_dataloader() if trainer.eval_dataset is not None else None,
            clip=trainer.args.max_grad_norm or None,
            num_classes=num_classes,
            planned_steps=_planned_steps(trainer),
            rehearse_seconds=rehearse_seconds,
        )


def _planned_steps(trainer: Any) -> int | None:
    """Optimizer steps of the whole training: as many as the arguments say, or those of its epochs."""
    if trainer.args.max_steps > 0:
        return trainer.args.max_steps
    try:
        num_batches = len(trainer.get_train_dataloader())
    except TypeError:  # a stream
        return None
    per_epoch = max(num_batches // trainer.args.gradient_accumulation_steps, 1)
    return math.ceil(per_epoch * trainer.args.num_train_epochs)


class TransformersMonitor(_transformers.TrainerCallback):
    """Watches a `Trainer.train`: `Trainer(..., callbacks=[TransformersMonitor()])`.

    Sees the loss as the mean over the whole step, also with accumulation, gradients before clipping, the optimizer inside of
    Accelerate's, and evaluations. Findings are printed to the standard error stream as they arise, and a line with the verdict
    at the end. Weights are bitwise identical with and without it.

    Args:
        every: sample layers at every so many optimizer steps.
        stop_on: "doomed" ends the training (`control.should_training_stop`) once the verdict is "dead" or "unstable".
        run: directory for `trainability watch` and `report`; if it holds a run already, the next free one beside it.
        config: what the run's page shows; `None` takes the Trainer's arguments.
        num_classes: of the task; for chance level.
        before: of `check`, to be read together with what the training shows.

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
        settings = {"run": run, "config": config, "num_classes": num_classes, "before": before}
        self.watching = Watching(every, stop_on, settings)
        self._has_config = config is not None or run is None
        self._optimizer: Any = None
        self._events = contextlib.ExitStack()

    @property
    def diagnosis(self) -> Diagnosis:
        """What is known so far."""
        return self.watching.diagnosis

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Attach."""
        self._optimizer = next(iter(optimizers(kwargs["optimizer"])))
        facts: dict[str, Any] = {"clip": args.max_grad_norm or None, "first_step": state.global_step + 1}
        facts["planned_steps"] = state.max_steps if state.max_steps > 0 else None
        if not self._has_config:
            facts["config"] = args.to_sanitized_dict()
        self._events.close()  # of a training that an error ended
        self.watching.begin(kwargs["model"], [self._optimizer], **facts)
        self._events.enter_context(listening(self))

    def on_backward(self, loss: Tensor, scaler: Any, *, divisors: Divisors, is_turned: bool) -> None:
        """A backward pass is over."""
        loss = -loss if is_turned else loss
        self.watching.follower.backward(loss, scaler, is_divided=divisors.is_divided)

    def on_clip(self, parameters: list[Tensor]) -> None:
        """Gradients are complete, and not clipped yet."""
        own = {id(p) for p in parameters_of(self._optimizer)}
        if any(id(p) in own for p in parameters):
            self._complete()

    def _complete(self) -> None:
        # Divided by the number of passes, or a sum over tokens divided by those of the whole step: the sum is the mean. A model
        # that takes the number of tokens and makes nothing of it (BERT's classifier) gets neither, and losses of the full size.
        if self.watching.follower.is_waiting:
            self.watching.follower.complete(self._optimizer)

    def on_clear(self, owner: Any) -> None:
        """Nothing to do: gradients are complete before the Trainer clears them."""

    def on_scaler_step(self, optimizer: Any) -> None:
        """Nothing to do: the Trainer clips before, so gradients were complete."""

    def on_derivatives(self, loss: Tensor) -> None:
        """Nothing to do: the Trainer runs the backward pass."""

    def on_state(self, module: nn.Module) -> None:
        """Nothing to do: the Trainer keeps its checkpoints by itself."""

    def on_load(self, module: nn.Module, state: Any) -> None:
        """Nothing to do, as for `on_state`."""

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Gradients are complete, where nothing has clipped them."""
        self._complete()

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count epochs."""
        self.watching.begin_epoch(int(state.epoch or 0) + 1)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask the Trainer to stop, where that is asked for."""
        if self.watching.must_stop:
            control.should_training_stop = True

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Mapping[str, Any], **kwargs: Any) -> None:
        """Note the evaluation."""
        self.watching.evaluated(metrics)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Detach."""
        self._events.close()
        self.watching.end()
