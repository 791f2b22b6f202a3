"""Networks like one that is watched: copies of an inner loop are left alone, critics and ensembles are watched."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.loops.lookalikes import LONG_LIVED
from trainability.loops.script_watch import ScriptWatch


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))


def batch() -> tuple[Tensor, Tensor]:
    x = torch.randn(16, 3)
    return x, x.sum(dim=1, keepdim=True)


def fit(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        x, y = batch()
        optimizer.zero_grad()
        F.mse_loss(model(x), y).backward()
        optimizer.step()


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.05)


def reptile(outer: int, inner: int) -> None:
    """The weights move towards where a few steps on a copy lead, by an optimizer of their own."""
    slow = net()
    optimizer = sgd(slow)
    fit(slow, optimizer, 5)
    for _ in range(outer):
        fast = copy.deepcopy(slow)
        fit(fast, sgd(fast), inner)
        optimizer.zero_grad()
        for p, q in zip(slow.parameters(), fast.parameters(), strict=True):
            p.grad = p.detach() - q.detach()
        optimizer.step()


def copies_alone() -> None:
    slow = net()
    for _ in range(30):
        fast = copy.deepcopy(slow)
        fit(fast, sgd(fast), 2)


def two_parts(steps: int) -> None:
    """Two modules that share an optimizer, again and again."""
    for _ in range(4):
        first, second = nn.Linear(3, 8), nn.Linear(8, 1)
        optimizer = torch.optim.SGD([*first.parameters(), *second.parameters()], lr=0.05)
        for _ in range(steps):
            x, y = batch()
            optimizer.zero_grad()
            F.mse_loss(second(first(x)), y).backward()
            optimizer.step()


def twin_critics() -> None:
    critics = [net(), net()]
    optimizers = [sgd(critic) for critic in critics]
    for _ in range(6):
        x, y = batch()
        for critic, optimizer in zip(critics, optimizers, strict=True):
            optimizer.zero_grad()
            F.mse_loss(critic(x), y).backward()
            optimizer.step()


def ensemble() -> None:
    for _ in range(3):
        member = net()
        fit(member, sgd(member), 2 * LONG_LIVED)


def two_phases() -> None:
    """One network, with a new optimizer for each phase."""
    model = net()
    for _ in range(2):
        fit(model, sgd(model), 4)


def other_shapes() -> None:
    for width in (4, 5, 6):
        model = nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 1))
        fit(model, sgd(model), 4)


def followed(loop: Callable[[], Any], folder: Path) -> tuple[ScriptWatch, list[Path]]:
    torch.manual_seed(0)
    watch = ScriptWatch(Path("loop.py"), every=20, most_steps=None, place=lambda: folder / "run")
    watch.begin()
    try:
        loop()
    finally:
        watch.end(None)
    return watch, list(folder.glob("run/**/findings.json"))


@pytest.mark.parametrize(
    ("loop", "watched", "short"),
    [
        (lambda: reptile(40, 3), 1, 40),
        (copies_alone, 1, 29),
        (lambda: two_parts(5), 1, 3),
        (lambda: two_parts(2 * LONG_LIVED), 4, 0),
        (twin_critics, 2, 0),
        (ensemble, 3, 0),
        (two_phases, 2, 0),
        (other_shapes, 3, 0),
    ],
    ids=["reptile", "copies alone", "parts, short", "parts, long", "twin critics", "ensemble", "two phases", "other shapes"],
)
def test_copies_of_an_inner_loop_are_left_alone(
    loop: Callable[[], Any], watched: int, short: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    watch, runs = followed(loop, tmp_path)
    assert len(watch.diagnoses) == watched
    said = " ".join(capsys.readouterr().err.split())
    assert (f"not watched: {short} networks like one" in said) if short else ("not watched" not in said)
    assert len(runs) == watched


def test_steps_of_the_outer_loop_are_its_own(tmp_path: Path) -> None:
    """The losses of copies are none of the network's: as many steps as its own optimizer makes, and their first losses."""
    watch, _ = followed(lambda: reptile(30, 3), tmp_path)
    (found,) = watch.diagnoses.values()
    assert [step.step for step in found.evidence.steps][-1] <= 35


def test_members_that_go_on_are_watched_from_there_on(tmp_path: Path) -> None:
    watch, _ = followed(ensemble, tmp_path)
    first, *others = (diagnosis.evidence.steps[0].step for diagnosis in watch.diagnoses.values())
    assert first == 1
    assert others == [LONG_LIVED + 1] * 2
