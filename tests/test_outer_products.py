"""Factors of all examples times terms of all examples: told where one mean is taken, beside pairs that are meant."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Normal
from torch.nn import functional as F

from trainability.doctor import Evidence, diagnose
from trainability.doctor.facts import Facts
from trainability.doctor.measure.facts import look

DRAWS = torch.Generator().manual_seed(0)
X = torch.randn(32, 6, generator=DRAWS)
LABELS = torch.arange(32) % 3
REWARDS = torch.randn(32, 1, generator=DRAWS)
CENTRED = REWARDS - REWARDS.mean()
BATCH = (X, LABELS, CENTRED, REWARDS)


def net(outputs: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, outputs))


def policy(model: Any, batch: Any) -> Tensor:
    chosen = Categorical(logits=model(batch[0]))
    return -(chosen.log_prob(batch[1]) * batch[2]).mean()


def clipped(model: Any, batch: Any) -> Tensor:
    """PPO's objective, of one step."""
    ratio = (model(batch[0]).log_softmax(1).gather(1, batch[1][:, None]).squeeze(1) + 1.1).exp()
    return -torch.min(ratio * batch[2], ratio.clamp(0.8, 1.2) * batch[2]).mean()


def gaussian(model: Any, batch: Any) -> Tensor:
    chosen = Normal(model(batch[0])[:, :1], 1.0)
    return -(0.5 * chosen.log_prob(batch[0][:, :1]) * batch[2].squeeze(1)).sum() / 32


def weighted(model: Any, batch: Any) -> Tensor:
    return (F.cross_entropy(model(batch[0]), batch[1], reduction="none") * batch[3].exp()).mean()


@pytest.mark.parametrize(
    ("loss", "severity"), [(policy, "error"), (clipped, "error"), (gaussian, "error"), (weighted, "warning")]
)
def test_products_of_all_with_all_are_told(loss: Callable[[Any, Any], Tensor], severity: str) -> None:
    facts = look(net(), BATCH, loss)
    assert facts.outer_product is not None
    assert facts.outer_product[0] == 32
    found = diagnose(Evidence(facts=Facts(outer_product=facts.outer_product))).findings[0]
    assert (found.code, found.severity) == ("target_broadcast.outer", severity)


def advantages(model: Any, batch: Any) -> Tensor:
    """Rewards (n,) less what a critic expects (n, 1)."""
    scores = model(batch[0])
    advantage = batch[3].squeeze(1) - scores[:, :1].detach()
    advantage = (advantage - advantage.mean()) / advantage.std()
    return -(Categorical(logits=scores).log_prob(batch[1]) * advantage).mean()


def right_advantages(model: Any, batch: Any) -> Tensor:
    scores = model(batch[0])
    advantage = batch[3].squeeze(1) - scores[:, :1].detach().squeeze(1)
    return -(Categorical(logits=scores).log_prob(batch[1]) * advantage).mean()


def beaten_pairs(model: Any, batch: Any) -> Tensor:
    """Weights of all pairs, by their rewards, on purpose."""
    rewards, scores = batch[3].squeeze(1), model(batch[0])[:, 0]
    return ((rewards - rewards[:, None]).relu() * scores).mean()


@pytest.mark.parametrize(("loss", "told"), [(advantages, True), (right_advantages, False), (beaten_pairs, False)])
def test_advantages_of_all_with_all_are_told(loss: Callable[[Any, Any], Tensor], told: bool) -> None:
    facts = look(net(), BATCH, loss)
    assert (facts.outer_product is not None) is told
    assert facts.outer_product is None or facts.outer_product[0] == 32


def paired(model: Any, batch: Any) -> Tensor:
    return -(Categorical(logits=model(batch[0])).log_prob(batch[1]) * batch[2].squeeze(1)).mean()


def columns(model: Any, batch: Any) -> Tensor:
    return -(model(batch[0]).log_softmax(1).gather(1, batch[1][:, None]) * batch[2]).mean()


def kernel(model: Any, batch: Any) -> Tensor:
    """A quadratic form: products of all pairs, each by what lies between them."""
    values, near = model(batch[0])[:, 0], (-torch.cdist(batch[0], batch[0])).exp()
    return (values[:, None] * batch[3].squeeze(1) * near).mean()


def ranked(model: Any, batch: Any) -> Tensor:
    """All pairs of scores, by the sign of what was earned."""
    score, reward = model(batch[0])[:, :1], batch[3].squeeze(1)
    return F.softplus(-(score - score.squeeze(1)) * (batch[3] - reward).sign()).mean()


def risk_sets(model: Any, batch: Any) -> Tensor:
    risk, lasts = model(batch[0])[:, :1].exp(), (batch[3].squeeze(1) >= batch[3]).float()
    return ((risk * lasts).sum(0).log() - risk.squeeze(1).log()).mean()


def quantiles(model: Any, batch: Any) -> Tensor:
    """As many levels as there are examples, by chance."""
    levels, error = torch.linspace(0.05, 0.95, 32), batch[3] - model(batch[0])[:, :1]
    return (levels * error).mean() + error.relu().mean()


def normed(model: Any, batch: Any) -> Tensor:
    out = model(batch[0])
    return F.cross_entropy(out / out.norm(dim=1, keepdim=True), batch[1])


@pytest.mark.parametrize("loss", [paired, columns, kernel, ranked, risk_sets, quantiles, normed])
def test_pairs_that_are_meant_are_left_alone(loss: Callable[[Any, Any], Tensor]) -> None:
    assert look(net(), BATCH, loss).outer_product is None


def flow(model: Any, batch: Any) -> tuple[Tensor, Tensor]:
    """The slope of the first output along the first input, (n, 1), and what it is known to be, (n,)."""
    points = batch[0].clone().requires_grad_()
    slope = torch.autograd.grad(model(points)[:, 0].sum(), points, create_graph=True)[0][:, :1]
    return slope, torch.cos(batch[0][:, 0])


def residual(model: Any, batch: Any) -> Tensor:
    slope, known = flow(model, batch)
    return ((slope - known) / 2).pow(2).mean()


def taken_from(model: Any, batch: Any) -> Tensor:
    slope, known = flow(model, batch)
    left = known - slope
    return (left * left).sum() / 32


def by_pytorch(model: Any, batch: Any) -> Tensor:
    slope, known = flow(model, batch)
    return F.l1_loss(slope, known)


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("loss", [residual, taken_from, by_pytorch])
def test_differences_of_all_with_all_are_told(loss: Callable[[Any, Any], Tensor]) -> None:
    facts = look(net(), BATCH, loss)
    assert facts.outer_difference == 32
    found = diagnose(Evidence(facts=Facts(outer_difference=facts.outer_difference))).findings[0]
    assert (found.code, found.severity) == ("target_broadcast", "error")


def example_by_example(model: Any, batch: Any) -> Tensor:
    slope, known = flow(model, batch)
    return (slope.squeeze(1) - known).pow(2).mean()


def between_samples(model: Any, batch: Any) -> Tensor:
    """The energy distance of outputs from a sample, over all pairs on purpose."""
    made, sample = model(batch[0])[:, 0], batch[0][:, 1]
    return 2 * (made[:, None] - sample).abs().mean() - (made[:, None] - made).abs().mean()


def levels(model: Any, batch: Any) -> Tensor:
    """As many levels as there are examples, by chance."""
    error = torch.linspace(-2, 2, 32) - model(batch[0])[:, :1]
    return error.square().mean()


@pytest.mark.parametrize("loss", [example_by_example, between_samples, levels, ranked, kernel])
def test_differences_that_are_meant_are_left_alone(loss: Callable[[Any, Any], Tensor]) -> None:
    assert look(net(), BATCH, loss).outer_difference is None


def by_colon(model: Any, batch: Any) -> Tensor:
    return (model(batch[0])[:, batch[1]] - batch[3].squeeze(1)).pow(2).mean()


def by_colon_in_columns(model: Any, batch: Any) -> Tensor:
    return F.smooth_l1_loss(model(batch[0])[:, batch[1]], batch[3])


def by_selection(model: Any, batch: Any) -> Tensor:
    return -(model(batch[0]).log_softmax(1).index_select(1, batch[1]) * batch[2].squeeze(1)).mean()


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("loss", [by_colon, by_colon_in_columns, by_selection])
def test_columns_that_all_examples_pick(loss: Callable[[Any, Any], Tensor]) -> None:
    facts = look(net(), BATCH, loss)
    assert facts.picked_columns == 32
    found = diagnose(Evidence(facts=Facts(picked_columns=32))).findings[0]
    assert (found.code, found.severity) == ("target_broadcast.picked", "error")


def by_row(model: Any, batch: Any) -> Tensor:
    return F.mse_loss(model(batch[0])[torch.arange(len(batch[0])), batch[1]], batch[3].squeeze(1))


def gathered(model: Any, batch: Any) -> Tensor:
    return (model(batch[0]).gather(1, batch[1][:, None]) - batch[3]).pow(2).mean()


def by_mask(model: Any, batch: Any) -> Tensor:
    """Each example's own of all pairs."""
    return ((model(batch[0])[:, batch[1]] - batch[3].squeeze(1)).square() * torch.eye(len(batch[0]))).sum() / len(batch[0])


def of_the_diagonal(model: Any, batch: Any) -> Tensor:
    return (model(batch[0])[:, batch[1]] - batch[3].squeeze(1)).diagonal().square().mean()


def below_the_own(model: Any, batch: Any) -> Tensor:
    """A hinge between each row's own choice and those of the batch."""
    scores = model(batch[0])
    return (scores[:, batch[1]] - scores.gather(1, batch[1][:, None]) + 1).clamp(min=0).mean()


def small_by_weight(model: Any, batch: Any) -> Tensor:
    """The scores of what others took are to be small, by how often it is taken."""
    scores, often = model(batch[0]), torch.linspace(0.1, 0.7, 40)[batch[1]]
    return F.cross_entropy(scores, batch[1]) + 0.1 * (scores[:, batch[1]] * often).square().mean()


def in_batch_negatives(model: Any, batch: Any) -> Tensor:
    """Retrieval with the batch's own items as negatives, corrected for how often each is drawn."""
    scores = model(batch[0])[:, batch[1]] - batch[3].squeeze(1)
    return F.cross_entropy(scores, torch.arange(len(scores)))


def in_another_order(model: Any, batch: Any) -> Tensor:
    order = torch.arange(32).flip(0)
    return ((model(batch[0])[:, order] - torch.linspace(-1, 1, 32)) ** 2).mean()


PICKED_RIGHT = [(by_row, 3), (gathered, 3), (by_mask, 3), (of_the_diagonal, 3), (in_another_order, 32), (columns, 3)]
BATCHES_OF_NEGATIVES = [
    (in_batch_negatives, 3),
    (below_the_own, 3),
    (below_the_own, 40),
    (small_by_weight, 3),
    (small_by_weight, 40),
]


@pytest.mark.parametrize(("loss", "outputs"), PICKED_RIGHT + BATCHES_OF_NEGATIVES)
def test_columns_that_are_meant(loss: Callable[[Any, Any], Tensor], outputs: int) -> None:
    assert look(net(outputs), BATCH, loss).picked_columns is None
