"""Whether a watched loop asks each token for itself: read off the gradients that its own backward pass leaves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure import ahead
from trainability.doctor.measure.answer_rows import AnswerRows
from trainability.doctor.measure.fed_tokens import FedTokens
from trainability.doctor.measure.hidden_words import hides_words

_NEARLY_ALL, _MANY = 0.95, 0.8
_FEWEST_STEPS = 4
_MOST_NODES = 20_000


class OwnTokens:
    """Follows the first pass of a model that looks words up.

    Monitor does not run the model, so it cannot exchange tokens and ask again. What it can see: which tokens an embedding is
    given, which token the gradient of the logits asks for at each place, and whether a gradient comes back to the last token of
    each sequence. It does not where a model shifts its input by itself, which is then rightly asked for the token. Where each
    place is asked for the token behind it, `ahead` is told.

    Attributes:
        ahead: asks whether that token is seen.
        rows: asks which dimension of the answers is that of the examples.
        hides_words: no gradient comes back to any word of padded sequences, and to their padding one does.
    """

    def __init__(self) -> None:
        self.ahead, self.rows, self.hides_words = ahead.Ahead(), AnswerRows(), False
        self._tokens: Tensor | None = None
        self._words: Tensor | None = None
        self._num_lookups = 0
        self._same: Tensor | None = None
        self._reaches: dict[int, Tensor] = {}  # by dimension: whether the last token has a gradient
        self._time = 1
        self._is_masked, self._is_open = False, False  # attention that is causal, and that is not
        self._recurrent: list[nn.RNNBase] = []
        self._is_recurrent = False
        self._fed = FedTokens(_shares)
        self._first_state: Tensor | None = None  # whether what a recurrent layer says of the first step has a gradient

    def see(self, module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        """Look at a part of the model that has just run with gradients."""
        self.ahead.see(output)
        if isinstance(module, nn.Embedding) and args and isinstance(output, Tensor):
            self._look_up(args[0], output)
        elif isinstance(module, nn.RNNBase):
            self._recurrent.append(module)
            self._follow_states(module, output[0])
        elif isinstance(module, nn.MultiheadAttention):
            mask = kwargs.get("attn_mask", args[5] if len(args) > 5 else None)
            is_causal = bool(kwargs.get("is_causal")) or _is_causal(mask)
            self._is_masked, self._is_open = self._is_masked or is_causal, self._is_open or not is_causal

    def _look_up(self, tokens: Any, output: Tensor) -> None:
        if not isinstance(tokens, Tensor) or tokens.dim() != 2 or min(tokens.shape) < 2 or tokens.is_floating_point():
            return
        is_expanded = tokens.stride(0) == 0  # places, the same for each example
        if max(tokens.shape) < _FEWEST_STEPS or not output.requires_grad or is_expanded:
            return
        self._num_lookups += 1
        self._fed.look_up(tokens, output)
        if self._tokens is None:
            self._tokens, self._words = tokens.detach(), output
            output.register_hook(self._came_back)

    def _follow_states(self, module: nn.RNNBase, states: Any) -> None:
        """An encoder hands on its last state alone; its answers to all places go by all tokens."""
        is_packed = isinstance(states, nn.utils.rnn.PackedSequence)
        numbers = states.data if is_packed else states
        num_first = int(states.batch_sizes[0]) if is_packed else 1

        def look(gradient: Tensor) -> None:
            if ahead.is_running():
                return
            with contextlib.suppress(Exception), torch.no_grad():
                is_second = module.batch_first and gradient.dim() == 3
                self._first_state = (gradient.transpose(0, 1) if is_second else gradient)[:num_first].any()

        if isinstance(numbers, Tensor) and numbers.requires_grad:
            numbers.register_hook(look)

    def _came_back(self, gradient: Tensor) -> None:
        if ahead.is_running():
            return
        with contextlib.suppress(Exception), torch.no_grad():  # one fact less
            self._reaches = {0: gradient[-1].any(), 1: gradient[:, -1].any()}
            if self._tokens is not None and not self._recurrent:  # over long padding a gradient may fade to nothing
                self.hides_words = hides_words((gradient == 0).all(dim=-1), [self._tokens])

    def answered(self, model: nn.Module, given: Any, returned: Any) -> None:
        """Look at what the model was given and returned."""
        tokens = self._tokens
        first = next((tensor for _, tensor in tensors(returned)), None)
        if self._num_lookups > 1 and first is not None:
            inputs = [tensor for _, tensor in tensors(given)]
            self._fed.follow(model, first, lambda t: _fits(first, t) and any(_is_same(one, t) for one in inputs))
        if tokens is not None and self._words is not None and self._num_lookups == 1 and self.ahead.is_first:
            self._follow_rows(model, given, returned, tokens, self._words)
        if tokens is None or not any(_is_same(tensor, tokens) for _, tensor in tensors(given)):
            return
        logits = next((t for _, t in tensors(returned) if _fits(t, tokens)), None)
        if logits is None:
            return
        one, several = (len(self._recurrent) == 1, len(self._recurrent) > 1)
        self._is_open |= several or any(module.bidirectional for module in self._recurrent)
        self._time = 0 if one and not self._recurrent[0].batch_first else 1
        self._is_recurrent = one
        self._is_masked |= any(_is_causal(buffer) for buffer in model.buffers())
        self._is_masked |= _attends_causally(logits)
        if self._words is not None and not returns_code((t for _, t in tensors(returned)), tokens, self._time):
            self.ahead.follow(model, logits, self._words)
        self._words = None
        logits.register_hook(lambda gradient: self._asked(gradient, tokens))

    def _follow_rows(self, model: nn.Module, given: Any, returned: Any, tokens: Tensor, words: Tensor) -> None:
        table = next(
            (t for _, t in tensors(given) if t.shape in (tokens.shape, tokens.T.shape) and t.dtype == tokens.dtype), None
        )
        answers = next((t for _, t in tensors(returned) if t.requires_grad and t.numel() >= 2 * tokens.numel()), None)
        if table is None or answers is None:
            return
        self.rows.follow(model, table, tokens, words, answers)

        def look(gradient: Tensor) -> None:
            if not ahead.is_running() and not self.ahead.is_retained:
                with contextlib.suppress(Exception), torch.no_grad():
                    self.rows.ask(gradient)

        answers.register_hook(look)

    def _asked(self, gradient: Tensor, tokens: Tensor) -> None:
        if ahead.is_running():
            return
        with contextlib.suppress(Exception), torch.no_grad():
            same, later = _shares(gradient.reshape(tokens.numel(), -1), tokens, self._time)
            self._same = torch.where(later >= same, torch.zeros_like(same), same)
            if float(later) > _NEARLY_ALL and not float(same) > _MANY:
                self.ahead.ask(gradient, tokens.shape, self._time)

    def forget(self) -> None:
        """Let go of what keeps the graph alive."""
        self._words = None
        self._fed.forget()
        self.ahead.forget()
        self.rows.forget()

    def fact(self) -> str | None:
        """How each token is asked for itself: "causal", "unknown" where the model may be one that rebuilds its input; or None.

        Reads few numbers from the device.
        """
        if self._fed.fact():
            return "causal"
        if self._same is None or not self._reaches or self._num_lookups != 1 or float(self._same) != 1.0:
            return None
        if not bool(self._reaches[self._time]):
            return None
        is_step_by_step = self._is_recurrent and self._first_state is not None and bool(self._first_state)
        return "causal" if (self._is_masked or is_step_by_step) and not self._is_open else "unknown"


def _is_same(given: Tensor, tokens: Tensor) -> bool:
    return given.shape == tokens.shape and given.data_ptr() == tokens.data_ptr()


def returns_code(returned: Iterable[Tensor], tokens: Tensor, time: int) -> bool:
    """Whether a model also returns some numbers for each sequence as a whole, as the mean and variance of a code.

    Such a model rebuilds its input: an encoder reads all of it, and a decoder, which is causal, is asked for the next token.

    Args:
        returned: by the model.
        tokens: that it was given.
        time: their dimension of steps.
    """
    examples, steps = tokens.shape[1 - time], tokens.shape[time]
    return any(t.requires_grad and t.dim() == 2 and len(t) == examples and t.shape[1] != steps for t in returned)


def _fits(output: Tensor, tokens: Tensor) -> bool:
    if not output.requires_grad or output.dim() not in (2, 3) or output.shape[-1] < 2:
        return False
    return output.shape[:-1] == tokens.shape or output.shape[:-1] == (tokens.numel(),)


def _shares(gradient: Tensor, tokens: Tensor, time: int) -> tuple[Tensor, Tensor]:
    """Shares of the places that are asked for the token that they are given, and for the one behind it.

    The commonest token, such as padding, tells nothing.

    Args:
        gradient: (places, classes), of the logits of a cross-entropy: below zero at the label alone.
        tokens: (examples, steps) or (steps, examples), in the order of the places.
        time: the dimension of the steps.

    Returns:
        Two numbers; NaN of no places.
    """
    lowest, asked = gradient.min(dim=1)
    is_asked = lowest < 0
    counts = torch.zeros(gradient.shape[1], device=gradient.device).scatter_add_(0, asked, is_asked.float())
    tells, asked = (is_asked & (asked != counts.argmax())).view(tokens.shape), asked.view(tokens.shape)
    length = tokens.shape[time] - 1
    before, asked_before, following = (*(t.narrow(time, 0, length) for t in (tells, asked)), tokens.narrow(time, 1, length))
    same = (tells & (asked == tokens)).sum() / tells.sum()
    return same, (before & (asked_before == following)).sum() / before.sum()


def _attends_causally(output: Tensor) -> bool:
    """Whether an attention in the graph says so by itself (`is_causal=True`). What it saved is not looked at."""
    seen, found = set(), [output.grad_fn]
    while found and len(seen) < _MOST_NODES:
        node: Any = found.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if type(node).__name__.startswith("ScaledDotProduct") and getattr(node, "_saved_is_causal", False):
            return True
        found += [above for above, _ in node.next_functions]
    return False


def _is_causal(mask: Any) -> bool:
    """Whether a mask, of any kind of number, differs between the places behind and those before, and within neither."""
    if not isinstance(mask, Tensor) or mask.dim() < 2 or mask.shape[-1] != mask.shape[-2] or mask.shape[-1] < _FEWEST_STEPS:
        return False
    square = mask.reshape(-1, *mask.shape[-2:])[0]
    later = torch.ones_like(square, dtype=torch.bool).triu(1)
    behind, before = square[~later], square[later]
    return bool((behind == behind[0]).all()) and bool((before == before[0]).all()) and bool(behind[0] != before[0])
