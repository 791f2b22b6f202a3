"""Known bugs that can be switched on in this package's training loop, to see the doctor find them.

They are the bugs of the code behind the public training log. A fault replaces a part of the run; the loop is unchanged.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from trainability import keyed
from trainability.config import RunConfig
from trainability.data import augment
from trainability.data.loader import MicroBatch, ResidentLoader
from trainability.evaluation.metrics import Errors, errors
from trainability.training import checkpoint
from trainability.training.optimizer import GuardedStep
from trainability.training.schedule import Plateau
from trainability.training.tally import Tally

if TYPE_CHECKING:
    from trainability.training.parts import TrainingParts

_SHIFT_STREAM = 32  # the loader's own streams are 16 to 18


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A bug.

    Attributes:
        what: what the log's code did.
        rule: the doctor's rule that finds it.
        install: (parts, config) -> parts with the bug.
    """

    what: str
    rule: str
    install: Callable[[TrainingParts, RunConfig], TrainingParts]


def install(parts: TrainingParts, config: RunConfig) -> TrainingParts:
    """Install a configuration's faults in the parts of its run."""
    for name in config.run.faults:
        parts = FAULTS[name].install(parts, config)
    return parts


def _metric_of_last_batch(parts: TrainingParts, config: RunConfig) -> TrainingParts:
    def evaluate(network: nn.Module, batches: Any, *, num_classes: int, **how: Any) -> Errors:
        kept = list(batches)
        last = parts.evaluate(network, kept[-1:], num_classes=num_classes, **how)
        whole = parts.evaluate(network, kept, num_classes=num_classes, **how)
        top1, top5 = ((1 - (share or 0.0)) * last.num_examples for share in (last.top1_error, last.top5_error))
        return errors(whole.loss * whole.num_examples, top1, top5, whole.num_examples, num_classes)

    return dataclasses.replace(parts, evaluate=evaluate)


class _DividedTally(Tally):
    """Divides the logged loss by the accumulation steps a second time."""

    def __init__(self, *arguments: Any, divisor: int) -> None:
        super().__init__(*arguments)
        self.divisor = divisor

    def add(self, losses: Tensor, logits: Tensor, labels: Tensor, weights: Tensor) -> None:
        super().add(losses / self.divisor, logits, labels, weights)


def loss_divisor(config: RunConfig) -> int:
    """Return the factor by which the logged loss of a run is too small; 1 without the fault."""
    if "halved-loss" not in config.run.faults:
        return 1
    size = config.optim.micro_batch_size
    return max(2, math.ceil(config.optim.batch_size / size) if size is not None else 2)


def _halved_loss(parts: TrainingParts, config: RunConfig) -> TrainingParts:
    return dataclasses.replace(parts, tally=functools.partial(_DividedTally, divisor=loss_divisor(config)))


class _ChangedLoader(ResidentLoader):
    """A loader that changes the micro-batches of another one."""

    def __init__(self, loader: ResidentLoader) -> None:
        vars(self).update(vars(loader))
        self.loader = loader

    def changed(self, micro: MicroBatch) -> MicroBatch:
        return micro

    def steps(self, epoch: int, first: int = 0, *, draws_of: int | None = None) -> Iterator[Iterator[MicroBatch]]:
        for micro_batches in self.loader.steps(epoch, first, draws_of=draws_of):
            yield map(self.changed, micro_batches)


class _ShiftedColours(_ChangedLoader):
    """Shifts the channels of half of the images by up to 20 after normalisation, and clips to [0, 1]."""

    def changed(self, micro: MicroBatch) -> MicroBatch:
        def draw(number: int, high: int) -> Tensor:
            return keyed.integers(keyed.stream(micro.keys, _SHIFT_STREAM + number), high)

        shift = torch.stack([draw(channel, 41) - 20 for channel in range(3)], 1).float()[:, :, None, None]
        is_hit = draw(3, 2).bool()[:, None, None, None]
        return dataclasses.replace(micro, images=torch.where(is_hit, (micro.images + shift).clamp(0, 1), micro.images))


class _SharedTransform(_ChangedLoader):
    """Centre-crops training images: the validation transform was set on a data set object that both splits share."""

    def steps(self, epoch: int, first: int = 0, *, draws_of: int | None = None) -> Iterator[Iterator[MicroBatch]]:
        centres = augment.centre_crops(self.train_images, self.crop)
        shared = _ChangedLoader(self.loader)
        shared.train_images, shared.flip = centres, False
        return ResidentLoader.steps(shared, epoch, first, draws_of=draws_of)


class _OddAccumulation(_ChangedLoader):
    """Counts accumulation from 1 in every epoch, so that the first step takes one micro-batch more than the others."""

    def steps(self, epoch: int, first: int = 0, *, draws_of: int | None = None) -> Iterator[Iterator[MicroBatch]]:
        for number, micro_batches in enumerate(self.loader.steps(epoch, first, draws_of=draws_of), start=first):
            if number:
                yield micro_batches
                continue
            own = [dataclasses.replace(micro, is_last=False) for micro in micro_batches]
            more = next(next(self.loader.steps(epoch, 1, draws_of=draws_of)))
            yield itertools.chain(own, [dataclasses.replace(more, is_last=True)])


def _padded_pointwise(parts: TrainingParts, config: RunConfig) -> TrainingParts:
    for module in parts.model.features.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
            module.padding = (1, 1)
    return parts


CLIP_GAP = 0.03
"""Difference of validation and training loss from which on the log's code does not clip."""


class _Losses:
    """The training losses of the epoch that is under way, and whether clipping has ended."""

    def __init__(self) -> None:
        self.train: list[float] = []
        self.has_dropped = False

    def state_dict(self) -> dict[str, Any]:
        """What a rehearsal puts back."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        vars(self).update(state)


class _DroppedClip(GuardedStep):
    """Stops clipping for good once the loss is below a threshold that chance level meets, such as 7.0 for 1000 classes."""

    def __init__(self, *arguments: Any, level: float, num_examples: Callable[[int], int], losses: _Losses) -> None:
        super().__init__(*arguments)
        self.level, self.num_examples, self.losses = level, num_examples, losses

    def __call__(self, lr: float, loss_sum: Tensor, *, on_norm: Callable[[Tensor], None] | None = None) -> Tensor:
        if self.losses.has_dropped:
            self.clip = None
        norm = super().__call__(lr, loss_sum, on_norm=on_norm)
        loss = loss_sum.item() / self.num_examples(len(self.losses.train))
        self.losses.train.append(loss)
        self.losses.has_dropped |= loss < self.level
        return norm


def _clip_dropped(parts: TrainingParts, config: RunConfig) -> TrainingParts:
    level = 7.0 / math.log(1000) * math.log(parts.loader.num_classes)
    losses = _Losses()

    def evaluate(*arguments: Any, **how: Any) -> Errors:
        found = parts.evaluate(*arguments, **how)
        if losses.train:  # an evaluation before the first step compares nothing
            losses.has_dropped |= abs(found.loss - statistics.fmean(losses.train)) > CLIP_GAP
            losses.train.clear()
        return found

    step = functools.partial(_DroppedClip, level=level, num_examples=parts.loader.num_examples, losses=losses)
    return dataclasses.replace(parts, step=step, evaluate=evaluate)


def _resumed_with(kept: Callable[[Plateau], Plateau]) -> Callable[[TrainingParts, RunConfig], TrainingParts]:
    """Make a fault whose resume keeps only a part of what the schedule remembers."""

    def install(parts: TrainingParts, config: RunConfig) -> TrainingParts:
        def load_latest(*arguments: Any) -> checkpoint.Loaded | None:
            loaded = parts.load_latest(*arguments)
            if loaded is None:
                return None
            position = dataclasses.replace(loaded.position, plateau=kept(loaded.position.plateau))
            return dataclasses.replace(loaded, position=position)

        return dataclasses.replace(parts, load_latest=load_latest)

    return install


def _with_loader(kind: type[_ChangedLoader]) -> Callable[[TrainingParts, RunConfig], TrainingParts]:
    def install(parts: TrainingParts, config: RunConfig) -> TrainingParts:
        if not isinstance(parts.loader, ResidentLoader):
            raise ValueError(
                f"run.faults {', '.join(config.run.faults)} changes images held in memory; {config.data.name} is streamed"
            )
        return dataclasses.replace(parts, loader=kind(parts.loader))

    return install


FAULTS: dict[str, Fault] = {
    "metric-of-last-batch": Fault(
        what="the correct count of the last batch is divided by the size of the whole validation set",
        rule="metric_wrong",
        install=_metric_of_last_batch,
    ),
    "halved-loss": Fault(
        what="the logged loss is divided by the accumulation steps, then averaged as if it were not",
        rule="loss_divided",
        install=_halved_loss,
    ),
    "blank-images": Fault(
        what="a colour shift of up to 20 comes after normalisation, with clipping to [0, 1]",
        rule="blank_images",
        install=_with_loader(_ShiftedColours),
    ),
    "padded-pointwise": Fault(
        what="the 1x1 convolutions of configuration C are padded by 1",
        rule="padded_pointwise",
        install=_padded_pointwise,
    ),
    "clip-dropped": Fault(
        what="clipping ends for good once the loss is below 7.0, where ln 1000 is 6.9, or validation and training loss are "
        "0.03 apart",
        rule="clip_dropped",
        install=_clip_dropped,
    ),
    "shared-data-set": Fault(
        what="training and validation share one data set object, and with it the validation's centre crop",
        rule="augmentation_missing",
        install=_with_loader(_SharedTransform),
    ),
    "odd-accumulation": Fault(
        what="the first step of every epoch takes one micro-batch more than the others",
        rule="accumulation",
        install=_with_loader(_OddAccumulation),
    ),
    "lost-schedule": Fault(
        what="a resume forgets the whole schedule: how often the learning rate has dropped, its best value and its count",
        rule="lr_schedule",
        install=_resumed_with(lambda plateau: Plateau()),
    ),
    "lost-plateau": Fault(
        what="a resume keeps the learning rate and forgets the schedule's best value and count, so that the next drop is late",
        rule="lr_schedule",
        install=_resumed_with(lambda plateau: Plateau(num_drops=plateau.num_drops)),
    ),
}
