"""Whether an output uses the end of its sequences, or what is in front of their padding: it is exchanged, to see a change."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import first_tensor
from trainability.doctor.measure.columns import RECURRENT
from trainability.doctor.measure.padding_number import are_words, padding_of
from trainability.doctor.measure.workspace import set_training
from trainability.doctor.readings import BehindPadding

MIN_STEPS = 4
_ROWS = 8
_TELLS = 0.9  # of the sequences, whose last word may be the padding's number by chance
_LENGTHS = 3  # different ones: what is asked after a silence that is as long for all is to be remembered over it


def ignores_end(model: nn.Module, inputs: tuple[Any, ...]) -> bool:
    """Whether one answer per sequence stays the same when the second half is exchanged, though not when the first half is.

    Args:
        model: with a recurrent layer; runs in eval mode and without gradients; the caller puts modes and buffers back.
        inputs: what it takes: a tensor (batch, time, ...), as `batch_first=True` has it, and beside it whole numbers (batch,)
            at most, as lengths are.

    Returns:
        False, too, where it cannot be asked: other inputs, an answer per step, answers that do not repeat. Padding that all
        examples have at their ends is left out.
    """
    given, *beside = inputs or (None,)
    recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
    if not recurrent or not isinstance(given, Tensor) or given.dim() < 2 or len(given) < 2 or given.shape[1] < MIN_STEPS:
        return False
    if not all(isinstance(x, Tensor) and x.shape == given.shape[:1] and not x.is_floating_point() for x in beside):
        return False
    lengths = [x[:_ROWS] for x in beside]
    rows = given[:_ROWS]
    others = rows.roll(1, dims=0)
    # Behind the last place at which examples differ is padding: exchanged with its like, it is the same.
    differ = (rows != others).reshape(len(rows), rows.shape[1], -1).any(dim=2).any(dim=0).nonzero()
    half = (int(differ[-1]) + 1) // 2 if len(differ) else 0
    if 2 * half < MIN_STEPS or bool((rows[:, half:] == others[:, half:]).all()):
        return False
    asked = [
        rows,
        rows,
        torch.cat([rows[:, :half], others[:, half:]], dim=1),
        torch.cat([others[:, :half], rows[:, half:]], dim=1),
    ]
    set_training(model, False)
    with torch.no_grad():
        answers = [first_tensor(model(x, *lengths)) for x in asked]
    if any(answer is None or answer.dim() != 2 or len(answer) != len(rows) for answer in answers):
        return False
    first, again, end, start = (answer for answer in answers if answer is not None)
    return torch.equal(first, again) and torch.equal(first, end) and not torch.equal(first, start)


def drowned_by_padding(model: nn.Module, inputs: tuple[Any, ...]) -> float | None:
    """How much less an answer changes with the words of a sequence where padding follows them than where it precedes them.

    Args:
        model: with a recurrent layer; runs in eval mode and without gradients; the caller puts modes and buffers back.
        inputs: what it takes: a tensor (batch, time) of whole numbers or (batch, time, features), and beside it tensors of
            whole numbers or marks (batch,) or (batch, time) at most, as lengths and masks are.

    Returns:
        The change over that with the padding in front; None where it cannot be asked: other inputs, fewer than four sequences
        of several lengths that end in a third and more of one number (or one row of features), answers that do not repeat, or
        do not change with the words.
    """
    given, *beside = inputs or (None,)
    recurrent = any(isinstance(module, RECURRENT) for module in model.modules())
    if not recurrent or not isinstance(given, Tensor) or given.dim() != (3 if given.is_floating_point() else 2):
        return None
    if given.shape[1] < MIN_STEPS or not all(_is_beside(x, given) for x in beside):
        return None
    is_word = ~is_padding(given)
    length = given.shape[1] - is_word.flip(1).int().argmax(dim=1)
    chosen = (is_word.any(dim=1) & (length <= given.shape[1] * 2 // 3)).nonzero()[:_ROWS, 0]
    if len(chosen) < MIN_STEPS or len(length[chosen].unique()) < _LENGTHS:
        return None
    rows, told = given[chosen], [x[chosen] for x in beside]
    behind = is_word[chosen].flip(1).cumsum(dim=1).flip(1) == 0
    wide = behind if rows.dim() == 2 else behind[:, :, None]
    words = torch.where(wide, rows[0, 0], rows)
    others = torch.where(wide, rows, words.roll(1, dims=0))
    asked = [rows, rows, others, _ended(rows, behind), _ended(others, behind)]
    set_training(model, False)
    with torch.no_grad():
        answers = [first_tensor(model(x, *told)) for x in asked]
    if any(answer is None or answer.dim() != 2 or len(answer) != len(rows) for answer in answers):
        return None
    first, again, changed, ended, ended_changed = (answer for answer in answers if answer is not None)
    control = float((ended - ended_changed).square().mean().sqrt())
    if not torch.equal(first, again) or not control > 0:
        return None
    return float((first - changed).square().mean().sqrt()) / control


def behind_padding(inputs: tuple[Any, ...], batch: Sequence[tuple[str, Tensor]], target: Tensor | None) -> BehindPadding | None:
    """What is known of the padding behind sequences whose answer `drowned_by_padding` has asked for.

    Args:
        inputs: of the model, as there.
        batch: its tensors, by their places.
        target: what the answer is compared with: how long a sequence is may be what is asked, and its end what tells it.
    """
    given = inputs[0]
    is_word = ~is_padding(given)
    length = given.shape[1] - is_word.flip(1).int().argmax(dim=1)
    is_long = is_word.any(dim=1) & (length <= given.shape[1] * 2 // 3)
    if not bool(is_long.any()):
        return None
    others = [(place, t) for place, t in batch if target is None or t.data_ptr() != target.data_ptr()]
    told = [place for place, t in others if t is not given and _tells(t, length, given.shape[1])]
    return BehindPadding(
        share=float(is_long.float().mean()),
        steps=int((given.shape[1] - length)[is_long].median()),
        are_words=are_words(given) and padding_of(given) is not None,
        told_by=told[0] if told else "",
    )


def _tells(told: Tensor, length: Tensor, longest: int) -> bool:
    """Whether these are lengths (batch,) or a mask (batch, time) with the same ends."""
    if told.shape == (len(length), longest) and bool(((told == 0) | (told == 1)).all()):
        kept = told.to(length.device).long()
        counts = [kept.sum(dim=1), (1 - kept).sum(dim=1)]  # True or 1 at the padding, as attention takes it
    else:
        counts = [told.to(length.device)] if told.shape == length.shape and told.dtype != torch.bool else []
    return any(float((count == length).float().mean()) >= _TELLS for count in counts)


def is_padding(given: Tensor) -> Tensor:
    """Where sequences (batch, time) or (batch, time, features) hold what most of them end in: (batch, time)."""
    flat = given.reshape(*given.shape[:2], -1)
    return (flat == flat[:, -1].mode(dim=0).values).all(dim=2)


def _is_beside(x: Any, given: Tensor) -> bool:
    return isinstance(x, Tensor) and not x.is_floating_point() and x.shape in (given.shape[:1], given.shape[:2])


def _ended(rows: Tensor, behind: Tensor) -> Tensor:
    """The same sequences with their padding in front of the words."""
    order = (~behind).int().argsort(dim=1, stable=True)
    return rows.gather(1, order if rows.dim() == 2 else order[:, :, None].expand_as(rows))
