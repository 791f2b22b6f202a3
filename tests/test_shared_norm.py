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


def asked(*factors: float) -> tuple[str, int, float] | None:
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
