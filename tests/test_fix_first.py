"""What `plan` and `map` say of a program that no plan helps."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trainability import Setup
from trainability.checking.fix_first import to_fix_first
from trainability.cli.program import main

PROGRAMS = """
import torch
from torch import nn

from trainability import Setup


def program(broken):
    torch.manual_seed(0)
    inputs = torch.randn(256, 8)
    data = torch.utils.data.TensorDataset(inputs, inputs[:, :4].argmax(dim=1))
    loader = torch.utils.data.DataLoader(data, batch_size=32, shuffle=True)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    held = nn.Linear(8, 4) if broken else model
    return Setup(model=model, train_loader=loader, optimizer=torch.optim.SGD(held.parameters(), lr=0.1))


def foreign():
    return program(True)


def sound():
    return program(False)
"""


def setup(*last: nn.Module, lr: float = 0.1, held: nn.Module | None = None) -> Setup:
    torch.manual_seed(0)
    inputs = torch.randn(256, 8)
    data = torch.utils.data.TensorDataset(inputs, inputs[:, :4].argmax(dim=1))
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4), *last)
    optimizer = torch.optim.SGD((model if held is None else held).parameters(), lr=lr)
    return Setup(model=model, train_loader=torch.utils.data.DataLoader(data, batch_size=32, shuffle=True), optimizer=optimizer)


def with_weights(fill, **settings: float) -> Setup:
    made = setup(**settings)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in made.model.parameters():
            fill(parameter)
    return made


BROKEN = {
    "foreign_optimizer": lambda: setup(held=nn.Linear(8, 4)),
    "softmax_twice": lambda: setup(nn.Softmax(dim=1)),
    "wrong_sign": lambda: dataclasses.replace(setup(), loss_fn=lambda outputs, labels: -F.cross_entropy(outputs, labels)),
}
HELPED = {  # by weights, or by a rate
    "sound": setup,
    "zero weights": lambda: with_weights(nn.init.zeros_),
    "huge weights": lambda: with_weights(lambda weight: nn.init.normal_(weight, std=100.0)),
    "dead units": lambda: with_weights(lambda weight: nn.init.constant_(weight, -10.0) if weight.dim() == 1 else None),
    "a rate that is too large": lambda: setup(lr=1e4),
}


@pytest.mark.parametrize("code", BROKEN)
def test_what_no_plan_undoes_is_named(code: str) -> None:
    assert code in [finding.code for finding in to_fix_first(BROKEN[code]())]


@pytest.mark.parametrize("name", HELPED)
def test_what_a_plan_undoes_is_not(name: str) -> None:
    assert to_fix_first(HELPED[name]()) == ()


def test_nothing_of_the_program_is_changed() -> None:
    made = setup(held=nn.Linear(8, 4))
    before = [parameter.detach().clone() for parameter in made.model.parameters()]
    state = torch.random.get_rng_state()
    assert to_fix_first(made)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(one, other) for one, other in zip(before, made.model.parameters(), strict=True))


@pytest.mark.parametrize("command", ["plan", "map"])
def test_it_is_said_before_the_plan_which_is_made_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    module = f"own_{command}_first"
    (tmp_path / f"{module}.py").write_text(PROGRAMS)

    def printed(*arguments: str) -> tuple[list[str], str]:
        with pytest.raises(SystemExit) as stop:
            main([command, *arguments])
        assert not stop.value.code
        seen = capsys.readouterr()
        return seen.out.splitlines(), seen.err

    broken, _ = printed(f"{module}:foreign")
    assert "foreign_optimizer (" in broken[0]
    assert f"trainability check {module}:foreign" in broken[0]
    assert len(broken) > 5
    sound, _ = printed(f"{module}:sound")
    assert not any("foreign_optimizer" in line for line in sound)
    out, error = printed("--json", f"{module}:foreign")
    assert json.loads("\n".join(out))
    assert "foreign_optimizer (" in error
