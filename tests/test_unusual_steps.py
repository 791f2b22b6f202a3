"""Steps that most hooks do not expect: sparse batches, optimizers that compute their own step, gradients of each example."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, jacrev, vmap
from torch.nn import functional as F

from trainability import Setup, check
from trainability.doctor.measure.whole_step import loss_of_body
from trainability.loops.script_watch import ScriptWatch

NODES = 60


class Graph(nn.Module):
    """Two layers of a graph convolution with a sparse adjacency."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        answer: Tensor = torch.sparse.mm(adjacency, self.second(torch.sparse.mm(adjacency, self.first(x)).relu()))
        return answer


def graph(layout: torch.layout) -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    kind = torch.randint(0, 3, (NODES,), generator=rng)
    joined = (torch.rand(NODES, NODES, generator=rng) < 0.05 + 0.3 * (kind[:, None] == kind)).float() + torch.eye(NODES)
    adjacency = joined / joined.sum(dim=1, keepdim=True)
    x = F.one_hot(kind, 8) + torch.randn(NODES, 8, generator=rng)
    return x, adjacency.to_sparse(layout=layout), kind


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr], ids=["coo", "csr"])
def test_a_graph_with_a_sparse_adjacency_is_one_batch(layout: torch.layout) -> None:
    torch.manual_seed(0)
    model = Graph()

    def training_step(model: nn.Module, batch: Any) -> Tensor:
        x, adjacency, kind = batch
        return F.cross_entropy(model(x, adjacency), kind)

    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    found = check(model, [graph(layout)], training_step=training_step, optimizer=optimizer, rehearse_seconds=20.0)
    assert found.verdict == "will train"
    assert {f.severity for f in found.findings} <= {"hint"}


class OwnStep(torch.optim.Optimizer):
    """A damped Gauss-Newton step, which needs no gradient, and has no learning rate."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"damping": 1e-2})

    @torch.no_grad()
    def step(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:  # type: ignore[override]
        named = {name: p.detach() for name, p in model.named_parameters()}

        def residual(weights: dict[str, Tensor]) -> Tensor:
            return (functional_call(model, weights, (x,)) - y).flatten()

        r = residual(named)
        slopes = torch.cat([each.reshape(len(r), -1) for each in jacrev(residual)(named).values()], dim=1)
        damped = slopes.T @ slopes + self.param_groups[0]["damping"] * torch.eye(slopes.shape[1])
        change = torch.linalg.solve(damped, slopes.T @ r)
        for p, part in zip(model.parameters(), change.split([p.numel() for p in named.values()]), strict=True):
            p -= 0.2 * part.view_as(p)
        return r.square().mean()


def by_own_step(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
    loss: Tensor = optimizer.step(model, *batch)
    return loss


def by_clipped_examples(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
    """The gradient of each example, at most of size 1, and noise: differentially private gradients."""
    weights = {name: p.detach() for name, p in model.named_parameters()}

    def cost(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return F.mse_loss(functional_call(model, weights, (x[None],)), y[None])

    each, losses = vmap(grad_and_value(cost), in_dims=(None, 0, 0))(weights, *batch)
    size = torch.stack([g.flatten(1).norm(dim=1) for g in each.values()]).norm(dim=0)
    shrunk = (1 / size).clamp(max=1.0)
    for name, p in model.named_parameters():
        p.grad = torch.einsum("n,n...->...", shrunk, each[name]) / len(size) + 1e-4 * torch.randn_like(p)
    optimizer.step()
    return losses.mean()


@pytest.mark.parametrize(
    ("build", "step"),
    [(lambda p: OwnStep(p), by_own_step), (lambda p: torch.optim.SGD(p, 0.3), by_clipped_examples)],
    ids=["own step", "clipped examples"],
)
def test_steps_without_a_backward_pass_are_rehearsed(build: Callable[[Any], Any], step: Any) -> None:
    torch.manual_seed(0)
    x = torch.randn(256, 3)
    y = torch.sin(x[:, :1]) + x[:, 1:2] * 0.5
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    before = [p.detach().clone() for p in model.parameters()]
    loader = [(x[i : i + 64], y[i : i + 64]) for i in range(0, 256, 64)]
    found = check(
        Setup(model=model, train_loader=loader, optimizer=build(model.parameters()), step=step, rehearse_seconds=20.0)
    )
    assert found.evidence.rehearsal is not None
    looks = found.evidence.rehearsal.reference
    assert looks[-1].loss < 0.5 * looks[0].loss
    assert {f.severity for f in found.findings} <= {"hint"}
    assert all(torch.equal(old, p) for old, p in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize("clears", [True, False])
def test_a_loop_that_takes_derivatives_by_itself_is_followed(clears: bool) -> None:
    """Two tasks whose gradients are added by hand, as where they are projected on each other first."""
    torch.manual_seed(0)
    x = torch.randn(256, 3)
    y = torch.stack([x[:, 0] + 0.1 * x[:, 1] ** 2, x[:, 2]], dim=1)
    watch = ScriptWatch(Path("loop.py"), every=5, most_steps=None, place=None)
    watch.begin()
    try:
        model = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 2))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        for _ in range(60):
            if clears:
                optimizer.zero_grad()
            output = model(x)
            for task in range(2):
                loss = F.mse_loss(output[:, task], y[:, task])
                slopes = torch.autograd.grad(loss, model.parameters(), retain_graph=True)
                for p, g in zip(model.parameters(), slopes, strict=True):
                    p.grad = g if p.grad is None else p.grad + g
            optimizer.step()
    finally:
        watch.end(None)
    (diagnosis,) = watch.diagnoses.values()
    steps = diagnosis.evidence.steps
    assert len(steps) == 60
    assert steps[0].micro_batches == 1
    assert ("missing_zero_grad" in {f.rule for f in diagnosis.findings}) is not clears
    assert {f.severity for f in diagnosis.findings} <= {"hint"} or not clears


@pytest.mark.parametrize("by", [None, 1.0, -1.0])
def test_a_backward_pass_from_a_negative_follows_it(by: float | None) -> None:
    """Critics are often trained by `loss.backward(minus_one)`: what falls is the number's negative."""
    torch.manual_seed(0)
    x = torch.randn(64, 3)
    gradient = None if by is None else torch.tensor(by)
    sign = 1.0 if by is None else by

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = sign * model(batch).square().mean()
        loss.backward(gradient)
        optimizer.step()
        return loss

    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    losses: list[Tensor] = []
    forward = loss_of_body(model, optimizer, step, losses)
    assert forward is not None
    assert float(forward(model, x).detach()) > 0
    watch = ScriptWatch(Path("loop.py"), every=5, most_steps=None, place=None)
    watch.begin()
    try:
        model = nn.Linear(3, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        for _ in range(30):
            step(model, optimizer, x)
    finally:
        watch.end(None)
    (diagnosis,) = watch.diagnoses.values()
    assert all(step.loss > 0 for step in diagnosis.evidence.steps)
    assert not [f for f in diagnosis.findings if f.severity != "hint"]


def surgery(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> Tensor:
    """Gradients of two tasks without what conflicts, written in place of the last step's, which are cleared late."""
    x, y = batch
    output, parameters = model(x), list(model.parameters())
    losses = [F.mse_loss(output[:, task], y[:, task]) for task in range(2)]
    flat = []
    for loss in losses:
        slopes = torch.autograd.grad(loss, parameters, retain_graph=True)
        flat.append(torch.cat([g.flatten() for g in slopes]))
    conflict = torch.dot(*flat)
    total = flat[0] + flat[1] - min(0.0, float(conflict)) * flat[1] / flat[1].square().sum()
    optimizer.zero_grad()
    for p, g in zip(parameters, total.split([p.numel() for p in parameters]), strict=True):
        p.grad = g.view_as(p)
    optimizer.step()
    return sum(losses, torch.zeros(())).detach()


@pytest.mark.parametrize("way", ["check", "run"])
def test_gradients_that_are_cleared_behind_derivatives_taken_by_hand_are_not_old(way: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(256, 3)
    y = torch.stack([x[:, 0] + 0.1 * x[:, 1] ** 2, x[:, 2] - x[:, 0]], dim=1)
    watch = ScriptWatch(Path("loop.py"), every=5, most_steps=None, place=None)
    if way == "run":
        watch.begin()
    try:
        model = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 2))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        if way == "check":
            found = check(model, [(x, y)] * 4, step=surgery, optimizer=optimizer, rehearse_seconds=20.0)
        for _ in range(60 if way == "run" else 0):
            surgery(model, optimizer, (x, y))
    finally:
        if way == "run":
            watch.end(None)
            (found,) = watch.diagnoses.values()
    assert {f.severity for f in found.findings} <= {"hint"}
    assert found.evidence.steps or found.evidence.rehearsal.stale_fraction == 0.0


@pytest.mark.parametrize(
    "wrap",
    [lambda model: torch.compile(model, backend="eager"), nn.DataParallel],
    ids=["compiled", "data parallel"],
)
def test_a_wrapped_model_with_a_step_of_its_own_is_checked(wrap: Callable[[nn.Module], Any]) -> None:
    torch.manual_seed(0)
    x = torch.randn(256, 3)
    model = wrap(nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 1)))
    loader = [(x[i : i + 64], x[i : i + 64, :1] ** 2) for i in range(0, 256, 64)]
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    found = check(
        model,
        loader,
        training_step=lambda model, batch: F.mse_loss(model(batch[0]), batch[1]),
        optimizer=optimizer,
        rehearse_seconds=20.0,
    )
    assert found.verdict == "will train"
    assert {f.severity for f in found.findings} <= {"hint"}
