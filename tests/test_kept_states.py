"""Weights that a followed loop keeps by `state_dict()` and puts back: references are told from copies."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from trainability.doctor.diagnosis import Diagnosis
from trainability.loops.script_watch import ScriptWatch


def diagnosis_of(keep: Callable[[nn.Module], Any], put_back: Callable[[nn.Module, Any], Any], every: int = 30) -> Diagnosis:
    """Of 60 steps, after which the weights of step 30 (or of each so many steps) are put back."""
    watch = ScriptWatch(Path("loop.py"), every=20, most_steps=None, place=None)
    watch.begin()
    try:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 5))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        kept = None
        for step in range(60):
            inputs = torch.randn(32, 20)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), inputs[:, :5].argmax(dim=1)).backward()
            optimizer.step()
            if step % every == 0:
                kept = keep(model)
        put_back(model, kept)
    finally:
        watch.end(None)
    (diagnosis,) = watch.diagnoses.values()
    return diagnosis


def loaded(model: nn.Module, kept: Any) -> None:
    model.load_state_dict(kept)


def averaged_in_place(model: nn.Module, kept: Any) -> None:
    for tensor in kept.values():
        tensor.mul_(1)
    model.load_state_dict(kept)


def filled_up(model: nn.Module, kept: Any) -> None:
    model.load_state_dict({**model.state_dict(), **kept})


@pytest.mark.parametrize(
    "keep",
    [
        lambda model: model.state_dict(),
        lambda model: model.state_dict().copy(),
        lambda model: {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()},
        lambda model: copy.copy(model.state_dict()),
    ],
)
def test_weights_kept_by_reference_are_named(keep: Callable[[nn.Module], Any]) -> None:
    diagnosis = diagnosis_of(keep, loaded)
    (finding,) = (f for f in diagnosis.findings if f.rule == "kept_state")
    assert finding.measurements[0].value == 29
    assert diagnosis.asks_for_change


@pytest.mark.parametrize(
    ("keep", "put_back", "every"),
    [
        (lambda model: copy.deepcopy(model.state_dict()), loaded, 30),
        (lambda model: {name: tensor.clone() for name, tensor in model.state_dict().items()}, loaded, 30),
        (lambda model: model.state_dict(), averaged_in_place, 30),
        (lambda model: {"0.weight": model.state_dict()["0.weight"].clone()}, filled_up, 30),
        (lambda model: model, lambda model, kept: model.load_state_dict(kept.state_dict()), 30),
        (lambda model: model.state_dict(), loaded, 59),  # of the last step: nothing was made since
        (lambda model: model.state_dict(), lambda model, kept: copy.deepcopy(model).load_state_dict(kept), 30),
    ],
)
def test_copies_and_states_that_are_current_are_left_alone(
    keep: Callable[[nn.Module], Any], put_back: Callable[[nn.Module, Any], Any], every: int
) -> None:
    assert "kept_state" not in {f.rule for f in diagnosis_of(keep, put_back, every).findings}
