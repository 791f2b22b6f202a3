"""New weights in a narrow format that rounds nearly all of a step away, beside those that it does not keep from learning."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import trainability
from trainability.doctor import Diagnosis

HALF = torch.bfloat16
RNG = torch.Generator().manual_seed(1)
X = torch.randn(2000, 20, generator=RNG)
Y = (X @ torch.randn(20, 4, generator=RNG) + X.square() @ torch.randn(20, 4, generator=RNG)).argmax(dim=1)
VALUES = torch.sin(2 * X[:, :1]) + X[:, 1:2] * X[:, 2:3]
Make = Callable[[nn.Module], torch.optim.Optimizer]


def net(outputs: int = 4) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, outputs)]
    return nn.Sequential(*layers)


def trained() -> nn.Sequential:
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for k in range(400):
        rows = torch.arange(64 * k, 64 * k + 64) % len(X)
        optimizer.zero_grad()
        F.cross_entropy(model(X[rows]), Y[rows]).backward()
        optimizer.step()
    return model


def with_new_head() -> nn.Sequential:
    model = trained()
    model[-1] = nn.Linear(64, 4)
    return model


class RoundedByChance(torch.optim.Optimizer):
    """Signs of gradients, added in float32 and rounded up or down by chance."""

    def __init__(self, parameters: Any, lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                new = p.float() - group["lr"] * p.grad.float().sign()
                bits = new.view(torch.int32) + torch.randint(0, 1 << 16, new.shape, dtype=torch.int32)
                p.copy_((bits & -65536).view(torch.float32))


def loss_of(output: Tensor, target: Tensor) -> Tensor:
    output = output.float()
    return F.mse_loss(output, target) if target.is_floating_point() else F.cross_entropy(output, target)


def checked(model: nn.Module, make: Make, *, dtype: torch.dtype = HALF, target: Tensor = Y, **told: Any) -> Diagnosis:
    model = model.to(dtype)
    data = TensorDataset(X.to(dtype), target)
    loader = DataLoader(data, 64, shuffle=True, generator=torch.Generator().manual_seed(0))
    optimizer = make(model)
    told = {"loss_fn": loss_of, **told}
    if "warm_up" in told:
        steps = told.pop("warm_up")
        told["scheduler"] = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: min(1.0, (t + 1) / steps))
    return trainability.check(model, loader, optimizer=optimizer, planned_steps=3000, rehearse_seconds=6, **told)


def codes(diagnosis: Diagnosis) -> dict[str, str]:
    return {f.code or f.rule: f.severity for f in diagnosis.findings}


def adam(lr: float) -> Make:
    return lambda model: torch.optim.AdamW(model.parameters(), lr)


def sgd(lr: float) -> Make:
    return lambda model: torch.optim.SGD(model.parameters(), lr)


FAULTS: dict[str, dict[str, Any]] = {
    "Adam": {"model": lambda: net(1), "make": adam(2e-5), "target": VALUES},
    "descent": {"model": net, "make": sgd(3e-3)},
}
SOUND: dict[str, dict[str, Any]] = {
    "Adam in float32": {"model": lambda: net(1), "make": adam(2e-5), "target": VALUES, "dtype": torch.float32},
    "descent in float32": {"model": net, "make": sgd(3e-3), "dtype": torch.float32},
    "a larger rate": {"model": net, "make": adam(1e-3)},
    "momentum": {"model": net, "make": lambda model: torch.optim.SGD(model.parameters(), 0.03, momentum=0.9)},
    "rounded by chance": {"model": net, "make": lambda model: RoundedByChance(model.parameters(), 2e-5)},
    "fine-tuned": {"model": trained, "make": adam(2e-5)},
    "a new head": {"model": with_new_head, "make": adam(2e-5)},
    "warm-up": {"model": net, "make": adam(1e-3), "warm_up": 5000},
}


@pytest.mark.parametrize("name", FAULTS)
def test_steps_that_are_rounded_away(name: str) -> None:
    told = dict(FAULTS[name])
    diagnosis = checked(told.pop("model")(), **told)
    assert codes(diagnosis).get("underflow.unmoved") == "warning"
    assert diagnosis.verdict in ("cannot tell", "too slow")


@pytest.mark.parametrize("name", SOUND)
def test_steps_that_are_not(name: str) -> None:
    told = dict(SOUND[name])
    assert "underflow.unmoved" not in codes(checked(told.pop("model")(), **told))


def test_a_wider_copy_takes_the_steps() -> None:
    model = net().to(HALF)
    wide = [p.detach().float().clone().requires_grad_() for p in model.parameters()]

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        held = optimizer.param_groups[0]["params"]
        loss = loss_of(model(batch[0]), batch[1])
        loss.backward()
        for p, own in zip(model.parameters(), held, strict=True):
            own.grad, p.grad = p.grad.float(), None
        optimizer.step()
        with torch.no_grad():
            for p, own in zip(model.parameters(), held, strict=True):
                p.copy_(own)
        return loss.detach()

    loader = DataLoader(TensorDataset(X.to(HALF), Y), 64)
    optimizer = torch.optim.SGD(wide, 3e-3)
    diagnosis = trainability.check(model, loader, optimizer=optimizer, step=step, planned_steps=3000, rehearse_seconds=6)
    assert "underflow.unmoved" not in codes(diagnosis)
    assert diagnosis.evidence.rehearsal is not None
    assert not diagnosis.evidence.rehearsal.rounds_steps
