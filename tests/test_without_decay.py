"""Weight decay that takes a hundredth of a weight at each step, where it costs what it costs, and where it helps."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import trainability
from trainability.doctor import Diagnosis

RNG = torch.Generator().manual_seed(0)
X = torch.randn(2400, 20, generator=RNG)
CLASSES = (X @ torch.randn(20, 4, generator=RNG)).argmax(dim=1)
VALUES = torch.sin(2 * X[:, :1]) + X[:, 1:2] * X[:, 2:3] + 0.5 * X[:, 3:4]
NOISED = torch.where(torch.rand(2400, generator=RNG) < 0.5, torch.randint(4, (2400,), generator=RNG), CLASSES)
Make = Callable[[nn.Module], torch.optim.Optimizer]


def net(outputs: int = 1, width: int = 64, *, norm: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs in (20, width):
        layers += [nn.Linear(inputs, width), *([nn.BatchNorm1d(width)] if norm else []), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def adam(lr: float, decay: float) -> Make:
    return lambda model: torch.optim.AdamW(model.parameters(), lr, weight_decay=decay)


def on_the_head(model: nn.Module) -> torch.optim.Optimizer:
    body, head = list(model[:-1].parameters()), list(model[-1].parameters())  # type: ignore[index]
    return torch.optim.AdamW([{"params": body, "weight_decay": 0.0}, {"params": head, "weight_decay": 5.0}], 1e-2)


def loader(target: Tensor, rows: slice, size: int = 64) -> DataLoader:
    return DataLoader(TensorDataset(X[rows], target[rows]), size, shuffle=True, generator=torch.Generator().manual_seed(0))


def loss_of(output: Tensor, target: Tensor) -> Tensor:
    return F.mse_loss(output, target) if target.is_floating_point() else F.cross_entropy(output, target)


def checked(
    model: nn.Module,
    make: Make,
    target: Tensor = VALUES,
    *,
    rows: int = 2000,
    size: int = 64,
    held_out: bool = True,
    **told: Any,
) -> Diagnosis:
    train, val = loader(target, slice(0, rows), size), loader(target, slice(2000, None))
    told |= {"val_loader": val} if held_out else {}
    return trainability.check(model, train, loss_of, optimizer=make(model), rehearse_seconds=8, **told)


def found(diagnosis: Diagnosis) -> str | None:
    return {f.code: f.severity for f in diagnosis.findings}.get("weights_decayed.held_out")


FAULTS: dict[str, dict[str, Any]] = {
    "AdamW": {"model": net, "make": adam(1e-2, 5.0)},
    "AdamW at a smaller rate": {"model": net, "make": adam(3e-3, 10.0)},
    "classes": {"model": lambda: net(4), "make": adam(1e-2, 20.0), "target": CLASSES},
    "momentum": {
        "model": net,
        "make": lambda m: torch.optim.SGD(m.parameters(), 0.1, momentum=0.9, weight_decay=0.03),
    },
    "nothing held out": {
        "model": lambda: net(4),
        "make": adam(1e-2, 20.0),
        "target": CLASSES,
        "held_out": False,
        "size": 16,
    },
}
SOUND: dict[str, dict[str, Any]] = {
    "a usual decay": {"model": net, "make": adam(1e-2, 0.01)},
    "a strong one": {"model": net, "make": adam(1e-2, 0.3)},
    "few examples, wrong labels": {"model": lambda: net(4, 256), "make": adam(1e-2, 3.0), "target": NOISED, "rows": 128},
    "a head alone": {"model": net, "make": on_the_head},
    "ridge regression of few examples": {
        "model": lambda: nn.Linear(20, 4),
        "make": adam(1e-2, 3.0),
        "target": NOISED,
        "rows": 64,
    },
    "none, nothing held out": {"model": net, "make": adam(1e-2, 0.0), "held_out": False},
    "normalised, momentum": {
        "model": lambda: net(4, norm=True),
        "make": lambda m: torch.optim.SGD(m.parameters(), 0.1, momentum=0.9, weight_decay=5e-3),
        "target": CLASSES,
    },
}


@pytest.mark.parametrize("name", FAULTS)
def test_decay_that_costs(name: str) -> None:
    told = dict(FAULTS[name])
    assert found(checked(told.pop("model")(), told.pop("make"), **told)) == "warning"


@pytest.mark.parametrize("name", SOUND)
def test_decay_that_does_not(name: str) -> None:
    told = dict(SOUND[name])
    assert found(checked(told.pop("model")(), told.pop("make"), **told)) is None


def test_everything_is_as_before() -> None:
    model = net()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=5.0)
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    diagnosis = checked(model, lambda _: optimizer)
    assert diagnosis.evidence.rehearsal is not None
    tried = diagnosis.evidence.rehearsal.decay_tried
    assert tried is not None
    assert tried.share == pytest.approx(0.05)
    assert tried.without < 0.5 * tried.loss
    assert optimizer.param_groups[0]["weight_decay"] == 5.0
    assert not optimizer.state
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
