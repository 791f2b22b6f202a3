"""Weight decay as part of Adam's gradient, which empties weights, beside the same decay where it does no harm."""

from typing import Any

import pytest
import torch
from small_programs import batches
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Monitor, check
from trainability.doctor.evidence import Evidence, OptimizerSettings, Sample, StepRecord
from trainability.doctor.layer_stats import LayerStats
from trainability.doctor.rules.decay import is_emptied


def rows() -> tuple[Tensor, Tensor]:
    """Four classes: a line tells them in pairs, and a product of signs within a pair."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(1024, 8, generator=rng)
    return x, (x[:, 0] * x[:, 1] > 0).long() + 2 * (x[:, 3] > 0).long()


def net() -> nn.Module:
    torch.manual_seed(1)
    blocks = (nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32)) for _ in range(3))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.blocks, self.out = nn.Linear(8, 32), nn.ModuleList(blocks), nn.Linear(32, 4)

        def forward(self, x: Tensor) -> Tensor:
            h = self.first(x)
            for block in self.blocks:
                h = h + block(h)
            return self.out(h)

    return Net()


def train(monitor: Monitor, model: nn.Module, optimizer: Any, loss_fn: Any, data: tuple[Tensor, Tensor], epochs: int) -> float:
    """Train under a monitor; the last loss."""
    loss = torch.zeros(())
    with monitor:
        for _ in range(epochs):
            for x, y in batches(*data):
                optimizer.zero_grad()
                loss = loss_fn(model(x), y)
                loss.backward()
                monitor.after_backward(loss)
                optimizer.step()
    return float(loss.detach())


def watched(optimizer: Any, decay: float) -> tuple[list[str], list[str], float]:
    x, y = rows()
    model = net()
    made = optimizer(model.parameters(), lr=2e-3, weight_decay=decay)
    before = check(model, batches(x, y), F.cross_entropy, made, rehearse_seconds=60.0)
    monitor = Monitor(model, made, every=20)
    last = train(monitor, model, made, F.cross_entropy, (x, y), 20)
    return [f.rule for f in before.findings], [f.rule for f in monitor.diagnose().findings], last


@pytest.mark.parametrize(
    ("optimizer", "decay", "found"),
    [(torch.optim.Adam, 0.3, True), (torch.optim.AdamW, 0.3, False), (torch.optim.Adam, 1e-4, False)],
)
def test_decay_that_empties_the_typical_weight(optimizer: Any, decay: float, found: bool) -> None:
    before, during, loss = watched(optimizer, decay)
    assert (loss > 0.5) == found
    assert ("weights_decayed" in during) == found
    assert "weights_decayed" not in before or found


@pytest.mark.parametrize(
    ("kinds", "found"), [(("linear", "linear", "linear"), True), (("linear", "norm", "linear", "norm"), False)]
)
def test_weights_before_a_normalisation_may_be_of_any_size(kinds: tuple[str, ...], found: bool) -> None:
    layers = tuple(LayerStats(name=str(k), kind=kind, weight_rms=1e-4) for k, kind in enumerate(kinds))
    settings = OptimizerSettings(name="Adam", lr=1e-2, weight_decay=0.1)
    steps = tuple(StepRecord(step=k, loss=1.4 if k == 1 else 0.9, micro_batches=1) for k in range(1, 401))
    run = Evidence(steps=steps, samples=(Sample(step=1, layers=layers), Sample(step=400, layers=layers)), optimizer=settings)
    assert is_emptied(run, settings, 5e-3) is found


@pytest.mark.parametrize(("decay", "found"), [(0.5, ["weights_decayed.outpulled"]), (1e-4, [])])
def test_decay_that_outpulls_the_gradient_is_told_of_a_watched_run_without_a_check(decay: float, found: list[str]) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=decay)
    monitor = Monitor(model, optimizer, every=20)
    train(monitor, model, optimizer, F.cross_entropy, rows(), 5)
    assert [f.code for f in monitor.diagnose().findings] == found


class Ratings(nn.Module):
    """Products of two tables that begin near zero, beside biases that begin at zero and learn under a usual decay."""

    def __init__(self) -> None:
        super().__init__()
        self.reader, self.book, self.bias = nn.Embedding(40, 4), nn.Embedding(30, 4), nn.Embedding(40, 1)
        for table in (self.reader, self.book):
            nn.init.normal_(table.weight, std=0.1)
        nn.init.zeros_(self.bias.weight)

    def forward(self, pair: Tensor) -> Tensor:
        reader, book = pair[:, 0], pair[:, 1]
        return self.bias(reader).squeeze(1) + (self.reader(reader) * self.book(book)).sum(dim=1)


@pytest.mark.parametrize(("decay", "found"), [(0.02, ["weights_decayed"]), (1e-5, [])])
def test_tables_that_decay_has_emptied_are_not_said_to_have_begun_at_zero(decay: float, found: list[str]) -> None:
    rng = torch.Generator().manual_seed(0)
    pairs = torch.stack([torch.randint(40, (2000,), generator=rng), torch.randint(30, (2000,), generator=rng)], dim=1)
    a, b = torch.randn(40, 4, generator=rng), torch.randn(30, 4, generator=rng)
    stars = (0.2 * a[pairs[:, 0], 0] + 0.15 * (a[pairs[:, 0]] * b[pairs[:, 1]]).sum(dim=1)).float()
    torch.manual_seed(0)
    model = Ratings()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=decay)
    monitor = Monitor(model, optimizer, every=10, asks_step=False)
    train(monitor, model, optimizer, F.mse_loss, (pairs, stars), 12)
    assert [f.code for f in monitor.diagnose().findings if f.severity != "hint"] == found


@pytest.mark.parametrize(("decay", "found"), [(1.0, ["weights_decayed.outpulled"]), (1e-3, [])])
def test_decay_that_turns_a_loss_which_fell_at_first(decay: float, found: list[str]) -> None:
    rng = torch.Generator().manual_seed(0)
    x = 8 * torch.rand(1024, 32, generator=rng)
    y = (x[:, :10] + 0.5 * x[:, 10:20]).argmax(dim=1)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=decay)
    before = check(model, batches(x, y), F.cross_entropy, optimizer, rehearse_seconds=60.0)
    assert [f.code for f in before.findings if f.severity != "hint"] == found
