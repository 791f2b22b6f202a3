"""Input that the loader scaled, and that the model scales again."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from trainability import check
from trainability.doctor.measure.shrunk_input import shrunk_input

RNG = torch.Generator().manual_seed(0)
IMAGES = torch.rand(256, 1, 8, 8, generator=RNG)
TARGETS = 4 * (IMAGES[:, 0, :4].mean(dim=(1, 2)) - IMAGES[:, 0, 4:].mean(dim=(1, 2)))[:, None]


@pytest.mark.parametrize(
    ("change", "factor"),
    [
        (lambda x: x / 255, 1 / 255),
        (lambda x: x / 255 - 0.5, 1 / 255),
        (lambda x: x.flatten(1) * 1e-3, 1e-3),
        (lambda x: x / 64, None),  # as of 64 dimensions
        (lambda x: x - 0.5, None),  # of a usual size
        (lambda x: 0.01 * torch.randn_like(x), None),  # made of something else
        (lambda x: 0.01 * x.square(), None),
        (lambda x: torch.zeros_like(x), None),
        (lambda x: x[:, :, :4] / 255, None),
    ],
)
def test_what_a_layer_is_given_against_the_batch(change: Any, factor: float | None) -> None:
    found = shrunk_input("first", change(IMAGES), [("[0]", IMAGES), ("[1]", TARGETS)])
    assert (found is not None and found.factor == pytest.approx(factor)) if factor is not None else found is None


class Net(nn.Module):
    def __init__(self, factor: float, *, norm: bool = False) -> None:
        super().__init__()
        self.factor = factor
        middle = nn.BatchNorm1d(32) if norm else nn.Identity()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), middle, nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x * self.factor)


@pytest.mark.parametrize(
    ("factor", "norm", "scale", "expected"),
    [(1 / 255, False, 1.0, ["warning"]), (1 / 255, True, 1.0, ["hint"]), (1.0, False, 1.0, []), (1 / 255, False, 255.0, [])],
)
def test_a_model_that_divides_by_255(factor: float, norm: bool, scale: float, expected: list[str]) -> None:
    torch.manual_seed(0)
    model = Net(factor, norm=norm)
    loader = DataLoader(TensorDataset(scale * IMAGES, TARGETS), 32, shuffle=True)
    found = check(model, loader, nn.MSELoss(), torch.optim.SGD(model.parameters(), 0.01), rehearse_seconds=5.0)
    assert [f.severity for f in found.findings if f.code == "input_scale.twice"] == expected
