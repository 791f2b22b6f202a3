"""Graphs whose nodes all have the same features: what a net makes of which are joined, and where that is nothing."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainability.doctor import Monitor
from trainability.doctor.measure.certain import facts_of

RNG = torch.Generator().manual_seed(0)
NODES, GRAPHS = 40, 8
EDGES = torch.randint(0, NODES, (2, 90), generator=RNG)
OF_GRAPH, LABELS = torch.arange(NODES) // (NODES // GRAPHS), torch.arange(GRAPHS) % 3
DENSE = (torch.rand(NODES, NODES, generator=RNG) < 0.1).float()


class Net(nn.Module):
    """One round of messages between neighbours, with a sum or a mean, and a mean over each graph."""

    def __init__(self, how: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.own, self.near, self.head, self.how = nn.Linear(3, 8), nn.Linear(3, 8), nn.Linear(8, 3), how

    def forward(self, x: Tensor, edges: Tensor, graph: Tensor) -> Tensor:
        if self.how == "dense":
            h = edges @ self.near(x)
        else:
            one, other = edges
            count = torch.zeros(len(x), 1).index_add(0, other, torch.ones(len(other), 1))
            h = torch.zeros_like(x).index_add(0, other, x[one]) / (count.clamp(min=1) if self.how == "mean" else 1)
            h = self.near(torch.where(count > 0, h, x) if self.how == "mean" else h) + self.own(x)
        return self.head(torch.zeros(GRAPHS, 8).index_add(0, graph, h.relu()) / (NODES // GRAPHS))


def step(model: Any, batch: Any) -> Tensor:
    return nn.functional.cross_entropy(model(*batch[:3]), batch[3])


@pytest.mark.parametrize(("how", "named"), [("sum", False), ("dense", False), ("mean", True)])
def test_only_answers_that_are_alike_are_named(how: str, named: bool) -> None:
    batch = torch.ones(NODES, 3), DENSE if how == "dense" else EDGES, OF_GRAPH, LABELS
    assert bool(facts_of(Net(how), batch, training_step=step).constant_inputs) == named


@pytest.mark.parametrize(("how", "named"), [("sum", False), ("mean", True)])
def test_by_monitor(how: str, named: bool) -> None:
    model: Any = Net(how)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with Monitor(model, optimizer) as monitor:
        for _ in range(3):
            loss = step(model, (torch.ones(NODES, 3), EDGES, OF_GRAPH, LABELS))
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
            optimizer.zero_grad()
    assert ("constant_input" in [f.rule for f in monitor.diagnose().findings]) == named


def test_a_blank_part_beside_another_is_named() -> None:
    class TwoParts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.image, self.table = nn.Linear(16, 8), nn.Linear(5, 8)
            self.head = nn.Linear(8, 3)

        def forward(self, image: Tensor, table: Tensor, numbers: Tensor) -> Tensor:
            return self.head((self.image(image) + self.table(table)).relu())

    batch = torch.ones(8, 16), torch.randn(8, 5), torch.randint(0, 9, (8, 2)), LABELS
    assert facts_of(TwoParts(), batch, training_step=step).constant_inputs == ("image",)
