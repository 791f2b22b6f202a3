"""Losses of yes and no that go by no answer to a no, beside those that keep a margin, count it for less, or rank."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import check
from trainability.doctor import Evidence, diagnose
from trainability.doctor.facts import Facts
from trainability.doctor.measure.facts import look
from trainability.doctor.readings import Readings

DRAWS = torch.Generator().manual_seed(0)
X = torch.randn(256, 6, generator=DRAWS)
Y = (X[:, 0] + 0.3 * torch.randn(256, generator=DRAWS) > 0).float()
Loss = Callable[[Tensor, Tensor], Tensor]


def chance(answer: Tensor) -> Tensor:
    return answer.sigmoid().clamp(1e-6, 1 - 1e-6)


def normalised(answer: Tensor, y: Tensor) -> Tensor:
    """A choice among the examples of the batch: those that are not chosen count in the sum."""
    return -(y * answer.log_softmax(0)).sum() / y.sum()


WRONG: dict[str, Loss] = {
    "exponential": lambda a, y: (-y * a).exp().mean(),
    "hinge": lambda a, y: (1 - y * a).clamp(min=0).mean(),
    "squared hinge": lambda a, y: (1 - y * a).relu().square().mean(),
    "logistic": lambda a, y: F.softplus(-y * a).mean(),
}
COSTS = {"hinge": 1.0, "squared hinge": 1.0, "logistic": math.log(2), "exponential": 1.0, "half of the cross-entropy": 0.0}
HALF: Loss = lambda a, y: -(y * chance(a).log()).mean()  # noqa: E731
SOUND: dict[str, Loss] = {
    "hinge of signs": lambda a, y: (1 - (2 * y - 1) * a).clamp(min=0).mean(),
    "cross-entropy": F.binary_cross_entropy_with_logits,
    "a margin for those that differ": lambda a, y: (y * a.square() + (1 - y) * (2 - a.abs()).relu().square()).mean(),
    "a tenth of the weight": lambda a, y: -(y * chance(a).log() + 0.1 * (1 - y) * (1 - chance(a)).log()).mean(),
    "among the batch": normalised,
    "focal": lambda a, y: (
        -(y * (1 - chance(a)) ** 2 * chance(a).log() + (1 - y) * chance(a) ** 2 * (-chance(a)).log1p())
    ).mean(),
    "of those that are 1": lambda a, y: F.softplus(-a[y > 0]).mean(),
    "over the number of those that are 1": lambda a, y: -(y * F.logsigmoid(a)).sum() / y.sum(),
    "rewards": lambda a, y: -(y * a).mean(),
    "rewards of a chance, beside another term": lambda a, y: 0.3 - (2 * y * a.sigmoid()).mean(),
    "a mask, beside another term": lambda a, y: 0.3 + (y * (a - 1).square()).sum() / y.sum().clamp(min=1),
}


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1), nn.Flatten(0))


@pytest.mark.parametrize("name", [*COSTS, *SOUND])
@pytest.mark.parametrize("kind", [torch.float32, torch.int64])
def test_a_target_of_zero_that_no_answer_goes_by(name: str, kind: torch.dtype) -> None:
    loss = {**WRONG, **SOUND, "half of the cross-entropy": HALF}[name]
    facts = look(model(), (X, Y.to(kind)), lambda model, batch: loss(model(batch[0]), batch[1].float()))
    assert facts.readings.unread_zeros == (pytest.approx(COSTS[name]) if name in COSTS else None), facts.notes


@pytest.mark.parametrize(("name", "cost"), [("half of the cross-entropy", None), ("hinge", 1.0)])
def test_what_else_is_in_the_batch_may_be_the_target(name: str, cost: float | None) -> None:
    """Actions of which only those with a reward are imitated; weights of a margin loss leave it one."""
    actions = (torch.rand(256, generator=DRAWS) < 0.5).float()

    def loss(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        x, action, y = batch
        if cost is None:
            return (y * F.binary_cross_entropy_with_logits(model(x), action, reduction="none")).mean()
        return ((0.5 + action) * (1 - y * model(x)).relu()).sum() / (0.5 + action).sum()

    found = look(model(), (X, actions, Y), loss).readings.unread_zeros
    assert found == (pytest.approx(cost) if cost is not None else None)


@pytest.mark.parametrize(("cost", "severity"), [(1.0, "error"), (0.0, "hint")])
def test_a_zero_that_costs_nothing_is_a_hint(cost: float, severity: str) -> None:
    found = diagnose(Evidence(facts=Facts(readings=Readings(unread_zeros=cost)))).findings
    assert [(f.code, f.severity) for f in found] == [("label_range.signs", severity)]


def test_a_hinge_of_zeros_comes_first() -> None:
    torch.manual_seed(0)
    net = model()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, Y), batch_size=64, shuffle=True)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    assert check(net, loader, WRONG["hinge"], optimizer, rehearse_seconds=1).findings[0].code == "label_range.signs"
