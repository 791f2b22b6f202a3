"""Noise that a training data set adds to its examples each time they are read, beside what the examples differ by."""

import contextlib
import math
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from trainability.doctor.audit_results import AddedNoise, SplitAudit
from trainability.doctor.measure.randomness import generators_restored, randomness_restored

_EXAMPLES, _DRAWS = 32, 4
_FEWEST_EXAMPLES, _FEWEST_PLACES = 16, 8
_WIDER = 2.0  # times: spread of training's inputs beside validation's
_MOSTLY = 0.8  # of the variance of a value, that another draw of the same example changes
_OF_RANGE = 1 / 3  # of validation's, that noise must reach: a one among zeros is seen through much of it
_FILLS = 0.25  # of the places: directions in which draws differ. A random gain, offset or curve has few
_UNTOUCHED = 0.1  # of the values, that two draws may share: masks and crops leave many as they are
_UNEVEN = 2.0  # times: size of the noise on one example beside another, at the most
_LIKE_INPUT = 0.25  # numbers of a target beside those of its input: from here on it may be the example without noise


def added_noise(loader: Any, train: SplitAudit, validation: SplitAudit) -> AddedNoise | None:
    """Draw some training examples several times, where training's inputs have a wider spread than validation's.

    Random state of this process is put back. The data set's own generators advance, as they do when a batch is drawn.

    Args:
        loader: of training.
        train: what was seen of it.
        validation: what was seen of validation.

    Returns:
        The noise, where it is independent of the examples and from place to place, makes up most of what training's inputs vary
        by, and is not small beside the range of validation's. None elsewhere: where nothing is random or spreads are alike,
        where targets are drawn as well, or are like the input (an example without its noise), for a gain, an offset, a crop
        or a mask, and for a data set without indices.
    """
    is_read = isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset)
    if not is_read or loader.batch_sampler is None or loader.collate_fn is None or not _is_wider(train, validation):
        return None
    with randomness_restored(), generators_restored(loader), contextlib.suppress(Exception):
        return _compared(loader, validation)
    return None


def _is_wider(train: SplitAudit, validation: SplitAudit) -> bool:
    own, other = (math.hypot(*split.channel_stds) if split.channel_stds else 0.0 for split in (train, validation))
    return len(train.channel_stds) == len(validation.channel_stds) and own >= _WIDER * other > 0


def _compared(loader: Any, validation: SplitAudit) -> AddedNoise | None:
    size = len(loader.dataset)
    indices = sorted({size * k // _EXAMPLES for k in range(_EXAMPLES)})
    batches = [loader.collate_fn([loader.dataset[i] for i in indices]) for _ in range(_DRAWS)]
    if len(indices) < _FEWEST_EXAMPLES or not _keep_their_targets(batches):
        return None
    draws = torch.stack([batch[0].detach().cpu().flatten(1).double() for batch in batches])
    within = float(draws.var(dim=0).mean())
    share = within / max(float(draws.flatten(0, 1).var(dim=0).mean()), 1e-300)
    noise, spread = math.sqrt(within), math.sqrt(sum(s * s for s in validation.channel_stds) / len(validation.channel_stds))
    is_large = share >= _MOSTLY and noise >= _OF_RANGE * (validation.maximum - validation.minimum)
    if not is_large or noise < _WIDER * spread or not _is_noise(draws):
        return None
    return AddedNoise(num_examples=len(indices), num_draws=_DRAWS, share=share, noise=noise, spread=spread)


def _keep_their_targets(batches: list[Any]) -> bool:
    """Whether batches are (inputs, targets), and the targets are the same in each draw and not like the inputs."""
    inputs, targets = batches[0]
    if not isinstance(inputs, Tensor) or not isinstance(targets, Tensor) or not inputs.is_floating_point():
        return False
    is_like_input = targets.is_floating_point() and targets[0].numel() >= _LIKE_INPUT * inputs[0].numel()
    return not is_like_input and all(torch.equal(targets, other) for _, other in batches[1:])


def _is_noise(draws: Tensor) -> bool:
    """Whether draws (draws, examples, places) differ at all places, alike in all examples, and in no direction more."""
    apart = draws[::2] - draws[1::2]
    if draws.shape[2] < _FEWEST_PLACES or float((apart == 0).double().mean()) > _UNTOUCHED:
        return False
    sizes = apart.square().mean(dim=(0, 2)).sqrt()
    rows = torch.nn.functional.normalize(apart.flatten(0, 1), dim=1)
    cosines = (rows @ rows.T).square()
    pairs = len(rows) * (len(rows) - 1)
    directions = pairs / max(float(cosines.sum() - cosines.diagonal().sum()), 1e-300)
    return float(sizes.max()) <= _UNEVEN * float(sizes.min()) and directions >= _FILLS * draws.shape[2]
