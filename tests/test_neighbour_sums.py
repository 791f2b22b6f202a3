"""Graph networks whose sums over neighbours multiply the signal, beside means, attention and normalised matrices."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import check
from trainability.doctor.measure.facts import look

NODES, NEIGHBOURS, LAYERS = 60, 12, 3
DRAWS = torch.Generator().manual_seed(0)
X = torch.randn(NODES, 6, generator=DRAWS)
Y = torch.randint(0, 3, (NODES,), generator=DRAWS)
RING = sum(torch.eye(NODES).roll(k, 1) for k in range(NEIGHBOURS))  # each has so many
EDGES = RING.nonzero().T


def by_index(rows: Tensor) -> Tensor:
    return torch.zeros_like(rows).index_add(0, EDGES[0], rows[EDGES[1]])


def by_scatter(rows: Tensor) -> Tensor:
    places = EDGES[0][:, None].expand(-1, rows.shape[1])
    return torch.zeros_like(rows).scatter_add_(0, places, rows[EDGES[1]])


SUMS: dict[str, Callable[[Tensor], Tensor]] = {
    "a matrix": lambda rows: RING @ rows,
    "a sparse matrix": lambda rows: torch.sparse.mm(RING.to_sparse(), rows),
    "by index": by_index,
    "by scatter": by_scatter,
}
EVEN: dict[str, Callable[[Tensor], Tensor]] = {
    "a mean": lambda rows: RING / NEIGHBOURS @ rows,
    "a mean by index": lambda rows: by_index(rows) / NEIGHBOURS,
    "attention": lambda rows: (rows @ rows.T).softmax(1) @ rows,
    "signs": lambda rows: (RING - 0.5) @ rows,
}


class Graph(nn.Module):
    def __init__(self, gather: Callable[[Tensor], Tensor], scale: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList([nn.Linear(6 if k == 0 else 16, 16) for k in range(LAYERS)])
        self.head, self.gather, self.scale = nn.Linear(16, 3), gather, scale

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = self.gather(layer(x).relu() * self.scale)
        return self.head(x)


def step(model: Any, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


@pytest.mark.parametrize("name", SUMS)
def test_sums_of_equal_rows_multiply_by_the_number_of_neighbours(name: str) -> None:
    model = Graph(SUMS[name])
    for layer in model.layers:
        nn.init.zeros_(layer.weight)
        nn.init.ones_(layer.bias)  # every node has the same
    found = look(model, (X, Y), step).readings.neighbour_sums
    assert found is not None
    assert found.count == LAYERS
    assert found.gain == pytest.approx(NEIGHBOURS**LAYERS, rel=1e-4)


@pytest.mark.parametrize("name", EVEN)
def test_means_and_attention_multiply_nothing(name: str) -> None:
    assert look(Graph(EVEN[name]), (X, Y), step).readings.neighbour_sums is None


@pytest.mark.parametrize(
    ("gather", "scale", "fires"), [("by index", 3.0, True), ("a matrix", 3.0, True), ("a matrix", 0.05, False)]
)
def test_a_far_start_is_put_down_to_the_sums(gather: str, scale: float, fires: bool) -> None:
    model = Graph(SUMS[gather], scale)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    found = check(model, [(X, Y)] * 40, nn.CrossEntropyLoss(), optimizer, rehearse_seconds=1).findings
    assert ("loss_at_start.neighbours" in [f.code for f in found if f.severity == "warning"]) is fires


def test_means_that_start_far_are_not_put_down_to_the_neighbours() -> None:
    model = Graph(EVEN["a mean"], 12.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    found = check(model, [(X, Y)] * 40, nn.CrossEntropyLoss(), optimizer, rehearse_seconds=1).findings
    assert "loss_at_start.neighbours" not in [f.code for f in found]
