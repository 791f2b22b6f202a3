"""Losses that hold parameters, and losses that normalise probabilities once more."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical

from trainability.doctor.measure.certain import facts_of


class Weighted(nn.Module):
    """The mean of two tasks, each with a weight that is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.log_variances = nn.Parameter(torch.zeros(2))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        errors = (output - target).square().mean(dim=0)
        return ((-self.log_variances).exp() * errors + self.log_variances).sum()


class Likeness(nn.Module):
    """Compares features of a network that is not trained, and that nobody has frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 16), nn.ReLU())

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return (self.net(output) - self.net(target)).square().mean()


@pytest.mark.parametrize(
    ("kind", "held", "names"),
    [
        (Weighted, "nowhere", ("Weighted.log_variances",)),
        (Weighted, "here", ()),
        (Weighted, "elsewhere", ()),
        (Likeness, "nowhere", ()),
    ],
)
def test_parameters_of_a_loss_are_to_be_in_an_optimizer(kind: type[nn.Module], held: str, names: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    model, criterion = nn.Linear(3, 2), kind()
    own = [*criterion.parameters()]
    optimizer = torch.optim.Adam([*model.parameters(), *(own if held == "here" else [])])
    other = torch.optim.SGD(own, lr=0.1) if held == "elsewhere" else None
    found = facts_of(model, (torch.randn(16, 3), torch.randn(16, 2)), loss_fn=criterion, optimizer=optimizer)
    assert other is None or other.param_groups
    assert found.graph is not None
    assert found.graph.criterion == names


@pytest.mark.parametrize(("given", "width"), [("softmax as logits", 4), ("softmax as probs", None), ("logits", None)])
def test_probabilities_that_are_taken_as_logits_are_normalised_once_more(given: str, width: int | None) -> None:
    torch.manual_seed(0)
    policy = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 4))

    def loss(model: Any, batch: Any) -> Tensor:
        states, returns = batch
        out = model(states) if given == "logits" else torch.softmax(model(states), dim=-1)
        chances = Categorical(probs=out) if given == "softmax as probs" else Categorical(logits=out)
        actions = chances.sample()
        return -(chances.log_prob(actions) * returns).mean() - 0.01 * chances.entropy().mean()

    found = facts_of(policy, (torch.randn(32, 6), torch.randn(32)), training_step=loss)
    assert found.graph is not None
    assert found.graph.renormalised == width
