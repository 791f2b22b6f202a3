"""Functions on weights or gradients whose results are dropped, beside those that are used or work in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import check

CODE = "clip_dropped.result"
kept: dict[str, Any] = {}


def clamp_weights(model: nn.Module) -> None:
    for p in model.parameters():
        p.data.clamp(-0.5, 0.5)


def clamp_by_function(model: nn.Module) -> None:
    with torch.no_grad():
        for p in model.parameters():
            torch.clamp(p, -0.5, 0.5)


def shrink(model: nn.Module) -> None:
    with torch.no_grad():
        for p in model.parameters():
            p.mul(0.999)


def times(model: nn.Module) -> None:
    with torch.no_grad():
        for p in model.parameters():
            p * 0.999  # pyright: ignore[reportUnusedExpression]


def in_place(model: nn.Module) -> None:
    for p in model.parameters():
        p.data.clamp_(-0.5, 0.5)


def written_back(model: nn.Module) -> None:
    for p in model.parameters():
        p.data = p.data.clamp(-0.5, 0.5)


def copied(model: nn.Module) -> None:
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.clamp(-0.5, 0.5))


def average(model: nn.Module) -> None:
    for name, p in model.named_parameters():
        kept[name] = kept.get(name, 0.0) * 0.9 + p.data.mul(0.1)


def returned(model: nn.Module) -> list[Tensor]:
    return [limited(p) for p in model.parameters()]


def limited(p: Tensor) -> Tensor:
    return p.data.clamp(-0.5, 0.5)


def asked(model: nn.Module) -> None:
    for p in model.parameters():
        assert p.detach().abs().isfinite().all()
        p.requires_grad_(True)
        p.detach()


def of_gradients(model: nn.Module) -> None:
    for p in model.parameters():
        assert p.grad is not None
        p.grad.data.clamp(-1, 1)


def of_gradients_in_place(model: nn.Module) -> None:
    for p in model.parameters():
        assert p.grad is not None
        p.grad.data.clamp_(-1, 1)


def codes(before: Callable[[Any], Any] | None = None, behind: Callable[[Any], Any] | None = None) -> list[tuple[str, str]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        if before is not None:
            before(model)
        optimizer.step()
        if behind is not None:
            behind(model)
        return loss

    batches = [(x, x[:, :3].argmax(1)) for x in torch.randn(8, 16, 6)]
    found = check(model, batches, step=step, optimizer=optimizer, rehearse_seconds=20).findings
    return [(finding.code, finding.seen) for finding in found if finding.severity != "hint"]


@pytest.mark.parametrize("body", [clamp_weights, clamp_by_function, shrink, times])
def test_a_result_that_is_dropped_is_named(body: Callable[[Any], Any]) -> None:
    ((code, seen),) = codes(behind=body)
    assert code == CODE
    assert " on 0.weight " in seen


@pytest.mark.parametrize("body", [in_place, written_back, copied, average, returned, asked])
def test_what_is_used_or_in_place_is_not(body: Callable[[Any], Any]) -> None:
    assert codes(behind=body) == []


def test_gradients() -> None:
    ((code, seen),) = codes(before=of_gradients)
    assert (code, "the gradient of 0.weight" in seen) == (CODE, True)
    assert codes(before=of_gradients_in_place) == []
