"""Learned weights of a loss's terms that cost nothing, and what looks like them and is sound."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from rule_examples import fact
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Monitor
from trainability.doctor import diagnose
from trainability.doctor.measure.certain import facts_of, facts_of_step

RNG = torch.Generator().manual_seed(0)
X = torch.randn(64, 6, generator=RNG)
Y = X[:, :1] * X[:, 1:2] + 0.3 * torch.randn(64, 1, generator=RNG)
BATCH = X, Y[:, 0], (X[:, 2] > 0).long()
Step = Callable[[Any, Any], Tensor]


class TwoTasks(nn.Module):
    def __init__(self, start: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Sequential(nn.Linear(6, 16), nn.Tanh())
        self.first, self.second = nn.Linear(16, 1), nn.Linear(16, 2)
        self.weights = nn.Parameter(torch.full((2,), start))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.trunk(x)
        return self.first(hidden)[:, 0], self.second(hidden)


def losses(model: Any, batch: Any) -> Tensor:
    value, classes = model(batch[0])
    return torch.stack([F.mse_loss(value, batch[1]), F.cross_entropy(classes, batch[2])])


def logarithms(cost: float) -> Step:
    return lambda m, b: (losses(m, b) * torch.exp(-m.weights) + cost * m.weights).sum()


def deviations(cost: float) -> Step:
    return lambda m, b: (losses(m, b) / (2 * m.weights.square()) + cost * m.weights.abs().log()).sum()


def chances(cost: float) -> Step:
    return lambda m, b: (m.weights.sigmoid() * losses(m, b) - cost * F.logsigmoid(m.weights)).sum()


def one_of_two(cost: float) -> Step:
    def step(model: Any, batch: Any) -> Tensor:
        terms = torch.exp(-model.weights) * losses(model, batch)
        return terms.sum() + model.weights[0] + cost * model.weights[1]

    return step


LEARNED = {
    "logarithms of variances": (logarithms, 0.0, ("weights", 1)),
    "deviations": (deviations, 1.0, ("weights", 1)),
    "between 0 and 1": (chances, 0.0, ("weights", -1)),
    "one of two": (one_of_two, 0.0, ("weights[1]", 1)),
}


@pytest.mark.parametrize("name", LEARNED)
def test_a_learned_weight_without_a_cost(name: str) -> None:
    make, start, told = LEARNED[name]
    wrong, right = (facts_of(TwoTasks(start), BATCH, training_step=make(cost)) for cost in (0.0, 0.5))
    assert wrong.notes == right.notes == ()
    assert wrong.switched_off == told
    assert right.switched_off is None
    assert [f.code for f in diagnose(fact(switched_off=told)).findings] == ["wrong_sign.switched_off"]


def test_the_weights_may_be_those_of_a_loss_that_the_step_holds() -> None:
    class Weighing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.s = nn.Parameter(torch.zeros(2))

        def forward(self, terms: Tensor, cost: float) -> Tensor:
            return (torch.exp(-self.s) * terms + cost * self.s).sum()

    weighing = Weighing()
    for cost, told in ((0.0, ("s", 1)), (0.5, None)):
        found = facts_of(TwoTasks(), BATCH, training_step=lambda m, b, cost=cost: weighing(losses(m, b), cost))
        assert found.switched_off == told
    assert not weighing.s.any()


class Gated(nn.Module):
    """Numbers of its own in the forward pass: a gate, a temperature."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net, self.more = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 2)), nn.Linear(6, 2)
        self.gate = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) + self.gate.sigmoid() * self.more(x)


def right_already() -> nn.Module:
    model = Gated()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(0.0 if p.dim() > 1 else 1.0)
        model.more.weight[1, 2], model.more.weight[0, 2] = 5.0, -5.0
    return model


SOUND: dict[str, tuple[Step, Callable[[], nn.Module]]] = {
    "a gate": (lambda m, b: F.mse_loss(m(b[0])[:, 0], b[1]), Gated),
    "a gate of a net that is right": (lambda m, b: F.cross_entropy(m(b[0]), b[2]), right_already),
    "a temperature": (lambda m, b: F.cross_entropy(m(b[0]) * m.gate.exp(), b[2]), right_already),
    "a margin": (lambda m, b: F.multi_margin_loss(m(b[0]) * m.gate.exp(), b[2]), right_already),
    "a price for the gate": (lambda m, b: F.mse_loss(m(b[0])[:, 0], b[1]) + 0.1 * m.gate.sigmoid().sum(), Gated),
    "a critic": (lambda m, b: ((m(b[0] + 1)[:, 0].mean() - m(b[0])[:, 0].mean()) * m.gate.exp()).sum(), Gated),
    "a critic, the other way": (lambda m, b: ((m(b[0])[:, 0].mean() - m(b[0] + 1)[:, 0].mean()) * m.gate.exp()).sum(), Gated),
    "a policy": (lambda m, b: -(m(b[0]).log_softmax(1)[:, 0] * b[1] * m.gate.exp()).mean(), Gated),
    "an entropy coefficient": (
        lambda m, b: (
            (F.cross_entropy(m(b[0]), b[2], reduction="none").detach() - 0.1).mean() * m.gate.exp().sum()
            + F.cross_entropy(m(b[0]), b[2])
        ),
        Gated,
    ),
}


@pytest.mark.parametrize("name", SOUND)
def test_other_numbers_are_left_alone(name: str) -> None:
    step, model = SOUND[name]
    facts = facts_of(model(), BATCH, training_step=step)
    assert facts.notes == ()
    assert facts.switched_off is None


def test_multipliers_that_are_maximised_are_left_alone() -> None:
    model = TwoTasks()
    groups = [
        {"params": [p for name, p in model.named_parameters() if name != "weights"]},
        {"params": [model.weights], "maximize": True},
    ]
    step = logarithms(0.0)
    assert facts_of(model, BATCH, training_step=step, optimizer=torch.optim.SGD(groups, lr=0.1)).switched_off is None

    def body(model: Any, optimizer: Any, batch: Any) -> Tensor:
        loss = step(model, batch)
        loss.backward()
        model.weights.grad.neg_()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    found = facts_of_step(model, BATCH, step=body, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    assert found is not None
    assert found.switched_off is None


@pytest.mark.parametrize(("cost", "turned", "told"), [(0.0, False, ("weights", 1)), (0.5, False, None), (0.0, True, None)])
def test_a_watched_loop(cost: float, turned: bool, told: tuple[str, int] | None) -> None:
    model, step = TwoTasks(), logarithms(cost)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with Monitor(model, optimizer, every=1) as monitor:
        for _ in range(3):
            loss = step(model, BATCH)
            loss.backward()
            monitor.after_backward(loss)
            if turned:
                assert model.weights.grad is not None
                model.weights.grad.neg_()
            optimizer.step()
            optimizer.zero_grad()
    facts = monitor.diagnose().evidence.facts
    assert facts is not None
    assert facts.switched_off == told
