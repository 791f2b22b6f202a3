"""A part that the loss weights by zero for now, as one that is faded in, and the same part behind dead units."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Monitor


class TwoBranches(nn.Module):
    def __init__(self, weight: float, late_bias: float) -> None:
        super().__init__()
        self.weight = weight
        self.early = nn.Linear(8, 4)
        self.late = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
        nn.init.constant_(self.late.get_parameter("2.bias"), late_bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.early(x) + self.weight * self.late(x)


@pytest.mark.parametrize(
    ("weight", "late_bias", "severity"), [(0.0, 0.0, "hint"), (1.0, -100.0, "warning")], ids=["weight zero", "dead units"]
)
def test_a_part_at_weight_zero_is_a_hint_while_the_others_learn(weight: float, late_bias: float, severity: str) -> None:
    torch.manual_seed(0)
    model = TwoBranches(weight, late_bias)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    x = torch.randn(512, 8)
    y = x[:, :4].argmax(1)
    with Monitor(model, optimizer, every=20) as monitor:
        for _ in range(120):
            rows = torch.randint(512, (64,))
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    (found,) = (f for f in monitor.diagnose().findings if f.rule == "untrained_parameter")
    assert (found.code, found.severity) == ("untrained_parameter.zero_gradient", severity)
    assert "late.0" in found.layers


class FedZeros(nn.Module):
    """An autoencoder of series, whose decoder reads zeros and has everything from its state."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.GRU(3, 16, batch_first=True), nn.GRU(8, 16, batch_first=True)
        self.out = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        state = self.encoder(x)[1]
        made: Tensor = self.out(self.decoder(torch.zeros(len(x), x.shape[1], 8), state)[0])
        return made


def test_weights_that_multiply_zeros_are_no_warning_where_the_run_learns() -> None:
    torch.manual_seed(0)
    model = FedZeros()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    series = torch.sin(torch.arange(8.0)[:, None] + 6 * torch.rand(512, 1, 3))
    with Monitor(model, optimizer, every=20) as monitor:
        for _ in range(200):
            x = series[torch.randint(512, (64,))]
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), x)
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    said = {f.code: f.severity for f in monitor.diagnose().findings}
    assert loss < 0.25
    assert set(said.values()) <= {"hint"}
