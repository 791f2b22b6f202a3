"""Models that use a weight more than once, transposed, and whose biases have names of their own."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import trainability
from trainability.checking import check as checking
from trainability.doctor import predict, weight_moments
from trainability.doctor.theory.trace import trace

SIZES = (16, 8, 4)


class Tied(nn.Module):
    """An autoencoder whose decoder has the encoder's weights, transposed."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.W = nn.ParameterList(nn.init.orthogonal_(torch.empty(o, i)) for i, o in pairwise(SIZES))
        self.down = nn.ParameterList(torch.zeros(o) for o in SIZES[1:])
        self.up = nn.ParameterList(torch.zeros(i) for i in SIZES[:-1])

    def forward(self, x: Tensor) -> Tensor:
        for weight, bias in zip(self.W, self.down, strict=True):
            x = F.relu(F.linear(x, weight, bias))
        for place in (1, 0):
            x = F.linear(x, self.W[place].t(), self.up[place])
            x = F.relu(x) if place else x
        return x


def rows() -> list[tuple[Tensor, Tensor]]:
    x = torch.randn(64, SIZES[0], generator=torch.Generator().manual_seed(1))
    return [(x[k : k + 16], x[k : k + 16]) for k in range(0, 64, 16)]


def test_a_bias_of_any_name_is_no_weight() -> None:
    model = Tied()
    ops = [op for op in trace(model, (2, SIZES[0])).ops if op.kind == "linear"]
    assert [(op.weight, op.bias) for op in ops] == [("W.0", "down.0"), ("W.1", "down.1"), (None, "up.1"), (None, "up.0")]
    found = predict(trace(model, (2, SIZES[0])), weight_moments(model))
    assert found.structure == "unknown"
    assert found.log10_gain is None  # half of the gains are not known


def test_tied_weights_are_checked() -> None:
    model = Tied()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    diagnosis = trainability.check(model, rows(), nn.MSELoss(), optimizer)
    assert diagnosis.evidence.probe is not None
    assert not [f for f in diagnosis.findings if f.severity != "hint"]


def test_a_measurement_that_fails_is_noted_and_the_model_is_not_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: object, **kwargs: object) -> None:
        raise IndexError("too many")

    model = nn.Linear(SIZES[0], SIZES[0])
    monkeypatch.setattr(checking, "probe", fails)
    with pytest.raises(ValueError, match="failed on inputs"):  # raised in this file: not by the package itself
        trainability.check(model, rows(), nn.MSELoss())
    monkeypatch.setattr(checking, "probe", lambda *args, **kwargs: checking.probe_size(None, (), None))
    diagnosis = trainability.check(model, rows(), nn.MSELoss())
    assert any("the start, layer by layer: " in line for line in diagnosis.not_checked)
