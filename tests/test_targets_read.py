"""What of the targets a loss reads, and of whose answers: each mistake beside its sound twin."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import Evidence, diagnose
from trainability.doctor.facts import Facts
from trainability.doctor.measure.certain import facts_of

RNG = torch.Generator().manual_seed(0)
FRAMES, SIGNS = 12, 4
LINES = torch.randn(8, FRAMES, 5, generator=RNG)
TEXT = torch.randint(1, SIGNS, (8, 3), generator=RNG)


def codes(facts: Facts) -> set[str]:
    return {f.code for f in diagnose(Evidence(facts=facts)).findings}


def reader() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, SIGNS))


def temporal(*, over: int = 2, view: bool = False) -> Callable[[Any, Any], Tensor]:
    def step(model: Any, batch: Any) -> Tensor:
        costs = model(batch[0]).log_softmax(dim=over)
        costs = costs.reshape(FRAMES, len(batch[0]), -1) if view else costs.transpose(0, 1)
        lengths = torch.full((len(batch[0]),), 3)
        return F.ctc_loss(costs, batch[1], torch.full((len(batch[0]),), FRAMES), lengths)

    return step


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (temporal(), set()),
        (temporal(view=True), {"misread_logits.sequences"}),
        (temporal(over=1), {"misread_logits.other_dimension"}),
    ],
)
def test_ctc_reads_steps_before_examples_and_classes_that_sum_to_one(step: Any, told: set[str]) -> None:
    found = codes(facts_of(reader(), (LINES, TEXT), training_step=step))
    assert found & {"misread_logits.sequences", "misread_logits.other_dimension", "wrong_sign.ctc"} == told


PLACES = torch.rand(16, 1, 4, 4, generator=RNG) < 0.3
BOXES = torch.where(PLACES, torch.randn(16, 2, 4, 4, generator=RNG), torch.zeros(()))
TARGETS = torch.cat([PLACES.float(), BOXES], dim=1)


@pytest.mark.parametrize(("inverted", "channels"), [(False, ()), (True, (1, 2))])
@pytest.mark.parametrize("distance", [F.l1_loss, F.mse_loss])
def test_a_mask_that_is_inverted_reads_the_filler(inverted: bool, channels: tuple[int, ...], distance: Any) -> None:
    def loss(output: Tensor, target: Tensor) -> Tensor:
        there = (target[:, :1] > 0.5) != inverted
        cost = distance(output[:, 1:], target[:, 1:], reduction="none") * there
        return F.binary_cross_entropy_with_logits(output[:, 0], target[:, 0]) + cost.sum() / there.sum()

    torch.manual_seed(0)
    facts = facts_of(nn.Conv2d(1, 3, 3, padding=1), (torch.randn(16, 1, 4, 4, generator=RNG), TARGETS), loss_fn=loss)
    assert facts.unread_targets == channels


@pytest.mark.parametrize(("asks", "channels"), [("nothing", (0,)), ("smoothness", ())])
def test_the_loss_may_want_something_else_where_it_reads_no_targets(asks: str, channels: tuple[int, ...]) -> None:
    def loss(output: Tensor, target: Tensor) -> Tensor:
        edges = (output - target)[..., [0, -1]].square().mean()
        return edges + output.diff(dim=2).square().mean() if asks == "smoothness" else edges

    torch.manual_seed(0)
    x = torch.randn(16, 2, 8, generator=RNG)
    y = x.sum(dim=1, keepdim=True)
    y[..., [0, -1]] = 0.0
    assert facts_of(nn.Conv1d(2, 1, 3, padding=1), (x, y), loss_fn=loss).unread_targets == channels


@pytest.mark.parametrize(("asks", "channels"), [("nothing", (0,)), ("slope", ())])
def test_a_loss_may_want_slopes_of_examples_without_targets(asks: str, channels: tuple[int, ...]) -> None:
    def step(model: Any, batch: Any) -> Tensor:
        x, y = batch[0].requires_grad_(), batch[1]
        output = model(x)
        edge = ((x == 0) | (x == 1)).float()
        (slope,) = torch.autograd.grad(output.sum(), x, create_graph=True)
        inside = ((slope - torch.cos(x)) ** 2 * (1 - edge)).mean() if asks == "slope" else 0.0
        return ((output - y) ** 2 * edge).mean() + inside

    torch.manual_seed(0)
    x = torch.rand(64, 1, generator=RNG)
    x[::4] = torch.arange(16)[:, None] % 2.0
    y = torch.sin(torch.pi * x) * (x > 0) * (x < 1)
    model = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
    assert facts_of(model, (x, y), training_step=step).unread_targets == channels


@pytest.mark.parametrize("how", ["into", "out"])
def test_a_loss_may_write_into_its_targets_or_take_them_out_of_torch(how: str) -> None:
    def loss(output: Tensor, target: Tensor) -> Tensor:
        if how == "into":
            target[target < -1] = -1
        weight = torch.from_numpy(abs(target.numpy())) if how == "out" else 1.0
        return (weight * (output - target) ** 2).mean()

    x = torch.randn(32, 6, generator=RNG)
    facts = facts_of(nn.Linear(6, 6), (x, x.clone()), loss_fn=loss)
    assert facts.unread_targets == ()
    assert not [note for note in facts.notes if "does not read" in note]


@pytest.mark.parametrize(
    ("last", "sign", "fires"), [(nn.ReLU(), 1.0, True), (nn.ReLU(), -1.0, False), (nn.Softplus(), 1.0, False)]
)
def test_a_loss_that_wants_less_than_zero_of_a_relu_is_told(last: nn.Module, sign: float, fires: bool) -> None:
    """A likelihood of times whose logarithm the model gives: most are below 1, or above."""
    x = torch.randn(64, 6, generator=RNG)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 1), last)
    days = torch.exp(-sign * (1 + torch.rand(64, generator=RNG)))

    def likelihood(model: Any, batch: Any) -> Tensor:
        ratio = batch[1].log() - model(batch[0])[:, 0]
        return (ratio.exp() - ratio).mean()

    found = codes(facts_of(model, (x, days), training_step=likelihood))
    assert ("unreachable_target.relu" in found) == fires


@pytest.mark.parametrize(
    ("loss", "fires"),
    [
        (lambda o, y: F.relu(1 - y * o).mean(), True),
        (lambda o, y: (-y * o).mean(), True),
        (lambda o, y: torch.where(y > 0, o, F.relu(1 - o)).mean(), False),
        (lambda o, y: (o + 1e-3 - (y + 1) * (o + 1e-3).log()).mean(), False),
    ],
    ids=["hinge", "critic", "distance", "rate"],
)
def test_numbers_that_are_never_negative_may_come_out_of_a_relu(loss: Any, fires: bool) -> None:
    x = torch.randn(64, 6, generator=RNG)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 1), nn.ReLU(), nn.Flatten(0))
    facts = facts_of(model, (x, x[:, 0].sign()), training_step=lambda model, batch: loss(model(batch[0]), batch[1]))
    assert ((facts.wanted_below or 0.0) >= 0.25) == fires


class Moves(nn.Module):
    """What is given, and three times what a net adds to it or takes away."""

    def __init__(self, last: nn.Module, sign: float = 1.0, scale: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net, self.sign = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4), last), sign
        self.scale = nn.Parameter(torch.ones(4)) if scale else 1.0

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = x * self.scale + self.sign * 0.1 * self.net(x)
        return torch.stack([x, x], dim=1)[:, 0]


@pytest.mark.parametrize(
    ("model", "share"),
    [
        (lambda: Moves(nn.ReLU()), 0.25),
        (lambda: Moves(nn.ReLU(), sign=-1.0), 0.75),
        (lambda: Moves(nn.Identity()), None),
        (lambda: Moves(nn.ReLU(), scale=True), None),
        (lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4)), None),
    ],
)
def test_what_a_relu_adds_goes_to_one_side(model: Callable[[], nn.Module], share: float | None) -> None:
    x = torch.randn(64, 4, generator=RNG)
    beyond = torch.rand(64, 4, generator=RNG) + 0.1
    beyond[:16] *= -1
    facts = facts_of(model(), (x, x + beyond), loss_fn=F.mse_loss)
    assert facts.out_of_reach == share
    assert ("unreachable_target.one_sided" in codes(facts)) == (share is not None)
