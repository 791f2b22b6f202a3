"""Statistics that a module of the user's keeps for evaluation, written in training or not, and what only looks like them."""

from typing import Any

import pytest
import torch
from small_programs import batches
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import check

UNWRITTEN = "evaluation_path.never_written"


class Normed(nn.Module):
    """Batch norm by hand; its statistics are buffers or plain attributes."""

    def __init__(self, width: int, *, written: bool, as_buffers: bool) -> None:
        super().__init__()
        self.scale, self.shift, self.written = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width)), written
        for name, value in (("mean", torch.zeros(width)), ("var", torch.ones(width))):
            if as_buffers:
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        mean, var = (x.mean(0), x.var(0)) if self.training else (self.mean, self.var)
        if self.training and self.written:
            self.mean = self.mean.lerp(mean.detach(), 0.3)
            self.var = self.var.lerp(var.detach(), 0.3)
        return self.scale * (x - mean) / (var + 1e-5).sqrt() + self.shift


class Forced(nn.Module):
    """A cell that is shown the last target in training, and its own answer in evaluation; `places` is read in both."""

    places: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(21, 32), nn.Linear(32, 1)
        self.register_buffer("places", torch.linspace(0, 1, 21))

    def forward(self, x: Tensor) -> Tensor:
        shown = x[:, :1] if self.training else torch.zeros_like(x[:, :1])
        return self.head(torch.relu(self.body(torch.cat([x, shown], dim=1) + self.places)))


def rows() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(512, 20, generator=rng)
    return x, (3 * x[:, 0] + x[:, 1] > 0).long()


def said(model: nn.Module, loss_fn: Any, y: Tensor) -> list[str]:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    found = check(model, batches(rows()[0], y), loss_fn, optimizer, rehearse_seconds=60.0).findings
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())
    return [f.code for f in found]


@pytest.mark.parametrize("as_buffers", [True, False])
@pytest.mark.parametrize("written", [True, False])
def test_batch_norm_by_hand(*, written: bool, as_buffers: bool) -> None:
    torch.manual_seed(0)
    norms = [Normed(32, written=written, as_buffers=as_buffers) for _ in range(2)]
    first = nn.Linear(20, 32)
    nn.init.constant_(first.bias, 4.0)  # so that initial statistics fit nothing
    model = nn.Sequential(first, norms[0], nn.ReLU(), nn.Linear(32, 32), norms[1], nn.ReLU(), nn.Linear(32, 2))
    before = [n.mean.clone() for n in norms]
    assert (UNWRITTEN in said(model, F.cross_entropy, rows()[1])) is not written
    assert all(torch.equal(n.mean, b) for n, b in zip(norms, before, strict=True))


def test_what_differs_between_the_modes_by_other_means_is_no_statistic() -> None:
    torch.manual_seed(0)
    y = 5 * rows()[0][:, :1]
    assert UNWRITTEN not in said(Forced(), F.mse_loss, y)
