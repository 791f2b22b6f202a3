"""Edges that bring no message to what is asked about, beside both directions, layers that read none, and answers for all."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import check
from trainability.doctor.measure.facts import look

NODES, HUBS = 60, 6
DRAWS = torch.Generator().manual_seed(0)
ROWS = torch.randn(NODES, 4, generator=DRAWS)
UP = torch.stack([torch.arange(HUBS, NODES), torch.arange(HUBS, NODES) % HUBS])  # from each leaf to its hub
BOTH = torch.cat([UP, UP.flip(0)], dim=1)
LEAVES = torch.arange(NODES) >= HUBS
Y = (ROWS[torch.arange(NODES) % HUBS, 0] > 0).float()


class Net(nn.Module):
    def __init__(self, *, reads: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.own, self.near, self.head, self.reads = nn.Linear(4, 8), nn.Linear(4, 8), nn.Linear(8, 1), reads

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        source, target = edges
        total = torch.zeros_like(x).index_add(0, target, x[source])
        count = torch.zeros(len(x)).index_add(0, target, torch.ones(len(target))).clamp(min=1)
        h = self.own(x) + (self.near(total / count[:, None]) if self.reads else 0.0)
        return self.head(h.relu()).squeeze(1)


def step(model: Any, batch: Any) -> Tensor:
    x, edges, y, counted = batch
    return F.binary_cross_entropy_with_logits(model(x, edges)[counted], y[counted])


@pytest.mark.parametrize(
    ("model", "edges", "counted", "found"),
    [
        (Net(), UP, LEAVES, True),
        (Net(), BOTH, LEAVES, False),
        (Net(), UP.flip(0), LEAVES, False),
        (Net(), UP, ~LEAVES, False),  # hubs are asked about, and hear of their leaves
        (Net(), UP, torch.ones_like(LEAVES), False),
        (Net(reads=False), UP, LEAVES, False),
    ],
)
def test_edges_that_lead_away(model: nn.Module, edges: Tensor, counted: Tensor, found: bool) -> None:
    told = look(model, (ROWS, edges, Y, counted), step).readings.edges_away
    assert (told is not None) is found
    assert told is None or (told[0] == edges.shape[1] and told[1] > 1e-3)


@pytest.mark.parametrize(("edges", "fires"), [(UP, True), (BOTH, False)])
def test_check_names_edges_in_one_direction(edges: Tensor, fires: bool) -> None:
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    batches = [(ROWS + 0.1 * k, edges, Y, LEAVES) for k in range(10)]
    found = check(model, batches, training_step=step, optimizer=optimizer, rehearse_seconds=1).findings
    assert ("misread_edges.away" in [f.code for f in found]) is fires
