"""Places of a sequence or a map that are held against another example's, as behind a transpose of the targets alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure.instead import exchanged, pull, returned_once
from trainability.doctor.measure.pairing import changed_rows, exchanged_row, judged, rows_asked
from trainability.doctor.measure.workspace import set_training
from trainability.doctor.pair_facts import Misaligned

_FEWEST = 4  # examples
_MOST_ASKED = 6


def transposed(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> Misaligned | None:
    """Change one place of one example's target, and see whether another example's output is asked for something else.

    Args:
        model: returns a tensor (examples, places, ...) or (examples, ..., places), and is called once; runs in eval mode, and
            the caller puts modes back.
        batch: as the loop draws it; of its tensors of whole numbers with a row per example and several places each is asked.
        forward: of (model, batch), the loss.

    Returns:
        The two tensors of the batch and an example; None where each place is held against its own example's output, where a
        change moves several examples' outputs or what is asked of them, and where it cannot be asked.
    """
    found = dict(tensors(batch))
    counts = {len(t) for t in found.values() if t.dim()}
    if len(counts) != 1 or (count := counts.pop()) < _FEWEST:
        return None
    wide = [name for name, t in found.items() if t.dim() > 1 and not t.is_floating_point() and t.dtype != torch.bool]
    set_training(model, False)
    own = returned_once(model, batch, forward) if wide else None
    if own is None or not own.tensors or own.tensors[0].dim() < 3 or len(own.tensors[0]) != count:
        return None
    pulled = pull(model, batch, forward, own)
    for target in wide if pulled is not None else ():
        for given in found:
            looks = []
            for row in rows_asked(count)[:_MOST_ASKED]:
                other = exchanged_row(batch, given, row) if given != target or len(found) == 1 else None
                now = returned_once(model, other, forward) if other is not None else None
                made = changed_rows(own.tensors[0], now.tensors[0]) if now is not None else set()
                held = changed_rows(pulled, pull(model, _one_place(batch, found[target], row), forward, own))
                if not 0 < len(made) <= count / 2 or len(held) != 1:
                    break  # inputs that no answer is made of; answers or losses that mix examples
                if made & held and not looks:
                    break
                looks.append((row, made, held))
            if (told := judged((given, target), looks, count)) is not None:
                return told
    return None


def _one_place(batch: Any, target: Tensor, row: int) -> Any:
    """The batch with another value of the target at one place of one example, along no diagonal."""
    places = target[row].flatten()
    at = (3 * row + len(places) // 2 + 1) % len(places)
    values = target.flatten()
    others = values[values != places[at]]
    changed = target.clone()
    if len(others):
        changed[row].view(-1)[at] = others[0]
    return exchanged(batch, target, changed)
