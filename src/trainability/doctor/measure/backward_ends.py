"""Recurrent layers of both directions of which a model keeps the last step alone, where the backward one has just begun."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from trainability.doctor.measure import statistics
from trainability.doctor.measure.ignored import MIN_STEPS

_MOST_SEEN = 16


class _Seen:
    """The gradients that the outputs and the last states of one call get.

    Attributes:
        name: of the layer.
        steps: of its longest sequence.
        at_end: whether outputs of the last step of a sequence have a gradient in the backward half.
        elsewhere: whether outputs of another step have one, or the last state of the backward direction.
    """

    def __init__(self, name: str, module: nn.RNNBase, made: Any, states: Tensor) -> None:
        self.name, self.at_end, self.elsewhere = name, False, False
        data, last = (made.data, _last_steps(made)) if isinstance(made, PackedSequence) else (made, None)
        width = data.shape[-1] // 2
        self.steps = len(made.batch_sizes) if isinstance(made, PackedSequence) else made.shape[1 if module.batch_first else 0]

        def of_outputs(gradient: Tensor) -> None:
            with contextlib.suppress(Exception):  # one fact less
                found = gradient.detach()
                rows = found if last is not None or not module.batch_first else found.transpose(0, 1)
                is_used = (rows != 0).reshape(len(rows), -1).any(dim=1)
                is_last = last if last is not None else torch.arange(len(rows)) == len(rows) - 1
                self.at_end |= bool((rows[is_last.to(rows.device)][..., width:] != 0).any())
                self.elsewhere |= bool(is_used[~is_last.to(rows.device)].any())

        def of_states(gradient: Tensor) -> None:
            self.elsewhere |= bool((gradient.detach()[-1] != 0).any())

        data.register_hook(of_outputs)
        if states.requires_grad:
            states.register_hook(of_states)


class BackwardEnds:
    """Looks at what comes back to recurrent layers of both directions.

    Of several layers on top of each other, what the last one's backward direction reads has been told of all steps by those
    below it, so only one layer, which no other recurrent layer feeds, is looked at.
    """

    def __init__(self) -> None:
        self._seen: list[_Seen] = []
        self._is_fed = False

    def see(self, name: str, module: nn.Module, args: Any, output: Any) -> None:
        """Look at a module that has run."""
        if not isinstance(module, nn.RNNBase | nn.MultiheadAttention) or self._is_fed:
            return
        given = args[0].data if args and isinstance(args[0], PackedSequence) else args[0] if args else None
        is_other = bool(self._seen) and all(each.name != name for each in self._seen)
        if not isinstance(module, nn.RNNBase) or not module.bidirectional or module.num_layers > 1 or is_other:
            self._is_fed = True  # another layer may tell it of the other steps
            return
        made, states = output
        states = states[0] if isinstance(states, tuple) else states
        data = made.data if isinstance(made, PackedSequence) else made
        is_batch = isinstance(made, PackedSequence) or data.dim() == 3
        is_open = is_batch and data.requires_grad and len(self._seen) < _MOST_SEEN
        if isinstance(given, Tensor) and is_open and statistics.is_readable(data):
            self._seen.append(_Seen(name, module, made, states))

    @property
    def found(self) -> tuple[str, int] | None:
        """The layer, and the steps of a sequence; None where the loss depends on its backward direction at another step."""
        are_ends = bool(self._seen) and all(each.at_end and not each.elsewhere for each in self._seen)
        if self._is_fed or not are_ends or min(each.steps for each in self._seen) < MIN_STEPS:
            return None
        return self._seen[0].name, self._seen[0].steps


def _last_steps(made: PackedSequence) -> Tensor:
    """Which rows of packed outputs are the last step of their sequence."""
    sizes = made.batch_sizes
    behind = torch.cat([sizes[1:], sizes.new_zeros(1)])
    return torch.cat([torch.arange(int(now)) >= int(after) for now, after in zip(sizes, behind, strict=True)])
