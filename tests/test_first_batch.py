"""The batch that the loss is asked about: where a label is rare, one that has it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability import check
from trainability.checking.first_batch import with_both_labels

G = torch.Generator().manual_seed(0)
X = torch.randn(640, 6, generator=G)
RARE = torch.zeros(640)
RARE[[200, 201, 330, 500, 620]] = 1.0
X[:, 0] += 3 * RARE


def batches(y: Tensor) -> list[Any]:
    return list(DataLoader(TensorDataset(X, y), 32))


def test_a_batch_of_both_labels_is_found() -> None:
    rows = batches(RARE)
    assert torch.equal(with_both_labels(rows[0], rows)[1], RARE[192:224])
    assert torch.equal(with_both_labels(rows[0], iter(rows))[1], RARE[192:224])


@pytest.mark.parametrize(
    "y",
    [torch.zeros(640), (torch.arange(640) > 600).float(), torch.arange(640) % 2, torch.randn(640, generator=G), X.cumsum(0)],
)
def test_the_first_batch_is_taken_where_there_is_none(y: Tensor) -> None:
    rows = batches(y)
    assert with_both_labels(rows[0], rows) is rows[0]


def test_batches_of_another_size_are_left_out() -> None:
    rows = [(X[:32], RARE[:32]), (X[190:210], RARE[190:210])]
    assert with_both_labels(rows[0], rows) is rows[0]


@pytest.mark.parametrize("is_wrong", [True, False])
def test_a_loss_that_lets_sure_mistakes_pass_is_named_though_the_first_batch_has_no_positive(is_wrong: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1), nn.Flatten(0))

    def focal(output: Tensor, y: Tensor) -> Tensor:
        each = F.binary_cross_entropy_with_logits(output, y, reduction="none")
        right = (-each).exp()
        return ((right if is_wrong else 1 - right) ** 2 * each).mean()

    found = check(model, batches(RARE), focal, torch.optim.Adam(model.parameters()))
    assert ("wrong_sign.sure" in {f.code for f in found.findings}) is is_wrong
