"""Terms of a loss whose targets are outside the range of what makes the outputs, beside terms that are met."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor.evidence import Evidence
from trainability.doctor.measure.beyond_range import cut, share
from trainability.doctor.measure.certain import facts_of
from trainability.doctor.measure.told_targets import told_constants, told_fields
from trainability.doctor.rules.verdict import diagnose

RNG = torch.Generator().manual_seed(0)
X, PLACES, SIZES = torch.randn(64, 6, generator=RNG), torch.rand(64, 2, generator=RNG), torch.randn(64, 2, generator=RNG)
Bound = Callable[[Tensor], Tensor]


class Boxes(nn.Module):
    """Places and sizes, each with a function of its own, in one tensor."""

    def __init__(self, of_places: Bound, of_sizes: Bound) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head, self.of_places, self.of_sizes = nn.Linear(6, 4), of_places, of_sizes

    def forward(self, x: Tensor) -> Tensor:
        made = self.head(x)
        return torch.cat([self.of_places(made[:, :2]), self.of_sizes(made[:, 2:])], dim=1)


def loss(distance: Any = F.mse_loss, sizes: Tensor = SIZES) -> Any:
    def step(model: Any, batch: Any) -> Tensor:
        made = model(batch[0])
        return 2 * F.mse_loss(made[:, :2], batch[1]) + distance(made[:, 2:], sizes)

    return step


def all_in_one(model: Any, batch: Any) -> Tensor:
    made = torch.cat([part.sigmoid() for part in model(batch[0]).split(2, dim=1)], dim=1)
    return F.binary_cross_entropy(made[:, :2], batch[1]) + F.huber_loss(made[torch.arange(64), 2:], SIZES)


def one_distance(sizes: Tensor) -> Any:
    def step(model: Any, batch: Any) -> Tensor:
        return F.mse_loss(model(batch[0]), torch.cat([batch[1], sizes], dim=1))

    return step


def itself(x: Tensor) -> Tensor:
    return x


CASES: dict[str, tuple[nn.Module, Any, str | None]] = {
    "sigmoid, everywhere": (Boxes(itself, itself), all_in_one, "sigmoid"),
    "tanh": (Boxes(torch.tanh, torch.tanh), loss(F.huber_loss, 3 * SIZES), "tanh"),
    "relu": (Boxes(torch.relu, torch.relu), loss(F.smooth_l1_loss), "relu"),
    "one distance for all": (Boxes(torch.sigmoid, torch.sigmoid), one_distance(SIZES.abs() - 0.5), "sigmoid"),
    "one distance, nearly all in range": (
        Boxes(torch.sigmoid, torch.sigmoid),
        one_distance((SIZES.abs() - SIZES.abs().quantile(0.1)).clamp(max=1)),
        None,
    ),
    "sigmoid of places alone": (Boxes(torch.sigmoid, itself), loss(), None),
    "nearly all in range": (Boxes(torch.tanh, torch.tanh), loss(sizes=SIZES * 0.5), None),
    "exponential": (Boxes(torch.exp, torch.exp), loss(sizes=SIZES.exp()), None),
}


@pytest.mark.parametrize("name", CASES)
def test_a_term_is_compared_with_its_own_range(name: str) -> None:
    model, step, made = CASES[name]
    facts = facts_of(model, (X, PLACES), training_step=step)
    assert facts.graph is not None
    found = facts.graph.bounded_term
    assert (found[1] if found is not None else None) == made
    codes = [f.code for f in diagnose(Evidence(facts=facts)).findings if f.severity != "hint"]
    assert codes == ([f"unreachable_target.{made}"] if made else [])


class Bounded(nn.Module):
    """All outputs from one function."""

    def __init__(self, bound: Bound, columns: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head, self.bound = nn.Linear(6, columns), bound

    def forward(self, x: Tensor) -> Tensor:
        return self.bound(self.head(x))


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def where_known(distance: Any) -> Any:
    def step(model: Any, batch: Any) -> Tensor:
        known = (batch[1] >= 0).float()
        return (distance(model(batch[0]), batch[1], reduction="none") * known).sum() / known.sum()

    return step


def by_hand(output: Tensor, target: Tensor, reduction: str) -> Tensor:
    return -(target * torch.log(output + 1e-6) + (1 - target) * torch.log(1 - output + 1e-6))


def everywhere(model: Any, batch: Any) -> Tensor:
    return F.mse_loss(model(batch[0]), batch[1])


def beside_another(distance: Any = F.mse_loss) -> Any:
    """The first two columns have a distance of their own."""

    def step(model: Any, batch: Any) -> Tensor:
        made = model(batch[0])
        return distance(made[:, :2], batch[1][:, :2]) + F.mse_loss(made[:, 2:], batch[1][:, 2:])

    return step


MARKS = (X[:, :2] > 0).float()
MISSING = torch.where(normal(64, 2) > 0.3, -1.0, MARKS)
SHARES = torch.sigmoid(2 * X[:, :2])
TURNS = 0.3 * X[:, :1]
HEADINGS = torch.cat([TURNS.cos(), TURNS.sin()], dim=1) + 0.05 * normal(64, 2)
PICTURES = (F.interpolate(normal(64, 1, 4, 4), scale_factor=3, mode="bilinear") > 0.5).float().flatten(1)
NOISY = PICTURES + 0.2 * normal(64, 144)
LOGITS = F.binary_cross_entropy_with_logits

SOUND: dict[str, tuple[Bound, Any, Tensor]] = {
    "a mark that was scaled and scaled back": (torch.sigmoid, everywhere, MARKS * (1 + 2.0**-23)),
    "missing values, masked": (torch.sigmoid, where_known(F.mse_loss), torch.where(MISSING < 0, MISSING, SHARES)),
    "missing values under another distance": (torch.sigmoid, where_known(F.smooth_l1_loss), MISSING),
    "missing marks, masked": (itself, where_known(LOGITS), MISSING),
    "missing marks under a formula": (torch.sigmoid, where_known(by_hand), MISSING),
    "noise of headings": (torch.tanh, everywhere, HEADINGS),
    "noise of shares, many of them 0": (torch.sigmoid, everywhere, X[:, :2].tanh().relu() + 0.01 * normal(64, 2)),
    "noise of fluxes, beside other terms": (
        F.softplus,
        beside_another(F.huber_loss),
        3 * X[:, :4].relu() + 0.05 * normal(64, 4),
    ),
    "noise of pictures": (torch.sigmoid, everywhere, NOISY.view(64, 1, 12, 12)),
    "noise of pictures in rows": (torch.sigmoid, everywhere, NOISY),
}
FAULTY: dict[str, tuple[Bound, Any, Tensor, str]] = {
    "labels of -1 and 1": (torch.sigmoid, everywhere, X[:, :1].sign(), "sigmoid"),
    "one of many columns": (torch.sigmoid, everywhere, torch.cat([SHARES.repeat(1, 8), X[:, 2:3]], dim=1), "sigmoid"),
    "standardised": (torch.sigmoid, everywhere, normal(64, 1), "sigmoid"),
    "small numbers of both signs": (torch.sigmoid, everywhere, 0.02 * normal(64, 1), "sigmoid"),
    "negative under a ReLU": (torch.relu, everywhere, normal(64, 2), "relu"),
    "negative beside missing values": (torch.sigmoid, where_known(F.mse_loss), 1 + normal(64, 1), "sigmoid"),
    "a softplus beside other terms": (F.softplus, beside_another(), normal(64, 4), "softplus"),
    "marks of -1 and 1": (itself, lambda model, batch: LOGITS(model(batch[0]), batch[1]), X[:, :1].sign(), "binary"),
    "marks of -1 and 1 under a formula": (
        torch.sigmoid,
        lambda model, batch: by_hand(model(batch[0]), batch[1], "none").mean(),
        X[:, :1].sign(),
        "binary",
    ),
}


def found_of(bound: Bound, step: Any, targets: Tensor) -> dict[str | None, str]:
    model: nn.Module = Bounded(bound, targets[0].numel())
    model = nn.Sequential(model, nn.Unflatten(1, targets.shape[1:])) if targets.dim() > 2 else model
    facts = facts_of(model, (X, targets), training_step=step)
    findings = diagnose(Evidence(facts=facts)).findings
    return {f.code: f.severity for f in findings if f.rule == "unreachable_target"}


@pytest.mark.parametrize("name", SOUND)
def test_targets_that_are_out_of_range_by_rounding_or_noise_or_where_nothing_reads_them(name: str) -> None:
    assert set(found_of(*SOUND[name]).values()) <= {"hint"}


@pytest.mark.parametrize("name", FAULTY)
def test_targets_out_of_range(name: str) -> None:
    bound, step, targets, made = FAULTY[name]
    found = found_of(bound, step, targets)
    assert found.get(f"unreachable_target.{made}") in ("error", "warning")


def test_what_clipping_costs() -> None:
    targets = torch.tensor([-1.0, 1.0]).repeat(16)
    assert cut(targets, 0.0, 1.0) == pytest.approx(0.5)  # 1 of half of them, over a variance of 1
    table = torch.stack([targets, 0.1 * targets], dim=1)
    assert cut(table[:, 1:], 0.0, 1.0) == pytest.approx(0.5)
    assert cut(table[:, 1:] + 0.1, 0.0, 1.0) == 0.0
    assert cut(table, 0.0, 1.0, targets[:, None] > torch.tensor([0.0, -2.0])) == pytest.approx(0.5)  # the second's own
    assert cut(torch.full((32,), -2.0), 0.0, 1.0) == pytest.approx(1.0)
    assert share(torch.tensor([-1.0, torch.nan, 1.0 + 2e-7, 0.5]), 0.0, 1.0) == pytest.approx(1 / 3)


@pytest.mark.parametrize(("targets", "is_noise"), [(normal(64, 2), False), (MARKS + 0.2 * normal(64, 2), True)])
def test_what_a_gradient_tells_of_targets_out_of_range(targets: Tensor, is_noise: bool) -> None:
    output = torch.full((64, 2), 0.5, requires_grad=True)
    loss = F.mse_loss(output, targets)
    loss.backward()
    assert output.grad is not None
    told = told_fields(told_constants(output, output.grad, loss.detach()).tolist())
    assert told["cut_at_zero"] == pytest.approx(float(cut(targets, 0.0, torch.inf)), rel=1e-3)
    assert told["cut_to_unit"] == pytest.approx(float(cut(targets, 0.0, 1.0)), rel=1e-3)
    assert (told["cut_to_unit"] < 0.15) == is_noise
