"""Arguments of PyTorch's losses against what their documentation asks for: counted, not estimated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_ZERO = 1e-3
_SUMS_TO_ONE = 0.1  # the logarithm of a sum of probabilities, at most; bfloat16 and label smoothing stay far below


def wrong_argument(name: str, args: tuple, kwargs: dict[str, Any]) -> tuple[str, str] | None:
    """What a loss was given in place of what it takes.

    Args:
        name: of a function of `torch.nn.functional`.
        args: that it was called with.
        kwargs: likewise.

    Returns:
        Its name and a word: "probabilities" or "raw" (numbers above zero) for log-probabilities, "log_target" (probabilities in
        their place as target), "elsewhere" (log-probabilities that sum to 1 along another dimension than the classes, or along
        none), "negative" (a soft target below zero), "zeros" (labels 0 and 1 for -1 and 1); None where all is as it should be,
        or the loss is none that is known here.
    """
    check = _CHECKS.get(name)
    if check is None or len(args) < 2 or not all(isinstance(a, Tensor) and a.numel() > 1 for a in args[:2]):
        return None
    word = check(args, kwargs)
    return (name, word) if word is not None else None


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
    given = args[0].detach().float()
    if (word := _no_logarithm(given)) is not None:
        return word
    told = given[(given != given[..., :1]).any(dim=-1)]  # steps that are padded with one number count for nothing
    if not len(told):
        return None
    return "elsewhere" if float(told.logsumexp(dim=-1).abs().median()) > _SUMS_TO_ONE else None


def _soft_target(args: tuple, kwargs: dict[str, Any]) -> str | None:
    """Cross-entropy weighs each class's logarithm by the target: a weight below zero has no best answer."""
    target = args[1]
    return "negative" if target.is_floating_point() and float(target.min()) < -_ZERO else None


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
    "soft_margin_loss": _signs(1, "target"),
    "hinge_embedding_loss": _signs(1, "target"),
    "cosine_embedding_loss": _signs(2, "target"),
    "margin_ranking_loss": _signs(2, "target"),
}
