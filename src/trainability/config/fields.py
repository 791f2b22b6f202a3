"""The configuration of a run: frozen dataclasses and their validation.

The docstring under each field is its `--help` text. Off is always `None`, never 0 or -1; `None` also stands for the data
set's default, which `completed` fills in. Nothing in this package imports torch, so that `--help` prints at once.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args, get_type_hints

from tyro.conf import arg

from trainability.config.checks import in_range, one_of, shown
from trainability.config.sources import SOURCES, defaults_in_words, help_on_names, help_on_paths

NUM_POOLINGS = 5
MIN_SIDE = 2**NUM_POOLINGS
"""Smallest image side that survives the five 2x2 poolings of every VGG: 32 pixels."""
MAX_SIDE = 8192
MOST_OUTPUTS = 2**20
MOST_PROCESSES = 1024
"""More than any run needs: larger values are typing errors, and are refused before they fill the memory."""


if TYPE_CHECKING:
    SourceName = str
else:
    SourceName = Literal[tuple(SOURCES)]


def _help(text: str) -> dict[str, str]:
    """Give a field a `--help` text computed from `SOURCES`, instead of a docstring under it."""
    return {"help": text}


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network: one of the six configurations of the 2014 paper."""

    config: Literal["A", "A-LRN", "B", "C", "D", "E"] = "B"
    """Configuration of the paper's Table 1. Weight layers: A 11, B 13, C and D 16,
    E 19."""
    width: float | None = field(
        default=None,
        metadata=_help(
            "Multiplies all channel counts; 1 is the paper's 64-128-256-512-512. None takes the data set's: "
            f"{defaults_in_words(lambda source: f'{source.width:g}')}.",
        ),
    )
    hidden: int | None = None
    """Width of the two hidden fully-connected layers. None takes 4096 times the
    width, as in the paper."""
    dropout: float = 0.5
    """Probability that a hidden fully-connected unit is dropped while training, in
    [0, 1)."""
    classifier: Literal["conv", "linear"] = "conv"
    """conv: fully-connected layers as convolutions, for any image size (the paper).
    linear: as linear layers, for images of the crop size only."""
    num_outputs: int | None = None
    """Outputs of the network. None takes one per class; further outputs have no
    class, as in a head built for another data set."""

    def __post_init__(self) -> None:
        one_of("model.config", self.config, get_args(get_type_hints(ModelConfig)["config"]))
        one_of("model.classifier", self.classifier, ("conv", "linear"))
        if self.width is not None:
            in_range("model.width", self.width, above=0, at_most=16)
        if self.hidden is not None:
            in_range("model.hidden", self.hidden, at_least=1, at_most=MOST_OUTPUTS)
        if self.num_outputs is not None:
            in_range("model.num-outputs", self.num_outputs, at_least=2, at_most=MOST_OUTPUTS)
        in_range("model.dropout", self.dropout, at_least=0, below=1)


@dataclass(frozen=True, kw_only=True)
class InitConfig:
    """The starting weights."""

    plan: str = "xavier"
    """One scheme per weight layer, first to last, as in
    "xavier:4,normal=0.01,xavier:3": four layers, the rest, three layers.
    Schemes: xavier, xavier-normal, he, he-uniform, lecun, orthogonal,
    normal=STD, uniform=BOUND."""
    from_: Annotated[Path | None, arg(name="from")] = None
    """Run directory of a trained shallower net. Its first four convolutions and
    three fully-connected layers are copied (the paper's rule); the plan
    initialises the rest. From a net of the same configuration, all layers are
    copied (the paper's 384-pixel nets start from its 256-pixel nets)."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The images. Sizes that are not given are the data set's defaults."""

    name: SourceName = field(default="digits", metadata=_help(help_on_names()))
    path: Path | None = field(default=None, metadata=_help(help_on_paths()))
    size: int | None = field(
        default=None,
        metadata=_help(
            "Smaller side of the image before cropping, in pixels (the paper's S). None takes the crop plus a margin of: "
            f"{defaults_in_words(lambda source: source.margin)}.",
        ),
    )
    crop: int | None = field(
        default=None,
        metadata=_help(
            "Side of the square that the network trains on, in pixels, at least 32. None takes "
            f"{defaults_in_words(lambda source: source.crop)}.",
        ),
    )
    input: Literal["mean", "standard"] = "mean"
    """mean: 0-255 with the training set's mean RGB subtracted, as in the paper.
    standard: also divided by its standard deviation. The scale is part of the
    initialisation: weights that train with one can be dead with the other."""
    flip: bool | None = field(
        default=None,
        metadata=_help(
            "Flip half of the training images left to right. None takes the data set's: "
            f"{defaults_in_words(lambda source: 'yes' if source.flip else 'no')} (a mirrored digit is not the same digit).",
        ),
    )
    jitter: tuple[int, int] | None = None
    """Smallest and largest size, as in "256 512": every time a training image is
    used, its smaller side is rescaled to a random size in this range, then it
    is cropped (the paper's scale jitter). Images are stored at `size` and
    resampled from it."""
    colour_shift: bool = False
    """Shift the colours of every training image along the principal axes of the
    training set's pixels, by N(0, 0.1) standard deviations (the paper, after
    AlexNet)."""
    val_fraction: float = 0.2
    """Fraction of the images of every class held out for validation, drawn by
    run.seed, if the data set has no validation images of its own."""
    num_images: int = 2000
    """synthetic only: number of images, training and validation together."""
    num_classes: int = 10
    """synthetic only: number of classes."""
    imbalance: float = 1.0
    """synthetic only: size of the most frequent class over that of the rarest;
    class sizes form a geometric progression."""
    groups: int | None = None
    """synthetic only: number of groups of similar classes, such as breeds of dogs.
    A network learns the groups first, so its loss leaves chance level as early
    as with that many classes. None makes all classes equally different from
    each other."""
    cache: Path | None = None
    """Folder of the packs: data sets whose images are rescaled once. None takes
    $TRAINABILITY_CACHE, or trainability in the system's folder for user
    caches: ~/.cache on Linux, ~/Library/Caches on macOS."""
    encoding: Literal["jpeg", "raw"] | None = None
    """How a pack stores images: jpeg of quality 95, or raw pixels, which are faster
    to read and take several times the space. None takes raw up to a size of 64."""
    workers: int | None = None
    """Processes that decode images during training; the result does not depend on
    their number. None takes the number of cores minus one, at most 16."""
    resident_gib: float | None = 2.0
    """A packed set whose images have one shape and fit into this much memory is
    held on the device; others are streamed. None streams all."""

    def __post_init__(self) -> None:
        one_of("data.name", self.name, tuple(SOURCES))
        one_of("data.input", self.input, ("mean", "standard"))
        for name, side in (("data.crop", self.crop), ("data.size", self.size)):
            if side is not None and side < MIN_SIDE:
                raise ValueError(
                    f"{name} is {shown(side)} pixels: too small for the five 2x2 poolings, which need at least {MIN_SIDE}"
                )
            if side is not None:
                in_range(name, side, at_most=MAX_SIDE)
        if self.size is not None and self.size < (self.crop or MIN_SIDE):
            raise ValueError(f"data.size {self.size} is smaller than data.crop {self.crop}: a crop is cut out of the image")
        if self.jitter is not None:
            low, high = self.jitter
            in_range("data.jitter", high, at_most=MAX_SIDE)
            in_range("data.jitter", low, at_least=self.crop or MIN_SIDE, at_most=high)
        in_range("data.val-fraction", self.val_fraction, above=0, below=1)
        in_range("data.num-images", self.num_images, at_least=2, at_most=10**9)
        in_range("data.num-classes", self.num_classes, at_least=2, at_most=MOST_OUTPUTS)
        in_range("data.imbalance", self.imbalance, at_least=1)
        if self.groups is not None:
            in_range("data.groups", self.groups, at_least=2, at_most=self.num_classes)
        if self.encoding is not None:
            one_of("data.encoding", self.encoding, ("jpeg", "raw"))
        if self.workers is not None:
            in_range("data.workers", self.workers, at_least=1, at_most=MOST_PROCESSES)
        if self.resident_gib is not None:
            in_range("data.resident-gib", self.resident_gib, above=0)


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """Stochastic gradient descent and its schedule."""

    lr: float = 0.01
    """Learning rate at the start (after the warm-up)."""
    momentum: float = 0.9
    """Momentum, in [0, 1)."""
    nesterov: bool = False
    """Nesterov's momentum instead of the classical one."""
    weight_decay: float = 5e-4
    """L2 penalty on all parameters."""
    batch_size: int = 64
    """Images per step, over all processes and micro-batches together."""
    micro_batch_size: int | None = None
    """Most images in one forward pass of one process; gradients are accumulated
    over the batch. None takes the whole batch at once. The result does not
    depend on the split."""
    epochs: int = 15
    """Passes over the training set."""
    clip: float | None = None
    """Largest gradient norm; larger gradients are scaled down to it. The norm
    before clipping is recorded."""
    schedule: Literal["plateau", "steps", "constant", "cosine"] = "cosine"
    """plateau: the learning rate drops when the validation error stops improving
    (the paper). steps: it drops at step-epochs. cosine: it falls to zero over
    the run."""
    drop_factor: float = 0.1
    """plateau and steps: factor by which a drop multiplies the learning rate."""
    patience_epochs: int = 3
    """plateau: epochs without a lower validation error before a drop."""
    plateau_metric: Literal["top1", "top5"] = "top1"
    """plateau: the validation error that must fall."""
    plateau_threshold: float = 0.0
    """plateau: fraction by which the accuracy must exceed its best to count as
    better."""
    max_drops: int = 3
    """plateau: most drops of the learning rate (the paper: 3)."""
    step_epochs: tuple[int, ...] = ()
    """steps: epochs, counted from 0, at whose start the learning rate drops."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises linearly, under any schedule."""

    def __post_init__(self) -> None:
        in_range("optim.lr", self.lr, above=0)
        in_range("optim.momentum", self.momentum, at_least=0, below=1)
        in_range("optim.weight-decay", self.weight_decay, at_least=0)
        in_range("optim.batch-size", self.batch_size, at_least=1)
        if self.micro_batch_size is not None:
            in_range("optim.micro-batch-size", self.micro_batch_size, at_least=1)
        in_range("optim.epochs", self.epochs, at_least=1)
        if self.clip is not None:
            in_range("optim.clip", self.clip, above=0)
        one_of("optim.schedule", self.schedule, ("plateau", "steps", "constant", "cosine"))
        in_range("optim.drop-factor", self.drop_factor, above=0, below=1)
        in_range("optim.patience-epochs", self.patience_epochs, at_least=1)
        one_of("optim.plateau-metric", self.plateau_metric, ("top1", "top5"))
        in_range("optim.plateau-threshold", self.plateau_threshold, at_least=0)
        in_range("optim.max-drops", self.max_drops, at_least=0)
        in_range("optim.warmup-steps", self.warmup_steps, at_least=0)
        if self.nesterov and self.momentum == 0:
            raise ValueError("optim.nesterov needs optim.momentum above 0")
        if self.schedule == "steps" and not self.step_epochs:
            raise ValueError("optim.schedule steps needs optim.step-epochs, for example --optim.step-epochs 30 60")
        for epoch in self.step_epochs:
            in_range("optim.step-epochs", epoch, at_least=1)


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Where and how to run. Of these, only seed, overfit-batches, precision and faults change the result."""

    dir: Path | None = None
    """Run directory. None takes the next free runs/DATA-CONFIG-NUMBER."""
    seed: int = 0
    """Random seed of the split, the weights, the order, the augmentation and the
    dropout."""
    overfit_batches: int | None = None
    """Overfit test: number of batches. Train only on the images of the first so many
    batches, and validate on the same images. A network that can learn memorises
    them within a few hundred steps. An epoch has only this many steps, so raise
    optim.epochs. None trains on the whole set."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto takes the GPU if there is one."""
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    """bf16: convolutions and matrix products in bfloat16 (autocast), weights and
    their updates in float32. tf32, on a GPU: float32, but convolutions and
    matrix products round their inputs to 10 bits of mantissa. fp32 does not."""
    compile: bool = False
    """Compile the network with torch.compile: takes minutes at the start and makes
    steps faster."""
    checkpoint_activations: bool = False
    """Store only the inputs of the five stages, and recompute the rest in the
    backward pass: less memory, about a third more time, the same result."""
    deterministic: bool = False
    """On a GPU, use only deterministic kernels. (CPU kernels always are.)"""
    parallel: Literal["ddp", "sharded"] = "ddp"
    """Under torchrun: every process keeps the whole network (ddp), or a shard of
    it (sharded, fully_shard)."""
    log_every_steps: int = 10
    """Steps between reads of the device. Every step is recorded; this many are
    read at a time."""
    checkpoint_every_steps: int | None = None
    """Steps between checkpoints, in addition to the one at the end of every epoch."""
    check: Literal["on", "off"] = "on"
    """on: before the first step, probe the network, audit images and metric, and
    rehearse, in a few seconds. The result of the run does not change."""
    rehearse_seconds: float | None = 10.0
    """Most seconds that the check spends on rehearsing the run's first steps on a
    copy, at most a tenth of the run; 0 or None for no rehearsal."""
    monitor_every_steps: int | None = 50
    """Steps between samples of every layer: sizes, updates, and histograms of its
    weights, gradients and outputs. None does not monitor the run. The result
    of the run does not change."""
    stop_on: Literal["doomed"] | None = None
    """doomed: save and end a run whose verdict is dead or unstable."""
    faults: tuple[
        Literal[
            "metric-of-last-batch",
            "halved-loss",
            "blank-images",
            "padded-pointwise",
            "clip-dropped",
            "shared-data-set",
            "odd-accumulation",
            "lost-schedule",
            "lost-plateau",
        ],
        ...,
    ] = ()
    """Known bugs to switch on, to see the doctor find them."""
    period: str | None = None
    """Year and month, as in 2014-09: refuse techniques that were published later.
    None accepts all."""
    sinks: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Also write to these; each needs the extra of its name. JSON lines are always
    written."""

    def __post_init__(self) -> None:
        in_range("run.seed", self.seed, at_least=0, below=2**63)
        if self.overfit_batches is not None:
            in_range("run.overfit-batches", self.overfit_batches, at_least=1)
        one_of("run.device", self.device, ("auto", "cpu", "cuda"))
        one_of("run.precision", self.precision, ("fp32", "tf32", "bf16"))
        one_of("run.parallel", self.parallel, ("ddp", "sharded"))
        in_range("run.log-every-steps", self.log_every_steps, at_least=1)
        one_of("run.check", self.check, ("on", "off"))
        one_of("run.stop-on", self.stop_on, (None, "doomed"))
        if self.period is not None and not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", self.period):
            raise ValueError(f"run.period is {self.period!r}; it must be a year and a month, as in 2014-09")
        for fault in self.faults:
            one_of("run.faults", fault, get_args(get_args(get_type_hints(RunSettings)["faults"])[0]))
        if self.rehearse_seconds is not None:
            in_range("run.rehearse-seconds", self.rehearse_seconds, at_least=0)
        for name in ("checkpoint_every_steps", "monitor_every_steps"):
            if getattr(self, name) is not None:
                in_range(f"run.{name.replace('_', '-')}", getattr(self, name), at_least=1)
        for sink in self.sinks:
            one_of("run.sinks", sink, ("tensorboard", "wandb"))


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides a run. Equal configurations give equal runs."""

    model: ModelConfig = field(default_factory=ModelConfig)
    init: InitConfig = field(default_factory=InitConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    run: RunSettings = field(default_factory=RunSettings)

    def __post_init__(self) -> None:
        for name, section in get_type_hints(RunConfig).items():
            if not isinstance(value := getattr(self, name), section):
                raise ValueError(f"{name} is {shown(repr(value))}; expected a {section.__name__}")

    @property
    def overfit_images(self) -> int | None:
        """Most images of an overfit test; None for a run on the whole set."""
        return None if self.run.overfit_batches is None else self.run.overfit_batches * self.optim.batch_size

    def completed(self) -> RunConfig:
        """Fill in every field whose default depends on the data set, so that the written configuration is complete."""
        defaults = SOURCES[self.data.name]
        crop = self.data.crop if self.data.crop is not None else defaults.crop
        size = self.data.size if self.data.size is not None else crop + defaults.margin
        width = self.model.width if self.model.width is not None else defaults.width
        hidden = self.model.hidden if self.model.hidden is not None else max(1, round(4096 * width))
        flip = self.data.flip if self.data.flip is not None else defaults.flip
        return dataclasses.replace(
            self,
            model=dataclasses.replace(self.model, width=width, hidden=hidden),
            data=dataclasses.replace(self.data, crop=crop, size=size, flip=flip),
        )


SECTIONS = {section.name: get_type_hints(RunConfig)[section.name] for section in dataclasses.fields(RunConfig)}
