"""Steps that are made again on the same gradients, in checks, in Monitor and in scripts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import trainability
from trainability.cli import program as cli

X = torch.randn(640, 6, generator=torch.Generator().manual_seed(0))
Y = X[:, :3].argmax(dim=1)
LOADER = [(X[k : k + 16], Y[k : k + 16]) for k in range(0, 640, 16)]


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))


def plain(model: Any, optimizer: Any, batch: Any) -> Tensor:
    optimizer.zero_grad()
    loss = F.cross_entropy(model(batch[0]), batch[1])
    loss.backward()
    optimizer.step()
    return loss.detach()


def twice(model: Any, optimizer: Any, batch: Any) -> Tensor:
    loss = plain(model, optimizer, batch)
    optimizer.step()
    return loss


def in_place(model: Any, optimizer: Any, batch: Any) -> Tensor:
    optimizer.zero_grad(set_to_none=False)
    loss = F.cross_entropy(model(batch[0]), batch[1])
    loss.backward()
    optimizer.step()
    return loss.detach()


def by_closure(model: Any, optimizer: Any, batch: Any) -> Tensor:
    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        return loss

    return optimizer.step(closure).detach()


def sharpness_aware(model: Any, optimizer: Any, batch: Any) -> Tensor:
    """Two steps, each behind a backward pass of its own."""
    for _ in range(2):
        loss = plain(model, optimizer, batch)
    return loss


def scaled(*, again: bool, scale: float = 8.0) -> Callable[[Any, Any, Any], Tensor]:
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        scaler.scale(100 * loss).backward()
        scaler.step(optimizer)
        scaler.update()
        if again:
            optimizer.step()
        return loss.detach()

    return step


class Logged(torch.optim.SGD):
    """Its step calls that of its class; PyTorch calls the hooks of both."""

    def step(self, closure: Any = None) -> Any:
        return super().step(closure)


def by_hand(model: Any, optimizer: Any, batch: Any) -> Tensor:
    """Gradients are written through `.data`, which PyTorch does not count."""
    parameters = list(model.parameters())
    loss = F.cross_entropy(model(batch[0]), batch[1])
    for p, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        p.grad.data.copy_(gradient)
    optimizer.step()
    return loss.detach()


BODIES: dict[str, tuple[Callable[[], Callable[[Any, Any, Any], Tensor]], bool | None]] = {  # and whether a scaler is told of
    "plain": (lambda: plain, None),
    "twice": (lambda: twice, False),
    "in place": (lambda: in_place, None),
    "closure": (lambda: by_closure, None),
    "written as data": (lambda: by_hand, None),
    "two passes": (lambda: sharpness_aware, None),
    "scaler": (lambda: scaled(again=False), None),
    "scaler, and again": (lambda: scaled(again=True), True),
    "scaler that leaves steps out, and again": (lambda: scaled(again=True, scale=3e38), True),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_check_counts_steps_without_a_backward_pass(name: str) -> None:
    make, by_scaler = BODIES[name]
    model = net()
    report = trainability.check(model, LOADER, step=make(), optimizer=torch.optim.SGD(model.parameters(), 0.05))
    found = report.evidence.rehearsal
    assert found is not None
    if by_scaler is None:
        assert found.repeated_steps is None
    else:
        repeated, steps, scaler = found.repeated_steps or (0, 0, None)
        assert scaler == by_scaler
        assert steps / 2 - 1 <= repeated <= steps
        (first,) = [f for f in report.findings if f.rule == "repeated_step"]
        assert first.severity == ("error" if by_scaler else "warning")


def test_a_step_inside_of_a_step_is_none() -> None:
    torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1)  # so that the class's own step has hooks
    model = net()
    report = trainability.check(model, LOADER, step=plain, optimizer=Logged(model.parameters(), 0.05))
    assert report.evidence.rehearsal is not None
    assert report.evidence.rehearsal.repeated_steps is None


def test_a_check_with_a_scaler_asks_its_questions() -> None:
    model = net()
    report = trainability.check(model, LOADER, step=scaled(again=False), optimizer=torch.optim.SGD(model.parameters(), 0.05))
    assert report.evidence.facts is not None
    assert not report.evidence.facts.notes
    assert report.evidence.facts.loss == pytest.approx(110, rel=0.3)  # and not what the scaler has made of it


@pytest.mark.parametrize(
    ("body", "told"), [(plain, False), (twice, True), (in_place, False), (by_closure, False), (by_hand, False)]
)
def test_monitor_counts_them_too(body: Callable[[Any, Any, Any], Tensor], told: bool) -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    with trainability.Monitor(model, optimizer, every=5) as monitor:
        for batch in LOADER[:12]:
            monitor.after_backward(body(model, optimizer, batch))
    assert ("repeated_step" in [f.rule for f in monitor.diagnose().findings]) == told


SCRIPT = """
import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(640, 6)
y = x[:, :3].argmax(dim=1)
model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), 5e-4)
scaler = torch.amp.GradScaler("cpu", init_scale=SCALE)
for _ in range(2):
    for k in range(0, 640, 16):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[k : k + 16]), y[k : k + 16])
        scaler.scale(100 * loss).backward()
        scaler.step(optimizer)
        scaler.update()
        AGAIN
"""


@pytest.mark.parametrize("scale", ["8.0", "3e38"])
@pytest.mark.parametrize("again", [False, True])
def test_a_script_with_a_scaler(tmp_path: Path, capsys: pytest.CaptureFixture[str], scale: str, again: bool) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT.replace("SCALE", scale).replace("AGAIN", "optimizer.step()" if again else "pass"))
    with pytest.raises(SystemExit):
        cli.main(["run", "--dir", str(tmp_path / "run"), str(script)])
    assert ("repeated_step" in "".join(capsys.readouterr())) == again
