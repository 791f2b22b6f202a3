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


class GivenEdges(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(FEATURES, 16), nn.Linear(16, 1)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        return self.two(adjacency @ self.one(adjacency @ x)).squeeze(-1)


@pytest.mark.parametrize("is_fixed", [True, False], ids=["one graph", "a graph for each example"])
def test_another_input_must_be_the_same_in_every_batch(is_fixed: bool) -> None:
    torch.manual_seed(0)
    batches = []
    for _ in range(4):
        x = torch.randn(ROWS, NODES, FEATURES)
        batches.append((x, ring() if is_fixed else torch.rand(ROWS, NODES, NODES), product(x)))
    facts = look(GivenEdges(), batches[0], lambda model, batch: F.mse_loss(model(*batch[:2]), batch[2]), batches=batches)
    assert (facts.readings.affine is not None) is is_fixed
