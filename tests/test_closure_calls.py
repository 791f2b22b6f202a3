"""Closures that an optimizer evaluates several times in a step, and whose gradients add up, or do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Monitor
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding
from trainability.doctor.measure.rehearsal import rehearse
from trainability.doctor.rehearsed import AddedInClosure
from trainability.doctor.rules.verdict import diagnose


class Descent(torch.optim.Optimizer):
    """Some steps down the gradient, one behind the other."""

    times, rate = 4, 0.05

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {})
        self.held = self.param_groups[0]["params"]

    def move(self, by: float) -> None:
        with torch.no_grad():
            for p in self.held:
                p.sub_(p.grad, alpha=by)

    def step(self, closure: Any = None) -> Any:
        losses = []
        for _ in range(self.times):
            losses.append(closure())
            self.move(self.rate)
        return losses[-1]


class Far(Descent):
    rate = 2.0


class Backtracking(Descent):
    """Shortens a step until the loss is lower; of the points that it tries, it needs the loss alone."""

    def step(self, closure: Any = None) -> Any:
        start, old = closure(), [p.detach().clone() for p in self.held]
        slopes, rate = [p.grad.clone() for p in self.held], 4.0
        while rate > 1e-3:
            with torch.no_grad():
                for p, at, slope in zip(self.held, old, slopes, strict=True):
                    p.copy_(at - rate * slope)
            if closure() < start:
                break
            rate /= 2
        return start


class Mean(Descent):
    """The mean gradient of several evaluations at the same weights."""

    def step(self, closure: Any = None) -> Any:
        losses = [closure() for _ in range(self.times)]
        self.move(self.rate / self.times)
        return losses[-1]


class Decayed(Descent):
    """Scales what it has, and adds to that, on purpose."""

    def move(self, by: float) -> None:
        super().move(by)
        for p in self.held:
            p.grad.mul_(0.5)


class Sharpness(Descent):
    """SAM: the gradient at a point uphill; it clears by itself what took it there."""

    def step(self, closure: Any = None) -> Any:
        closure()
        self.move(-self.rate)
        for p in self.held:
            p.grad = None
        loss = closure()
        self.move(2 * self.rate)
        return loss


class Noisy(Descent):
    """The mean gradient at weights with noise, summed up on purpose; its steps are so long that the loss rises."""

    rate = 8.0

    def step(self, closure: Any = None) -> Any:
        losses, draw = [], torch.Generator().manual_seed(0)
        for _ in range(self.times):
            noise = [0.01 * torch.randn(p.shape, generator=draw) for p in self.held]
            with torch.no_grad():
                torch._foreach_add_(self.held, noise)
            losses.append(closure())
            with torch.no_grad():
                torch._foreach_sub_(self.held, noise)
        self.move(self.rate / self.times)
        return losses[-1]


def lbfgs(parameters: Any, **options: Any) -> torch.optim.LBFGS:
    return torch.optim.LBFGS(parameters, **{"lr": 0.5, "max_iter": 8, **options})


def once(parameters: Any) -> torch.optim.LBFGS:
    return lbfgs(parameters, max_iter=1)


def searched(parameters: Any) -> torch.optim.LBFGS:
    return lbfgs(parameters, line_search_fn="strong_wolfe")


class Own(torch.optim.LBFGS):
    def step(self, closure: Any) -> Any:
        return super().step(closure=closure)


def _closure(way: str, model: nn.Module, optimizer: Any, x: Tensor, y: Tensor, then: Callable[[Tensor], None]) -> Any:
    optimizer.zero_grad()

    def closure() -> Tensor:
        if "attack" in way:
            near = x.clone().requires_grad_()
            F.mse_loss(model(near), y).backward()
        if way in ("inside", "micro", "attack, inside"):
            optimizer.zero_grad()
        if way == "data":
            for p in model.parameters():
                if p.grad is not None:
                    p.grad.data.zero_()
        if "by hand" in way:
            loss = F.mse_loss(model(x), y)
            for p, gradient in zip(model.parameters(), torch.autograd.grad(loss, list(model.parameters())), strict=True):
                p.grad = gradient
            then(loss)
            return loss.detach()
        parts = 2 if way == "micro" else 1
        losses = [F.mse_loss(model(x[k::parts]), y[k::parts]) / parts for k in range(parts)]
        for loss in losses:
            loss.backward()
        if way == "clipped":
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        if way == "clipped by value":
            nn.utils.clip_grad_value_(model.parameters(), 0.01)
        total = torch.stack(losses).sum()
        then(total)
        return total.detach()

    return closure


def body(way: str) -> Callable[..., Any]:
    def step(model: Any, optimizer: Any, batch: Any) -> Any:
        x, y = batch
        return optimizer.step(_closure(way, model, optimizer, x, y, lambda loss: None))

    return step


def program(make: Callable[..., Any]) -> tuple[nn.Module, Any, list[tuple[Tensor, Tensor]]]:
    torch.manual_seed(0)
    x = torch.randn(256, 6)
    y = x[:, :1] * x[:, 1:2] + x[:, 2:3]
    model = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 1))
    return model, make(model.parameters()), [(x, y)] * 4


def seen(make: Callable[..., Any], way: str = "outside") -> tuple[list[Finding], AddedInClosure | None]:
    rehearsal = rehearse(*program(make), step=body(way), max_steps=5, seconds=100.0)
    assert len(rehearsal.steps) >= 4 or rehearsal.ended_by == "not finite"
    return list(diagnose(Evidence(rehearsal=rehearsal)).findings), rehearsal.added_in_closure


@pytest.mark.parametrize("make", [lbfgs, searched, Own, Far])
def test_gradients_that_add_up_in_a_closure_are_the_cause(make: Callable[..., Any]) -> None:
    found, added = seen(make)
    assert [(f.code, f.severity) for f in found if f.severity == "error"] == [("stale_gradients.closure", "error")]
    assert "inside of the closure" in found[0].remedy
    assert added is not None
    assert added.added == added.later > 3
    assert added.is_lbfgs is (make is not Far)


@pytest.mark.parametrize("way", ["attack", "clipped", "clipped by value"])
def test_gradients_add_up_behind_an_attack_and_clipped_ones_do(way: str) -> None:
    found, added = seen(lbfgs, way)
    assert [f.code for f in found if f.severity == "error"] == ["stale_gradients.closure"]
    assert added is not None
    assert added.added == added.later > 3


@pytest.mark.parametrize("way", ["inside", "data", "micro", "by hand", "attack, inside", "attack, by hand"])
def test_a_closure_that_clears_is_no_finding(way: str) -> None:
    for make in (lbfgs, Far):
        found, added = seen(make, way)
        assert added is None
        assert "stale_gradients" not in {f.rule for f in found}


@pytest.mark.parametrize("make", [once, Mean, Decayed, Sharpness, Noisy, torch.optim.SGD, torch.optim.Adam])
def test_gradients_that_are_not_those_of_other_weights_are_no_finding(make: Callable[..., Any]) -> None:
    found, added = seen(make)
    assert added is None
    assert "stale_gradients" not in {f.rule for f in found}


@pytest.mark.parametrize("make", [Backtracking, Descent])
def test_an_optimizer_of_the_users_that_lowers_the_loss_is_no_finding(make: Callable[..., Any]) -> None:
    found, added = seen(make)
    assert added is not None
    assert not added.is_lbfgs
    assert "stale_gradients" not in {f.rule for f in found}


def test_everything_is_as_before() -> None:
    model, optimizer, batches = program(lbfgs)
    before = [p.detach().clone() for p in model.parameters()]
    rehearse(model, optimizer, batches, step=body("outside"), max_steps=5, seconds=100.0)
    assert all(map(torch.equal, before, model.parameters()))
    assert all(p.grad is None and not p._backward_hooks for p in model.parameters())


def watched(make: Callable[..., Any], way: str) -> tuple[list[str], list[float], nn.Module]:
    (model, optimizer, batches), losses = program(make), []
    with Monitor(model, optimizer, every=50, asks_step=False) as monitor:
        for x, y in batches:
            closure = _closure(way, model, optimizer, x, y, monitor.after_backward)
            losses.append(float(optimizer.step(closure=closure)))
    return [f.code for f in monitor.diagnose().findings if f.severity == "error"], losses, model


@pytest.mark.parametrize(
    ("make", "way", "found"), [(lbfgs, "outside", True), (lbfgs, "inside", False), (once, "outside", False)]
)
def test_a_watched_loop_is_told_and_left_alone(make: Callable[..., Any], way: str, found: bool) -> None:
    codes, losses, model = watched(make, way)
    assert codes == (["missing_zero_grad.closure"] if found else [])
    other, optimizer, batches = program(make)
    assert losses == [float(body(way)(other, optimizer, batch)) for batch in batches]
    assert all(map(torch.equal, model.parameters(), other.parameters()))
    assert not any(p._backward_hooks or p._post_accumulate_grad_hooks for p in model.parameters())


def test_no_closure_and_what_is_no_function_are_handed_on() -> None:
    class Told(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:  # type: ignore[override]
            assert isinstance(closure, dict | nn.Module | None)
            return super().step()

    model = nn.Linear(2, 1)
    optimizer = Told(model.parameters(), lr=0.1)
    with Monitor(model, optimizer, asks_step=False) as monitor:
        for given in ({"closure": 1}, model, None):
            loss = model(torch.ones(3, 2)).square().mean()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step(given)
    assert monitor.evidence().problems == ()
