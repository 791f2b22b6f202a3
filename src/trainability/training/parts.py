"""Build the parts of a run from its configuration: data, network, initialisation, optimizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from trainability import initialization
from trainability.config import RunConfig
from trainability.config.period import check_period
from trainability.data import dataset
from trainability.data.dataset import DataSet
from trainability.data.loader import Loader
from trainability.data.memory import check_fits
from trainability.data.overfitting import first_batches
from trainability.data.packed import Progress
from trainability.data.streaming import make_loader
from trainability.evaluation.metrics import Errors
from trainability.evaluation.protocols import evaluate
from trainability.extras import require
from trainability.initialization import InitPlan, LayerInit
from trainability.models.vgg import CHANNELS, VGG, build_vgg, count_parameters
from trainability.training import checkpoint
from trainability.training.engine import Engine
from trainability.training.optimizer import GuardedStep, build_optimizer
from trainability.training.record import read_run
from trainability.training.same_run import identity
from trainability.training.tally import Tally


@dataclass(frozen=True, kw_only=True)
class TrainingParts:
    """Everything that a run trains with; `faults` replaces some of it."""

    model: VGG
    network: nn.Module
    optimizer: torch.optim.SGD
    data: DataSet
    loader: Loader
    table: list[LayerInit]
    num_parameters: int
    evaluate: Callable[..., Errors] = evaluate
    step: Callable[[torch.optim.SGD, float | None, torch.device], GuardedStep] = GuardedStep
    tally: Callable[[Engine, int], Tally] = Tally
    load_latest: Callable[..., checkpoint.Loaded | None] = checkpoint.load_latest


def assemble(
    config: RunConfig, engine: Engine, *, data: DataSet | None = None, progress: Progress | None = None
) -> TrainingParts:
    """Build data, initialised network and optimizer.

    Args:
        config: complete.
        engine: device, precision, processes.
        data: used instead of the configuration's whole data set.
        progress: called with the progress of packing, if the data set has to be packed first.

    Raises:
        ValueError: the plan does not fit the network, the batch is larger than the training set, the run of `init.from` has
            other shapes, a technique is newer than `run.period`, or the memory is too small. Nothing has been written then.
        MissingExtra: a sink is not installed. Nothing has been written then.
    """
    for sink in config.run.sinks:
        require(sink)
    check_period(config)
    if data is None:
        data = dataset.load(config.data, seed=config.run.seed, progress=progress)
    if config.overfit_images is not None:
        data = first_batches(data, config.overfit_images, seed=config.run.seed)
    loader = make_loader(
        data,
        config.data,
        config.optim,
        seed=config.run.seed,
        device=engine.device,
        rank=engine.rank,
        world_size=engine.world_size,
    )
    with torch.device("meta"):  # skips torch's default initialisation, which takes seconds at full width
        model = build_model(config, num_classes=loader.num_classes)
    num_parameters = count_parameters(model)
    _check_fits(config, num_parameters, engine)
    model = model.to_empty(device="cpu")
    model.checkpoints_stages = config.run.checkpoint_activations
    table = initialization.apply(InitPlan.parse(config.init.plan), model, seed=config.run.seed)
    if config.init.from_ is not None:
        table = initialization.copy_shallower(trained_model(config.init.from_), model, table)
    network = engine.prepare(model)
    optimizer = build_optimizer(model, config.optim, fused=not engine.is_sharded)
    return TrainingParts(
        model=model,
        network=network,
        optimizer=optimizer,
        data=data,
        loader=loader,
        table=table,
        num_parameters=num_parameters,
    )


def _check_fits(config: RunConfig, num_parameters: int, engine: Engine) -> None:
    """Refuse a network or a batch that the device cannot hold. The estimate is a lower bound: what fits is accepted."""
    assert config.data.crop is not None
    assert config.model.width is not None
    num_shares = engine.world_size if engine.is_sharded else 1
    states = 12 * num_parameters / num_shares  # weight, gradient and momentum in float32
    check_fits(states, f"a network of {num_parameters:,} parameters, with gradients and momentum,", engine.device)
    batch = min(config.optim.batch_size // engine.world_size, config.optim.micro_batch_size or config.optim.batch_size)
    channels = 3 + max(1, round(CHANNELS[0] * config.model.width))  # the images, and the first layer's outputs
    what = f"the first layer with {batch:,} images of data.crop {config.data.crop} (optim.micro-batch-size is how many at once)"
    check_fits(4.0 * batch * config.data.crop**2 * channels, what, engine.device)


def build_model(config: RunConfig, *, num_classes: int) -> VGG:
    """Build the network of a complete configuration, with PyTorch's default weights.

    Raises:
        ValueError: it has fewer outputs than there are classes.
    """
    assert config.model.width is not None
    assert config.data.crop is not None
    num_outputs = num_classes if config.model.num_outputs is None else config.model.num_outputs
    if num_outputs < num_classes:
        raise ValueError(f"model.num-outputs is {num_outputs}; the data has {num_classes} classes, so it must be at least that")
    return build_vgg(
        config.model.config,
        num_classes=num_outputs,
        crop=config.data.crop,
        width=config.model.width,
        hidden=config.model.hidden,
        dropout=config.model.dropout,
        classifier=config.model.classifier,
    )


def trained_model(folder: Path) -> VGG:
    """Load the newest weights of a run.

    Raises:
        ValueError: it is not a run directory, or has no checkpoint.
    """
    run = read_run(folder)
    model = build_model(run.train_config, num_classes=len(run.data["class_names"]))
    model.load_state_dict(checkpoint.load_weights(folder / "checkpoints", identity(run.train_config)))
    return model
