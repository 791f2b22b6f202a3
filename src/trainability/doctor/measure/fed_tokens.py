"""Whether one of several sequences that a watched model looks up is what it is asked for, place by place, as it reads it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.measure import ahead

_NEARLY_ALL = 0.95
_MOST_LOOKUPS = 6

Shares = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]


class FedTokens:
    """Follows the first pass of a model that looks several sequences up, as a translation's encoder and decoder do.

    Target and input of an encoder may be the same tokens by right: it rebuilds what it has read. So the graph is asked, in the
    middle of the loop's own backward pass: places go by the very token that stands there and by those before it, and by none
    behind it. That a decoder alone does, and one that reads what it is to say has only to copy it.

    Args:
        shares: of (gradient of the logits, tokens, dimension of the steps): places that are asked for the token that they are
            given, and for the one behind it.
    """

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._looked_up: list[tuple[Tensor, Tensor]] = []
        self._ends: list[tuple[Tensor, Any]] = []
        self._is_fed = False

    def look_up(self, tokens: Tensor, words: Tensor) -> None:
        """Take the tokens that an embedding was given, and what it returned."""
        if len(self._looked_up) < _MOST_LOOKUPS:
            self._looked_up.append((tokens.detach(), words))

    def follow(self, model: nn.Module, logits: Tensor, fits: Callable[[Tensor], bool]) -> None:
        """Take the ends of the graph.

        Args:
            model: that ran.
            logits: that it returned.
            fits: of tokens: whether the model itself was given them, and there are logits for each of their places.
        """
        found = [(tokens, words) for tokens, words in self._looked_up if fits(tokens)]
        self._looked_up = []
        if not found or not ahead.can_be_asked(model, logits):
            return
        edge = torch.autograd.graph.get_gradient_edge
        end, self._ends = edge(logits), [(tokens, edge(words)) for tokens, words in found]
        logits.register_hook(lambda gradient: self._asked(model, end, gradient))

    def _asked(self, model: nn.Module, logits: Any, gradient: Tensor) -> None:
        if ahead.is_running():
            return
        ends, self._ends = self._ends, []
        with contextlib.suppress(Exception), torch.no_grad():
            for tokens, words in ends:
                same, _ = self._shares(gradient.reshape(tokens.numel(), -1), tokens, 1)
                if float(same) == 1.0:
                    self._is_fed |= any(self._reads_up_to(model, logits, words, gradient, tokens, time) for time in (1, 0))

    def _reads_up_to(self, model: nn.Module, logits: Any, words: Any, gradient: Tensor, tokens: Tensor, time: int) -> bool:
        """Whether a place goes by its own token and by those before it alone, along a dimension.

        Along that of the examples nothing goes by anything else.
        """
        length = tokens.shape[time]
        if float(self._shares(gradient.reshape(tokens.numel(), -1), tokens, time)[1]) > _NEARLY_ALL:
            return False
        kept = length // 2

        def sent_back(start: int, end: int) -> list[bool]:
            """Whether what places ask for comes back to the words before the middle, behind it, and to the last."""
            asked = torch.zeros_like(gradient).view(*tokens.shape, -1)
            asked.narrow(time, start, end - start).copy_(gradient.view_as(asked).narrow(time, start, end - start))
            found = ahead.sent_back(model, logits, words, asked.view_as(gradient))
            parts = ((0, kept), (kept, length - kept), (length - 1, 1))
            return [found is not None and bool(found.narrow(time, *part).any()) for part in parts]

        before, behind, _ = sent_back(0, kept)
        from_before, _, own = sent_back(kept, length)
        return before and not behind and from_before and own

    def forget(self) -> None:
        """Let go of what keeps the graph alive."""
        self._looked_up, self._ends = [], []

    def fact(self) -> bool:
        """Whether a sequence was found that is read as it is asked for."""
        return self._is_fed
