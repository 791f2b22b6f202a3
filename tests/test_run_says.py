"""What `trainability run` says of a script at its end, and what it leaves behind."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from trainability.loops.script_watch import ScriptWatch


def test_a_script_that_makes_its_gradients_by_hand_is_not_asked_for_after_backward() -> None:
    watch = ScriptWatch(Path("loop.py"), every=2, most_steps=None, place=None)
    watch.begin()
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(5):
        model(torch.randn(8, 4))
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
    watch.end(None)
    (diagnosis,) = watch.diagnoses.values()
    assert "blind.uncalled" not in {finding.code for finding in diagnosis.findings}
