"""The audit of the data, exactly as the loop will see it."""

import itertools
import math
import operator
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from trainability.doctor.arguments import check_batches, check_counts, check_known_counts
from trainability.doctor.audit_results import DataAudit, LabelsCompared, SplitAudit
from trainability.doctor.measure import class_signal, torn
from trainability.doctor.measure.added_noise import added_noise
from trainability.doctor.measure.axes import Axes
from trainability.doctor.measure.coarse import coarse_column
from trainability.doctor.measure.draws import redrawn
from trainability.doctor.measure.filled_columns import FilledColumns
from trainability.doctor.measure.held import are_windows
from trainability.doctor.measure.later_classes import come_later
from trainability.doctor.measure.order import OrderCounter
from trainability.doctor.measure.relation import is_labelled
from trainability.doctor.measure.row_hashes import row_hashes
from trainability.doctor.measure.same_columns import SameColumns
from trainability.doctor.measure.statistics import extremes
from trainability.doctor.measure.target_order import sorted_batches

Batches = Iterable[Any]
NO_LABEL = -100  # what PyTorch's losses of classes ignore
_MOST_TARGETS = 256  # values of one example's target
_MOST_COORDINATES = 3  # of an example that is a place
_MOST_SWITCHES, _MOST_LEVELS = 16, 8  # columns of a table all of whose combinations may be there; values of each
_MOST_LEFT_OUT = 100  # points of a grid in a row; of 2,000 random numbers the widest gap is thousands of times the narrowest
_MOST_WINDOWS, _LONGEST = 1024, 1024  # examples, and numbers of each, in which windows of a series are looked for
_FEWEST_BOXES, _FEWEST_BLANK = 64, 5  # blank images: with ten classes, equal targets by chance are one case in ten thousand
_MIRROR_IMAGES = 200  # the largest of some forty differences, each with standard error 0.07, stays below 0.25


class _Split:
    """Running sums over the batches of one split; holds coarse features and hashes, never the images."""

    def __init__(self, name: str, batches: Batches) -> None:
        self.name = name
        self.count = 0
        self.shapes: dict[tuple[int, ...], None] = {}
        self.sums: Tensor | None = None
        self.squares: Tensor | None = None
        self.values_per_channel = 0
        self.low, self.high = math.inf, -math.inf
        self.at_low = self.at_high = self.values = 0
        self.blank = self.lone = self.constant = self.channels = self.nonfinite = 0
        self.blank_targets: set[int] = set()
        self.other_targets: set[int] = set()
        self.hashes: list[int] = []
        self.pairs: list[Tensor] = []
        self.features: list[Tensor] = []
        self.classes: list[Tensor] = []
        self.are_images = True
        self.labels: list[Tensor] = []
        self.targets: list[Tensor] = []
        self.integer_labels = True
        self.lowest_target, self.highest_target = math.inf, -math.inf
        self.order = OrderCounter(batches)
        self.places: list[Tensor] = []
        self.rows: list[Tensor] = []
        self.regrouped: list[Tensor] = []
        self.is_single = True
        self.columns, self.filled, self.axes = SameColumns(), FilledColumns(), Axes()
        self.series: list[Tensor] = []
        self.sequences: list[list[int]] = []
        self.rest: Iterator[Any] | None = None  # batches that were not read

    def add(self, images: Tensor, labels: Any) -> None:
        x = images.detach().float().cpu()
        is_image = images.dim() >= 4 and images.shape[-1] > 1 and images.shape[-2] > 1  # a table's row may hold one value
        x = x if x.dim() >= 3 else x.reshape(len(x), 1, -1)
        if self.count < torn.MOST and (ratios := torn.regrouped_over_own(images.cpu())) is not None:
            self.regrouped.append(ratios)
        self.count += len(x)
        self.shapes[tuple(images.shape[1:])] = None
        flat = x.flatten(2)
        low, high = extremes(flat)
        finite = (torch.isfinite(low) & torch.isfinite(high)).all(dim=1)  # NaN is the least and the greatest of all
        self.nonfinite += int((~finite).sum())
        same = (low == high) & is_image
        self.constant += int(same.sum())
        self.channels += same.numel()
        # An image is blank if every channel is constant: a colour shift with clipping leaves such uniform frames.
        blank = same.all(dim=1)
        self.blank += int(blank.sum())
        if is_image:
            self.lone += int((~blank & ((flat != low[:, :, None]).sum(dim=2) <= 1).all(dim=1)).sum())
        hashed = row_hashes(x)
        hashes = hashed.tolist()
        self.hashes += hashes
        if isinstance(labels, Tensor) and labels.dim() and len(labels) == len(x):
            of_labels = row_hashes(labels.detach().float().cpu().reshape(len(x), 1, -1))
            both = 3 * hashed + of_labels  # no exclusive or: an example may be its own target
            if labels.dim() > 1 and not labels.is_floating_point():
                self.sequences.append(both.tolist())
            self.blank_targets.update(of_labels[blank].tolist())
            self.other_targets.update(of_labels[~blank].tolist())
            self.pairs.append(both[(low.amin(dim=1) != high.amax(dim=1))])  # what holds one value alone is empty, and no copy
        self.is_single &= images.dtype == torch.float32
        self.columns.add(images)
        self.filled.add(images)
        self.axes.add(images)
        if x[0].numel() <= _MOST_COORDINATES:
            self.places.append(x.flatten(1).double())
        if x[0].numel() <= _MOST_SWITCHES:
            self.rows.append(x.flatten(1))
        if images.is_floating_point() and images.dim() in (2, 3) and x[0].numel() <= _LONGEST and self.count <= _MOST_WINDOWS:
            self.series.append(images.detach().cpu())
        good = flat if bool(finite.all()) else flat[finite]
        if len(good) and (images.is_floating_point() or images.dim() >= 4):  # numbers of words have no scale
            self._moments(good)
        if isinstance(labels, Tensor) and labels.dim() == 1 and len(labels) == len(x):
            self.integer_labels &= not labels.is_floating_point()
            self.labels.append(labels.detach().cpu())
            if self.integer_labels:
                self.order.add(self.labels[-1], hashes)
        self._look_at_labels(images, labels, hashes)

    def _look_at_labels(self, images: Tensor, labels: Any, hashes: list[int]) -> None:
        """Keeps simple features beside classes, the order of yes and no, and targets that are values."""
        if not isinstance(labels, Tensor) or labels.dim() == 0 or len(labels) != len(images):
            return
        given = labels.detach().cpu()
        if given.numel():
            low, high = (float(x) for x in given.double().aminmax())
            self.lowest_target, self.highest_target = min(low, self.lowest_target), max(high, self.highest_target)
        if given.is_floating_point() and given[0].numel() <= _MOST_TARGETS:
            self.targets.append(given.flatten(1).double() if given.dim() > 1 else given.double()[:, None])
        yes_or_no = given.is_floating_point() and bool(((given == 0) | (given == 1)).all())
        is_one = given.numel() == len(given) and (yes_or_no or not given.is_floating_point())
        if is_one and yes_or_no:
            self.order.add(given.reshape(-1).long(), hashes)
        found = class_signal.features_of(images) if is_one else None
        if found is not None:
            self.are_images &= images.dim() == 4
            self.features.append(found)
            self.classes.append(given.reshape(-1).long())

    def on_a_grid(self) -> bool:
        """Whether examples are places: three numbers at most, each of which takes evenly spaced values."""
        if sum(map(len, self.places)) != self.count or len({p.shape[1] for p in self.places}) != 1:
            return False
        return all(_evenly_spaced(column) for column in torch.cat(self.places).T)

    def is_complete(self) -> bool:
        """Whether every combination of the values that the columns take is there: no example can be new."""
        rows = torch.cat(self.rows) if len({r.shape[1] for r in self.rows}) == 1 else torch.zeros(0, 1)
        levels = [len(column.unique()) for column in rows.T]
        combinations = math.prod(levels)
        return (
            max(levels) <= _MOST_LEVELS and combinations <= len(rows) == self.count and combinations == len(rows.unique(dim=0))
        )

    def classes_read(self) -> Tensor | None:
        """Class indices in the order in which they came; None where labels are of another kind."""
        return torch.cat(self.labels) if self.labels and self.integer_labels else None

    def probed(self) -> tuple[Tensor, Tensor] | None:
        """Features and classes of every example; None where some have none, or not of one width."""
        if sum(map(len, self.classes)) != self.count or len({f.shape[1] for f in self.features}) != 1:
            return None
        classes = torch.cat(self.classes)
        return (torch.cat(self.features), classes) if int(classes.min()) >= 0 else None

    def _target_moments(self) -> tuple[float, float] | None:
        if sum(map(len, self.targets)) != self.count or len({t.shape[1] for t in self.targets}) != 1:
            return None
        joined = torch.cat(self.targets)
        mean, variance = float(joined.mean()), float(joined.var(dim=0, correction=0).mean())
        return (mean, variance) if math.isfinite(mean) and math.isfinite(variance) else None

    def _moments(self, flat: Tensor) -> None:
        variances, means = (part.double() for part in torch.var_mean(flat, dim=2, correction=0))
        sums, squares = means.sum(dim=0) * flat.shape[2], (variances + means.square()).sum(dim=0) * flat.shape[2]
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
        indices = labels[labels != NO_LABEL] if labels is not None and self.integer_labels else None
        indices = indices if indices is not None and len(indices) else None
        countable = indices is not None and int(indices.min()) >= 0 and int(indices.max()) < 1_000_000
        means: tuple[float, ...] = ()
        stds: tuple[float, ...] = ()
        if self.sums is not None and self.squares is not None:
            mean = self.sums / self.values_per_channel
            means = tuple(mean.tolist())
            stds = tuple((self.squares / self.values_per_channel - mean**2).clamp(min=0).sqrt().tolist())
        targets = self._target_moments()
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
            lone_fraction=self.lone / self.count,
            blank_target=self._one_blank_target(),
            constant_channel_fraction=self.constant / self.channels,
            nonfinite_fraction=self.nonfinite / self.count,
            label_min=int(indices.min()) if indices is not None else None,
            label_max=int(indices.max()) if indices is not None else None,
            labels_are_integers=self.integer_labels,
            label_counts=tuple(torch.bincount(indices.long()).tolist()) if indices is not None and countable else (),
            positive=self._positive(),
            mirror_asymmetry=self._mirror_asymmetry(),
            order=self.order.result(),
            target_mean=targets[0] if targets else None,
            target_variance=targets[1] if targets else None,
            regrouped_roughness=torn.nine_in_ten(self.regrouped),
            most_copied=self._most_copied(),
            coarse=coarse_column(self.places, self.targets) if self.is_single else None,
            same_columns=self.columns.found(),
            filled_columns=self.filled.found(),
            axes=self.axes.spreads(),
            crossed=self._crossed_corners(),
            is_windowed=self._is_windowed(),
            repeated_sequences=(
                sum(itertools.starmap(operator.eq, itertools.pairwise(self.sequences))),
                len(self.sequences),
                len(self.sequences[0]) if self.sequences else 0,
            ),
            lone_target=self.lowest_target if self.lowest_target == self.highest_target else None,
        )

    def of_labelled(self) -> list[int]:
        """Hashes of the examples, without those whose label is the mark for none."""
        if not self.integer_labels or sum(map(len, self.labels)) != self.count:
            return self.hashes
        return list(itertools.compress(self.hashes, is_labelled(torch.cat(self.labels)).tolist()))

    def _positive(self) -> float | None:
        """The share of ones among labels of 0 and 1."""
        if sum(map(len, self.classes)) != self.count:
            return None
        labels = torch.cat(self.classes)
        return float(labels.double().mean()) if {int(labels.min()), int(labels.max())} == {0, 1} else None

    def _crossed_corners(self) -> tuple[float, float] | None:
        """The share of targets (x1, y1, x2, y2) with x1 > x2, and with y1 > y2."""
        known = sum(map(len, self.targets)) == self.count >= _FEWEST_BOXES and {t.shape[1] for t in self.targets} == {4}
        if not known or any(len(shape) != 3 for shape in self.shapes):
            return None
        x1, y1, x2, y2 = torch.cat(self.targets).T
        return float((x1 > x2).float().mean()), float((y1 > y2).float().mean())

    def _is_windowed(self) -> bool:
        """Whether examples are overlapping windows of a series, of one number a step or several."""
        if not self.series or len({t.shape[1:] for t in self.series}) != 1:
            return False
        rows = torch.cat(self.series)
        return are_windows(rows) if rows.dim() == 2 else are_windows(rows[:, :, 0]) or are_windows(rows[:, 0])

    def _one_blank_target(self) -> bool | None:
        """Whether blank images all have the same target, as for empty images, and other images have others."""
        if self.blank < _FEWEST_BLANK or not self.blank_targets:
            return None
        return len(self.blank_targets) == 1 and len(self.other_targets - self.blank_targets) > 0

    def _most_copied(self) -> float | None:
        if not self.pairs or not sum(map(len, self.pairs)):
            return None
        return int(torch.cat(self.pairs).unique(return_counts=True)[1].max()) / self.count

    def _mirror_asymmetry(self) -> float | None:
        """Mean over images of what mirroring changes, over its standard deviation, at coarse places; the largest."""
        if not self.are_images or sum(map(len, self.features)) < _MIRROR_IMAGES or len({f.shape[1] for f in self.features}) > 1:
            return None
        odd = torch.cat(self.features).unflatten(1, (-1, 4, 4))
        odd = (odd - odd.flip(-1))[..., :2]
        return float((odd.mean(dim=0).abs() / odd.std(dim=0).clamp(min=1e-9)).max())


def _evenly_spaced(values: Tensor) -> bool:
    """Whether numbers lie a multiple of one step apart, also where only some of a grid were read."""
    gaps = values.unique().diff()
    multiples = gaps / gaps.min() if len(gaps) > 1 else gaps.new_tensor([torch.inf])
    return float(multiples.max()) < _MOST_LEFT_OUT and float((multiples - multiples.round()).abs().max()) < 0.05


def unpacked(batch: Any, name: str) -> tuple[Tensor, Any]:
    """Images and labels of one batch.

    Raises:
        ValueError: it is no pair that begins with a tensor; the message says what it is.
    """
    is_sequence = isinstance(batch, (tuple, list))
    if is_sequence and len(batch) >= 2 and isinstance(batch[0], Tensor):
        return batch[0], batch[1]
    kind = f"({', '.join(type(item).__name__ for item in batch)})" if is_sequence else type(batch).__name__
    raise ValueError(
        f"the {name} loader yields {kind}; expected (input, label), the input one tensor; "
        "other batches take a training_step of (model, batch) in place of loss_fn"
    )


def _as_real(x: Any) -> Any:
    """Complex numbers with their real and imaginary parts beside each other along the last dimension."""
    if not isinstance(x, Tensor) or not x.is_complex():
        return x
    parts = torch.view_as_real(x.detach().resolve_conj())
    return parts.flatten(-2) if x.dim() > 1 else parts


def _read(batches: Batches, name: str, max_images: int) -> _Split:
    split = _Split(name, batches)
    rest = iter(batches)
    for batch in rest:
        images, labels = unpacked(batch, name)
        if len(images):
            split.add(_as_real(images), _as_real(labels))
        if split.count >= max_images:
            split.rest = rest
            break
    if not split.count:
        raise ValueError(f"the {name} loader is empty; expected at least one batch of (inputs, labels)")
    return split


def audit_data(
    train: Batches,
    validation: Batches | None = None,
    *,
    num_classes: int | None = None,
    max_images: int = 2048,
    again: Batches | None = None,
    redraw: bool = False,
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
        redraw: whether a few examples of `train`, a torch DataLoader, are drawn several times, to see whether augmentation is
            random and what worker processes draw.

    Returns:
        The audit; `diagnose(Evidence(data=...))` reads it.

    Raises:
        ValueError: an empty loader, or one that does not yield (images, labels).
    """
    check_batches(train=train, **({} if validation is None else {"validation": validation}))
    check_known_counts(num_classes=num_classes)
    check_counts(max_images=max_images)
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        seen = _read(train, "train", max_images)
        held_out = _read(validation, "validation", max_images) if validation is not None else None
        known_classes = seen.probed() if seen.are_images else None
        signal = class_signal.class_signal(*known_classes) if known_classes is not None and seen.integer_labels else None
        later = held_out is not None and come_later(train, seen.rest, seen.classes_read(), held_out.classes_read())
        drawn_again = _read(again, "train", max_images) if again is not None else None
        ordered = sorted_batches(seen.targets, train)
    known = dict(zip(seen.hashes, torch.cat(seen.labels).tolist(), strict=True)) if _all_labelled(seen) else {}
    conflicts = 0
    if known:
        pairs = zip(seen.hashes, torch.cat(seen.labels).tolist(), strict=True)
        conflicts = sum(known[image] != label for image, label in pairs)
    of_train = replace(seen.result(), other_classes_later=later, target_order=ordered)
    of_held_out = held_out.result() if held_out is not None else None
    return DataAudit(
        train=of_train,
        validation=of_held_out,
        num_classes=num_classes,
        overlap_fraction=_overlap(held_out, seen) if held_out is not None else None,
        label_conflict_fraction=conflicts / seen.count if known else None,
        copied_fraction=sum(n for n in Counter(seen.hashes).values() if n > 1) / seen.count if seen.hashes else None,
        repeated_fraction=_shared_fraction(drawn_again, seen) if drawn_again is not None else None,
        shared_dataset=validation is not None and _share_transform(train, validation),
        class_signal_z=signal[0] if signal else None,
        class_signal_accuracy=signal[1] if signal else None,
        labels_compared=_compared(seen, held_out),
        redrawn=redrawn(train) if redraw else None,
        added_noise=added_noise(train, of_train, of_held_out) if redraw and of_held_out is not None else None,
        notes=_too_few(seen, held_out, signal is not None),
    )


def _compared(seen: _Split, held_out: _Split | None) -> LabelsCompared | None:
    train, validation = seen.probed(), held_out.probed() if held_out is not None else None
    return (
        class_signal.compared_labels(train, validation, are_images=seen.are_images)
        if train is not None and validation is not None
        else None
    )


def _too_few(seen: _Split, held_out: _Split | None, has_signal: bool) -> tuple[str, ...]:
    """What takes more images than there were, one line each; nothing of what these data cannot be asked at all."""
    notes, probed = [], seen.probed() if seen.are_images else None
    if probed is not None and not has_signal and seen.integer_labels:
        classes = len(torch.unique(probed[1]))
        needed = max(class_signal.PROBE_IMAGES, class_signal.PROBE_PER_CLASS * classes)
        if classes > 1:
            notes.append(f"labels against images: {seen.count} training images read, {needed} needed for {classes} classes")
    if held_out is None or not seen.are_images or not seen.features:
        return tuple(notes)
    fewest = min(seen.count, held_out.count)
    if fewest < _MIRROR_IMAGES:
        notes.append(f"mirroring: {fewest} images of a split read, {_MIRROR_IMAGES} needed of each")
    if held_out.count < class_signal.FEWEST_VALIDATION:
        notes.append(
            f"validation labels against training's: {held_out.count} validation images read, "
            f"{class_signal.FEWEST_VALIDATION} needed"
        )
    return tuple(notes)


def _shared_fraction(split: _Split, other: _Split) -> float:
    """Share of a split's images that occur, value for value, in the other."""
    there = set(other.hashes)
    return sum(image in there for image in split.hashes) / split.count


def _overlap(held_out: _Split, seen: _Split) -> float | None:
    """Share of validation that is in training; None where that is no wonder.

    Examples without a label count for none, such as a graph's nodes of the other split. Rows of a table of few values repeat as
    often within training, two grids of evenly spaced places have some in common, and beside all combinations of some switches
    nothing is new.
    """
    if seen.is_complete():
        return None
    repeated = 1 - len(set(seen.hashes)) / seen.count
    there = set(seen.of_labelled())
    shared = sum(example in there for example in held_out.of_labelled()) / held_out.count
    if seen.on_a_grid() and shared < 1:  # places of a curve or a surface: two grids meet at their ends, or at every other point
        return None
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
