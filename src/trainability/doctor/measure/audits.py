"""Audits: the data exactly as the loop will see it, and the metric against answers that are known."""

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.audit_results import DataAudit, MetricAudit, MetricCase, SplitAudit
from trainability.doctor.measure.order import OrderCounter

Batches = Iterable[Any]
_PROBE_IMAGES = 256  # fewer say nothing about a weak class signal
_PROBE_PER_CLASS = 20
_MIRROR_IMAGES = 200  # the largest of some forty differences, each with standard error 0.07, stays below 0.25


class _Split:
    """Running sums over the batches of one split; holds coarse features and hashes, never the images."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0
        self.shapes: dict[tuple[int, ...], None] = {}
        self.sums: Tensor | None = None
        self.squares: Tensor | None = None
        self.values_per_channel = 0
        self.low, self.high = math.inf, -math.inf
        self.at_low = self.at_high = self.values = 0
        self.blank = self.constant = self.channels = self.nonfinite = 0
        self.hashes: list[int] = []
        self.features: list[Tensor] = []
        self.labels: list[Tensor] = []
        self.integer_labels = True
        self.order = OrderCounter()

    def add(self, images: Tensor, labels: Any) -> None:
        x = images.detach().float().cpu()
        is_image = images.dim() >= 4 and images.shape[-1] > 1 and images.shape[-2] > 1  # a table's row may hold one value
        x = x if x.dim() >= 3 else x.reshape(len(x), 1, -1)
        self.count += len(x)
        self.shapes[tuple(images.shape[1:])] = None
        flat = x.flatten(2)
        finite = torch.isfinite(flat).all(dim=2).all(dim=1)
        self.nonfinite += int((~finite).sum())
        low, high = flat.amin(dim=2), flat.amax(dim=2)
        same = (low == high) & is_image
        self.constant += int(same.sum())
        self.channels += same.numel()
        # An image is blank if every channel is constant: a colour shift with clipping leaves such uniform frames.
        self.blank += int(same.all(dim=1).sum())
        hashes = _hashes(x).tolist()
        self.hashes += hashes
        good = flat[finite]
        if len(good) and (images.is_floating_point() or images.dim() >= 4):  # numbers of words have no scale
            self._moments(good)
        if isinstance(labels, Tensor) and labels.dim() == 1 and len(labels) == len(x):
            self.integer_labels &= not labels.is_floating_point()
            self.labels.append(labels.detach().cpu())
            if self.integer_labels:
                self.order.add(self.labels[-1], hashes)
            if images.dim() == 4:
                self.features.append(nn.functional.adaptive_avg_pool2d(x.nan_to_num(0.0, 0.0, 0.0), 4).flatten(1))

    def _moments(self, flat: Tensor) -> None:
        sums, squares = flat.double().sum(dim=(0, 2)), flat.double().square().sum(dim=(0, 2))
        if self.sums is None or self.squares is None or len(self.sums) != len(sums):
            self.sums, self.squares, self.values_per_channel = torch.zeros_like(sums), torch.zeros_like(sums), 0
        self.sums, self.squares = self.sums + sums, self.squares + squares
        self.values_per_channel += flat.shape[0] * flat.shape[2]
        low, high = float(flat.min()), float(flat.max())
        self.at_low = (self.at_low if low >= self.low else 0) + (int((flat == low).sum()) if low <= self.low else 0)
        self.at_high = (self.at_high if high <= self.high else 0) + (int((flat == high).sum()) if high >= self.high else 0)
        self.low, self.high = min(low, self.low), max(high, self.high)
        self.values += flat.numel()

    def result(self) -> SplitAudit:
        labels = torch.cat(self.labels) if self.labels else None
        indices = labels if labels is not None and self.integer_labels else None
        countable = indices is not None and int(indices.min()) >= 0 and int(indices.max()) < 1_000_000
        means: tuple[float, ...] = ()
        stds: tuple[float, ...] = ()
        if self.sums is not None and self.squares is not None:
            mean = self.sums / self.values_per_channel
            means = tuple(mean.tolist())
            stds = tuple((self.squares / self.values_per_channel - mean**2).clamp(min=0).sqrt().tolist())
        return SplitAudit(
            name=self.name,
            num_images=self.count,
            shapes=tuple(self.shapes),
            channel_means=means,
            channel_stds=stds,
            minimum=self.low,
            maximum=self.high,
            clipped_fraction=(self.at_low + self.at_high) / max(self.values, 1),
            blank_fraction=self.blank / self.count,
            constant_channel_fraction=self.constant / self.channels,
            nonfinite_fraction=self.nonfinite / self.count,
            label_min=int(indices.min()) if indices is not None else None,
            label_max=int(indices.max()) if indices is not None else None,
            labels_are_integers=self.integer_labels,
            label_counts=tuple(torch.bincount(indices.long()).tolist()) if indices is not None and countable else (),
            mirror_asymmetry=self._mirror_asymmetry(),
            order=self.order.result(),
        )

    def _mirror_asymmetry(self) -> float | None:
        """Mean over images of what mirroring changes, over its standard deviation, at coarse places; the largest."""
        if sum(map(len, self.features)) < _MIRROR_IMAGES or len({f.shape[1] for f in self.features}) > 1:
            return None
        odd = torch.cat(self.features).unflatten(1, (-1, 4, 4))
        odd = (odd - odd.flip(-1))[..., :2]
        return float((odd.mean(dim=0).abs() / odd.std(dim=0).clamp(min=1e-9)).max())


def _hashes(images: Tensor) -> Tensor:
    """64-bit sums of the images' bits times fixed random weights: equal images, equal sums.

    Two different ones among 1e5 meet with probability 1e-9.
    """
    bits = images.flatten(1).contiguous().view(torch.int32).long()
    generator = torch.Generator().manual_seed(0)
    weights = torch.randint(-(2**62), 2**62, (bits.shape[1],), generator=generator)
    return (bits * weights).sum(dim=1)  # wraps around, which is what a hash wants


def unpacked(batch: Any, name: str) -> tuple[Tensor, Any]:
    """Images and labels of one batch.

    Raises:
        ValueError: it is no pair that begins with a tensor; the message says what it is.
    """
    is_sequence = isinstance(batch, (tuple, list))
    if is_sequence and len(batch) >= 2 and isinstance(batch[0], Tensor):
        return batch[0], batch[1]
    kind = f"({', '.join(type(item).__name__ for item in batch)})" if is_sequence else type(batch).__name__
    raise ValueError(f"the {name} loader yields {kind}; expected (images, labels), images one tensor")


def _read(batches: Batches, name: str, max_images: int) -> _Split:
    split = _Split(name)
    for batch in batches:
        images, labels = unpacked(batch, name)
        if len(images):
            split.add(images, labels)
        if split.count >= max_images:
            break
    if not split.count:
        raise ValueError(f"the {name} loader is empty; expected at least one batch of (images, labels)")
    return split


def audit_data(
    train: Batches,
    validation: Batches | None = None,
    *,
    num_classes: int | None = None,
    max_images: int = 2048,
    again: Batches | None = None,
) -> DataAudit:
    """Look at batches exactly as the loop will get them: after decoding, augmentation and normalisation.

    Every image is judged by itself: a third of blank images hardly moves a batch's mean. Random state is put back, so
    that the run draws what it would have drawn.

    Args:
        train: an iterable of (images, labels): images (batch, channels, height, width), labels (batch,) integers.
        validation: the same; None if there is none.
        num_classes: that the data is said to have; None to go by the labels.
        max_images: per split.
        again: the images of `train` augmented anew; only where they are meant to be augmented at random.

    Returns:
        The audit; `diagnose(Evidence(data=...))` reads it.

    Raises:
        ValueError: an empty loader, or one that does not yield (images, labels).
    """
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        seen = _read(train, "train", max_images)
        held_out = _read(validation, "validation", max_images) if validation is not None else None
        signal = _class_signal(seen)
        redrawn = _read(again, "train", max_images) if again is not None else None
    known = dict(zip(seen.hashes, torch.cat(seen.labels).tolist(), strict=True)) if _all_labelled(seen) else {}
    conflicts = 0
    if known:
        pairs = zip(seen.hashes, torch.cat(seen.labels).tolist(), strict=True)
        conflicts = sum(known[image] != label for image, label in pairs)
    return DataAudit(
        train=seen.result(),
        validation=held_out.result() if held_out is not None else None,
        num_classes=num_classes,
        overlap_fraction=_overlap(held_out, seen) if held_out is not None else None,
        label_conflict_fraction=conflicts / seen.count if known else None,
        repeated_fraction=_shared_fraction(redrawn, seen) if redrawn is not None else None,
        shared_dataset=validation is not None and _share_transform(train, validation),
        class_signal_z=signal[0] if signal else None,
        class_signal_accuracy=signal[1] if signal else None,
    )


def _shared_fraction(split: _Split, other: _Split) -> float:
    """Share of a split's images that occur, value for value, in the other."""
    there = set(other.hashes)
    return sum(image in there for image in split.hashes) / split.count


def _overlap(held_out: _Split, seen: _Split) -> float | None:
    """Share of validation that is in training; None where rows repeat as often within training (a table of few values)."""
    repeated = 1 - len(set(seen.hashes)) / seen.count
    shared = _shared_fraction(held_out, seen)
    return None if shared <= 3 * repeated else shared


def _all_labelled(split: _Split) -> bool:
    return bool(split.labels) and sum(map(len, split.labels)) == split.count


def _share_transform(train: Any, validation: Any) -> bool:
    """Whether both loaders end at one data set object that transforms images: what is set for one holds for both."""
    bottoms = []
    for loader in (train, validation):
        found = getattr(loader, "dataset", None)
        while found is not None and getattr(found, "dataset", None) is not None:
            found = found.dataset
        bottoms.append(found)
    same = bottoms[0] is not None and bottoms[0] is bottoms[1]
    return same and any(getattr(bottoms[0], name, None) is not None for name in ("transform", "transforms", "augment"))


def _class_signal(split: _Split) -> tuple[float, float] | None:
    """Held-out accuracy of ridge regression from 4x4 averages to classes, and its standard scores above chance."""
    if not split.features or not _all_labelled(split) or len({f.shape[1] for f in split.features}) > 1:
        return None
    x, y = torch.cat(split.features).double(), torch.cat(split.labels).long()
    if len(x) != split.count or not split.integer_labels or int(y.min()) < 0:
        return None
    present = torch.unique(y)
    if len(present) < 2 or len(x) < max(_PROBE_IMAGES, _PROBE_PER_CLASS * len(present)):
        return None
    y = torch.searchsorted(present, y)
    x = (x - x.mean(dim=0)) / x.std(dim=0).clamp(min=1e-9)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))  # loaders may come sorted by class
    half = len(x) // 2
    fit, test = order[:half], order[half:]
    x = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], dim=1)
    targets = nn.functional.one_hot(y, len(present)).double()
    ridge = 0.1 * half * torch.eye(x.shape[1], dtype=x.dtype)
    weights = torch.linalg.solve(x[fit].T @ x[fit] + ridge, x[fit].T @ targets[fit])
    accuracy = float(((x[test] @ weights).argmax(dim=1) == y[test]).double().mean())
    chance = float(torch.bincount(y[test]).max()) / len(test)
    return (accuracy - chance) / math.sqrt(max(chance * (1 - chance), 1e-9) / len(test)), accuracy


def audit_metric(metric: Any, num_classes: int = 10) -> MetricAudit:
    """Ask the metric questions whose answers are known.

    Args:
        metric: one of: a function of a list of (logits, labels) batches, the way the loop evaluates a whole set; an
            object with `update(logits, labels)`, `compute()` and perhaps `reset()`; or a function of one
            (logits, labels). The last cannot show how batches are joined, and is asked about one batch only. Top-k
            accuracy or error, in [0, 1] or percent.
        num_classes: C of the logits, at least 2 (more than k for a top-k metric).

    Returns:
        The audit; `diagnose(Evidence(metric=...))` reads it. A metric that raises is a wrong answer, not an error.

    Raises:
        ValueError: num_classes below 2, or a metric that is none of the above.
    """
    if num_classes < 2:
        raise ValueError(f"num_classes is {num_classes}; a metric needs at least 2")
    ask, joins = _asker(metric)
    size = 120  # not 100: a count of hits must not pass for percent
    labels = torch.arange(size) % num_classes
    right, wrong = _logits(labels, num_classes, size), _logits(labels, num_classes, 0)
    perfect, nothing = ask([(right, labels)]), ask([(wrong, labels)])
    is_error = perfect[0] < nothing[0]
    scale = 100.0 if max(perfect[0], nothing[0]) > 1.5 else 1.0

    def case(name: str, batches: Sequence[tuple[Tensor, Tensor]], correct: float) -> MetricCase:
        got, error = ask(batches)
        return MetricCase(name=name, expected=1 - correct if is_error else correct, got=got / scale, error=error)

    # The last 48 are right and the others wrong: a mean of batch means, or the last batch alone, differs from 0.4.
    mixed = _logits(labels, num_classes, 48)
    shuffled = torch.randperm(size, generator=torch.Generator().manual_seed(0))
    cases = [
        case("every answer right", [(right, labels)], 1.0),
        case("every answer wrong", [(wrong, labels)], 0.0),
        case("48 of 120 right", [(mixed, labels)], 0.4),
        case("48 of 120 right, asked again", [(mixed, labels)], 0.4),
        case("48 of 120 right, shuffled", [(mixed[shuffled], labels[shuffled])], 0.4),
    ]
    if joins:
        for batch in (64, 32, 7, 1):
            pairs = list(zip(mixed.split(batch), labels.split(batch), strict=True))
            cases.append(case(f"batches of {batch}, the last of {size % batch or batch}", pairs, 0.4))
    same = torch.zeros(size, num_classes)
    same[:, 0] = 1.0
    constant, _ = ask([(same, labels)])
    return MetricAudit(
        cases=tuple(cases), is_error=is_error, constant_score=constant / scale if math.isfinite(constant) else None
    )


def _logits(labels: Tensor, num_classes: int, num_right: int) -> Tensor:
    """Logits that rank the label first in the last `num_right` examples, and last in the others."""
    logits = torch.linspace(0.0, 0.5, num_classes).repeat(len(labels), 1)
    rows = torch.arange(len(labels))
    logits[rows, labels] = torch.where(rows >= len(labels) - num_right, 2.0, -2.0)
    return logits


def _asker(metric: Any) -> tuple[Callable[[Sequence[tuple[Tensor, Tensor]]], tuple[float, str | None]], bool]:
    """A function from batches to (value, error text), and whether the metric joins batches by itself."""
    stateful = callable(getattr(metric, "update", None)) and callable(getattr(metric, "compute", None))
    if not stateful and not callable(metric):
        raise ValueError(f"the metric is a {type(metric).__name__}; expected a function, or update() and compute()")
    joins = stateful or _num_required(metric) < 2

    def value(batches: Sequence[tuple[Tensor, Tensor]]) -> Any:
        if stateful:
            return _computed(metric, batches)
        return metric(list(batches)) if joins else metric(*batches[0])

    def ask(batches: Sequence[tuple[Tensor, Tensor]]) -> tuple[float, str | None]:
        try:
            return _one_number(value(batches)), None
        except Exception as error:
            return math.nan, f"the metric raised {type(error).__name__}: {error}"

    return ask, joins


def _one_number(value: Any) -> float:
    """The metric's answer; of several, as for topk=(1, 5), the first."""
    return _one_number(value[0]) if isinstance(value, list | tuple) else float(value)


def _computed(metric: Any, batches: Sequence[tuple[Tensor, Tensor]]) -> Any:
    if callable(getattr(metric, "reset", None)):
        metric.reset()
    for logits, labels in batches:
        metric.update(logits, labels)
    return metric.compute()


def _num_required(function: Any) -> int:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 2  # a builtin without a signature: taken as metric(logits, labels)
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds and p.default is inspect.Parameter.empty for p in parameters)
