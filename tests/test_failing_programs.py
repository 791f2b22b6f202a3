"""Programs that cannot be looked at: one line says which part failed, why and where, or that there is no batch."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainability import Setup, check, confirm
from trainability.checking.phase_map import map_of
from trainability.checking.plan import plans_for_setup
from trainability.checking.program import Program


class Raises(nn.Module):
    """Its forward pass refuses its input."""

    def __init__(self, error: type[Exception]) -> None:
        super().__init__()
        self.layer, self.error = nn.Linear(20, 5), error

    def forward(self, x: Tensor) -> Tensor:
        raise self.error("expected 3 channels, got 1")


def a_setup(model: nn.Module | None = None, **changed: Any) -> Setup:
    model = model or nn.Sequential(nn.Linear(20, 5))
    x = torch.randn(64, 20)
    words: dict[str, Any] = {"train_loader": [(x, x[:, :5].argmax(1))] * 4, "loss_fn": nn.functional.cross_entropy, **changed}
    return Setup(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1), **words)


def mapped(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(Program, "setup", lambda self: setup)
    return map_of(Program(target="any:thing"), steps=100, seconds=1.0)


COMMANDS: dict[str, Callable[[Setup, pytest.MonkeyPatch], object]] = {
    "check": lambda setup, _: check(setup),
    "confirm": lambda setup, _: confirm(setup),
    "plan": lambda setup, _: plans_for_setup(setup),
    "map": mapped,
}


@pytest.mark.parametrize("error", [ValueError, RuntimeError, KeyError, AssertionError])
@pytest.mark.parametrize("command", COMMANDS)
def test_the_model_is_named_with_the_kind_of_error_and_its_line(
    command: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="failed") as refused:
        COMMANDS[command](a_setup(Raises(error)), monkeypatch)
    said = str(refused.value)
    assert said.startswith("model(inputs) failed")
    assert f"{error.__name__}: " in said
    assert "expected 3 channels, got 1" in said
    assert "test_failing_programs.py, line " in said
    assert "\n" not in said


def a_loss(output: Tensor, labels: Tensor) -> Tensor:
    raise ValueError("labels are no distribution")


class ALoss(nn.Module):
    """A module as a loss."""

    def forward(self, output: Tensor, labels: Tensor) -> Tensor:
        return a_loss(output, labels)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("loss_fn", [a_loss, ALoss()])
def test_the_loss_is_named(command: str, loss_fn: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"^loss_fn\(model\(inputs\), labels\) failed: ValueError: labels are no distr"):
        COMMANDS[command](a_setup(loss_fn=loss_fn), monkeypatch)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_empty_loader_is_said_to_be_empty(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"^train_loader is empty; expected at least one batch$"):
        COMMANDS[command](a_setup(train_loader=[]), monkeypatch)


@pytest.mark.parametrize("command", COMMANDS)
def test_one_that_was_read_before_is_empty_and_can_be_read_once_only(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = iter(a_setup().train_loader)
    list(batches)
    with pytest.raises(ValueError, match=r"train_loader is empty; .*an iterator can be read once only"):
        COMMANDS[command](a_setup(train_loader=batches), monkeypatch)


def test_plan_and_map_keep_the_batches_of_what_can_be_read_once(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "read_once.py").write_text(
        "import torch\nfrom torch import nn\nfrom trainability import Setup\n\n"
        "def setup():\n    torch.manual_seed(0)\n    x = torch.randn(64, 20)\n    model = nn.Linear(20, 5)\n"
        "    batches = ((x, x[:, :5].argmax(1)) for _ in range(3))\n"
        "    return Setup(model=model, train_loader=batches, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))\n"
    )
    monkeypatch.chdir(tmp_path)
    program = Program(target="read_once:setup")
    assert plans_for_setup(program.setup())[0].multiple is not None
    assert map_of(program, steps=100, seconds=0.1).measured
