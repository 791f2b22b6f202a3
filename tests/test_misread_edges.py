"""Edges that were reshaped where they had to be transposed; and graphs of which nothing is wrong."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from trainability.doctor import Monitor
from trainability.doctor.measure.misread_edges import misread_edges

NODES = 60
RNG = torch.Generator().manual_seed(0)
UPPER = torch.triu(torch.rand(NODES, NODES, generator=RNG) < 0.1, 1)
ONE_WAY = UPPER.nonzero()  # (edges, 2), sorted
BOTH = torch.cat([ONE_WAY, ONE_WAY.flip(1)])
IN_ORDER = BOTH[BOTH[:, 0].argsort(stable=True)]
MIXED = BOTH[torch.randperm(len(BOTH), generator=RNG)]
BY_TARGET = ONE_WAY[(ONE_WAY[:, 1] * NODES + ONE_WAY[:, 0]).argsort()]
LOOPS = torch.arange(NODES).expand(2, -1)


class Graph(nn.Module):
    def __init__(self, edges: Tensor, way: str) -> None:
        super().__init__()
        self.edges, self.way, self.layer = edges, way, nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.layer(x)
        if self.way == "rows":
            source, target = self.edges
            return h.index_add(0, target, h[source])
        messages = h.index_select(0, self.edges[0])
        return torch.zeros_like(h).scatter_add(0, self.edges[1][:, None].expand(-1, 2), messages)


def found(edges: Tensor, way: str = "rows") -> str | None:
    x = torch.randn(max(NODES, int(edges.max()) + 1), 4, generator=torch.Generator().manual_seed(1))
    seen = misread_edges(Graph(edges, way), (x, x[:, :2]), lambda model, batch: (model(batch[0]) - batch[1]).square().mean())
    return seen.how if seen is not None else None


LISTS = {"one way": ONE_WAY, "in order": IN_ORDER, "mixed": MIXED, "by target": BY_TARGET}


@pytest.mark.parametrize("way", ["rows", "indices"])
@pytest.mark.parametrize("name", LISTS)
def test_reshaped_edges_are_told_and_transposed_ones_are_not(name: str, way: str) -> None:
    edges = LISTS[name]
    assert found(edges.reshape(2, -1), way) == ("sorted" if name in ("one way", "by target") else "both ways")
    assert found(edges.t().contiguous(), way) is None
    assert found(edges.t(), way) is None


def test_loops_and_ways_back_that_are_added_afterwards() -> None:
    wrong = ONE_WAY.reshape(2, -1)
    assert found(torch.cat([wrong, wrong.flip(0)], 1)) == "sorted"
    assert found(torch.cat([IN_ORDER.reshape(2, -1), LOOPS], 1)) == "both ways"
    assert found(torch.cat([IN_ORDER.t(), LOOPS], 1)) is None


def pairs_in_turns(edges: Tensor) -> Tensor:
    """Each edge and its way back beside it."""
    return torch.stack([edges, edges.flip(1)], 1).flatten(0, 1).t()


STEPS = torch.arange(100)
SOUND: dict[str, Callable[[], Tensor]] = {
    "reshaped, and right all the same": lambda: BOTH.reshape(2, -1),  # ends beside each other, and then the other way round
    "chain": lambda: torch.stack([STEPS, STEPS + 1]),
    "ring": lambda: torch.stack([STEPS, (STEPS + 1) % 100]),
    "matching": lambda: torch.stack([STEPS, STEPS + 100]),
    "matching in turns": lambda: pairs_in_turns(torch.stack([STEPS, STEPS + 100], 1)),
    "in turns": lambda: pairs_in_turns(ONE_WAY),
    "tree": lambda: torch.stack([STEPS // 2, STEPS + 1]),
    "star": lambda: torch.stack([torch.zeros(100, dtype=torch.long), STEPS + 1]),
    "all to all": lambda: (1 - torch.eye(12)).nonzero().t(),
    "random, one way": lambda: torch.randint(NODES, (2, 200), generator=torch.Generator().manual_seed(2)),
    "bipartite": lambda: torch.stack([STEPS % 7, 7 + STEPS % 11]),
    "loops": lambda: LOOPS,
    "few": lambda: ONE_WAY[:16].reshape(2, -1),
    "two rows of words": lambda: STEPS.repeat(2).reshape(2, -1),
}


@pytest.mark.parametrize("name", SOUND)
def test_sound_graphs_are_left_alone(name: str) -> None:
    assert found(SOUND[name]()) is None


def test_a_batch_of_two_sentences_is_no_graph() -> None:
    model = nn.Sequential(nn.Embedding(NODES, 2), nn.Flatten())
    words = ONE_WAY[:40].reshape(2, -1)
    seen = misread_edges(model, (words, torch.zeros(2, 80)), lambda m, batch: (m(batch[0]) - batch[1]).square().mean())
    assert seen is None


def test_a_watched_loop_shows_its_edges_as_well() -> None:
    for edges, codes in ((IN_ORDER.reshape(2, -1), ["misread_edges"]), (IN_ORDER.t(), [])):
        model = Graph(edges, "rows")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        with Monitor(model, optimizer, every=1) as monitor:
            for _ in range(3):
                loss = model(torch.randn(NODES, 4)).square().mean()
                optimizer.zero_grad()
                loss.backward()
                monitor.after_backward(loss)
                optimizer.step()
        assert [f.code for f in monitor.diagnose().findings if f.rule == "misread_edges"] == codes
