"""One batch norm in several places of a pass: how far off its statistics are, in closed form; two passes are no case."""

import pytest
import torch
from torch import Tensor, nn

from trainability.doctor.measure.running import shared_statistics


class Places(nn.Module):
    """One batch norm, called on what it is given times each factor."""

    def __init__(self, *factors: float) -> None:
        super().__init__()
        self.norm, self.factors = nn.BatchNorm1d(4), factors

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.norm(factor * x) for factor in self.factors])


def asked(*factors: float) -> tuple[str, int, float, str] | None:
    x = torch.randn(256, 4, generator=torch.Generator().manual_seed(0))
    return shared_statistics(Places(*factors), x - x.mean(dim=0), lambda model, batch: model(batch).sum())


@pytest.mark.parametrize(("factors", "off"), [((1.0, 3.0), 5.0), ((1.0, 1.0), 1.0), ((1.0, 2.0, 2.0), 3.0)])
def test_how_far_off_shared_statistics_are(factors: tuple[float, ...], off: float) -> None:
    found = asked(*factors)  # variances a and b share (a + b) / 2: of 1 and 9, 5, so that the first comes out at 1 / 5
    assert found is not None
    assert found[:2] == ("norm", len(factors))
    assert found[2] == pytest.approx(off, rel=1e-3)


def test_one_call_in_a_pass_shares_nothing() -> None:
    assert asked(1.0) is None
    model = Places(1.0)
    assert shared_statistics(model, torch.randn(8, 4), lambda m, x: (m(x) + m(3 * x)).sum()) is None  # two passes


class Ghosts(nn.Module):
    """One batch norm for parts of the batch, at one place, or at a second one too."""

    def __init__(self, *factors: float) -> None:
        super().__init__()
        self.norm, self.factors = nn.BatchNorm1d(4), factors

    def forward(self, x: Tensor) -> Tensor:
        parts = [torch.cat([self.norm(part) for part in (factor * x).split(32)]) for factor in self.factors]
        return torch.stack(parts)


def test_parts_of_a_batch_are_one_place() -> None:
    x = torch.randn(128, 4, generator=torch.Generator().manual_seed(0)) + torch.arange(128)[:, None] / 16
    assert shared_statistics(Ghosts(1.0), x, lambda model, batch: model(batch).sum()) is None
    found = shared_statistics(Ghosts(1.0, 3.0), x, lambda model, batch: model(batch).sum())
    assert found is not None
    assert found[:2] == ("norm", 2)
    assert found[3] == "BatchNorm1d"


def test_halves_of_the_channels_are_two_places() -> None:
    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(4)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(x[:, :4]) + self.norm(x[:, 4:])

    x = torch.randn(64, 8, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 3.0]).repeat_interleave(4)
    found = shared_statistics(Halves(), x, lambda model, batch: model(batch).sum())
    assert found is not None
    assert found[1] == 2
