"""Scripts that make their optimizer inside the loop, and those that make several on purpose."""

from pathlib import Path

import pytest

from trainability.cli import program as cli

SCRIPT = """
import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(640, 6)
y = x[:, :3].argmax(dim=1)
model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))

def make():
    return OPTIMIZER

optimizer = make()
for epoch in range(8):
    if epoch in AGAIN:
        optimizer = make()
    for k in range(0, 640, 32):
        if EACH:
            optimizer = make()
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[k : k + 32]), y[k : k + 32])
        loss.backward()
        optimizer.step()
"""
ADAM, SGD = "torch.optim.Adam(model.parameters(), 1e-2)", "torch.optim.SGD(model.parameters(), 0.1)"
CASES: dict[str, tuple[str, str, str, str | None]] = {  # optimizer, epochs at which it is made anew, each step, severity
    "each step": (ADAM, "()", "True", "warning"),
    "each epoch": (ADAM, "range(8)", "False", "warning"),
    "each step, nothing kept": (SGD, "()", "True", "hint"),
    "once": (ADAM, "()", "False", None),
    "three stages": (ADAM, "(3, 6)", "False", None),
}


@pytest.mark.parametrize("name", CASES)
def test_optimizers_that_are_made_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    optimizer, again, each, severity = CASES[name]
    script = tmp_path / "train.py"
    script.write_text(SCRIPT.replace("OPTIMIZER", optimizer).replace("AGAIN", again).replace("EACH", each))
    with pytest.raises(SystemExit):
        cli.main(["run", "--dir", str(tmp_path / "run"), str(script)])
    printed = "".join(capsys.readouterr())
    assert printed.count("watching") <= 2
    assert (f"{severity} remade_optimizer" in printed) if severity else ("remade_optimizer" not in printed)


STAGES = """
import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(640, 6)
y = (x.square().sum(dim=1) > 5).long()
body, head = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU()), nn.Linear(16, 2)
model = nn.Sequential(body, head)

def fit(optimizer, epochs):
    for _ in range(epochs):
        for k in range(0, 640, 16):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[k : k + 16]), y[k : k + 16]).backward()
            optimizer.step()

body.requires_grad_(False)
fit(torch.optim.Adam(head.parameters(), 1e-3), 4)
body.requires_grad_(True)
fit(torch.optim.Adam(model.parameters(), 1e-3), 4)
"""


def test_what_was_frozen_in_the_first_stage_is_not_said_to_lack_a_gradient(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "train.py"
    script.write_text(STAGES)
    with pytest.raises(SystemExit):
        cli.main(["run", "--dir", str(tmp_path / "run"), str(script)])
    printed = "".join(capsys.readouterr())
    assert "no_gradient" not in printed
    assert "by 0 of their size" not in printed
