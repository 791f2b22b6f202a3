"""First steps of whole bodies: long beside a weight that is tiny on purpose, and beside one of usual size."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability import check

X = torch.randn(256, 12, 5, generator=torch.Generator().manual_seed(0))
Y = X[:, 0, :3].argmax(dim=1)


class Recurrent(nn.Module):
    """Identity recurrence, and input weights of this size."""

    def __init__(self, size: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.head = nn.RNN(5, 24, nonlinearity="relu", batch_first=True), nn.Linear(24, 3)
        nn.init.eye_(self.rnn.weight_hh_l0)
        nn.init.normal_(self.rnn.weight_ih_l0, std=size)
        nn.init.zeros_(self.rnn.bias_ih_l0)
        nn.init.zeros_(self.rnn.bias_hh_l0)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[1][-1])


def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
    optimizer.zero_grad()
    loss = F.cross_entropy(model(batch[0]), batch[1])
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.detach()


@pytest.mark.parametrize(("size", "lr", "explodes"), [(1e-3, 4e-4, False), (0.4, 4e-4, False), (0.4, 0.5, True)])
def test_a_step_is_held_to_the_size_that_keeps_a_signal(size: float, lr: float, explodes: bool) -> None:
    model = Recurrent(size)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=lr)
    loader = DataLoader(TensorDataset(X, Y), batch_size=32, shuffle=True)
    found = check(model, loader, step=step, optimizer=optimizer, rehearse_seconds=10)
    sizes = {name: rms for name, rms, _ in found.evidence.rehearsal.critical[0][1].sizes}  # type: ignore[union-attr]
    assert sizes["rnn.weight_ih_l0"] == pytest.approx(size, rel=0.2)
    assert ("exploding_gradient" in [f.rule for f in found.findings if f.severity == "error"]) is explodes
