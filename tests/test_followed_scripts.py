"""What `run` and `Monitor` say of loops that are not a plain classifier's: side passes, policies, tables, words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trainability import Monitor
from trainability.doctor.diagnosis import Diagnosis
from trainability.loops.script_watch import ScriptWatch


def followed(loop: Callable[[], Any]) -> dict[str, Diagnosis]:
    """The diagnoses of a loop that is followed as a script is."""
    watch = ScriptWatch(Path("loop.py"), every=20, most_steps=None, place=None)
    watch.begin()
    try:
        loop()
    finally:
        watch.end(None)
    return watch.diagnoses


def codes(diagnosis: Diagnosis) -> dict[str, str]:
    return {finding.code: finding.severity for finding in diagnosis.findings}


# ------------------------------------------------------------------------------------------------------- passes on the side


def attacks(every: int, clear: str) -> Callable[[], None]:
    """Adversarial examples at every so many steps, whose own pass leaves gradients that are cleared."""

    def loop() -> None:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for step in range(1, 61):
            inputs = torch.randn(32, 20)
            labels = inputs[:, :5].argmax(dim=1)
            if step % every == 0:
                inputs.requires_grad_()
                F.cross_entropy(model(inputs), labels).backward()
                inputs = (inputs + 0.1 * inputs.grad.sign()).detach()  # type: ignore[union-attr]
                (model if clear == "model" else optimizer).zero_grad()
            loss = F.cross_entropy(model(inputs), labels)
            if step % every:
                optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return loop


@pytest.mark.parametrize(("every", "clear"), [(1, "optimizer"), (2, "optimizer"), (2, "model"), (5, "optimizer")])
def test_a_pass_for_adversarial_examples_is_no_micro_batch(every: int, clear: str) -> None:
    (diagnosis,) = followed(attacks(every, clear)).values()
    assert "accumulation" not in codes(diagnosis)
    assert {step.micro_batches for step in diagnosis.evidence.steps[every:]} == {1}
    assert len(diagnosis.evidence.steps) == 60


@pytest.mark.parametrize(("passes", "fires"), [([1, 2] * 20, False), ([1] * 15 + [2], False), ([3, 2, 2, 2] * 5, True)])
def test_passes_beside_a_step_are_told_from_micro_batches_that_are_counted_wrong(passes: list[int], fires: bool) -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Monitor(model, optimizer) as monitor:
        for count in passes:
            for place in range(count):
                loss = model(torch.randn(8, 4)).square().mean()
                loss.backward()
                monitor.after_backward(loss, is_last=place == count - 1)
            optimizer.step()
            optimizer.zero_grad()
    assert ("accumulation" in codes(monitor.diagnose())) == fires
