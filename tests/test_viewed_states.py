"""States of a recurrent layer that a view brings to a row for each example, in a watched loop, beside sound ones."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Monitor
from trainability.doctor import Evidence, diagnose
from trainability.doctor.measure.certain import facts_of

N, STEPS, WIDTH = 12, 7, 5
X = torch.randn(N, STEPS, 3, generator=torch.Generator().manual_seed(0))
Y = torch.randn(N, 2, generator=torch.Generator().manual_seed(1))

Rows = Callable[[Tensor], Tensor]


class Recurrent(nn.Module):
    """A recurrent layer whose last states, (layers * directions, batch, width), a case's own function brings to rows."""

    def __init__(self, kind: Callable[..., nn.Module], rows: Rows, *, layers: int = 1, directions: int = 2) -> None:
        super().__init__()
        self.rnn = kind(3, WIDTH, num_layers=layers, bidirectional=directions == 2, batch_first=True)
        self.rows, self.out = rows, nn.Linear(layers * directions * WIDTH, 2)

    def forward(self, x: Tensor) -> Tensor:
        state = self.rnn(x)[1]
        return self.out(self.rows(state[0] if isinstance(state, tuple) else state))


class Experts(nn.Module):
    """What several small networks say, stacked."""

    def __init__(self, rows: Rows) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(3 * STEPS, WIDTH) for _ in range(3))
        self.rows, self.out = rows, nn.Linear(3 * WIDTH, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rows(torch.stack([expert(x.flatten(1)) for expert in self.experts])))


class Pieces(nn.Module):
    """Sound: each series is cut into pieces, which are examples to a convolution; as many channels as series."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv1d(3, N, 3), nn.Linear(2 * N, 2)

    def forward(self, x: Tensor) -> Tensor:
        pieces = x[:, :6].reshape(2 * N, 3, 3).transpose(1, 2)
        return self.out(self.conv(pieces).reshape(N, -1))


def transposed(h: Tensor) -> Tensor:
    return h.transpose(0, 1).reshape(h.shape[1], -1)


def put_beside(h: Tensor) -> Tensor:
    return torch.cat([h[-2], h[-1]], dim=1)


CASES: dict[str, tuple[nn.Module, bool]] = {
    "two directions, viewed": (Recurrent(nn.GRU, lambda h: h.view(h.shape[1], -1)), True),
    "two directions of an LSTM, reshaped": (Recurrent(nn.LSTM, lambda h: h.reshape(-1, 2 * WIDTH)), True),
    "two layers, viewed as a table each": (
        Recurrent(nn.RNN, lambda h: h.view(N, 2, WIDTH).flatten(1), layers=2, directions=1),
        True,
    ),
    "stacked experts, viewed": (Experts(lambda h: h.view(N, -1)), True),
    "two directions, transposed": (Recurrent(nn.GRU, transposed), False),
    "two directions, beside each other": (Recurrent(nn.LSTM, put_beside), False),
    "the last layer": (Recurrent(nn.GRU, lambda h: h[-1], directions=1), False),
    "one layer, viewed": (Recurrent(nn.GRU, lambda h: h.view(N, -1), directions=1), False),
    "stacked experts, transposed": (Experts(transposed), False),
    "pieces": (Pieces(), False),
}


@pytest.mark.parametrize("name", CASES)
def test_states_that_are_viewed(name: str) -> None:
    model, found = CASES[name]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with Monitor(model, optimizer, every=2) as monitor:
        for _ in range(4):
            optimizer.zero_grad()
            loss = F.mse_loss(model(X), Y)
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    said = [f for f in monitor.diagnose().findings if f.code == "batch_leakage"]
    assert bool(said) is found
    if found:
        assert "transpose(0, 1)" in (said[0].remedy or "")


@pytest.mark.parametrize("name", CASES)
def test_check_names_the_view_as_well(name: str) -> None:
    model, found = CASES[name]
    said = diagnose(Evidence(facts=facts_of(model, (X, Y), loss_fn=F.mse_loss))).findings
    assert any(f.code == "batch_leakage" and "transpose(0, 1)" in (f.remedy or "") for f in said) is found
