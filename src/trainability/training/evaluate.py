"""Evaluate runs or published weights: any protocol, any scales, one network or an ensemble."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from trainability.config import RunConfig
from trainability.data import dataset
from trainability.data.dataset import DataSet
from trainability.data.overfitting import first_batches
from trainability.evaluation import predictions, thumbnails, weights
from trainability.evaluation.ensemble import Member, SplitImages, ValImages, describe, predict
from trainability.evaluation.error_analysis import error_analysis
from trainability.evaluation.metrics import Errors
from trainability.evaluation.predictions import Predictions
from trainability.evaluation.protocols import default_scale
from trainability.models.vgg import VGG, classifier_state
from trainability.training import checkpoint
from trainability.training.engine import Engine
from trainability.training.parts import build_model
from trainability.training.record import Run, read_run
from trainability.training.same_run import identity

NUM_COMPARED = 64
"""Number of images by which two validation sets are compared."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Errors of one network or an ensemble under a protocol.

    Attributes:
        names: of the runs, or of the file of weights.
        configs: their configurations.
        data_name: the data set.
        protocol: as given.
        scales: smaller sides in pixels, ascending.
        described: protocol, scales, flips and number of runs in words.
        errors: over the validation set.
        predictions: per image.
    """

    names: tuple[str, ...]
    configs: tuple[str, ...]
    data_name: str
    protocol: str
    scales: tuple[int, ...]
    described: str
    errors: Errors
    predictions: Predictions


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """How to evaluate networks.

    Attributes:
        protocol: a key of `protocols.PROTOCOLS`, or several joined by "+".
        scales: smaller sides in pixels; `None` takes the paper's single scale for each run: S, or the middle of its range.
        flip: whether to evaluate flipped images too, if the protocol has them; `None` takes the run's `data.flip`.
        batch_size: most views in one forward pass.
    """

    protocol: str = "dense"
    scales: tuple[int, ...] | None = None
    flip: bool | None = None
    batch_size: int = 64


def evaluate_runs(
    folders: Sequence[Path],
    options: EvaluationOptions,
    *,
    engine: Engine,
    step: int | None = None,
    advance: Callable[[int], object] = lambda num_images: None,
) -> Evaluation:
    """Evaluate trained runs on their validation set; the softmax probabilities of several are averaged.

    The predictions of a single run are saved in its directory as `predictions.npz`, for the error analysis, and small copies of
    the images that the analysis lists as `thumbnails.npz`, for the report.

    Args:
        folders: run directories, at least one.
        options: protocol and scales.
        engine: device, precision, processes.
        step: of the checkpoint, for every run; the newest by default.
        advance: called with the number of images just done.

    Raises:
        ValueError: a folder is not a run or has no weights, the runs differ in classes or validation images, or the
            protocol or a scale does not fit.
    """
    runs = [read_run(folder) for folder in folders]
    class_names = _class_names(runs[0])
    for run in runs[1:]:
        if _class_names(run) != class_names:
            raise ValueError(f"{run.folder} has other classes than {runs[0].folder}; an ensemble needs the same ones")
    images = [_validation_images(run.train_config) for run in runs]
    for run, own in zip(runs[1:], images[1:], strict=True):
        _check_same_images(runs[0], run, images[0], own)
    members = [_member(run, own, options, engine, step) for run, own in zip(runs, images, strict=True)]
    configs = tuple(run.train_config.model.config for run in runs)
    result = _evaluate(members, options, class_names, configs, runs[0].train_config.data.name, engine, advance)
    if len(runs) == 1 and engine.is_main:
        _keep(folders[0], result.predictions, images[0])
    return result


def evaluate_weights(
    path: Path,
    config: RunConfig,
    options: EvaluationOptions,
    *,
    engine: Engine,
    input: str = "torchvision",
    advance: Callable[[int], object] = lambda num_images: None,
) -> Evaluation:
    """Evaluate a network with published weights on a data set's validation images.

    Args:
        path: see `weights.load_published`.
        config: complete; only its data and seed are used.
        options: protocol and scales.
        engine: device, precision, processes.
        input: see `weights.load_published`.
        advance: called with the number of images just done.

    Raises:
        ValueError: the weights cannot be loaded or have another number of classes, or the protocol or a scale does not fit.
    """
    published = weights.load_published(path, input=input)
    data = _load(config)
    if published.num_classes != len(data.class_names):
        raise ValueError(f"{path} is for {published.num_classes} classes; {data.name} has {len(data.class_names)}")
    member = Member(
        name=path.name,
        network=_prepared(published.model, engine),
        images=SplitImages(data.val),
        crop=published.model.crop,
        scales=options.scales or (default_scale(config.data),),
        flip=bool(config.data.flip) if options.flip is None else options.flip,
        mean=published.mean.to(engine.device),
        scale=None if published.scale is None else published.scale.to(engine.device),
    )
    return _evaluate([member], options, data.class_names, (published.config,), data.name, engine, advance)


def _keep(folder: Path, answers: Predictions, images: ValImages) -> None:
    """Save a run's predictions in its directory, and thumbnails of the images that the error analysis lists."""
    analysis = error_analysis(answers)
    listed = (image.position for image in (*analysis.worst, *analysis.most_confident))
    predictions.save(answers, folder / predictions.FILE)
    thumbnails.save(thumbnails.thumbnails(images, listed), folder / thumbnails.FILE)


def _evaluate(
    members: list[Member],
    options: EvaluationOptions,
    class_names: tuple[str, ...],
    configs: tuple[str, ...],
    data_name: str,
    engine: Engine,
    advance: Callable[[int], object],
) -> Evaluation:
    answers = predict(
        members,
        protocol=options.protocol,
        class_names=class_names,
        device=engine.device,
        batch_size=options.batch_size,
        autocast=engine.autocast,
        rank=engine.rank,
        world_size=engine.world_size,
        gathered=engine.gathered,
        advance=advance,
    )
    return Evaluation(
        names=tuple(member.name for member in members),
        configs=configs,
        data_name=data_name,
        protocol=options.protocol,
        scales=tuple(sorted({scale for member in members for scale in member.scales})),
        described=describe(members, options.protocol),
        errors=answers.errors,
        predictions=answers,
    )


def _prepared(model: VGG, engine: Engine) -> nn.Module:
    # Every process has the whole network and its own images, so nothing needs to be exchanged.
    # Not compiled: dense evaluates as many input shapes as the set has.
    return replace(engine, rank=0, world_size=1, compile=False).prepare(model)


def _load(config: RunConfig) -> DataSet:
    data = dataset.load(config.data, seed=config.run.seed)
    return data if config.overfit_images is None else first_batches(data, config.overfit_images, seed=config.run.seed)


def _validation_images(config: RunConfig) -> ValImages:
    return SplitImages(_load(config).val)


def _class_names(run: Run) -> tuple[str, ...]:
    if not run.data:
        if run.config is None:
            raise ValueError(f"{run.folder} is a run of a loop of its own, whose data and network evaluate does not know")
        raise ValueError(f"{run.folder} has no data.json: the run ended before it had loaded its data")
    names = tuple(run.data["class_names"])
    outputs = run.train_config.model.num_outputs or len(names)
    return names + tuple(f"output {number}, no class" for number in range(len(names), outputs))


def _member(run: Run, images: ValImages, options: EvaluationOptions, engine: Engine, step: int | None) -> Member:
    config = run.train_config
    # A linear classifier takes only images of the crop size; as a convolution, with the same weights, it takes any.
    config = replace(config, model=replace(config.model, classifier="conv"))
    model = build_model(config, num_classes=len(run.data["class_names"]))
    state = checkpoint.load_weights(run.folder / "checkpoints", identity(run.train_config), step=step)
    model.load_state_dict(classifier_state(state, model))
    assert config.data.crop is not None
    return Member(
        name=str(run.folder),
        network=_prepared(model, engine),
        images=images,
        crop=config.data.crop,
        scales=options.scales or (default_scale(config.data),),
        flip=bool(config.data.flip) if options.flip is None else options.flip,
        mean=torch.tensor(run.data["mean"], device=engine.device),
        scale=torch.tensor(run.data["std"], device=engine.device) if config.data.input == "standard" else None,
    )


def _check_same_images(first: Run, other: Run, images: ValImages, others: ValImages) -> None:
    """Refuse an ensemble in which one run trained on images that another holds out.

    Raises:
        ValueError: the validation images differ.
    """
    if first.train_config.data.size != other.train_config.data.size:
        # Images stored at different sizes can only be compared after loading both at the same size.
        data = replace(
            other.train_config.data, size=first.train_config.data.size, crop=first.train_config.data.crop, jitter=None
        )
        others = _validation_images(replace(other.train_config, data=data))
    if _digest(images) != _digest(others):
        raise ValueError(
            f"{other.folder} has other validation images than {first.folder}, and may have trained on those of {first.folder};"
            " an ensemble needs runs with the same data and, where the split is drawn, the same run.seed"
        )


def _digest(images: ValImages) -> str:
    """Hash the number of images and an evenly spaced sample of them."""
    hashed = hashlib.sha256(str(len(images)).encode())
    for place in range(min(NUM_COMPARED, len(images))):
        image, label = images[place * len(images) // min(NUM_COMPARED, len(images))]
        hashed.update(str((label, tuple(image.shape))).encode() + image.contiguous().numpy().tobytes())
    return hashed.hexdigest()
