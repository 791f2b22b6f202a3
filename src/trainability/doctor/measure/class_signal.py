"""Linear probes of simple features: whether labels have to do with inputs, and whether two splits mean the same by them."""

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from trainability.doctor.audit_results import LabelsCompared

PROBE_IMAGES = 256  # fewer say nothing about a weak class signal
PROBE_PER_CLASS = 20
FEWEST_VALIDATION = 100
_MOST_CLASSES = 100
_WIDEST_ROW = 256  # values of an example that is no image
_WORD_BUCKETS = 256
_RIDGE = 0.1
_COLOURS, _PLACES = 3, 16
_STRONG = 8.0  # standard errors; what depends on one of a few dozen comparisons stays far below


def features_of(inputs: Tensor) -> Tensor | None:
    """Simple features of a batch: averages of 4x4 places of an image, the values of a short row, counts of a text's words.

    Args:
        inputs: (batch, ...), on any device.

    Returns:
        (batch, features) float; None for inputs of another kind.
    """
    x = inputs.detach().cpu()
    if x.dim() == 4:
        return nn.functional.adaptive_avg_pool2d(x.float().nan_to_num(0.0, 0.0, 0.0), 4).flatten(1)
    if x.dim() < 2 or x.is_complex():
        return None
    if not x.is_floating_point():
        if x.dim() != 2 or x.dtype == torch.bool:
            return None
        buckets = x.long().remainder(_WORD_BUCKETS)
        return torch.zeros(len(x), _WORD_BUCKETS).scatter_add_(1, buckets, torch.ones_like(buckets, dtype=torch.float))
    return x.flatten(1).float().nan_to_num(0.0, 0.0, 0.0) if x[0].numel() <= _WIDEST_ROW else None


def class_signal(features: Tensor, labels: Tensor) -> tuple[float, float] | None:
    """Held-out accuracy of ridge regression from features to classes.

    Args:
        features: (examples, features) float.
        labels: (examples,) integers, 0 or more.

    Returns:
        Standard scores above chance, and the accuracy; None with fewer than two classes or too few examples.
    """
    present = torch.unique(labels)
    if len(present) < 2 or len(labels) < max(PROBE_IMAGES, PROBE_PER_CLASS * len(present)):
        return None
    return _halves(features.double(), torch.searchsorted(present, labels), len(present))


def _halves(x: Tensor, y: Tensor, num_classes: int) -> tuple[float, float]:
    x = (x - x.mean(dim=0)) / x.std(dim=0).clamp(min=1e-9)
    fit, test = _two_halves(len(x))
    accuracy = float((_fitted(x[fit], y[fit], num_classes)(x[test]) == y[test]).double().mean())
    chance = float(torch.bincount(y[test]).max()) / len(test)
    return (accuracy - chance) / math.sqrt(max(chance * (1 - chance), 1e-9) / len(test)), accuracy


def _two_halves(count: int) -> tuple[Tensor, Tensor]:
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))  # loaders may come sorted by class
    return order[: count // 2], order[count // 2 :]


def _fitted(x: Tensor, y: Tensor, num_classes: int) -> Callable[[Tensor], Tensor]:
    """A function from features to classes: ridge regression to indicators."""

    def wide(part: Tensor) -> Tensor:
        return torch.cat([part, torch.ones(len(part), 1, dtype=part.dtype)], dim=1)

    targets, inputs = nn.functional.one_hot(y, num_classes).double(), wide(x)
    ridge = _RIDGE * len(x) * torch.eye(inputs.shape[1], dtype=inputs.dtype)
    weights = torch.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ targets)
    return lambda part: (wide(part) @ weights).argmax(dim=1)


def compared_labels(
    train: tuple[Tensor, Tensor], validation: tuple[Tensor, Tensor], *, are_images: bool = False
) -> LabelsCompared | None:
    """Asks a classifier fitted on training about validation, and whether renaming the classes would make it right.

    It controls for itself: the classifier must be good on training examples that it was not fitted to; the renaming is found
    on one half of validation and scored on the other, or on both where they agree, and must be wrong in training; features of
    another domain are left out; for labels that no renaming helps, validation's own labels and features must not belong
    together, where as many training examples do.

    Args:
        train: (examples, features) float and (examples,) integers.
        validation: the same.
        are_images: features are those of images, channel by channel, so that colours may stand in another order.

    Returns:
        The comparison; None where there are too few examples, too many classes, or no strong class signal in training.
    """
    names = torch.unique(torch.cat([train[1], validation[1]]))
    x, y = train[0].double(), torch.searchsorted(names, train[1])
    num_classes, num_seen = len(names), len(torch.unique(y))
    few = len(x) < max(PROBE_IMAGES, PROBE_PER_CLASS * num_seen) or len(validation[0]) < FEWEST_VALIDATION
    if few or num_seen < 2 or num_classes > _MOST_CLASSES or x.shape[1] != validation[0].shape[1]:
        return None
    mean, std = x.mean(dim=0), x.std(dim=0)
    kept = std > 1e-6
    if not bool(kept.any()):
        return None
    x = (x[:, kept] - mean[kept]) / std[kept]
    other = (validation[0].double()[:, kept] - mean[kept]) / std[kept]
    true = torch.searchsorted(names, validation[1])
    fit, test = _two_halves(len(x))
    classify = _fitted(x[fit], y[fit], num_classes)
    said, answer = classify(x[test]), y[test]
    chance = float(torch.bincount(answer).max()) / len(answer)
    accuracy = float((said == answer).double().mean())
    if (accuracy - chance) / math.sqrt(chance * (1 - chance) / len(answer) + 1e-12) < _STRONG:
        return None
    told = classify(other)
    first, second = _two_halves(len(other))
    renamed = _renaming(told[first], true[first], num_classes)
    agree = torch.equal(renamed, _renaming(told[second], true[second], num_classes))  # then each half's is asked of the other
    asked = torch.cat([first, second]) if agree else second
    direct, mapped = (told[asked] == true[asked]).double(), (renamed[told[asked]] == true[asked]).double()
    own = _halves(validation[0].double(), true, num_classes)

    def standard(features: Tensor) -> Tensor:
        return (features[:, kept] - mean[kept]) / std[kept]

    in_colour = are_images and x.shape[1] == _COLOURS * _PLACES
    order, right, as_is = (), told == true, told == true
    if in_colour:
        raw = train[0].double(), validation[0].double()
        order, right, as_is = _order_of_colours(raw, true, lambda features: classify(standard(features)), first)
    return LabelsCompared(
        num_validation=len(other),
        accuracy_training=accuracy,
        accuracy_validation=float((told == true).double().mean()),
        accuracy_renamed=float(mapped.mean()),
        renamed=tuple((int(names[k]), int(names[j])) for k, j in enumerate(renamed.tolist()) if k != j),
        gain_z=_z_of(mapped - direct),
        loss_in_training_z=_z_of((said == answer).double() - (renamed[said] == answer).double()),
        fall_z=_fall_z((said == answer).double(), (told == true).double()),
        own_accuracy=own[1],
        own_signal_z=own[0],
        training_signal_z=_halves(train[0].double()[: len(other)], y[: len(other)], num_classes)[0],
        channel_order=order,
        accuracy_reordered=float(right[second].double().mean()) if order else 0.0,
        reordered_gain_z=_z_of(right[second].double() - as_is[second].double()) if order else 0.0,
        domain_shift=float(other.mean(dim=0).abs().max()),
        spread=float(other.std(dim=0).median()),
        chance=float(torch.bincount(true).max()) / len(true),
    )


def _order_of_colours(
    features: tuple[Tensor, Tensor], true: Tensor, classify: Callable[[Tensor], Tensor], asked: Tensor
) -> tuple[tuple[int, ...], Tensor, Tensor]:
    """The order of three channels under which most answers of the examples that are asked are right.

    Each order is tried as it is, and with each channel brought to the mean and spread that it has in training: where images are
    read in another order and then normalised channel by channel, only both together undo it.

    Args:
        features: of training and validation, channel by channel.
        true: classes of validation.
        classify: features to classes.
        asked: indices of the examples that decide.

    Returns:
        The order, which answers are right under it, and which are in the order as it is.
    """
    model, rows = (part.unflatten(1, (_COLOURS, _PLACES)) for part in features)
    means, stds = model.mean(dim=(0, 2), keepdim=True), model.std(dim=(0, 2), keepdim=True)

    def right(order: tuple[int, ...]) -> Tensor:
        turned = rows[:, list(order)]
        spread = turned.std(dim=(0, 2), keepdim=True).clamp(min=1e-12)
        moved = (turned - turned.mean(dim=(0, 2), keepdim=True)) / spread * stds + means
        return max((classify(each.flatten(1)) == true for each in (turned, moved)), key=lambda found: int(found[asked].sum()))

    found = {order: right(order) for order in itertools.permutations(range(_COLOURS))}
    best = max(found, key=lambda order: int(found[order][asked].sum()))
    return best, found[best], found[tuple(range(_COLOURS))]


def _z_of(difference: Tensor) -> float:
    return (
        float(difference.mean() / (difference.std() / math.sqrt(len(difference))).clamp(min=1e-9))
        if len(difference) > 1
        else 0.0
    )


def _fall_z(before: Tensor, after: Tensor) -> float:
    spread = before.var(correction=0) / len(before) + after.var(correction=0) / len(after)
    return float((before.mean() - after.mean()) / spread.sqrt().clamp(min=1e-9))


def _renaming(said: Tensor, true: Tensor, num_classes: int) -> Tensor:
    """The one-to-one renaming under which most answers are right: greedy, then pairs are exchanged while it helps."""
    counts = torch.zeros(num_classes, num_classes, dtype=torch.double)
    counts.index_put_((said, true), torch.ones(len(said), dtype=torch.double), accumulate=True)
    counts += 0.5 * torch.eye(num_classes, dtype=torch.double)  # of equals, a class keeps its name
    left, renamed = counts.clone(), torch.zeros(num_classes, dtype=torch.long)
    for _ in range(num_classes):
        row, column = divmod(int(left.argmax()), num_classes)
        renamed[row] = column
        left[row, :] = -1.0
        left[:, column] = -1.0
    for _ in range(num_classes):
        own = counts.gather(1, renamed[:, None])
        crossed = counts[:, renamed]  # what a row would get under another row's name
        gain = crossed + crossed.T - own - own.T
        best = int(gain.argmax())
        if float(gain.flatten()[best]) <= 0:
            break
        a, b = divmod(best, num_classes)
        renamed[a], renamed[b] = renamed[b].clone(), renamed[a].clone()
    return renamed
