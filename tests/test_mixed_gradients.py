"""Two optimizers that take turns: whose gradients hold what the other's loss has left there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Setup, check


def game(way: str) -> Setup:
    torch.manual_seed(0)
    models = {"maker": nn.Linear(4, 2), "judge": nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1))}
    optimizers = {name: torch.optim.Adam(model.parameters(), lr=1e-3) for name, model in models.items()}

    def loss_of_judge(judge: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        said, told = judge(real), judge(fake)
        ones, zeros = torch.ones_like(said), torch.zeros_like(told)
        return F.binary_cross_entropy_with_logits(said, ones) + F.binary_cross_entropy_with_logits(told, zeros)

    def step(model: Any, optimizer: Any, real: Tensor) -> Tensor:
        maker, judge = model["maker"], model["judge"]
        if way == "one loss of both":
            for each in optimizer.values():
                each.zero_grad()
            loss = loss_of_judge(judge, real, maker(torch.randn(len(real), 4)))
            loss.backward()
            for each in optimizer.values():
                each.step()
            return loss
        if way != "cleared before its own":
            optimizer["maker"].zero_grad()
        for _ in range(3 if way == "several turns" else 1):
            fake = maker(torch.randn(len(real), 4))
            optimizer["judge"].zero_grad()
            loss = loss_of_judge(judge, real, fake.detach() if way == "detached" else fake)
            loss.backward()
            optimizer["judge"].step()
        if way == "cleared before its own":
            optimizer["maker"].zero_grad()
        told = judge(maker(torch.randn(len(real), 4)))
        F.binary_cross_entropy_with_logits(told, torch.ones_like(told)).backward()
        optimizer["maker"].step()
        return loss

    data = torch.randn(640, 2) + 2
    return Setup(model=models, optimizer=optimizers, step=step, train_loader=list(data.split(32)), rehearse_seconds=5)


@pytest.mark.parametrize(
    ("way", "fires"),
    [
        ("kept", True),
        ("several turns", True),
        ("detached", False),
        ("cleared before its own", False),  # what the judge's loss leaves is cleared; the judge's own is, at its turn
        ("one loss of both", False),
    ],
)
def test_gradients_of_another_loss_that_are_not_cleared(way: str, fires: bool) -> None:
    found = check(game(way))
    assert ("stale_gradients.opponent" in [f.code for f in found.findings]) is fires
    assert found.evidence.rehearsal is not None
    assert found.evidence.rehearsal.mixed_gradient == ("maker.weight" if fires else None)


def tasks(*, shared_first: bool) -> Setup:
    """Two tasks with an encoder in common, whose optimizer steps on the sum of what both leave there."""
    torch.manual_seed(0)
    models = {"encoder": nn.Sequential(nn.Linear(4, 16), nn.ReLU()), "classes": nn.Linear(16, 2), "size": nn.Linear(16, 1)}
    optimizers = {name: torch.optim.Adam(model.parameters(), lr=1e-3) for name, model in models.items()}

    def step(model: Any, optimizer: Any, x: Tensor) -> Tensor:
        for each in optimizer.values():
            each.zero_grad()
        first = F.cross_entropy(model["classes"](model["encoder"](x)), (x[:, 0] > x[:, 1]).long())
        first.backward()
        optimizer["classes"].step()
        second = F.mse_loss(model["size"](model["encoder"](x)), x[:, 2:3].abs())
        second.backward()
        for name in ("encoder", "size") if shared_first else ("size", "encoder"):
            optimizer[name].step()
        return first + second

    return Setup(
        model=models, optimizer=optimizers, step=step, train_loader=list(torch.randn(640, 4).split(32)), rehearse_seconds=5
    )


@pytest.mark.parametrize("shared_first", [False, True])
def test_losses_of_tasks_are_to_add_up_in_what_they_share(shared_first: bool) -> None:
    assert "stale_gradients.opponent" not in {f.code for f in check(tasks(shared_first=shared_first)).findings}


CLEARED: dict[str, Callable[[nn.Module, torch.optim.Optimizer], Any]] = {
    "cleared between": lambda judge, optimizer: optimizer.zero_grad(),
    "zeros between": lambda judge, optimizer: optimizer.zero_grad(set_to_none=False),
    "cleared by the model": lambda judge, optimizer: judge.zero_grad(),
    "cleared by hand": lambda judge, optimizer: [setattr(p, "grad", None) for p in judge.parameters()],
}


def own_twice(way: str, judge: nn.Module, optimizer: torch.optim.Optimizer, other: Tensor, own: Tensor) -> None:
    """Both backward passes, of which the judge's gradients hold its own loss alone."""
    if way in CLEARED:
        other.backward()
        CLEARED[way](judge, optimizer)
        own.backward()
        return
    own.backward()
    kept = [p.grad.clone() for p in judge.parameters() if p.grad is not None]
    other.backward()
    for p, gradient in zip(judge.parameters(), kept, strict=True):
        p.grad = gradient


def turns(way: str) -> Setup:
    torch.manual_seed(0)
    models = {"maker": nn.Linear(4, 2), "judge": nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1))}
    optimizers = {name: torch.optim.Adam(model.parameters(), lr=1e-3) for name, model in models.items()}

    def says(told: Tensor, value: float) -> Tensor:
        return F.binary_cross_entropy_with_logits(told, torch.full_like(told, value))

    def step(model: Any, optimizer: Any, real: Tensor) -> Tensor:
        maker, judge = model["maker"], model["judge"]
        fake = maker(torch.randn(len(real), 4))
        for each in optimizer.values():
            each.zero_grad()
        loss = says(judge(real), 1.0) + says(judge(fake.detach()), 0.0)
        if way in ("in turn", "the same wish"):
            loss.backward()
            optimizer["judge"].step()
        if way == "frozen":
            judge.requires_grad_(False)
        other = says(judge(fake), 0.0 if way == "the same wish" else 1.0)
        judge.requires_grad_(True)
        if way in CLEARED or way == "own ones put back":
            own_twice(way, judge, optimizer["judge"], other, loss)
        elif way in ("both of its own", "a penalty of its own"):
            loss.backward()
            told = judge(fake.detach())
            (says(told, 1.0) if way == "both of its own" else told.square().mean()).backward()
        elif way == "summed":
            (loss + other).backward()
        elif way == "of its own inputs":
            other.backward(inputs=list(maker.parameters()))
            loss.backward()
        elif way in ("in turn", "the same wish"):
            optimizer["maker"].zero_grad()
            other.backward()
        else:
            loss.backward()
            other.backward()
            nn.utils.clip_grad_norm_(judge.parameters(), 0.01 if way == "clipped" else 1e9)
        for name in ("maker", "judge") if way == "the maker first" else ("judge", "maker"):
            if name == "maker" or way not in ("in turn", "the same wish"):
                optimizer[name].step()
        return loss.detach()

    data = torch.randn(640, 2) + 2
    return Setup(model=models, optimizer=optimizers, step=step, train_loader=list(data.split(32)), rehearse_seconds=3)


@pytest.mark.parametrize(
    ("way", "fires"),
    [
        ("summed", True),
        ("one after the other", True),
        ("the maker first", True),
        ("clipped", True),
        *((way, False) for way in CLEARED),
        ("own ones put back", False),
        ("both of its own", False),
        ("a penalty of its own", False),
        ("frozen", False),
        ("of its own inputs", False),
        ("in turn", False),
        ("the same wish", False),  # which is another fault
    ],
)
def test_a_critic_that_is_stepped_for_both_losses(way: str, fires: bool) -> None:
    found = check(turns(way))
    assert ("stale_gradients.together" in {finding.code for finding in found.findings}) is fires
    assert not fires or found.findings[0].code == "stale_gradients.together"
