"""The order in which an `IterableDataset` gives a loop its classes: nobody but the loop may read it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from trainability.doctor.audit_results import BatchOrder
from trainability.doctor.batches import tensors
from trainability.doctor.measure.order import OrderCounter

_MOST_LABELS = 20_000
_MOST_BATCHES = 64  # of one step


class Streams:
    """Counts the labels of each step's batches, joined: what is accumulated is mixed in one step."""

    def __init__(self) -> None:
        self._pending: list[tuple[int, dict[str, Tensor]]] = []
        self._orders: dict[tuple[int, str], tuple[OrderCounter, int]] = {}
        self._mixed: set[int] = set()  # data sets that are trained on together with other examples, such as replayed ones

    def given(self, data: Any, batch: Any) -> None:
        """A batch of training came from a data set.

        Args:
            data: that it came from; others than streams are not looked at.
            batch: with labels, or without.
        """
        if isinstance(data, IterableDataset) and len(self._pending) < _MOST_BATCHES:
            found = {
                name: t for name, t in tensors(batch) if t.dim() == 1 and not t.is_floating_point() and t.device.type == "cpu"
            }
            self._pending.append((id(data), {name: t.detach().clone() for name, t in found.items()}))

    def stepped(self, loader: DataLoader[Any] | None, data: Any, place: str | None, asked: int | None = None) -> None:
        """A step was made on what was given since the last one.

        Args:
            loader: that gave the last batch.
            data: its data set.
            place: of the labels in a batch; None or "" where that is not known.
            asked: how many classes the step asked for; None where that was not looked at. More than the batches hold come from
                somewhere else, as from a memory of earlier examples, and the order of the stream is not that of the step.
        """
        pending, self._pending = self._pending, []
        labels = [found.get(place or "") for key, found in pending if key == id(data)]
        known = [part for part in labels if part is not None and len(part)]
        if not known or len(known) < len(labels) or place is None:
            return
        joined = torch.cat(known).long()
        if asked is not None and asked > len(joined.unique()):
            self._mixed.add(id(data))
        counter, count = self._orders.get((id(data), place), (OrderCounter(loader), 0))
        if count < _MOST_LABELS:
            counter.add(joined, [])
            self._orders[id(data), place] = counter, count + len(joined)

    def order(self, data: Any, place: str | None) -> BatchOrder | None:
        """What was counted of a data set; None where it is no stream, mixed with others, or its labels are not known."""
        if id(data) in self._mixed:
            return None
        counter, _ = self._orders.get((id(data), place or ""), (None, 0))
        return counter.result() if counter is not None else None
