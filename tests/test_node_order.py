"""Graph networks that go by the order of their nodes, beside those that pool them, and lists whose order says something."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import check
from trainability.doctor.measure.facts import look

GRAPHS, NODES, FEATURES = 64, 10, 4
DRAWS = torch.Generator().manual_seed(0)
PLACES = torch.rand(GRAPHS, NODES, 2, generator=DRAWS)
EDGES = ((torch.cdist(PLACES, PLACES) < 0.4) & ~torch.eye(NODES, dtype=torch.bool)).float()
ROWS = torch.cat([PLACES, torch.randn(GRAPHS, NODES, FEATURES - 2, generator=DRAWS)], dim=2)
CHAIN = torch.diag_embed(torch.ones(GRAPHS, NODES - 1), offset=1)
CHAIN = ((CHAIN + CHAIN.transpose(1, 2) + (torch.rand(GRAPHS, 1, 1, generator=DRAWS) < 0.5) * EDGES) > 0).float()
NUMBERED = torch.cat([ROWS[:, :, :2], torch.linspace(0, 1, NODES).expand(GRAPHS, -1)[..., None], ROWS[:, :, 3:]], dim=2)
SIZES = torch.arange(GRAPHS) % 5 + 6
VALID = (torch.arange(NODES) < SIZES[:, None]).float()
Y = ROWS[:, :, 2].mean(dim=1, keepdim=True)


class Net(nn.Module):
    def __init__(self, read: Callable[[Tensor], Tensor], width: int = 12, inputs: int = 12) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.own, self.near, self.head, self.read = (
            nn.Linear(FEATURES, width),
            nn.Linear(FEATURES, width),
            nn.Linear(inputs, 1),
            read,
        )

    def forward(self, rows: Tensor, edges: Tensor) -> Tensor:
        h = (self.own(rows) + self.near(edges @ rows / edges.sum(2, keepdim=True).clamp(min=1))).relu()
        return self.head(self.read(h))


class Sequence(Net):
    """Attention with places, for which the matrix is a mask of what is padded."""

    def forward(self, rows: Tensor, edges: Tensor) -> Tensor:
        h = self.own(rows + torch.linspace(-1, 1, NODES)[:, None])
        weights = (h @ h.transpose(1, 2)).masked_fill(edges == 0, -1e9).softmax(dim=2)
        return self.head((weights @ h * torch.linspace(0, 1, NODES)[:, None]).mean(dim=1))


def step(model: Any, batch: Any) -> Tensor:
    return F.mse_loss(model(batch[0], batch[1]), batch[2])


BY_ORDER: dict[str, nn.Module] = {
    "features pooled": Net(lambda h: h.mean(dim=2), inputs=NODES),
    "flattened": Net(lambda h: h.flatten(1), inputs=12 * NODES),
    "the last node": Net(lambda h: h[:, -1]),
}


class Marked(Net):
    """Nodes are given random features, by which they differ."""

    def forward(self, rows: Tensor, edges: Tensor) -> Tensor:
        return super().forward(rows + 0.5 * torch.randn_like(rows), edges)


SOUND: dict[str, tuple[nn.Module, Tensor, Tensor]] = {
    "a mean over nodes": (Net(lambda h: h.mean(dim=1)), ROWS, EDGES),
    "a maximum over nodes": (Net(lambda h: h.amax(dim=1)), ROWS, EDGES),
    "an answer for each node": (Net(lambda h: h), ROWS, EDGES),
    "random features": (Marked(lambda h: h.mean(dim=1)), ROWS, EDGES),
    "one graph for all": (BY_ORDER["flattened"], ROWS, EDGES[:1].expand(GRAPHS, -1, -1).contiguous()),
    "nodes with a number": (BY_ORDER["flattened"], NUMBERED, EDGES),
    "a chain": (BY_ORDER["flattened"], ROWS, CHAIN),
    "a mask of padding": (Sequence(lambda h: h), ROWS, VALID[:, :, None] * VALID[:, None, :]),
}


@pytest.mark.parametrize("name", BY_ORDER)
def test_answers_that_go_by_the_order_of_nodes(name: str) -> None:
    found = look(BY_ORDER[name], (ROWS, EDGES, Y), step).readings.node_order
    assert found is not None
    assert found > 0.01


@pytest.mark.parametrize("name", SOUND)
def test_pooled_nodes_and_orders_that_say_something(name: str) -> None:
    model, rows, edges = SOUND[name]
    wanted = Y if name != "an answer for each node" else Y[:, None].expand(-1, NODES, -1).contiguous()
    assert look(model, (rows, edges, wanted), step).readings.node_order is None


@pytest.mark.parametrize(("read", "inputs", "fires"), [(2, NODES, True), (1, 12, False)])
def test_check_names_the_wrong_dimension(read: int, inputs: int, fires: bool) -> None:
    model = Net(lambda h: h.mean(dim=read), inputs=inputs)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(ROWS, EDGES, Y), batch_size=32, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    found = check(model, loader, training_step=step, optimizer=optimizer, rehearse_seconds=1).findings
    assert ("misread_edges.order" in [f.code for f in found]) is fires
