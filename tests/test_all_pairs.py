"""Models that combine each example with every other: by mistake, and on purpose."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import Evidence, Monitor, diagnose
from trainability.doctor.measure.certain import facts_of

RNG = torch.Generator().manual_seed(0)
N = 24
X = torch.randn(N, 6, generator=RNG)
COLUMN, ROW = torch.randn(N, 1, generator=RNG), torch.randn(N, generator=RNG)
LABELS = torch.arange(N) % 5


class Scores(nn.Module):
    """Two parts of a score, of which one may have lost a dimension."""

    def __init__(self, how: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.other, self.bias, self.how = nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(6, 1), how

    def forward(self, x: Tensor) -> Tensor:
        one, other, bias = self.one(x), self.other(x), self.bias(x)
        match self.how:
            case "added":
                return (one * other).sum(1) + bias
            case "product":
                return one @ other.T
            case "differences":
                return bias - bias.squeeze(1)
            case "row":
                return (one * other).sum(1) + bias.squeeze(1)
        return (one * other).sum(1, keepdim=True) + bias


def squared(output: Tensor, target: Tensor) -> Tensor:
    return ((output - target) ** 2).mean()


def ranked(output: Tensor, target: Tensor) -> Tensor:
    return squared(output, target - target.squeeze(1)) if target.dim() == 2 else squared(output, target[:, None] - target)


def in_batch(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output - target, torch.arange(len(output)))  # less how often each is drawn


def by_itself(output: Tensor, target: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(output - target, torch.eye(len(output)))


def weighted(output: Tensor, target: Tensor) -> Tensor:
    return (target.view(-1) * output.logsumexp(dim=1)).mean()


def by_label(output: Tensor, target: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(output, (target[:, None] == target).float())


PROGRAMS: dict[str, tuple[str, Callable[[Tensor, Tensor], Tensor], Tensor, tuple[int, bool, bool] | None]] = {
    "a row added to a column": ("added", squared, COLUMN, (N, True, True)),
    "a column added to a row": ("added", squared, ROW, (N, False, True)),
    "absolute": ("added", lambda o, t: (o - t).abs().mean(), COLUMN, (N, True, True)),
    "a product of all": ("product", squared, COLUMN, (N, True, False)),
    "each": ("each", squared, COLUMN, None),
    "each of a row": ("row", squared, ROW, None),
    "differences of pairs": ("differences", ranked, ROW, None),
    "in-batch softmax": ("product", in_batch, ROW, None),
    "in-batch sigmoid": ("product", by_itself, ROW, None),
    "a density of kernels": ("product", weighted, ROW, None),
    "pairs of a label": ("product", by_label, LABELS, None),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_by_check(name: str) -> None:
    how, loss, target, expected = PROGRAMS[name]
    facts = facts_of(Scores(how), (X, target), loss_fn=loss)
    assert facts.all_pairs == expected
    found = [f.code for f in diagnose(Evidence(facts=facts)).findings if f.rule == "target_broadcast" and f.severity != "hint"]
    assert found == ([] if expected is None else ["target_broadcast.inside"])


@pytest.mark.parametrize("name", PROGRAMS)
def test_by_monitor(name: str) -> None:
    how, loss, target, expected = PROGRAMS[name]
    model: Any = Scores(how)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with Monitor(model, optimizer) as monitor:
        for _ in range(3):
            cost = loss(model(X), target)
            cost.backward()
            monitor.after_backward(cost)
            optimizer.step()
            optimizer.zero_grad()
    found = [f.code for f in monitor.diagnose().findings if f.rule == "target_broadcast" and f.severity != "hint"]
    assert found == (["target_broadcast.inside"] if expected is not None and expected[2] else [])
