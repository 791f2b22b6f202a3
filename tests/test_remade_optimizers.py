"""Steps that make their optimizer anew at every call, beside those that make several, or one for an inner loop, on purpose."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import trainability

X = torch.randn(640, 6, generator=torch.Generator().manual_seed(0))
Y = X[:, :3].argmax(dim=1)
LOADER = [(X[k : k + 16], Y[k : k + 16]) for k in range(0, 640, 16)]
Make = Callable[[nn.Module], torch.optim.Optimizer]


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), 3e-3)


def descend(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> Tensor:
    optimizer.zero_grad()
    loss = F.cross_entropy(model(batch[0]), batch[1])
    loss.backward()
    optimizer.step()
    return loss.detach()


def anew(make: Make) -> Callable[..., Tensor]:
    return lambda model, optimizer, batch: descend(model, make(model), batch)


def given(model: Any, optimizer: Any, batch: Any) -> Tensor:
    return descend(model, optimizer, batch)


def momentum_by_hand(model: Any, optimizer: Any, batch: Any) -> Tensor:
    """A new optimizer that is given the state of the last one."""
    new = adam(model)
    if optimizer.state:
        new.load_state_dict(optimizer.state_dict())
    loss = descend(model, new, batch)
    optimizer.state.update(new.state)
    return loss


def inner_loop(model: Any, optimizer: Any, batch: Any) -> Tensor:
    """Reptile: some steps of a new optimizer, then part of the way there."""
    before = copy.deepcopy(model.state_dict())
    inner = adam(model)
    losses = [descend(model, inner, batch) for _ in range(3)]
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(before[name] + 0.5 * (p - before[name]))
    return losses[0]


def tried_first(model: Any, optimizer: Any, batch: Any) -> Tensor:
    """The gradient behind a step that is tried and taken back."""
    before = copy.deepcopy(model.state_dict())
    descend(model, adam(model), batch)
    optimizer.zero_grad()
    loss = F.cross_entropy(model(batch[0]), batch[1])
    loss.backward()
    model.load_state_dict(before)
    optimizer.step()
    return loss.detach()


def on_a_copy(model: Any, optimizer: Any, batch: Any) -> Tensor:
    """First-order MAML: the inner step moves a copy."""
    fast = copy.deepcopy(model)
    descend(fast, adam(fast), batch)
    optimizer.zero_grad()
    loss = F.cross_entropy(fast(batch[0]), batch[1])
    for p, g in zip(model.parameters(), torch.autograd.grad(loss, list(fast.parameters())), strict=True):
        p.grad = g
    optimizer.step()
    return loss.detach()


def by_closure(model: Any, optimizer: Any, batch: Any) -> Tensor:
    """L-BFGS that begins anew at each batch, whose curvature is its own."""
    new = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4)

    def closure() -> Tensor:
        new.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        return loss

    return new.step(closure).detach()


def pieces(model: Any, optimizer: Any, batch: Any) -> Tensor:
    """A task at a time: a new optimizer, and several passes over its examples."""
    new = adam(model)
    losses = [descend(model, new, (batch[0][k::4], batch[1][k::4])) for k in range(4)]
    return losses[0]


CASES: dict[str, tuple[Callable[..., Tensor], str | None]] = {
    "Adam": (anew(adam), "warning"),
    "AdamW of two groups": (
        anew(lambda m: torch.optim.AdamW([{"params": m[0].parameters()}, {"params": m[2].parameters()}], 3e-3)),
        "warning",
    ),
    "momentum": (anew(lambda m: torch.optim.SGD(m.parameters(), 0.1, momentum=0.9)), "warning"),
    "Adagrad": (anew(lambda m: torch.optim.Adagrad(m.parameters(), 0.01, initial_accumulator_value=0.1)), "warning"),
    "nothing kept": (anew(lambda m: torch.optim.SGD(m.parameters(), 0.1)), "hint"),
    "given": (given, None),
    "state handed on": (momentum_by_hand, None),
    "inner loop": (inner_loop, None),
    "tried first": (tried_first, None),
    "on a copy": (on_a_copy, None),
    "by closure": (by_closure, None),
    "pieces": (pieces, None),
}


@pytest.mark.parametrize("name", CASES)
def test_optimizers_that_a_step_makes(name: str) -> None:
    step, severity = CASES[name]
    model = net()
    before = copy.deepcopy(model.state_dict())
    diagnosis = trainability.check(model, LOADER, optimizer=adam(model), step=step, rehearse_seconds=3)
    assert {f.rule: f.severity for f in diagnosis.findings}.get("remade_optimizer") == severity
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_attribute_that_is_made_anew() -> None:
    class Trainer:
        def __init__(self) -> None:
            self.net = net()
            self.optimizer = adam(self.net)

        def step(self, model: Any, optimizer: Any, batch: Any) -> Tensor:
            self.optimizer = adam(self.net)
            return descend(self.net, self.optimizer, batch)

    trainer = Trainer()
    diagnosis = trainability.check(trainer.net, LOADER, step=trainer.step, rehearse_seconds=3)
    (found,) = (f for f in diagnosis.findings if f.rule == "remade_optimizer")
    assert found.severity == "warning"
    assert found.measurements[0].value >= 5


def test_looks_at_the_loss_take_no_step() -> None:
    """Looks between the steps run the body, and are not to move the weights: the losses are those of the loop alone."""
    model, losses = net(), list[float]()
    twin = copy.deepcopy(model)

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        return descend(model, adam(model), batch)

    diagnosis = trainability.check(model, LOADER, optimizer=adam(model), step=step, rehearse_seconds=3)
    for batch in LOADER[8:]:  # the first eight are the reference
        losses.append(float(step(twin, None, batch)))
    rehearsal = diagnosis.evidence.rehearsal
    assert rehearsal is not None
    for made, found in zip(rehearsal.steps, losses, strict=False):
        assert made.loss == pytest.approx(found, rel=1e-4)
