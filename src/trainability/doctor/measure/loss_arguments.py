"""Arguments of PyTorch's losses against what their documentation asks for: counted, not estimated."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from trainability.doctor.measure.blank_labels import holds_blank
from trainability.doctor.measure.nodes import name_of, parents_of
from trainability.doctor.measure.statistics import has_values

_ZERO = 1e-3
_FEWEST_TARGETS = 16  # for each class
_LIGHTER = 2.0  # times: a weight for what is rare, or against it
_RARE = 0.25  # from one half
_UNEVEN = 3.0  # times as frequent: above what chance makes of 16 of each
_ROUNDED, _ERRORS = 1.1, 2.5  # times; standard errors of a share in a batch, that a weight made of shares may be beside it
_SEVERAL = 0.05  # of the rows
_LEFT = 0.5  # of the target, for the true class, of what label smoothing leaves
_DEVIATION = re.compile(r"(?<![a-z])(std|stdev|std_?dev|sigma|sd)s?(?![a-z0-9])(?!_2)", re.IGNORECASE)
_SQUARE = re.compile(r"var|sq|(?<![a-zA-Z])Sigma")  # a capital Sigma is a covariance
_MOST_FRAMES = 12
_LIBRARIES = frozenset({"torch", "trainability"})
_SUMS_TO_ONE = 0.1  # the logarithm of a sum of probabilities, at most; bfloat16 and label smoothing stay far below


def wrong_argument(name: str, args: tuple, kwargs: dict[str, Any]) -> tuple[str, str] | None:
    """What a loss was given in place of what it takes.

    Args:
        name: of a function of `torch.nn.functional`.
        args: that it was called with.
        kwargs: likewise.

    Returns:
        Its name and a word: "probabilities" or "raw" (numbers above zero) for log-probabilities, "log_target" (probabilities in
        their place as target), "over_steps", "over_examples" or "elsewhere" (log-probabilities that sum to 1 along another
        dimension than the classes, or along none), "negative" (a soft target below zero), "zeros" (labels 0 and 1 for -1 and
        1), "smoothed" (label smoothing that leaves the true class half of the target or less), "deviation" (a standard
        deviation for a variance, by the names that the program has for it), "rare_lighter" (weights that make what is rare in
        the batch count for less than what is frequent), "below_zero" (rates below zero), "blank" (labels that are the blank),
        "several" (ones for several classes of an example, for a loss of one);
        None where all is as it should be, or the loss is none that is known here.
    """
    check = _CHECKS.get(name)
    if check is None or len(args) < 2 or not all(isinstance(a, Tensor) and a.numel() > 1 and has_values(a) for a in args[:2]):
        return None
    word = check(args, kwargs)
    return (name, word) if word is not None else None


def weighs_examples(name: str, args: tuple, kwargs: dict[str, Any]) -> bool:
    """Whether a loss of classes is given weights of theirs, not all equal, or a value for each example is taken from it.

    Of a loss of marks, also whether it weighs the positive ones.

    Args:
        name: of a function of `torch.nn.functional`.
        args: that it was called with.
        kwargs: likewise.
    """
    is_binary = name in ("binary_cross_entropy", "binary_cross_entropy_with_logits")
    if name not in ("cross_entropy", "nll_loss") and not is_binary:
        return False
    if is_binary and kwargs.get("pos_weight", args[6] if len(args) > 6 else None) is not None:
        return True
    weight = kwargs.get("weight", args[2] if len(args) > 2 else None)
    place = 5 if is_binary else 6
    reduction = kwargs.get("reduction", args[place] if len(args) > place else None)
    return reduction == "none" or (isinstance(weight, Tensor) and bool((weight != weight.flatten()[0]).any()))


def _divergence(args: tuple, kwargs: dict[str, Any]) -> str | None:
    given, target = args[0].detach().float(), args[1].detach().float()
    if kwargs.get("log_target") and bool((target >= 0).all()) and float(target.max()) > _ZERO:
        return "log_target"
    return _no_logarithm(given)


def _no_logarithm(given: Tensor) -> str | None:
    """No logarithm of a probability is above zero."""
    if not float(given.max()) > _ZERO:
        return None
    return "probabilities" if bool(((given >= 0) & (given <= 1 + _ZERO)).all()) else "raw"


def _by_column(args: tuple, kwargs: dict[str, Any]) -> str | None:
    """CTC multiplies the probabilities of a path: they sum to 1 over the last dimension, at each step of each example."""
    if holds_blank(args, kwargs):
        return "blank"
    given = args[0].detach().float()
    if (word := _no_logarithm(given)) is not None:
        return word
    told = given[(given != given[..., :1]).any(dim=-1)]  # steps that are padded with one number count for nothing
    if not len(told):
        return None
    if float(told.logsumexp(dim=-1).abs().median()) <= _SUMS_TO_ONE:
        return None
    over = next((d for d in range(given.dim() - 1) if float(given.logsumexp(dim=d).abs().max()) <= _SUMS_TO_ONE), None)
    return "elsewhere" if over is None else ("over_steps", "over_examples")[over]


def _soft_target(args: tuple, kwargs: dict[str, Any]) -> str | None:
    """Cross-entropy weighs each class's logarithm by the target: a weight below zero has no best answer."""
    given, target = args[:2]
    if target.is_floating_point() and float(target.min()) < -_ZERO:
        return "negative"
    if _holds_several(given, target):
        return "several"
    smoothing = kwargs.get("label_smoothing", args[7] if len(args) > 7 else 0.0)
    # At 1, labels do not count: a term that asks for undecided answers, as of outliers, or of a domain that is not to be told.
    classes = given.shape[1 if given.dim() > 1 else 0]
    if smoothing < 1 and 1 - smoothing + smoothing / classes <= _LEFT:
        return "smoothed"
    return _class_weights(args, kwargs)


def _holds_several(given: Tensor, target: Tensor) -> bool:
    """Whether rows of zeros and ones have several ones; not of as many classes as rows, which may be pairs of examples."""
    if not target.is_floating_point() or target.dim() != 2 or target.shape != given.shape or len(target) == target.shape[1]:
        return False
    if not bool(((target == 0) | (target == 1)).all()):
        return False
    return float((target.sum(dim=1) > 1).float().mean()) >= _SEVERAL


def _variance(args: tuple, kwargs: dict[str, Any]) -> str | None:
    """The Gaussian loss takes a variance: not what the program calls std or sigma, nor exp() of their logarithm.

    A square is one by whatever name, and so are numbers that are all 1.
    """
    given = kwargs.get("var", args[2] if len(args) > 2 else None)
    if not isinstance(given, Tensor) or _is_square(given) or bool((given.detach() == 1).all()):
        return None
    is_exponential = name_of(given.grad_fn) == "ExpBackward"
    logarithm = next(iter(parents_of(given.grad_fn)), None) if is_exponential else None
    for name, value in _variables():
        is_it = value is given or (logarithm is not None and value.grad_fn is logarithm)
        if is_it and _DEVIATION.search(name.replace("log", "_")) and not _SQUARE.search(name):
            return "deviation"
    return None


def _is_square(given: Tensor) -> bool:
    """Whether a tensor is computed as x ** 2 or x * x."""
    if given.grad_fn is None:
        return False
    name, parents = name_of(given.grad_fn), parents_of(given.grad_fn)
    power = getattr(given.grad_fn, "_saved_exponent", None) if name == "PowBackward" else None
    return power == 2 or (name == "MulBackward" and len(parents) == 2 and parents[0] is parents[1])


def _variables() -> Iterator[tuple[str, Tensor]]:
    """Variables that hold tensors, of the program's functions that are being called, the innermost first."""
    frame, own = sys._getframe(1), 0
    while frame is not None and own < _MOST_FRAMES:
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] not in _LIBRARIES:
            own += 1
            yield from ((name, value) for name, value in frame.f_locals.items() if isinstance(value, Tensor))
        frame = frame.f_back


def _positive_weight(args: tuple, kwargs: dict[str, Any]) -> str | None:
    """`pos_weight` is negatives over positives: above one where positives are rare, and below where they are frequent."""
    target = args[1].detach().float()
    weight = kwargs.get("pos_weight", args[6] if len(args) > 6 else None)
    if not isinstance(weight, Tensor) or target.numel() < _FEWEST_TARGETS:
        return None
    positives = float(target.sum())
    each = weight.detach().float().expand_as(target)
    mean = float((each * target).sum()) / positives if positives > 0 else float(each.mean())
    share, margin = float(target.mean()), max(_RARE, 1 / math.sqrt(target.numel()))
    rare, frequent = share <= 0.5 - margin, share >= 0.5 + margin
    return "rare_lighter" if (rare and 0 < mean <= 1 / _LIGHTER) or (frequent and mean >= _LIGHTER) else None


def _class_weights(args: tuple, kwargs: dict[str, Any]) -> str | None:
    """Weights of the classes that are large where the class is frequent: it then counts more than twice over."""
    target = args[1].detach()
    weight = kwargs.get("weight", args[2] if len(args) > 2 else None)
    if not isinstance(weight, Tensor) or weight.dim() != 1 or target.is_floating_point():
        return None
    told = target[(target >= 0) & (target < len(weight))]
    if len(told) < _FEWEST_TARGETS * len(weight):
        return None
    counts, weights = torch.bincount(told.long(), minlength=len(weight)).float(), weight.detach().float().cpu()
    most, least = int(counts.argmax()), int(counts.argmin())
    uneven = float(counts[most]) >= _UNEVEN * max(float(counts[least]), 1.0)
    heavier = float(weights[most]) >= _LIGHTER * float(weights[least]) > 0.0
    return "rare_lighter" if uneven and heavier and _go_together(counts.cpu(), weights) else None


def _go_together(counts: Tensor, weights: Tensor) -> bool:
    """Whether of any two classes the one that is clearly more frequent is never the lighter one."""
    more = counts[:, None] >= _UNEVEN * counts[None].clamp(min=1.0)
    return bool((weights[:, None] >= weights[None])[more].all())


def weighs_by_share(name: str, args: tuple, kwargs: dict[str, Any]) -> bool:
    """Whether weights that `wrong_argument` calls "rare_lighter" are near shares of the batch, not their inverses.

    Others may be meant: a `pos_weight` below one is for precision. For marks, positives over negatives are a share, too; of
    several marks, half or more must be so. For classes, the inverses may also stand in another order.

    Args:
        name: of a function of `torch.nn.functional`.
        args: that it was called with.
        kwargs: likewise.
    """
    target, weight = args[1].detach().cpu(), weights_given(name, args, kwargs).detach().float().cpu()
    if name == "binary_cross_entropy_with_logits":
        return _is_positives(weight, target.float())
    told = (target >= 0) & (target < len(weight))
    kinds = torch.nn.functional.one_hot(target.long().clamp(0, len(weight) - 1), len(weight)) * told[..., None]
    each = kinds.reshape(len(target), -1, len(weight)).sum(dim=1).float()
    order = each.sum(dim=0).argsort(descending=True)
    each = each[:, order]
    return _are_in_proportion(weight[order], each) or _are_in_proportion(1 / weight.sort().values, each)


def weighs_rare(name: str, args: tuple, kwargs: dict[str, Any]) -> Tensor | None:
    """The weights of a loss that count one class for three times another or more: of two marks, as two numbers."""
    if len(args) < 2 or not isinstance(args[1], Tensor):
        return None
    if name == "binary_cross_entropy_with_logits":
        weight = kwargs.get("pos_weight", args[6] if len(args) > 6 else None)
        if not isinstance(weight, Tensor) or weight.numel() != 1:
            return None
        weights = torch.stack([torch.ones_like(weight.flatten()[0]), weight.flatten()[0]])
    else:
        weight = kwargs.get("weight", args[2] if len(args) > 2 else None)
        if name not in ("cross_entropy", "nll_loss") or not isinstance(weight, Tensor) or weight.dim() != 1:
            return None
        weights = weight
    weights = weights.detach().double().cpu()
    return weights if float(weights.max()) >= _UNEVEN * float(weights.min()) > 0.0 else None


def may_be_shares(name: str, args: tuple, kwargs: dict[str, Any]) -> bool:
    """Whether weights of classes may be their shares, as the whole data set is to tell.

    On average over the examples, inverses of shares are no more than over the classes, and shares are no less. It takes no
    example of each class, as `wrong_argument` does.

    Args:
        name: of a function of `torch.nn.functional`.
        args: that it was called with.
        kwargs: likewise.
    """
    weight = kwargs.get("weight", args[2] if len(args) > 2 else None)
    if name not in ("cross_entropy", "nll_loss") or not isinstance(weight, Tensor) or weight.dim() != 1 or len(args) < 2:
        return False
    target, weights = args[1].detach(), weight.detach().float()
    if (
        target.is_floating_point()
        or not has_values(target)
        or not float(weights.max()) >= _LIGHTER * float(weights.min()) > 0.0
    ):
        return False
    told = target[(target >= 0) & (target < len(weight))]
    return len(told) > 1 and float(weights[told.long()].mean()) > float(weights.mean())


def weights_given(name: str, args: tuple, kwargs: dict[str, Any]) -> Tensor:
    """The weights of a loss that `wrong_argument` calls "rare_lighter"."""
    place, word = (6, "pos_weight") if name == "binary_cross_entropy_with_logits" else (2, "weight")
    return args[place] if len(args) > place else kwargs[word]


def _is_positives(weight: Tensor, target: Tensor) -> bool:
    """Whether a weight for positive marks is their share, or positives over negatives."""
    shape = [1] * (target.dim() - weight.dim()) + list(weight.shape)
    if len(shape) > target.dim() or shape[0] != 1:
        return False
    alike = [place for place in range(1, target.dim()) if shape[place] == 1]
    each = target.mean(dim=alike, keepdim=True) if alike else target
    share = (each.sum(dim=0) + 0.5) / (len(each) + 1)
    margin = math.log(_ROUNDED) + _ERRORS * _relative_errors(each) / (1 - share)
    given = weight.reshape(share.shape).log()
    near = ((given - share.log()).abs() <= margin) | ((given - share.logit()).abs() <= margin)
    return float(near.float().mean()) >= 0.5


def _are_in_proportion(weights: Tensor, each: Tensor) -> bool:
    """Whether weights are in proportion to counts (examples, classes), of which the first is the largest."""
    counts, errors = each.sum(dim=0) + 0.5, _relative_errors(each)
    apart = (weights / weights[0]).log() - (counts / counts[0]).log()
    return bool((apart.abs() <= math.log(_ROUNDED) + _ERRORS * (errors.square() + errors[0].square()).sqrt()).all())


def _relative_errors(each: Tensor) -> Tensor:
    """Standard errors of the means over examples, over the means; that of a half where there is none."""
    sums = each.sum(dim=0)
    errors = each.std(dim=0, correction=0) * math.sqrt(len(each)) / sums.clamp(min=1e-12)
    return torch.where(sums > 0, errors, math.sqrt(2.0))


def _rates(args: tuple, kwargs: dict[str, Any]) -> str | None:
    """With log_input=False the loss takes the logarithm of what it is given, which has none below zero."""
    given, is_logarithm = args[0].detach().float(), kwargs.get("log_input", args[2] if len(args) > 2 else True)
    return "below_zero" if not is_logarithm and float(given.min()) < -_ZERO else None


def _signs(place: int, word: str) -> Callable[[tuple, dict[str, Any]], str | None]:
    def check(args: tuple, kwargs: dict[str, Any]) -> str | None:
        target = args[place] if len(args) > place else kwargs.get(word)
        if not isinstance(target, Tensor) or target.numel() < 2:
            return None
        kinds = set(torch.unique(target.detach().float()).tolist())
        return "zeros" if kinds == {0.0, 1.0} else None

    return check


_CHECKS: dict[str, Callable[[tuple, dict[str, Any]], str | None]] = {
    "kl_div": _divergence,
    "ctc_loss": _by_column,
    "cross_entropy": _soft_target,
    "nll_loss": _class_weights,
    "binary_cross_entropy_with_logits": _positive_weight,
    "poisson_nll_loss": _rates,
    "gaussian_nll_loss": _variance,
    "soft_margin_loss": _signs(1, "target"),
    "hinge_embedding_loss": _signs(1, "target"),
    "cosine_embedding_loss": _signs(2, "target"),
    "margin_ranking_loss": _signs(2, "target"),
}
