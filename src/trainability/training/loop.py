"""fit(): the training loop, and how a run starts or continues."""

from __future__ import annotations

from dataclasses import dataclass, replace

from trainability.config import RunConfig
from trainability.doctor.told import told
from trainability.evaluation.metrics import Errors
from trainability.training import checkpoint
from trainability.training.checkpoint import Position
from trainability.training.engine import Engine
from trainability.training.forward import forward
from trainability.training.interrupt import StopSignal
from trainability.training.logbook import Display, Logbook, Outcome, RunOverview
from trainability.training.nonfinite import first_nonfinite
from trainability.training.parts import TrainingParts
from trainability.training.record import RunWriter
from trainability.training.run_monitor import RunMonitor
from trainability.training.same_run import identity
from trainability.training.schedule import learning_rate
from trainability.training.tally import StepSums

ENOUGH_STEPS = 100
"""Fewest steps of a meaningful overfit test; after these, a VGG-A of a tenth of the width knows 28 of 32 digits."""


def fit(
    config: RunConfig, parts: TrainingParts, record: RunWriter, *, engine: Engine, display: Display | None = None
) -> Outcome:
    """Train from the position of the run directory to the last configured epoch.

    The loop is one long function on purpose, so that it can be read from top to bottom.

    Args:
        config: complete (`RunConfig.completed`), equal to the run directory's.
        parts: from `assemble`, with the starting weights.
        record: the run directory; if it has a checkpoint, the run continues exactly from it.
        engine: device, precision, processes.
        display: shows progress; in the main process only.

    Returns:
        How the run ended.

    Raises:
        ValueError: `config` differs from the run directory's, a file of the directory is damaged, or none of its checkpoints
            can be read; nothing is changed.
    """
    if not isinstance(config, RunConfig):
        raise ValueError(f"config is {told(config)}; expected a complete RunConfig")
    optim, settings = config.optim, config.run
    model, network, loader = parts.model, parts.network, parts.loader
    position, notes = restore_or_begin(config, record, parts, engine)
    logbook = Logbook(config, record, engine, display, loader, overview_of(config, record, parts, engine, position, notes))
    step_once = parts.step(parts.optimizer, optim.clip, engine.device)
    tally = parts.tally(engine, min(settings.log_every_steps, loader.steps_per_epoch))  # an epoch's last step is always read
    due = Due(settings.log_every_steps, settings.checkpoint_every_steps)
    monitor = RunMonitor(config, parts, record, engine, logbook, position)
    if engine.any(monitor.doomed is not None):
        return logbook.end(position, "stopped", f"{monitor.doomed}; training did not start, so there is nothing to save")

    with StopSignal() as stop, monitor:
        while position.epoch < optim.epochs:
            network.train()
            for micro_batches in loader.steps(position.epoch, first=position.step_in_epoch):
                num_examples = loader.num_examples(position.step_in_epoch)
                lr = learning_rate(optim, step=position.step, steps_per_epoch=loader.steps_per_epoch, plateau=position.plateau)
                for micro in micro_batches:
                    with engine.accumulating(network, is_last=micro.is_last):
                        losses, logits = forward(network, model, micro, engine)
                        # DDP averages gradients over processes. Times their number, this is the sum, so the loss is the mean
                        # over the step's examples for any number of processes and micro-batches.
                        (losses.sum() * (engine.world_size / num_examples)).backward()
                    tally.add(losses, logits, micro.labels, micro.weights)
                    monitor.after_backward(tally, micro, position)
                position = next_step(position)
                norm = step_once(lr, tally.loss_sum, on_norm=monitor.on_norm)
                tally.close_step(norm, step_once.bad)
                logbook.issued(position, num_examples, lr)

                ends_epoch = position.step_in_epoch == loader.steps_per_epoch
                saves = due.checkpoint(position.step) and not ends_epoch
                # A single process can stop at any step; several can only agree at a read, where they communicate.
                stops = stop.received and engine.world_size == 1
                if due.read(position.step) or ends_epoch or saves or stops:
                    sums = tally.read()  # note: waits for the device
                    position = logbook.read(position, sums)
                    if not sums[-1].is_finite:
                        position, message = locate_nonfinite(config, record, parts, engine, position, sums)
                        return logbook.end(position, "non-finite", message)
                    monitor.look(position)
                    if stops := engine.any(stop.received or monitor.doomed is not None):
                        saves = True
                    if saves:
                        save(config, record, position, parts, engine)
                        logbook.restart_clock()
                    if stops and monitor.doomed is not None:
                        return logbook.end(position, "stopped", f"{monitor.doomed}; {kept(record, position)}")
                    if stops:
                        return logbook.end(position, "interrupted", "stopped on request")

            position = logbook.epoch(position, measure(parts, config, engine))
            monitor.evaluated(position, logbook.last_evaluation)
            save(config, record, position, parts, engine)
            logbook.restart_clock()
            if engine.any(monitor.doomed is not None):
                return logbook.end(position, "stopped", f"{monitor.doomed}; {kept(record, position)}")
    return logbook.end(position, "finished", None)


def measure(parts: TrainingParts, config: RunConfig, engine: Engine) -> Errors:
    """Evaluate on the whole validation set."""
    batch_size = config.optim.micro_batch_size or max(1, config.optim.batch_size // engine.world_size)
    return parts.evaluate(
        parts.model,  # not the wrapped network: evaluation needs no communication
        parts.loader.validation(batch_size),
        num_classes=parts.loader.num_classes,
        device=engine.device,
        autocast=engine.autocast,
        total=engine.total,
    )


def locate_nonfinite(
    config: RunConfig, record: RunWriter, parts: TrainingParts, engine: Engine, position: Position, sums: list[StepSums]
) -> tuple[Position, str]:
    """Find the layer in which a NaN or Inf first appeared, and save the weights from before that step.

    The guard has skipped the bad step's update, and every random draw of that step can be repeated.

    Args:
        config: of the run.
        record: run directory.
        parts: the network and its optimizer.
        engine: device, precision, processes.
        position: after the steps just read.
        sums: of these steps; the last is the bad one.

    Returns:
        The position before the bad step, and one line with step and layer.
    """
    num_lost = sum(not step.is_finite for step in sums)
    before = replace(position, step=position.step - num_lost, step_in_epoch=position.step_in_epoch - num_lost)

    def passes() -> None:
        num_examples = parts.loader.num_examples(before.step_in_epoch)
        for micro in next(parts.loader.steps(before.epoch, first=before.step_in_epoch)):
            # The unwrapped model needs no communication: each process repeats its own part of the batch.
            losses, _ = forward(parts.model, parts.model, micro, engine)
            (losses.sum() * (engine.world_size / num_examples)).backward()

    parts.optimizer.zero_grad()
    places = engine.gathered(first_nonfinite(parts.model, passes))
    parts.optimizer.zero_grad()
    where = next((place for place in places if place), "every layer is finite, but the gradient norm is not")
    if before.step > 0:
        save(config, record, before, parts, engine)
        what = f"the weights from before it are in {record.checkpoints / f'step-{before.step:09d}'}*"
    else:
        what = "there is nothing to save, it is the first step"
    return before, f"loss or gradient is not finite at step {before.step + 1}: {where}; {what}"


def overview_of(
    config: RunConfig, record: RunWriter, parts: TrainingParts, engine: Engine, position: Position, notes: list[str]
) -> RunOverview:
    """Collect what a display shows at the start."""
    return RunOverview(
        config=config,
        folder=record.folder,
        num_parameters=parts.num_parameters,
        num_train=len(parts.loader.train_labels),
        num_val=len(parts.loader.val_labels),
        num_classes=parts.loader.num_classes,
        steps_per_epoch=parts.loader.steps_per_epoch,
        position=position,
        table=parts.table,
        notes=[*_overfit_note(config, parts), *notes],
        engine=engine,
    )


def _overfit_note(config: RunConfig, parts: TrainingParts) -> list[str]:
    """Describe what an overfit test trains on, and whether it has enough steps for a meaningful result."""
    if config.run.overfit_batches is None:
        return []
    num_steps = parts.loader.steps_per_epoch * config.optim.epochs
    few = "; that is too few to memorise them: raise --optim.epochs" if num_steps < ENOUGH_STEPS else ""
    num_images = len(parts.loader.train_labels)
    return [f"overfit test: {num_steps:,} steps on {num_images:,} images, which are the validation images too{few}"]


def restore_or_begin(config: RunConfig, record: RunWriter, parts: TrainingParts, engine: Engine) -> tuple[Position, list[str]]:
    """Restore the newest readable checkpoint of a run, or start the run.

    A run whose epochs are all done is restored too: it may have been killed before it recorded how it ended.

    Returns:
        The position of the run, and notes about checkpoints that could not be read.

    Raises:
        ValueError: its checkpoints are unreadable or missing, or a record is damaged. Nothing has been written then.
    """
    loaded = parts.load_latest(record.checkpoints, parts.model, parts.optimizer, engine, identity(config))
    position = loaded.position if loaded else Position()
    if not loaded:
        record.check_unsaved()
    notes = []
    if loaded:
        notes = [f"{line}; continuing from {loaded.path.name}" for line in loaded.skipped]
    problem = None
    if engine.is_main:
        try:
            record.rewind(step=position.step, epoch=position.epoch)
        except ValueError as error:
            problem = str(error)
    if problem := engine.gathered(problem)[0]:
        raise ValueError(problem)
    if engine.is_main:
        record.write_config(config)  # the number of epochs may be larger now
        record.write_environment(device=engine.device, world_size=engine.world_size)
        record.write_data(parts.data)
        record.write_init(parts.table)
    return position, notes


def save(config: RunConfig, record: RunWriter, position: Position, parts: TrainingParts, engine: Engine) -> None:
    """Flush the records to the disk, then write a checkpoint."""
    if engine.is_main:
        record.sync()
    checkpoint.save(record.checkpoints, position, parts.model, parts.optimizer, engine, identity(config))


def kept(record: RunWriter, position: Position) -> str:
    """Write where the weights of a run that ends early are saved."""
    return f"the weights after step {position.step} are in {record.checkpoints / f'step-{position.step:09d}'}*"


def next_step(position: Position) -> Position:
    """Count a step."""
    return replace(position, step=position.step + 1, step_in_epoch=position.step_in_epoch + 1)


@dataclass(frozen=True)
class Due:
    """At which steps, counted from 1 over the run, the device is read and a checkpoint is written."""

    read_every: int
    checkpoint_every: int | None

    def read(self, step: int) -> bool:
        """Whether the device is read after this step."""
        return step % self.read_every == 0

    def checkpoint(self, step: int) -> bool:
        """Whether a checkpoint is written after this step."""
        return self.checkpoint_every is not None and step % self.checkpoint_every == 0
