"""Networks that train together, of which one ends in a function that the loss applies again: it is named, and no other is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability import Monitor, Setup
from trainability.checking.check import check_setup

BINARY = F.binary_cross_entropy_with_logits


def networks(*ends: nn.Module) -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {
        "maker": nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2)),
        "judge": nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1), *ends),
    }


def optimizers(models: dict[str, nn.Module]) -> dict[str, torch.optim.Optimizer]:
    return {name: torch.optim.Adam(model.parameters(), 2e-4, betas=(0.5, 0.999)) for name, model in models.items()}


def points() -> DataLoader[Any]:
    angles = torch.randint(8, (640,)) * torch.pi / 4
    return DataLoader(
        TensorDataset(torch.stack([angles.cos(), angles.sin()], 1) + 0.05 * torch.randn(640, 2)), 64, shuffle=True
    )


CASES = [
    ((nn.Sigmoid(),), BINARY, "softmax_twice.sigmoid"),
    ((nn.Tanh(),), BINARY, "clamped_logits.tanh"),
    ((), BINARY, None),
    ((nn.Sigmoid(),), F.binary_cross_entropy, None),
    ((nn.Sigmoid(),), F.mse_loss, None),
]


@pytest.mark.parametrize(("ends", "loss", "code"), CASES)
def test_check_names_it_in_a_body_of_several_losses(ends: tuple[nn.Module, ...], loss: Any, code: str | None) -> None:
    models = networks(*ends)

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        real = batch[0]
        ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
        optimizer["judge"].zero_grad()
        fake = model["maker"](torch.randn(len(real), 8))
        (loss(model["judge"](real), ones) + loss(model["judge"](fake.detach()), zeros)).backward()
        optimizer["judge"].step()
        optimizer["maker"].zero_grad()
        fooled = loss(model["judge"](fake), ones)
        fooled.backward()
        optimizer["maker"].step()
        return fooled

    setup = Setup(model=models, optimizer=optimizers(models), step=step, train_loader=points(), rehearse_seconds=0)
    found = check_setup(setup).findings
    codes = {f.code for f in found if f.rule in ("softmax_twice", "clamped_logits")}
    assert codes == ({code} if code else set())
    assert all("judge[3]" in f.remedy for f in found if f.code == code)


@pytest.mark.parametrize(("ends", "loss", "code"), CASES)
def test_monitor_names_it_of_the_network_that_ends_so(ends: tuple[nn.Module, ...], loss: Any, code: str | None) -> None:
    models = networks(*ends)
    steppers = optimizers(models)
    monitors = {name: Monitor(models[name], steppers[name], every=1) for name in models}
    with monitors["judge"], monitors["maker"]:
        for (real,) in points():
            ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
            fake = models["maker"](torch.randn(len(real), 8))
            steppers["judge"].zero_grad()
            judged = loss(models["judge"](real), ones) + loss(models["judge"](fake.detach()), zeros)
            judged.backward()
            monitors["judge"].after_backward(judged)
            steppers["judge"].step()
            steppers["maker"].zero_grad()
            fooled = loss(models["judge"](fake), ones)
            fooled.backward()
            monitors["maker"].after_backward(fooled)
            steppers["maker"].step()
    said = {name: {f.code for f in monitor.diagnose().findings} for name, monitor in monitors.items()}
    assert said["maker"].isdisjoint({"softmax_twice.sigmoid", "clamped_logits.tanh"})
    assert (code in said["judge"]) == (code is not None)


def test_a_head_that_the_same_optimizer_trains_is_the_networks_own() -> None:
    torch.manual_seed(0)
    body, head = nn.Sequential(nn.Linear(2, 32), nn.ReLU()), nn.Sequential(nn.Linear(32, 1), nn.Sigmoid())
    optimizer = torch.optim.Adam([*body.parameters(), *head.parameters()], 1e-3)
    with Monitor(body, optimizer, every=1) as monitor:
        for (x,) in points():
            loss = BINARY(head(body(x)), (x[:, :1] > 0).float())
            optimizer.zero_grad()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    assert "softmax_twice.sigmoid" in {f.code for f in monitor.diagnose().findings}
