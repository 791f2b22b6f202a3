"""Graphs whose edges are joined without counting on; and batches that look like it, of which nothing is wrong."""

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Monitor
from trainability.doctor.measure.certain import facts_of

RNG = torch.Generator().manual_seed(0)
ODD, EVEN = (7, 12, 9, 11, 8, 10), (9,) * 6


def ring(size: int) -> Tensor:
    """Edges both ways, to the next node and the one behind it."""
    nodes = torch.arange(size)
    one_way = torch.cat([torch.stack([nodes, (nodes + far) % size]) for far in (1, 2)], 1)
    return torch.cat([one_way, one_way.flip(0)], 1)


def joined(sizes: tuple[int, ...], *, shift: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    starts = torch.tensor((0, *sizes)).cumsum(0)
    edges = [ring(size) + (start if shift else 0) for size, start in zip(sizes, starts[:-1], strict=True)]
    owner = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    return torch.randn(sum(sizes), 3, generator=RNG), torch.cat(edges, 1), owner, torch.arange(len(sizes)) % 2


class Net(nn.Module):
    def __init__(self, way: str = "owner") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.way, self.first, self.head = way, nn.Linear(3, 8), nn.Linear(8, 2)

    def spread(self, h: Tensor, edges: Tensor) -> Tensor:
        if self.way == "pairs":
            return torch.zeros_like(h).index_add_(0, edges[:, 1], h.index_select(0, edges[:, 0]))
        if self.way == "scatter":
            loops = torch.arange(len(h))
            source, target = torch.cat([edges[0], loops]), torch.cat([edges[1], loops])
            return torch.zeros_like(h).scatter_add(0, target[:, None].expand(-1, h.shape[1]), h[source])
        if self.way in ("sparse", "dense"):
            table = torch.sparse_coo_tensor(edges, torch.ones(edges.shape[1]), (len(h), len(h)))
            return torch.sparse.mm(table, h) if self.way == "sparse" else table.to_dense() @ h
        return torch.zeros_like(h).index_add_(0, edges[1], h[edges[0]])

    def forward(self, x: Tensor, edges: Tensor, parts: Tensor) -> Tensor:
        h = self.first(x)
        h = h + self.spread(h, edges)
        if self.way == "sizes":
            return self.head(torch.stack([part.mean(0) for part in h.split(parts.tolist())]))
        if self.way == "ptr":
            return self.head(torch.stack([h[a:b].mean(0) for a, b in itertools.pairwise(parts.tolist())]))
        return self.head(torch.zeros(int(parts.max()) + 1, h.shape[1]).index_add_(0, parts, h))


def step(model: Any, batch: Any) -> Tensor:
    return F.cross_entropy(model(*batch[:-1]), batch[-1])


def batch_for(way: str, sizes: tuple[int, ...], *, shift: bool) -> tuple[Tensor, ...]:
    x, edges, owner, y = joined(sizes, shift=shift)
    counts = torch.tensor(sizes)
    parts = {"sizes": counts, "ptr": F.pad(counts.cumsum(0), (1, 0))}.get(way, owner)
    return x, edges.t().contiguous() if way == "pairs" else edges, parts, y


def by_check(model: nn.Module, batch: Any, how: Callable[[Any, Any], Tensor] = step) -> bool:
    found = facts_of(model, batch, training_step=how).readings.edges
    return found is not None and found.how == "unshifted"


def by_monitor(model: nn.Module, batch: Any, how: Callable[[Any, Any], Tensor] = step, *, asks: bool = False) -> bool:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with Monitor(model, optimizer, every=1, asks_step=asks) as monitor:
        for _ in range(2):
            loss = how(model, batch)
            optimizer.zero_grad()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    return "misread_edges.unshifted" in [f.code for f in monitor.diagnose().findings]


@pytest.mark.parametrize("sizes", [ODD, EVEN])
@pytest.mark.parametrize("way", ["owner", "pairs", "scatter", "sparse", "dense", "sizes", "ptr"])
def test_edges_that_all_lie_in_the_first_graph_are_named(way: str, sizes: tuple[int, ...]) -> None:
    is_told_twice = way != "dense" or sizes != EVEN  # an adjacency of zeros and ones does not tell how often
    assert by_check(Net(way), batch_for(way, sizes, shift=False)) is is_told_twice or way == "dense"
    assert not by_check(Net(way), batch_for(way, sizes, shift=True))


@pytest.mark.parametrize("way", ["owner", "pairs", "sparse", "sizes", "ptr"])
def test_a_watched_loop_names_them_as_well(way: str) -> None:
    sizes = (7, 12, 9, 11, 8, 10, 13)
    x, edges, parts, y = batch_for(way, sizes, shift=False)
    if way != "pairs":
        edges = edges[:, 1:]  # as many for each graph, and the model might shift them itself
    else:
        edges = edges[1:]
    assert by_monitor(Net(way), (x, edges, parts, y))
    assert not by_monitor(Net(way), batch_for(way, sizes, shift=True))


class Shifts(nn.Module):
    """Is given edges by the numbers of their own graph, and which graph each is of."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def forward(self, x: Tensor, edges: Tensor, parts: Tensor, of: Tensor) -> Tensor:
        starts = F.pad(torch.bincount(parts).cumsum(0), (1, 0))
        return self.net(x, edges + starts[of], parts)


def with_owners_of_edges() -> tuple[nn.Module, Any]:
    x, edges, owner, y = joined(ODD, shift=False)
    return Shifts(), (x, edges, owner, torch.arange(6).repeat_interleave(4 * torch.tensor(ODD)), y)


def first_has_edges_alone() -> tuple[nn.Module, Any]:
    x, _, owner, y = joined(EVEN, shift=True)
    return Net(), (x, ring(9), owner, y)


def one_graph() -> tuple[nn.Module, Any]:
    """Nodes in the order of their clusters, and edges between all of them."""
    owner = torch.arange(6).repeat_interleave(10)
    return Net(), (torch.randn(60, 3), torch.randint(60, (2, 300), generator=RNG), owner, torch.arange(6) % 2)


def trained_part_alone() -> tuple[nn.Module, Any]:
    """One graph whose later nodes have no edges yet."""
    owner = torch.arange(6).repeat_interleave(10)
    return Net(), (torch.randn(60, 3), torch.randint(45, (2, 300), generator=RNG), owner, torch.arange(6) % 2)


class TwoKinds(nn.Module):
    """Users and films, each kind by numbers of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor, edges: Tensor, kind: Tensor) -> Tensor:
        users, films = (self.first(x[kind == k]) for k in (0, 1))
        films = films + torch.zeros_like(films).index_add_(0, edges[1], users[edges[0]])
        return self.head(torch.stack([users.mean(0), films.mean(0)]))


def two_kinds() -> tuple[nn.Module, Any]:
    kind = torch.arange(2).repeat_interleave(30)
    edges = torch.randint(30, (2, 200), generator=RNG)
    return TwoKinds(), (torch.randn(60, 3), edges, kind, torch.tensor([0, 1]))


class Padded(nn.Module):
    """Dense batches: (graphs, nodes, features), and edges by numbers within their graph."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor, edges: Tensor, of: Tensor) -> Tensor:
        h = self.first(x)
        flat = h.flatten(0, 1)
        source, target = edges + of * x.shape[1]
        return self.head((flat + torch.zeros_like(flat).index_add_(0, target, flat[source])).view_as(h).mean(1))


def padded() -> tuple[nn.Module, Any]:
    edges = torch.cat([ring(size) for size in ODD], 1)
    of = torch.arange(6).repeat_interleave(4 * torch.tensor(ODD))
    return Padded(), (torch.randn(6, 12, 3), edges, of, torch.arange(6) % 2)


class Nearest(nn.Module):
    """Edges that are made in the forward pass; and words of sentences that are joined, with places within each."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def forward(self, x: Tensor, places: Tensor, parts: Tensor) -> Tensor:
        near = (x[:, None] - x[None]).square().sum(2) + 1e3 * (parts[:, None] != parts[None])
        target = near.topk(4, largest=False).indices[:, 1:]
        edges = torch.stack([torch.arange(len(x)).repeat_interleave(3), target.flatten()])
        table = torch.arange(len(x) * 3.0).view(-1, 3) / len(x)
        return self.net(x + table[places], edges, parts)


def nearest() -> tuple[nn.Module, Any]:
    x, _, owner, y = joined(ODD, shift=True)
    return Nearest(), (x, torch.cat([torch.arange(size) for size in ODD]), owner, y)


SOUND = [with_owners_of_edges, first_has_edges_alone, one_graph, trained_part_alone, two_kinds, padded, nearest]


@pytest.mark.parametrize("make", SOUND)
def test_batches_that_look_like_it_are_left_alone(make: Callable[[], tuple[nn.Module, Any]]) -> None:
    assert not by_check(*make())
    assert not by_monitor(*make())


def test_a_model_that_may_shift_edges_by_itself_is_told_from_one_that_does_not_by_asking_a_step() -> None:
    """There are as many in each graph."""
    assert not by_monitor(Net(), joined(EVEN, shift=False))
    assert by_monitor(Net(), joined(EVEN, shift=False), asks=True)


def test_a_batch_may_be_an_object_of_the_programs_own() -> None:
    x, edges, owner, y = joined(ODD, shift=False)
    batch = SimpleNamespace(x=x, edges=edges, owner=owner, y=y)
    assert by_check(Net(), batch, lambda m, b: F.cross_entropy(m(b.x, b.edges, b.owner), b.y))
