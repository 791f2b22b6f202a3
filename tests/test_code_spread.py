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


HALF: Form = FORMS["log variance"][0]
RIGHT: Divergence = FORMS["log variance"][1]


def of(model: Coder, divergence: Divergence, extra: Form | None = None) -> CodeSpread | None:
    def forward(model: nn.Module, batch: tuple[Tensor]) -> Tensor:
        output, mean, other = model(batch[0])
        cost = (
            F.mse_loss(output, torch.zeros_like(output), reduction="sum") / len(output) + divergence(mean, other).sum(1).mean()
        )
        return cost if extra is None else cost + extra(model.code)

    torch.manual_seed(0)
    return code_spread(model, (X[:64],), forward)


class Kept(Coder):
    """Keeps the code, scales the noise by more each time if it `warms`, and returns the code itself if it is `bare`."""

    def __init__(self, form: Form, *, start: float | None = None, warms: bool = False, bare: bool = False) -> None:
        super().__init__(form)
        self.warms, self.bare, self.count = warms, bare, 0
        if start is not None:
            nn.init.zeros_(self.heads.weight[4:])
            nn.init.constant_(self.heads.bias[4:], start)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, other = self.heads(self.inside(x).relu()).chunk(2, dim=1)
        self.count += 1
        deviation = 0.01 * self.count * self.form(other) if self.warms else self.form(other)
        self.code = mean + torch.randn_like(mean) * deviation
        return self.code if self.bare else self.outside(self.code), mean, other


@pytest.mark.parametrize(
    ("form", "divergence", "start", "taken_for"),
    [
        (HALF, RIGHT, 0.0, None),
        (torch.exp, FORMS["log deviation"][1], 0.0, None),
        (F.softplus, lambda m, x: kl_divergence(Normal(m, F.softplus(x)), Normal(0.0, 1.0)), 0.5413248546, None),
        (HALF, lambda m, x: 0.5 * m**2 + 10 * (-1.4 - x).relu(), None, None),  # noise is held above a floor
        (HALF, lambda m, x: 0.5 * m**2, 0.0, ""),
        (torch.exp, RIGHT, 0.0, "log variance"),
        (torch.exp, RIGHT, -2.0, "log variance"),
    ],
)
def test_a_deviation_of_one_has_no_slope(
    form: Form, divergence: Divergence, start: float | None, taken_for: str | None
) -> None:
    found = of(Kept(form, start=start), divergence)
    assert (None if found is None else found.taken_for) == taken_for


@pytest.mark.parametrize("start", [None, 0.0, -2.0])
def test_noise_that_a_schedule_scales(start: float | None) -> None:
    assert of(Kept(HALF, start=start, warms=True), RIGHT) is None
    assert of(Kept(torch.exp, start=start, warms=True), RIGHT) is not None


@pytest.mark.parametrize(
    "extra", [lambda z: ((z.T @ z / len(z) - torch.eye(4)) ** 2).sum(), lambda z: torch.cdist(z, z + 1).mean()]
)
def test_noise_that_another_term_holds(extra: Form) -> None:
    assert of(Kept(HALF), lambda m, x: 0.5 * m**2, extra) is None
    assert of(Kept(torch.exp), RIGHT, extra) is not None


def test_a_code_that_no_layer_decodes() -> None:
    assert of(Kept(HALF, bare=True), lambda m, x: 0.5 * m**2) is None
    assert of(Kept(HALF), lambda m, x: 0.5 * m**2) == CodeSpread(taken_for="", ratio=0.0)


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
