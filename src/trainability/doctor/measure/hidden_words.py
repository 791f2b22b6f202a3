"""Attention that hides every word and attends to padding alone: masks, and shares of attention, beside where padding is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.measure.padding_number import are_words, padding_of

_FEWEST_ROWS, _FEWEST_LENGTHS, _FEWEST_KINDS = 4, 3, 3  # a mask or a segment has two kinds of numbers, and is no row of words
_FAR_BELOW = -1e3  # added to a score, it leaves no share
_NO_SHARE = 1e-8
_MOST_NUMBERS = 1 << 22  # of shares


class HiddenWords:
    """Holds masks of `torch.nn.MultiheadAttention` against the tensors of a batch and the words that are looked up.

    Attributes:
        found: a mask hides every word, and shows padding.
    """

    def __init__(self) -> None:
        self.found = False
        self._looked_up: list[Tensor] = []

    def see(self, module: nn.Module, args: tuple, kwargs: dict[str, Any], batch: Iterable[tuple[str, Tensor]]) -> None:
        """Look at what a layer is called with."""
        if isinstance(module, nn.Embedding) and args and isinstance(args[0], Tensor):
            self._looked_up.append(args[0].detach())
        if self.found or not isinstance(module, nn.MultiheadAttention):
            return
        given = (
            dict(zip(("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask"), args, strict=False)) | kwargs
        )
        for mask in (given.get("key_padding_mask"), given.get("attn_mask")):
            if isinstance(mask, Tensor) and mask.dim() == (2 if mask is given.get("key_padding_mask") else 3):
                hidden = mask if mask.dtype == torch.bool else mask.detach() < _FAR_BELOW
                self.found |= hides_words(hidden, [*self._looked_up, *(t for _, t in batch)])


class Attended(TorchFunctionMode):
    """Follows attention that is written by hand: shares that a softmax makes, and masks of `scaled_dot_product_attention`.

    Args:
        batch: tensors that are looked at.

    Attributes:
        found: see `HiddenWords`.
    """

    def __init__(self, batch: Iterable[Tensor]) -> None:
        super().__init__()
        self.found, self._batch = False, list(batch)

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        result = func(*args, **kwargs)
        hidden = None
        if not self.found and name == "scaled_dot_product_attention":
            mask = kwargs.get("attn_mask", args[3] if len(args) > 3 else None)
            if isinstance(mask, Tensor) and mask.dim() > 2:
                hidden = ~mask if mask.dtype == torch.bool else mask.detach() < _FAR_BELOW
        elif not self.found and name == "softmax" and isinstance(result, Tensor) and result.dim() > 1:
            dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
            if isinstance(dim, int) and dim % result.dim() > 0 and result.numel() <= _MOST_NUMBERS:
                hidden = (result.detach() < _NO_SHARE).movedim(dim, -1)
        self.found |= hidden is not None and hides_words(hidden, self._batch)
        return result


def hides_words(hidden: Tensor, given: Iterable[Tensor]) -> bool:
    """Whether places that are hidden are the words of padded sequences, all of them, and padding is not.

    Args:
        hidden: (sequences, ..., places), or (sequences times heads, ..., places); sequences may have one place more, in front
            or at the end.
        given: tensors, of which some may hold words (sequences, places), features (sequences, places, numbers) that are zeros
            at padding, or lengths (sequences,).

    Returns:
        False where there is no such tensor, and where fewer than four sequences, or three lengths, have padding. Places at
        which all sequences have the same word, as a mark of the beginning, may be shown.
    """
    for tensor in (either for t in given for either in ((t, t.T) if t.dim() == 2 else (t,))):  # steps may come first
        if tensor.dim() == 0 or hidden.dim() < 2 or len(hidden) % max(len(tensor), 1) or tensor.numel() == 0:
            continue
        of_each = hidden.reshape(len(tensor), -1, hidden.shape[-1]).all(dim=1)
        known = _padding(tensor, of_each.shape[1])
        if known is None:
            continue
        is_padding, is_alike = known
        rows = is_padding.any(dim=1) & ~is_padding.all(dim=1)
        if int(rows.sum()) < _FEWEST_ROWS or len(is_padding[rows].sum(dim=1).unique()) < _FEWEST_LENGTHS:
            continue
        more = of_each.shape[1] - is_padding.shape[1]
        for start in {0, more} if more in (0, 1) else ():
            shown = ~of_each[:, start : start + is_padding.shape[1]]
            agrees = (shown == is_padding) | (is_alike & ~is_padding)
            if bool(agrees[rows].all()):
                return True
    return False


def _padding(tensor: Tensor, length: int) -> tuple[Tensor, Tensor] | None:
    """Where sequences are padded, and at which places all have the same word; None of what tells neither."""
    if are_words(tensor):
        number = padding_of(tensor)
        if number is None or len(tensor[tensor != number].unique()) < _FEWEST_KINDS:
            return None
        return tensor == number, (tensor == tensor[:1]).all(dim=0).expand_as(tensor)
    if tensor.is_floating_point() and tensor.dim() == 3 and len(tensor) >= _FEWEST_ROWS:
        is_padding = (tensor == 0).all(dim=2)
        at_end = is_padding.flip(1).int().cumprod(dim=1).flip(1).bool()
        return (is_padding, torch.zeros_like(is_padding)) if torch.equal(is_padding, at_end) else None
    whole = tensor.dim() == 1 and not tensor.is_floating_point() and not tensor.is_complex() and tensor.dtype != torch.bool
    if whole and int(tensor.max()) == length and int(tensor.min()) > 0:  # where padding begins in front is below the length
        is_padding = torch.arange(length, device=tensor.device) >= tensor[:, None]
        return is_padding, torch.zeros_like(is_padding)
    return None
