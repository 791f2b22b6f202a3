"""Models that are affine as a whole though their layers do not take each other's output, and those that are so on purpose."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import diagnose
from trainability.doctor.evidence import Evidence
from trainability.doctor.measure.facts import look

NODES, FEATURES, ROWS = 6, 3, 60


def ring() -> Tensor:
    return (torch.eye(NODES) + torch.eye(NODES).roll(1, 0) + torch.eye(NODES).roll(-1, 0)) / 3


class Graph(nn.Module):
    """Layers on a graph, each of its own and of the neighbours' features."""

    def __init__(self, *widths: int, act: Callable[[Tensor], Tensor] = lambda x: x, last: Any = None) -> None:
        super().__init__()
        pairs = list(itertools.pairwise(widths))
        self.near = nn.ModuleList(nn.Linear(a, b) for a, b in pairs)
        self.own = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in pairs)
        self.act, self.last = act, last
        self.adjacency = nn.Buffer(ring())

    def forward(self, x: Tensor) -> Tensor:
        for place, (near, own) in enumerate(zip(self.near, self.own, strict=True)):
            x = near(self.adjacency @ x) + own(x)
            x = self.act(x) if place < len(self.near) - 1 else x
        x = x.squeeze(-1)
        return self.last(x) if self.last is not None else x


class OwnMatrices(nn.Module):
    """Matrices that the module holds itself, with a product between."""

    def __init__(self, hidden: int = 8, *, tied: bool = False, gate: bool = False) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(FEATURES, hidden))
        self.second = nn.Parameter(torch.randn(hidden, hidden))
        self.third = self.second if tied else nn.Parameter(torch.randn(hidden, hidden))
        self.head = nn.Parameter(torch.randn(hidden, 1))
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        h = ring() @ x @ self.first
        h = h + ring() @ torch.einsum("bnh,hk->bnk", h, self.second)
        h = ring() @ h @ self.third
        h = h * x.mean(-1, keepdim=True).sigmoid() if self.gate else h
        return (h @ self.head).squeeze(-1)


class Propagated(nn.Module):
    """One trained layer behind several products with the adjacency."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(FEATURES, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(ring() @ ring() @ x).squeeze(-1)


class Beside(nn.Module):
    """Two trained layers beside each other."""

    def __init__(self) -> None:
        super().__init__()
        self.slow, self.fast = nn.Linear(FEATURES, 1), nn.Linear(FEATURES, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean = ring() @ x
        return (self.slow(mean) + self.fast(x - mean)).squeeze(-1)


class Recurrent(nn.Module):
    """A linear system: one matrix, step after step."""

    def __init__(self) -> None:
        super().__init__()
        self.take, self.state, self.give = nn.Linear(FEATURES, 8), nn.Linear(8, 8), nn.Linear(8, NODES)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(len(x), 8)
        for step in x.unbind(1):
            h = self.state(h) + self.take(step)
        return self.give(h)


class Corrected(nn.Module):
    """A linear path, and a branch with an activation whose last layer begins at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head, self.inner, self.outer = (nn.Linear(a, b) for a, b in ((3, 8), (8, 1), (8, 8), (8, 8)))
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, x: Tensor) -> Tensor:
        h = ring() @ self.stem(x)
        return self.head(ring() @ h + self.outer(self.inner(h).relu())).squeeze(-1)


class Rotated(nn.Module):
    """A matrix by its own factors, which are multiplied before they meet the data."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Parameter(torch.randn(3, 3)), nn.Parameter(torch.randn(3, 3))
        self.head = nn.Linear(3, 1)
        self.head.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(ring() @ x @ (self.left @ torch.diag(torch.rand(3)) @ self.right)).squeeze(-1)


class LowRank(nn.Module):
    """A frozen layer with a correction of low rank."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Linear(FEATURES, NODES).requires_grad_(False)
        self.down, self.up = nn.Linear(FEATURES, 1, bias=False), nn.Linear(1, NODES, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = ring() @ x
        return (self.frozen(x) + self.up(self.down(x))).mean(-1)


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm, self.two = nn.Linear(FEATURES, 8), nn.BatchNorm1d(NODES), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(ring() @ self.norm(ring() @ self.one(x))).squeeze(-1)


def product(x: Tensor) -> Tensor:
    """What no affine function is."""
    near = ring() @ x
    return near[:, :, 0] * near[:, :, 1]


def linear(x: Tensor) -> Tensor:
    return (ring() @ ring() @ x).sum(-1)


def squared(out: Tensor, y: Tensor) -> Tensor:
    return ((out - y) ** 2).mean()


def bounded(out: Tensor, y: Tensor) -> Tensor:
    return F.mse_loss(out.tanh(), y)


def marks(out: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(out, (y > 0).float())


def shares(out: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy(out, (y > 0).float())


PROGRAMS: dict[str, tuple[Callable[[], nn.Module], Callable, Callable, bool]] = {
    "no activation": (lambda: Graph(3, 16, 16, 1), F.mse_loss, product, True),
    "yes or no": (lambda: Graph(3, 16, 1), marks, product, True),
    "a sigmoid at the end": (lambda: Graph(3, 16, 1, last=torch.sigmoid), shares, product, True),
    "a loss by hand": (lambda: Graph(3, 16, 1), squared, product, True),
    "own matrices": (OwnMatrices, F.mse_loss, product, True),
    "relu": (lambda: Graph(3, 16, 16, 1, act=torch.relu), F.mse_loss, product, False),
    "leaky relu": (lambda: Graph(3, 16, 1, act=lambda x: F.leaky_relu(x, 0.9)), F.mse_loss, product, False),
    "softplus": (lambda: Graph(3, 16, 1, act=F.softplus), F.mse_loss, product, False),
    "a gate": (lambda: OwnMatrices(gate=True), F.mse_loss, product, False),
    "one layer": (Propagated, F.mse_loss, product, False),
    "layers beside each other": (Beside, F.mse_loss, product, False),
    "one matrix again and again": (Recurrent, F.mse_loss, product, False),
    "a branch that begins at zero": (Corrected, F.mse_loss, product, False),
    "factors of one matrix": (Rotated, F.mse_loss, product, False),
    "low rank": (LowRank, lambda out, y: F.mse_loss(out, y), product, False),
    "a bottleneck": (lambda: Graph(3, 1, 3), lambda out, y: F.mse_loss(out, y[:, :, None].expand_as(out)), product, False),
    "batch norm": (Normed, F.mse_loss, product, False),
    "a function in the loss": (lambda: Graph(3, 16, 1), bounded, product, False),
    "targets that are linear": (lambda: Graph(3, 16, 16, 1), F.mse_loss, linear, False),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_models_that_are_affine_as_a_whole(name: str) -> None:
    torch.manual_seed(0)
    build, loss_fn, target, is_named = PROGRAMS[name]
    model, batches = build(), []
    for _ in range(4):
        x = torch.randn(ROWS, NODES, FEATURES)
        batches.append((x, target(x)))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    facts = look(model, batches[0], lambda model, batch: loss_fn(model(batch[0]), batch[1]), batches=batches)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    found = [f for f in diagnose(Evidence(facts=facts)).findings if f.rule == "linear_stack"]
    assert [f.severity for f in found if f.severity != "hint"] == (["warning"] if is_named else [])
    measured = facts.readings.affine
    assert (measured is not None) is is_named
    assert measured is None or (measured.gap < 1e-3 and measured.mixed > 1e-2 and len(found[0].layers) >= 2)


class Two(nn.Module):
    """A model of two inputs, of which only the first is a function of two trained layers behind each other."""

    def __init__(self, answer: Callable[..., Tensor], *widths: int, other: int = NODES) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise((FEATURES, *widths)))
        self.also = nn.Linear(other, 16)
        self.table = nn.Embedding(NODES, 16)
        self.answer = answer

    def forward(self, graph: tuple[Tensor, Tensor]) -> Tensor:
        return self.answer(self, *graph)


def stack(net: Any, x: Tensor, adjacency: Tensor, between: Callable[[Tensor], Tensor] = lambda h: h) -> Tensor:
    h = adjacency @ between(net.layers[0](adjacency @ x))
    return net.layers[1](h).squeeze(-1)


def by_degree(net: Any, x: Tensor, adjacency: Tensor) -> Tensor:
    """Neighbours by the roots of degrees, and the mean over the nodes that have neighbours."""
    degrees = adjacency.sum(-1, keepdim=True)
    norm = degrees.clamp(min=1).pow(-0.5)
    near = norm * adjacency * norm.transpose(1, 2)
    h = net.layers[0](x) + torch.einsum("bij,bjf->bif", near, net.layers[0](x) + x.sum(-1, keepdim=True))
    h = net.layers[1](near @ h) * (degrees > 0).float()
    return net.layers[2](h.sum(1) / (degrees > 0).float().sum(1))


def along_edges(net: Any, x: Tensor, edges: Tensor) -> Tensor:
    """Nodes of all graphs in one tensor, and pairs of them."""
    for layer in net.layers[:-1]:
        x = torch.zeros(len(x), layer.in_features).index_add(0, edges[1], x[edges[0]])
        x = layer(x)
    return net.layers[-1](x).squeeze(-1)


def graphs() -> Tensor:
    return (torch.rand(ROWS, NODES, NODES) < 0.5).float()


def attended(net: Any, x: Tensor, z: Tensor) -> Tensor:
    return net.layers[1](net.also(z) @ (net.also(z).transpose(1, 2) @ net.layers[0](x))).squeeze(-1)


def weighted(net: Any, x: Tensor, z: Tensor) -> Tensor:
    return net.layers[1](net.layers[0](x) @ net.also(z).mean(1)[:, :, None].expand(-1, -1, 16)).squeeze(-1)


GIVEN: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor], bool]] = {
    "a graph for each example": (lambda: Two(stack, 16, 1), graphs, True),
    "roots of degrees, and a mask": (lambda: Two(by_degree, 16, 16, 1), graphs, True),
    "edges of joined graphs": (lambda: Two(along_edges, 16, 16, 1), lambda: torch.randint(0, ROWS, (2, 3 * ROWS)), True),
    "relu": (lambda: Two(lambda net, x, z: stack(net, x, z, torch.relu), 16, 1), graphs, False),
    "one weight": (lambda: Two(lambda net, x, z: net.layers[0](z @ z @ x).squeeze(-1), 1), graphs, False),
    "a bottleneck": (lambda: Two(lambda net, x, z: stack(net, x, z).flatten(1), 1, 3), graphs, False),
    "bilinear": (
        lambda: Two(lambda net, x, z: net.layers[1](net.layers[0](x) * net.also(z)).squeeze(-1), 16, 1),
        lambda: torch.rand(ROWS, NODES, NODES),
        False,
    ),
    "features weighed by an input": (
        lambda: Two(lambda net, x, z: net.layers[1](net.layers[0](x) * z).squeeze(-1), 16, 1),
        lambda: torch.rand(ROWS, NODES, 16),
        False,
    ),
    "a product of two embeddings": (
        lambda: Two(lambda net, x, z: net.layers[1](net.layers[0](x) * net.table(z)).squeeze(-1), 16, 1),
        lambda: torch.randint(0, NODES, (ROWS, NODES)),
        False,
    ),
    "linear attention": (lambda: Two(attended, 16, 1), graphs, False),
    "weights made of an input": (lambda: Two(weighted, 16, 1), graphs, False),
    "attention over an input": (
        lambda: Two(lambda net, x, z: stack(net, x, z.softmax(dim=-1)), 16, 1),
        lambda: torch.rand(ROWS, NODES, NODES),
        False,
    ),
    "a gate for each node": (
        lambda: Two(lambda net, x, z: net.layers[1](net.layers[0](x) * z.mean(-1, keepdim=True).sigmoid()).squeeze(-1), 16, 1),
        graphs,
        False,
    ),
}


@pytest.mark.parametrize("name", GIVEN)
def test_another_input_that_differs_between_batches_must_be_no_gate(name: str) -> None:
    torch.manual_seed(0)
    build, other, is_named = GIVEN[name]
    model, batches = build(), []
    for _ in range(4):
        z = other()
        x = torch.randn(ROWS, FEATURES) if len(z) == 2 else torch.randn(ROWS, NODES, FEATURES)
        batches.append(((x, z), x[..., 0] * x[..., 1]))

    def step(model: nn.Module, batch: Any) -> Tensor:
        out = model(batch[0])
        return F.mse_loss(out, batch[1].reshape(ROWS, -1).repeat(1, 3)[:, : out[0].numel()].reshape(out.shape))

    facts = look(model, batches[0], step, batches=batches)
    assert (facts.readings.affine is not None) is is_named
