"""Losses without a slope: densities that underflow in front of a logarithm, overlaps of what does not overlap; sound ones."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Monitor
from trainability.doctor.diagnosis import Diagnosis
from trainability.doctor.evidence import Evidence
from trainability.doctor.facts import Facts
from trainability.doctor.measure.certain import facts_of
from trainability.doctor.rules.verdict import diagnose

RNG = torch.Generator().manual_seed(0)
X, Y = torch.randn(64, 6, generator=RNG), torch.randn(64, 3, generator=RNG)
CORNERS = torch.rand(64, 2, generator=RNG)
BOXES = torch.cat([5 + CORNERS, 6 + CORNERS], dim=1)
LABELS = torch.randint(3, (64,), generator=RNG)
Step = Callable[[Any, Any], Tensor]


def asked(step: Step, batch: Any, *, scale: float = 1.0, out: int = 4) -> Facts:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, out))
    with torch.no_grad():
        model[2].weight.mul_(scale)  # type: ignore[operator]
    return facts_of(model, batch, training_step=step, batches=[batch])


def kernel(width: float, shift: float = 0.0) -> Step:
    """The logarithm of a mixture of three densities of fixed width at the outputs."""

    def step(model: Any, batch: Any) -> Tensor:
        far = (model(batch[0]) - batch[1] - shift).square() / (2 * width**2)
        return -((-far).exp().mean(dim=1) + 1e-12).log().mean()

    return step


def product(model: Any, batch: Any) -> Tensor:
    """The likelihood of an example as a product over what it is made of."""
    chances = model(batch[0]).softmax(dim=1).gather(1, batch[1]) * 1e-3
    return -(chances.repeat(1, 40).prod(dim=1) + 1e-8).log().sum()


def of_probabilities(model: Any, batch: Any) -> Tensor:
    chances = model(batch[0]).softmax(dim=1)
    return -(chances[torch.arange(64), batch[1]].clamp(min=1e-9)).log().mean()


def entropy(model: Any, batch: Any) -> Tensor:
    """Chances that are zero count nothing."""
    chances = model(batch[0]).softmax(dim=1)
    return (chances.detach() * (chances + 1e-9).log()).sum(dim=1).mean()


@pytest.mark.parametrize(
    ("step", "batch", "words", "found"),
    [
        (kernel(0.01, shift=3.0), (X, Y), {"out": 3}, "exp"),
        (kernel(1.0, shift=3.0), (X, Y), {"out": 3}, None),
        (kernel(1.0), (X, Y), {"out": 3}, None),
        (product, (X, LABELS[:, None]), {}, "prod"),
        (of_probabilities, (X, torch.full((64,), 3)), {"scale": 1e4}, None),  # as wrong as right: of some it is 1
        (of_probabilities, (X, LABELS), {}, None),
        (entropy, (X,), {"scale": 1e4}, None),
    ],
)
def test_a_density_that_underflows_in_front_of_a_logarithm(step: Step, batch: Any, words: Any, found: str | None) -> None:
    seen = asked(step, batch, **words).underflow
    assert (seen[0] if seen is not None else None) == found
    if seen is not None:
        assert 0.8 <= seen[1] <= 1.0


def sides(step: float) -> Step:
    """One minus the mean overlap of boxes given by their corners, of answers moved by a number."""

    def loss(model: Any, batch: Any) -> Tensor:
        found = model(batch[0]).tanh() * 0.1 + step + torch.tensor([0.0, 0.0, 1.0, 1.0])
        low, high = torch.maximum(found[:, :2], batch[1][:, :2]), torch.minimum(found[:, 2:], batch[1][:, 2:])
        both = (high - low).clamp(min=0).prod(dim=1)
        return 1 - (both / (2 - both)).mean()

    return loss


def met(model: Any, batch: Any) -> Tensor:
    """A margin that every example has, beside a term that still falls."""
    found = model(batch[0])
    return (found.tanh() - 2).clamp(min=0).mean() + found.square().mean()


@pytest.mark.parametrize(("step", "found"), [(sides(0.0), True), (sides(5.5), False), (met, False)])
def test_boxes_that_do_not_overlap(step: Step, found: bool) -> None:
    seen = asked(step, (X, BOXES))
    assert seen.all_at_limit is found
    assert seen.no_weight_moves is found


def said(facts: Facts) -> Diagnosis:
    return diagnose(Evidence(facts=facts))


def test_the_remedy_is_that_of_the_limit() -> None:
    (finding,) = said(asked(kernel(0.01, shift=30.0), (X, Y), out=3)).findings
    assert finding.code == "flat_loss.underflow"
    assert finding.severity == "error"
    assert "logsumexp" in finding.remedy
    assert f"{math.log(1e-12):.4g}" in finding.seen
    (finding,) = said(asked(sides(0.0), (X, BOXES))).findings
    assert finding.code == "flat_loss.at_limit"
    assert "generalised IoU" in finding.remedy


def triplet(hardest: str, fill: float, *, margin: bool = True) -> Step:
    """The hardest negative of each example, where positives are filled before it is looked for."""

    def step(model: Any, batch: Any) -> Tensor:
        made = F.normalize(model(batch[0]), dim=1)
        distance = 1 - made @ made.T
        same = batch[1][:, None] == batch[1][None]
        negative = getattr(distance.masked_fill(same, fill), hardest)(dim=1)
        negative = negative if isinstance(negative, Tensor) else negative.values
        gap = (distance * same).sum(dim=1) / same.sum(dim=1) - negative
        return (gap + 0.3).relu().mean() if margin else F.softplus(gap.clamp(-50, 50)).mean()

    return step


def pooled(model: Any, batch: Any) -> Tensor:
    """A maximum over the words of sequences, of which padding is filled with minus infinity."""
    made = model(batch[0]).masked_fill(torch.arange(4) >= (batch[1] + 1)[:, None], -math.inf)
    return F.mse_loss(made.amax(dim=1), batch[0][:, 0])


FILLED = {
    "the farthest of filled ones": (triplet("max", math.inf), True),
    "amax, a large number": (triplet("amax", 1e9), True),
    "the nearest of what is filled low": (triplet("min", -1e6), True),
    "without a hinge": (triplet("max", math.inf, margin=False), True),
    "the nearest negative": (triplet("min", math.inf), False),
    "the farthest negative": (triplet("max", -math.inf), False),
    "pooled words": (pooled, False),
}


@pytest.mark.parametrize("name", FILLED)
def test_extremes_that_take_what_a_mask_was_filled_with(name: str) -> None:
    step, wrong = FILLED[name]
    batch = (X, LABELS)
    assert (asked(step, batch).filled_extreme is not None) == wrong
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 4))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    with Monitor(model, optimizer, every=1) as monitor:
        for _ in range(3):
            optimizer.zero_grad()
            loss = step(model, batch)
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    assert ("flat_loss.filler" in [f.code for f in monitor.diagnose().findings]) == wrong


def with_edges(model: Any, batch: Any) -> Tensor:
    """A sparse matrix in the batch, whose values no comparison of tensors takes."""
    x, edges, labels = batch
    return F.cross_entropy(model(torch.sparse.mm(edges, x)), labels)


def row_by_row(model: Any, batch: Any) -> Tensor:
    """A maximum inside of torch.func, where numbers cannot be looked at."""
    made = model(batch[0])
    return torch.vmap(lambda row: row.max(dim=0).values)(made.masked_fill(made > 0, -1e9)[:, None, :].expand(-1, 4, -1)).mean()


UNASKED = {"sparse": (with_edges, (X, torch.eye(64).to_sparse(), LABELS)), "torch.func": (row_by_row, (X, LABELS))}


@pytest.mark.parametrize("name", UNASKED)
def test_numbers_that_cannot_be_looked_at_cost_no_other_fact(name: str) -> None:
    step, batch = UNASKED[name]
    facts = asked(step, batch)
    assert facts.graph is not None
    assert facts.num_gradients == 4
    assert facts.filled_extreme is None
    assert all(len(note) < 400 for note in facts.notes)
