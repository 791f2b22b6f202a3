"""One of several optimizers that makes no step, beside those that do, and those whose parameters another one moves."""

from __future__ import annotations

import pytest
import torch
from test_followed_scripts import codes, followed
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability import Setup, check
from trainability.doctor.measure.order import OrderCounter

X = torch.randn(320, 12, generator=torch.Generator().manual_seed(0))
Y = X[:, :4].argmax(dim=1)
WAYS = {  # what is stepped in each step, and whether that leaves one idle
    "one twice": (("encoder", "encoder"), True),
    "each once": (("encoder", "head"), False),
    "one, which holds all": (("all",), False),
}


def parts(way: str) -> tuple[dict[str, nn.Module], dict[str, torch.optim.Optimizer]]:
    torch.manual_seed(0)
    models = {"encoder": nn.Sequential(nn.Linear(12, 24), nn.Tanh()), "head": nn.Linear(24, 4)}
    optimizers = {name: torch.optim.Adam(model.parameters(), lr=1e-2) for name, model in models.items()}
    if "all" in WAYS[way][0]:
        optimizers["all"] = torch.optim.Adam([p for model in models.values() for p in model.parameters()], lr=1e-2)
    return models, optimizers


def body(way: str, models: dict[str, nn.Module], optimizers: dict[str, torch.optim.Optimizer], x: Tensor, y: Tensor) -> Tensor:
    for optimizer in optimizers.values():
        optimizer.zero_grad()
    loss = F.cross_entropy(models["head"](models["encoder"](x)), y)
    loss.backward()
    for name in WAYS[way][0]:
        optimizers[name].step()
    return loss


@pytest.mark.parametrize("way", WAYS)
def test_check_names_an_optimizer_that_makes_no_step(way: str) -> None:
    models, optimizers = parts(way)
    setup = Setup(
        model=models,
        optimizer=optimizers,
        train_loader=DataLoader(TensorDataset(X, Y), 32, shuffle=True),
        step=lambda model, optimizer, batch: body(way, model, optimizer, *batch),
        rehearse_seconds=3,
    )
    found = {f.code: f for f in check(setup).findings if f.severity != "hint"}
    assert ("never_steps.one" in found) == WAYS[way][1]
    assert "unmoved_parameter.without_gradient" not in found
    if WAYS[way][1]:
        assert set(found["never_steps.one"].layers) == {"head.weight", "head.bias"}


@pytest.mark.parametrize("way", WAYS)
def test_run_names_it_too(way: str) -> None:
    def loop() -> None:
        models, optimizers = parts(way)
        for step in range(120):
            rows = torch.arange(32 * step, 32 * (step + 1)) % len(X)
            body(way, models, optimizers, X[rows], Y[rows])

    said = [code for diagnosis in followed(loop).values() for code in codes(diagnosis)]
    assert ("never_steps.one" in said) == WAYS[way][1]


def test_equal_inputs_with_other_labels_are_no_repeated_batch() -> None:
    found = []
    for labels in ((Y[:32], Y[32:64], Y[64:96]), (Y[:32],) * 3):
        counter = OrderCounter(None)
        for each in labels:
            counter.add(each, [0] * 32)
        order = counter.result()
        assert order is not None
        found.append(order.repeated_batches)
    assert found == [0, 2]
