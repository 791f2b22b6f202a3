"""Batches with their share of each class, in whatever order, beside labels that a loader yields sorted."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from trainability import check
from trainability.doctor.measure.order import OrderCounter

POSITIVES = torch.randn(512, 4, generator=torch.Generator().manual_seed(0))


def counted(batches: list[Tensor]) -> int:
    counter = OrderCounter(None)
    for labels in batches:
        counter.add(labels, [])
    found = counter.result()
    assert found is not None
    return found.balanced_batches


@pytest.mark.parametrize(
    ("batches", "balanced"),
    [
        ([torch.tensor([1] * 8 + [0] * 32)] * 12, 12),  # negatives behind the positives
        ([torch.tensor([1] * 8 + [0] * 32)] * 11 + [torch.tensor([1] * 3 + [0] * 12)], 12),  # and a last batch that is smaller
        ([torch.arange(3).repeat_interleave(4) + k for k in range(6)], 6),  # three classes, four examples of each
        (list(torch.arange(4).repeat_interleave(100).split(40)), 2),  # sorted: two batches at a border of two classes
        ([torch.tensor([1] * k + [0] * (40 - k)) for k in (4, 8, 16, 24, 32, 36)], 0),  # more and more of one class
    ],
)
def test_batches_with_their_share_of_each_class(batches: list[Tensor], balanced: int) -> None:
    assert counted(batches) == balanced


class Pairs:
    """Puts four negatives for each positive at the end of a batch."""

    def __call__(self, rows: list[tuple[Tensor]]) -> tuple[Tensor, Tensor]:
        positives = torch.stack([row for (row,) in rows])
        negatives = torch.randn(4 * len(positives), 4) + 1.0
        return torch.cat([positives, negatives]), torch.cat([torch.ones(len(positives)), torch.zeros(len(negatives))])


@pytest.mark.parametrize("is_sorted", [False, True])
def test_negatives_behind_positives_are_no_order(is_sorted: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1), nn.Flatten(0))
    data = TensorDataset(torch.cat([POSITIVES, POSITIVES + 1]), torch.arange(2).repeat_interleave(len(POSITIVES)).float())
    mixed = DataLoader(TensorDataset(POSITIVES), batch_size=16, shuffle=True, collate_fn=Pairs())
    loader = DataLoader(data, batch_size=64) if is_sorted else mixed
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    found = check(model, loader, nn.BCEWithLogitsLoss(), optimizer, rehearse_seconds=1).findings
    assert ("class_order" in [f.code for f in found]) is is_sorted
