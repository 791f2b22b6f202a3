"""Codes drawn with another deviation than the divergence holds, beside the same number in each of its forms."""

from collections.abc import Callable

import pytest
import torch
from small_programs import digits
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from trainability import check
from trainability.doctor.measure.code_spread import code_spread
from trainability.doctor.readings import CodeSpread

Form = Callable[[Tensor], Tensor]
Divergence = Callable[[Tensor, Tensor], Tensor]

X = (digits()[0].flatten(1)[:256] + 1).clamp(0, 3) / 3
FORMS: dict[str, tuple[Form, Divergence]] = {
    "log variance": (lambda x: (0.5 * x).exp(), lambda m, x: -0.5 * (1 + x - m**2 - x.exp())),
    "log deviation": (lambda x: x.exp(), lambda m, x: 0.5 * ((2 * x).exp() + m**2 - 1) - x),
    "softplus": (lambda x: F.softplus(x) + 1e-4, lambda m, x: kl_divergence(Normal(m, F.softplus(x) + 1e-4), Normal(0.0, 1.0))),
    "bounded": (lambda x: (0.5 * x.clamp(-6, 6)).exp(), lambda m, x: -0.5 * (1 + x.clamp(-6, 6) - m**2 - x.clamp(-6, 6).exp())),
    "a small weight": (lambda x: (0.5 * x).exp(), lambda m, x: -0.005 * (1 + x - m**2 - x.exp())),
}


class Coder(nn.Module):
    def __init__(self, form: Form, *, of_torch: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inside, self.outside = nn.Linear(64, 32), nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 64))
        self.heads, self.form, self.of_torch = nn.Linear(32, 8), form, of_torch

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, other = self.heads(self.inside(x).relu()).chunk(2, dim=1)
        deviation = self.form(other)
        code = Normal(mean, deviation).rsample() if self.of_torch else mean + torch.randn_like(mean) * deviation
        return self.outside(code), mean, other


def asked(form: Form, divergence: Divergence, *, of_torch: bool = False) -> CodeSpread | None:
    def forward(model: nn.Module, batch: tuple[Tensor]) -> Tensor:
        output, mean, other = model(batch[0])
        return F.mse_loss(output, batch[0], reduction="sum") / len(output) + divergence(mean, other).sum(1).mean()

    torch.manual_seed(0)
    return code_spread(Coder(form, of_torch=of_torch), (X[:64],), forward)


@pytest.mark.parametrize("of_torch", [False, True])
@pytest.mark.parametrize("name", FORMS)
def test_one_deviation_in_both_places(name: str, of_torch: bool) -> None:
    assert asked(*FORMS[name], of_torch=of_torch) is None


@pytest.mark.parametrize(
    ("drawn", "taken_for", "least", "most"),
    [
        (lambda x: x, "log variance", 0.0, 0.3),
        (lambda x: x.clamp_min(1e-3).sqrt(), "log variance", 0.0, 0.7),
        (lambda x: x.exp(), "log variance", 0.8, 1.3),
        (lambda x: (0.5 * x).exp(), "log deviation", 0.8, 1.3),
        (lambda x: x, "log deviation", 0.0, 0.3),
    ],
)
def test_another_deviation_than_that_of_the_divergence(drawn: Form, taken_for: str, least: float, most: float) -> None:
    found = asked(drawn, FORMS[taken_for][1])
    assert found is not None
    assert found.taken_for == taken_for
    assert least <= found.ratio <= most


def test_a_divergence_of_the_mean_alone() -> None:
    found = asked(FORMS["log variance"][0], lambda m, x: -0.5 * (1 + x - m**2 - x))
    assert found == CodeSpread(taken_for="", ratio=0.0)


@pytest.mark.parametrize(
    "divergence",
    [
        lambda m, x: 0 * m,  # the start of a warm-up
        lambda m, x: (-0.5 * (1 + x - m**2 - x.exp())).clamp(min=0.5),  # free bits
        lambda m, x: kl_divergence(Normal(m, (0.5 * x).exp()), Normal(0.0, 2.0)),  # another prior
        lambda m, x: (m.mean(0, keepdim=True) ** 2).expand_as(m),
    ],
)
def test_other_terms_are_left_alone(divergence: Divergence) -> None:
    assert asked(FORMS["log variance"][0], divergence) is None


@pytest.mark.parametrize(("form", "severity"), [(lambda x: x, "warning"), (lambda x: x.exp(), "hint")])
def test_check_says_so(form: Form, severity: str) -> None:
    model = Coder(form)

    def training_step(model: nn.Module, batch: list[Tensor]) -> Tensor:
        output, mean, other = model(batch[0])
        divergence = FORMS["log variance"][1](mean, other)
        return F.mse_loss(output, batch[0], reduction="sum") / len(output) + divergence.sum(1).mean()

    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X), batch_size=32, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    found = check(model, loader, training_step=training_step, optimizer=optimizer, rehearse_seconds=1).findings
    assert [f.severity for f in found if f.code == "wrong_sign.spread"] == [severity]
