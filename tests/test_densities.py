"""Flows that return a log-likelihood, with the volume's logarithm added up inside; and losses of squares that are none."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from rule_examples import fact
from torch import Tensor, nn

from trainability.doctor import diagnose
from trainability.doctor.measure.certain import facts_of
from trainability.doctor.measure.kept_numbers import is_normal

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0)) @ torch.randn(
    4, 4, generator=torch.Generator().manual_seed(1)
)
MORE = torch.randn(1000, 4, generator=torch.Generator().manual_seed(2)) @ torch.randn(
    4, 4, generator=torch.Generator().manual_seed(1)
)
LIKELIHOOD = torch.distributions.Normal(0.0, 1.0)


class Flow(nn.Module):
    """Affine couplings, the identity at their start."""

    def __init__(self, sign: float, base: str = "squares", *, fixed: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.sign, self.base, self.fixed = sign, base, fixed
        self.steps = nn.ModuleList(nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 4)) for _ in range(4))
        self.sizes = nn.Parameter(torch.zeros(4))
        for step in self.steps:
            nn.init.zeros_(step[2].weight)  # type: ignore[index, arg-type]
            nn.init.zeros_(step[2].bias)  # type: ignore[index, arg-type]

    def to_base(self, x: Tensor) -> tuple[Tensor, Tensor]:
        volume = self.sizes.sum() + x.new_zeros(len(x))
        x = x * self.sizes.exp()
        for step in self.steps if not self.fixed else ():
            size, shift = step(x[:, :2]).chunk(2, dim=1)
            x = torch.cat([(x[:, 2:] - shift) * (-size).exp(), x[:, :2]], dim=1)
            volume = volume - size.sum(dim=1)
        return x, self.sign * volume

    def forward(self, x: Tensor) -> Tensor:
        z, volume = self.to_base(x)
        if self.base == "squares":
            return -0.5 * (z**2 + 1.8378770664).sum(dim=-1) + volume
        return LIKELIHOOD.log_prob(z).sum(dim=-1) + volume


@pytest.mark.parametrize("base", ["squares", "distribution"])
@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("share", [1.0, 0.25])
def test_a_log_likelihood_with_the_volume_of_the_other_direction(base: str, fixed: bool, share: float) -> None:
    def step(model: Any, batch: Any) -> Tensor:
        return -share * model(batch).mean()

    for sign in (1.0, -1.0):
        facts = facts_of(Flow(sign, base, fixed=fixed), X, training_step=step)
        assert facts.notes == ()
        assert facts.volume_turned is (sign < 0)
    (found,) = diagnose(fact(volume_turned=True)).findings
    assert found.code == "wrong_sign.volume"


class Masked(nn.Module):
    """Couplings by masks, with a fixed scale before them; returns log-likelihoods, or points and volumes."""

    def __init__(self, *, alternates: bool, whole: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        mask = torch.tensor([1.0, 0.0, 1.0, 0.0])
        self.masks = [1 - mask if alternates and k % 2 else mask for k in range(4)]
        self.steps, self.whole = nn.ModuleList(net(8) for _ in self.masks), whole

    def forward(self, x: Tensor) -> Any:
        x, volume = 0.5 * x, x.new_zeros(len(x))
        for mask, step in zip(self.masks, self.steps, strict=True):
            size, shift = ((1 - mask) * part for part in step(mask * x).chunk(2, dim=1))
            x, volume = x * size.exp() + shift, volume + size.sum(dim=1)
        return LIKELIHOOD.log_prob(x).sum(dim=1) + volume if self.whole else (x, volume)


def of_points(model: Any, batch: Any) -> Tensor:
    z, volume = model(batch)
    return (0.5 * z.square().sum(dim=1) - volume).mean()


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("alternates", [True, False])
def test_couplings_that_all_keep_the_same_half(alternates: bool, whole: bool) -> None:
    step = (lambda model, batch: -model(batch).mean()) if whole else of_points
    facts = facts_of(Masked(alternates=alternates, whole=whole), X, training_step=step, batches=[X, MORE])
    assert facts.kept_by_flow == (None if alternates else (2, 4))
    assert not facts.volume_turned
    assert [f.code for f in diagnose(fact(kept_by_flow=facts.kept_by_flow)).findings] == (
        [] if alternates else ["capped_loss.kept"]
    )


class Halves(nn.Module):
    """Couplings that all keep the first half, each a module."""

    def __init__(self, num_couplings: int) -> None:
        super().__init__()
        self.couplings = nn.ModuleList(Coupling() for _ in range(num_couplings))

    def forward(self, x: Tensor) -> Any:
        volume = x.new_zeros(len(x))
        for coupling in self.couplings:
            x, more = coupling(x)
            volume = volume + more
        return x, volume


class Coupling(nn.Module):
    """A net for sizes and one for shifts."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.size, self.shift = (nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2)) for _ in range(2))

    def forward(self, x: Tensor) -> Any:
        size = self.size(x[:, :2])
        return torch.cat([x[:, :2], x[:, 2:] * size.exp() + self.shift(x[:, :2])], dim=1), size.sum(dim=1)


class Columns(nn.Module):
    """Skewed columns are made normal, each by itself; the others are normal."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> Any:
        u = x[:, 2:] * self.a.exp()
        volume = (self.a - 0.5 * torch.log1p(u**2)).sum(dim=1)
        return torch.cat([x[:, :2], torch.asinh(u) + self.b], dim=1), volume


class Deviations(nn.Module):
    """Means of two targets, and the deviation of one; the other's is known."""

    def __init__(self, *, by_input: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.mean = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2))
        self.deviation = nn.Linear(4, 1) if by_input else nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Any:
        own = self.deviation(x) if isinstance(self.deviation, nn.Linear) else self.deviation.expand(len(x), 1)
        return self.mean(x), torch.cat([torch.full((len(x), 1), -1.0), own], dim=1)


def of_targets(model: Any, batch: Any) -> Tensor:
    mean, log_deviation = model(batch[0])
    z = (batch[1] - mean) * (-log_deviation).exp()
    return (0.5 * z.square().sum(dim=1) + log_deviation.sum(dim=1)).mean()


NORMAL = torch.randn(1000, 4, generator=torch.Generator().manual_seed(2))
CURVED = torch.cat([NORMAL[:, :2], NORMAL[:, 2:] + NORMAL[:, :2] ** 2], dim=1)
TWO_MOONS = torch.stack([NORMAL[:, 0].sign() + 0.2 * NORMAL[:, 1], NORMAL[:, 1], NORMAL[:, 2], NORMAL[:, 3]], dim=1)


@pytest.mark.parametrize(
    ("model", "data", "kept"),
    [
        (lambda: Halves(4), TWO_MOONS, (2, 4)),
        (lambda: Halves(2), 2 * CURVED, (2, 4)),
        (lambda: Halves(1), TWO_MOONS, None),  # there is no other to change places
        (lambda: Halves(4), CURVED, None),  # what is kept is what it should become
        (Columns, torch.cat([NORMAL[:, :2], NORMAL[:, 2:].sinh()], dim=1), None),
        (Columns, 2 * NORMAL, None),  # no coupling
    ],
)
def test_what_is_kept_is_of_several_couplings_and_not_yet_normal(model: Any, data: Tensor, kept: Any) -> None:
    facts = facts_of(model(), data[:64], training_step=of_points, batches=data.split(100))
    assert facts.notes == ()
    assert facts.kept_by_flow == kept


@pytest.mark.parametrize("by_input", [True, False])
def test_a_likelihood_of_targets_with_a_known_deviation_keeps_nothing(by_input: bool) -> None:
    batches = [(x, x[:, :2]) for x in CURVED.split(100)]
    facts = facts_of(Deviations(by_input=by_input), batches[0], training_step=of_targets, batches=batches)
    assert facts.notes == ()
    assert facts.kept_by_flow is None


def test_moments_tell_what_is_not_normal() -> None:
    uniform = 12**0.5 * (torch.rand(1000, 1, generator=torch.Generator().manual_seed(3)) - 0.5)
    around = torch.cat([NORMAL[:, :1], (NORMAL[:, :1] ** 2 - 1) / 2**0.5], dim=1)
    assert is_normal(NORMAL)
    assert not any(map(is_normal, (uniform, around, NORMAL + 0.3, 1.3 * NORMAL, NORMAL[:, [0, 0]])))


def net(outputs: int = 4) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, outputs))


def by_score(model: Any, batch: Any) -> Tensor:
    """Hyvärinen's: half the squared score, and the trace of its Jacobian."""
    x = batch.clone().requires_grad_()
    score = model(x)
    traces = [torch.autograd.grad(score[:, k].sum(), x, create_graph=True)[0][:, k] for k in range(4)]
    return (0.5 * score.square().sum(dim=1) + torch.stack(traces).sum(dim=0)).mean()


def of_code(model: Any, batch: Any) -> Tensor:
    mean, log_variance = model(batch).chunk(2, dim=1)
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(dim=1).mean()


def far_from_zero(model: Any, batch: Any) -> Tensor:
    return 0.5 * model(batch).square().sum(dim=1).mean()


def of_a_target(model: Any, batch: Any) -> Tensor:
    """A target distribution that a flow is to draw from: the entropy of what is made is minus the volume."""
    made, volume = model.to_base(batch)
    return (0.5 * made.square().sum(dim=1) - volume).mean()


SOUND: dict[str, tuple[Callable[[Any, Any], Tensor], Callable[[], nn.Module]]] = {
    "a score": (by_score, net),
    "a code": (of_code, lambda: net(8)),
    "distances from zero": (far_from_zero, net),
    "a rebuilt input": (lambda m, b: (m(b) - b).square().sum(dim=1).mean(), net),
    "a flow that draws": (of_a_target, lambda: Flow(1.0)),
}


@pytest.mark.parametrize("name", SOUND)
def test_other_squares_are_no_likelihoods(name: str) -> None:
    step, model = SOUND[name]
    facts = facts_of(model(), X, training_step=step)
    assert not any("flow" in note for note in facts.notes)
    assert not facts.volume_turned
    assert facts.kept_by_flow is None
