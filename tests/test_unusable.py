"""Optimizers with which no step can be made: a number that is NaN or infinite, or a negative rate."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from trainability import Monitor, Setup, check, confirm
from trainability.checking.phase_map import map_of
from trainability.checking.plan import plans_for_setup
from trainability.checking.program import Program
from trainability.cli.program import main
from trainability.doctor.measure.unusable import unusable_number

NAN = math.nan
SAYS = "the optimizer's learning rate is nan; it must be finite and at least 0"
MODULE = """
import torch
from torch import nn
from trainability import Setup

def setup():
    model = nn.Linear(20, 5)
    x = torch.randn(64, 20)
    optimizer = torch.optim.SGD(model.parameters(), lr=float("nan"))
    return Setup(model=model, train_loader=[(x, x[:, :5].argmax(1))] * 4, optimizer=optimizer)
"""
SCRIPT = """
import sys, torch
from torch import nn
model = nn.Linear(20, 5)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
for group in optimizer.param_groups:
    group[sys.argv[1]] = float(sys.argv[2])
x = torch.randn(64, 20)
for _ in range(30):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), x[:, :5].argmax(1)).backward()
    optimizer.step()
"""


def a_setup(**changed: object) -> Setup:
    model = nn.Linear(20, 5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    optimizer.param_groups[0].update(changed)
    x = torch.randn(64, 20)
    return Setup(model=model, train_loader=[(x, x[:, :5].argmax(1))] * 4, optimizer=optimizer)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"lr": NAN}, "learning rate is nan"),
        ({"lr": torch.tensor(NAN)}, "learning rate is nan"),
        ({"lr": math.inf}, "learning rate is inf"),
        ({"lr": -0.1}, "learning rate is -0.1"),
        ({"momentum": NAN}, "momentum is nan"),
        ({"weight_decay": NAN}, "weight_decay is nan"),
        ({"eps": NAN}, "eps is nan"),
        ({"betas": (0.9, NAN)}, "betas[1] is nan"),
        ({"lr": 0.0}, None),
        ({"lr": None, "eps": (None, 1e-3)}, None),  # Adafactor's own rate
    ],
)
def test_the_number_is_named(changed: dict[str, object], said: str | None) -> None:
    setup = a_setup(**changed)
    assert unusable_number(setup.optimizer) == said
    if said is None:
        return
    with pytest.raises(ValueError, match="must be finite and at least 0") as refused:
        check(setup)
    assert str(refused.value) == f"the optimizer's {said}; it must be finite and at least 0"


def test_the_group_is_named_and_the_optimizer_of_several() -> None:
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    sound = torch.optim.SGD(first.parameters(), lr=0.1)
    two_groups = torch.optim.SGD([{"params": [second.weight], "lr": 0.1}, {"params": [second.bias], "lr": NAN}], lr=0.1)
    assert unusable_number(two_groups) == "learning rate of param_groups[1] is nan"
    x = torch.randn(8, 2)
    both = Setup(
        model={"a": first, "b": second},
        train_loader=[(x, x)],
        optimizer={"a": sound, "b": two_groups},
        step=lambda model, optimizer, batch: model["a"](batch[0]).sum(),
    )
    with pytest.raises(ValueError, match=r"optimizer 2's learning rate of param_groups\[1\] is nan"):
        check(both)


def test_confirm_and_plan_refuse_it() -> None:
    for command in (confirm, plans_for_setup):
        with pytest.raises(ValueError, match="learning rate is nan") as refused:
            command(a_setup(lr=NAN))
        assert str(refused.value) == SAYS


@pytest.mark.parametrize("command", ["check", "confirm", "plan", "map"])
def test_commands_say_it_in_one_line(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / f"its_rate_{command}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main([command, f"its_rate_{command}:setup"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.strip().splitlines()[-1] == f"trainability: {SAYS}"


def test_map_of_refuses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "its_rate_map_of.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="learning rate is nan"):
        map_of(Program(target="its_rate_map_of:setup"), steps=100, seconds=1.0)


def ran(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int | str | None:
    (tmp_path / "script.py").write_text(SCRIPT)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["run", *words])
    return ended.value.code


@pytest.mark.parametrize("setting", [("lr", "nan"), ("lr", "-0.1"), ("momentum", "nan")])
def test_a_check_of_a_script_ends_before_the_first_step(
    setting: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(["--check", "script.py", *setting], tmp_path, monkeypatch) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "watching" not in line]
    assert len(lines) == 1
    assert "must be finite" in lines[0]


@pytest.mark.parametrize("setting", [("lr", "nan"), ("lr", "-0.1"), ("weight_decay", "nan")])
def test_a_run_has_one_finding_that_names_it(
    setting: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(["script.py", *setting], tmp_path, monkeypatch) == 0
    said = capsys.readouterr().err
    assert "error unusable_setting" in said
    assert "exploding_gradient" not in said


def test_a_rate_that_becomes_nan_is_found_though_it_recovers() -> None:
    model = nn.Linear(20, 5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(64, 20)
    with Monitor(model, optimizer, every=5) as monitor:
        for step in range(1, 31):
            optimizer.param_groups[0]["lr"] = NAN if step == 12 else 0.1
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), x[:, :5].argmax(1))
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    found = monitor.diagnose().findings
    assert [f.rule for f in found if f.severity == "error"] == ["unusable_setting"]
    assert "step 12" in found[0].seen
