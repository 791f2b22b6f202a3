"""A collate function that stacks sequences along the second dimension, before a model that takes them along the first."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from trainability import Setup, check


class Net(nn.Module):
    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(2, 16, batch_first=batch_first), nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0]).squeeze(-1)


def masked(output: Tensor, target: Tensor) -> Tensor:
    known = ~target.isnan()
    return (output - target)[known].square().mean()


@pytest.mark.parametrize(("stacked_first", "taken_first"), [(False, True), (False, False), (True, True)])
def test_what_the_loader_stacks_is_what_the_model_takes(stacked_first: bool, taken_first: bool) -> None:
    torch.manual_seed(0)
    lengths = torch.randint(6, 20, (160,)).tolist()
    data = [(torch.randn(length, 2), torch.randn(length)) for length in lengths]

    def collate(rows: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        xs, ys = zip(*rows, strict=True)
        return pad_sequence(list(xs), stacked_first), pad_sequence(list(ys), stacked_first, float("nan"))

    model = Net(taken_first)
    found = check(
        Setup(
            model=model,
            train_loader=DataLoader(cast(Any, data), batch_size=16, shuffle=True, collate_fn=collate),
            loss_fn=masked,
            optimizer=torch.optim.Adam(model.parameters(), lr=1e-2),
            rehearse_seconds=1,
        )
    )
    codes = {finding.code for finding in found.findings if finding.severity != "hint"}
    assert ("batch_leakage.sequences" in codes) is (stacked_first != taken_first)
