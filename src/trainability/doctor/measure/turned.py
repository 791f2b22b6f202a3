"""Images with images for targets, and sequences with a tag for each step: whether both are turned the same way."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from trainability.doctor.audit_results import BACK_TO_FRONT, TRANSPOSED, Turned

_FEWEST = 100  # examples
_MOST_SIDE, _LEAST_SIDE = 12, 4  # of the grid on which both are compared
_MOST_CHANNELS, _MOST_CLASSES = 8, 16
_ROUNDS = 4
_EXPLAINED, _MORE = 0.1, 0.05  # share of the variance of the targets, and of what the image as it is leaves
_CHANCE = 3.0  # times what another example's image gains
_SHARE = 0.1  # of the examples
_CLEAR = 0.8  # of the error that the image as it is leaves
_BY_CHANCE = 0.02  # what two that have nothing to do with the tags differ by, on fifty examples and more
_RIDGE = 1e-3
_LEAST_STEPS, _MOST_STEPS, _ABOUT = 8, 512, 3  # of a sequence; to either side of a step
_NOT_TOLD = -100  # of a mask: what PyTorch's losses ignore

TURNS: dict[str, Callable[[Tensor], Tensor]] = {
    "flipped left to right": lambda x: x.flip(3),
    "flipped top to bottom": lambda x: x.flip(2),
    "turned by 180 degrees": lambda x: x.flip(2, 3),
    TRANSPOSED: lambda x: x.transpose(2, 3),
}


def turned(inputs: Tensor, targets: Tensor) -> tuple[float | None, float | None, Turned | None]:
    """Predict the targets, place by place, from the image about that place, as it is and turned.

    The same linear map is used at every place, so that it knows nothing of where it is, and fits half of a set as well as all
    of it. It is fitted on one half of the examples, each as it is or turned, whichever explains its target better, and asked on
    the other.

    Args:
        inputs: (examples, channels, height, width).
        targets: (examples, height, width) or (examples, channels, height, width), of that or of a coarser grid.

    Returns:
        The share of the targets' variance that is explained of the images as they are, and of another example's image in place
        of each, None where inputs and targets are no images; and the turn that explains most, where that is much more.
    """
    found = _grids(inputs, targets)
    if found is None:
        return None, None, None
    views, asked = found
    half = len(asked) // 2
    own = _fitted(views["as it is"], asked, half)
    # Of the best constant, one for each channel and the same for all places.
    limit = float((asked[half:] - asked[:half].mean(dim=(0, 1))).square().mean())
    if limit == 0:
        return None, None, None
    errors = _errors(views["as it is"], asked, own)
    before = 1 - float(errors[half:].mean()) / limit
    # Of two images that have nothing to do with a target one is nearer by chance, as another example's image is.
    others = views["as it is"].roll(1, dims=0)
    of_others = 1 - float(_errors(others, asked, _fitted(others, asked, half))[half:].mean()) / limit
    chance = _mixture(views["as it is"], others, asked, half, limit)[0] - before
    least = max(_MORE * (1 - before), _CHANCE * chance)
    best: Turned | None = None
    for name, view in views.items():
        if name == "as it is":
            continue
        after, share = _mixture(views["as it is"], view, asked, half, limit)
        # Of images that look the same from two sides two turns explain as much: the plainer one, which comes first, is said.
        ahead = (best or _NONE).turned + (_MORE * (1 - best.turned) if best is not None else 0.0)
        if after > _EXPLAINED and after - before > least and share > _SHARE and after > ahead:
            best = Turned(turn=name, num_examples=len(asked) - half, share=share, own=before, turned=after)
    return before, of_others, best


def back_to_front(inputs: Tensor, targets: Tensor) -> Turned | None:
    """Whether tags of the steps of a sequence fit the sequence turned round, and not as it is.

    Only tags in whole numbers are asked about: what comes next of a series lies nearest to its end, and so is told by its steps
    in the other order.

    Args:
        inputs: (examples, steps, channels), numbers.
        targets: (examples, steps), whole numbers.

    Returns:
        What the steps about each tag explain in either order; None unless those of the sequence as it is explain no more than
        another sequence's do, and in the other order by a tenth of the tags' variance more. None where the tags are the steps
        themselves, each kind under a number of its own: to say a sequence backwards is what is asked.
    """
    if inputs.dim() != 3 or not inputs.is_floating_point() or targets.is_floating_point() or len(inputs) < _FEWEST:
        return None
    if targets.shape != inputs.shape[:2] or not _LEAST_STEPS <= inputs.shape[1] <= _MOST_STEPS or targets.dtype == torch.bool:
        return None
    kinds = targets[targets != _NOT_TOLD].unique()
    if not 1 < len(kinds) <= _MOST_CLASSES or inputs.shape[2] > _MOST_CHANNELS:
        return None
    asked = torch.stack([(targets == kind).float() for kind in kinds], dim=2)
    asked = asked / asked.flatten(0, 1).std(dim=0)
    x = inputs.float().nan_to_num(0.0, 0.0, 0.0).transpose(1, 2)
    x = (x - x.mean()) / x.std().clamp(min=1e-6)
    own, other = _steps_about(x), _steps_about(x.flip(2))
    half = len(asked) // 2
    limit = float((asked[half:] - asked[:half].mean(dim=(0, 1))).square().mean())
    views = (own, other, own.roll(1, dims=0))
    errors = [_errors(view, asked, _fitted(view, asked, half))[half:] for view in views]
    before, after, of_others = (1 - float(each.mean()) / limit for each in errors)
    if before > max(of_others, 0.0) + _BY_CHANCE or after - max(of_others, 0.0) < _EXPLAINED:
        return None
    if _are_the_steps(inputs.flip(1), targets):
        return None
    share = float((errors[1] < errors[0]).float().mean())
    return Turned(turn=BACK_TO_FRONT, num_examples=len(asked) - half, share=share, own=before, turned=after)


def _are_the_steps(inputs: Tensor, targets: Tensor) -> bool:
    """Whether there are as many kinds of steps as of tags, and each kind has one tag of its own."""
    kinds, steps = torch.unique(inputs.flatten(0, 1), dim=0, return_inverse=True)
    pairs = torch.stack([steps, targets.reshape(-1).to(steps)], dim=1).unique(dim=0)
    return len(pairs) == len(kinds) == len(targets.unique())


def _steps_about(x: Tensor) -> Tensor:
    """Of each step (examples, channels, steps) the values there and at three steps to either side, and their squares."""
    steps = F.pad(x, (_ABOUT, _ABOUT), mode="replicate").unfold(2, 2 * _ABOUT + 1, 1)
    flat = steps.transpose(1, 2).flatten(2)
    return torch.cat([flat, flat.square(), torch.ones_like(flat[:, :, :1])], dim=2)


_NONE = Turned(turn="", num_examples=0, share=0.0, own=0.0, turned=0.0)


def _mixture(own: Tensor, other: Tensor, asked: Tensor, half: int, limit: float) -> tuple[float, float]:
    """What is explained where each example may be turned or not, and the share of those that clearly are.

    It begins with both: with what the image as it is explains, and with what the turned one does.
    """
    results = []
    for start in (own, other):
        weights = _fitted(start, asked, half)
        for _ in range(_ROUNDS):
            plain, moved = _errors(own, asked, weights), _errors(other, asked, weights)
            chosen = torch.where((moved < plain)[:, None, None], other, own)
            weights = _fitted(chosen, asked, half)
        plain, moved = (_errors(view, asked, weights)[half:] for view in (own, other))
        least = torch.minimum(plain, moved)
        results.append((1 - float(least.mean()) / limit, float((moved < _CLEAR * plain).float().mean())))
    return max(results)


def _fitted(view: Tensor, asked: Tensor, half: int) -> Tensor:
    x, y = view[:half].flatten(0, 1), asked[:half].flatten(0, 1)
    gram = x.T @ x
    return torch.linalg.solve(gram + _RIDGE * gram.diagonal().mean() * torch.eye(len(gram)), x.T @ y)


def _errors(view: Tensor, asked: Tensor, weights: Tensor) -> Tensor:
    """Mean squared error of each example."""
    return (view @ weights - asked).square().mean(dim=(1, 2))


def _grids(inputs: Tensor, targets: Tensor) -> tuple[dict[str, Tensor], Tensor] | None:
    """Features (examples, places, features) of the image as it is and turned, and targets (examples, places, channels)."""
    if inputs.dim() != 4 or not inputs.is_floating_point() or len(inputs) < _FEWEST or inputs.shape[1] > _MOST_CHANNELS:
        return None
    maps = _maps(targets)
    if maps is None or min(maps.shape[2:]) < _LEAST_SIDE or inputs.shape[2] < maps.shape[2] or inputs.shape[3] < maps.shape[3]:
        return None
    side = (min(maps.shape[2], _MOST_SIDE), min(maps.shape[3], _MOST_SIDE))
    asked = F.adaptive_avg_pool2d(maps, side).flatten(2).transpose(1, 2)
    told = _told(targets, side)
    if told is not None:  # each place counts by how much of it is told, in squares and so here by the root
        asked = asked / told.clamp(min=1e-6)
        asked = (asked - (asked * told).mean(dim=(0, 1)) / told.mean()) * told.sqrt()
    spread = asked.flatten(0, 1).std(dim=0)
    asked = asked[:, :, spread > 1e-6] / spread[spread > 1e-6]
    square = inputs.shape[2] == inputs.shape[3] and side[0] == side[1]
    x = inputs.float().nan_to_num(0.0, 0.0, 0.0)
    x = (x - x.mean()) / x.std().clamp(min=1e-6)
    views = {"as it is": _features(x, side)}
    views |= {name: _features(turn(x), side) for name, turn in TURNS.items() if square or name != "transposed"}
    if told is not None:
        views = {name: view * told.sqrt() for name, view in views.items()}
    return (views, asked) if asked.shape[2] else None


def _told(targets: Tensor, side: tuple[int, int]) -> Tensor | None:
    """The share of each place (examples, places, 1) of a mask that has a label; None where all of it has."""
    told = targets != _NOT_TOLD
    if targets.is_floating_point() or targets.dim() != 3 or bool(told.all()):
        return None
    return F.adaptive_avg_pool2d(told[:, None].float(), side).flatten(2).transpose(1, 2)


def _maps(targets: Tensor) -> Tensor | None:
    """Targets as images of numbers (examples, channels, height, width)."""
    if targets.dim() == 3 and not targets.is_floating_point() and targets.dtype != torch.bool:
        kinds = targets[targets != _NOT_TOLD].unique()
        if not 0 < len(kinds) <= _MOST_CLASSES:
            return None
        return torch.stack([(targets == kind).float() for kind in kinds], dim=1)
    wide = targets[:, None] if targets.dim() == 3 else targets
    return wide.float().nan_to_num(0.0, 0.0, 0.0) if wide.dim() == 4 and wide.shape[1] <= _MOST_CLASSES else None


def _features(x: Tensor, side: tuple[int, int]) -> Tensor:
    """Of each place the mean, the spread and the largest value, its neighbours' means, and their squares."""
    mean = F.adaptive_avg_pool2d(x, side)
    spread = (F.adaptive_avg_pool2d(x.square(), side) - mean.square()).clamp(min=0).sqrt()
    around = F.unfold(F.pad(mean, (1, 1, 1, 1), mode="replicate"), 3)
    rows = [mean.flatten(2), spread.flatten(2), F.adaptive_max_pool2d(x, side).flatten(2), around]
    flat = torch.cat(rows, dim=1).transpose(1, 2)
    return torch.cat([flat, flat.square(), torch.ones_like(flat[:, :, :1])], dim=2)
