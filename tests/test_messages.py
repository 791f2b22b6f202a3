"""What a user's slip is answered with: the name that was meant, the place in the own code, one line."""

import copy
import dataclasses
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import trainability
from trainability.checking.target import load_setup
from trainability.cli.program import main
from trainability.loops.saying import say_command

SETUPS = """
import torch
from trainability import Setup


def looks_up(table):
    return table["missing"]


def raises():
    return looks_up({})


def number():
    return 1


def refused():
    return Setup(model=torch.nn.Linear(2, 1), train_loader=[], optimizer=3)


def assigns():
    setup = Setup(model=torch.nn.Linear(2, 1), train_loader=[])
    setup.clip = 1.0
    return setup
"""


@pytest.fixture
def name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_setups.py").write_text(SETUPS)
    return "own_setups"


def test_an_error_of_the_users_own_is_placed_where_it_arose(name: str) -> None:
    with pytest.raises(ValueError, match=r"KeyError: 'missing', own_setups\.py, line 7") as refused:
        load_setup(f"{name}:raises")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("function", "line"), [("refused", 19), ("assigns", 24)])
def test_what_a_setup_refuses_is_placed_where_it_was_written(name: str, function: str, line: int) -> None:
    with pytest.raises(ValueError, match=rf"own_setups\.py, line {line}\)") as refused:
        load_setup(f"{name}:{function}")
    assert "FrozenInstanceError" not in str(refused.value)


def test_a_setup_that_is_assigned_to_names_the_call_that_changes_it() -> None:
    setup = trainability.Setup(model=nn.Linear(2, 1), train_loader=[])
    with pytest.raises(AttributeError, match=r"dataclasses\.replace\(setup, clip=\.\.\.\)"):
        setup.clip = 1.0  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del setup.clip  # type: ignore[misc]
    assert dataclasses.replace(setup, clip=1.0).clip == 1.0
    assert pickle.loads(pickle.dumps(copy.copy(setup))).clip is None


@pytest.mark.parametrize(
    ("function", "near"), [("raisez", "did you mean raises"), ("zzz", "known are looks_up, raises, number, refused, assigns")]
)
def test_a_misspelled_function_is_answered_with_the_nearest(name: str, function: str, near: str) -> None:
    with pytest.raises(ValueError, match=near):
        load_setup(f"{name}:{function}")


SCRIPT = """
from pathlib import Path
import torch
{before}
Path("was_run").touch()
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(7):
    setups = model(torch.ones(1, 2)).sum()
    setups.backward()
    optimizer.step()
{after}
"""
GUARD = "def train():\n    setup = 1\nif __name__ == '__main__':\n    train()\n"
MAKE = "from trainability import Setup\ndef made(): return Setup(model=model, train_loader=[])\n"
BELOW_MAIN, RUN = "if __name__ == '__main__':", "trainability run {name}.py"
# The text of a script -> whether it is run, and what is named of the two ways out.
SCRIPTS = {
    "a loop and no setup": (SCRIPT.format(before="", after=""), False, (BELOW_MAIN, RUN)),
    "a loop in a function that is called": ("def train():\n    setup = 1\ntrain()\n", False, (BELOW_MAIN, RUN)),
    "a guard": (GUARD, False, (RUN,)),
    "functions alone": ("import torch\ntorch.manual_seed(0)\ndef train():\n    setup = 1\n", False, ()),
    "names that the source does not show": (SCRIPT.format(before="from os.path import *", after=""), True, (BELOW_MAIN, RUN)),
    "a loop that fails": (SCRIPT.format(before="", after="raise KeyError\nsetup = 1"), True, (BELOW_MAIN, RUN)),
    "a name of that kind in a function": (SCRIPT.format(before="", after="def f():\n    setup = 1"), False, (BELOW_MAIN, RUN)),
}


@pytest.mark.parametrize("case", SCRIPTS)
def test_a_script_without_the_function_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    text, is_run, named = SCRIPTS[case]
    monkeypatch.chdir(tmp_path)
    name = f"own_script_{abs(hash(case))}"
    (tmp_path / f"{name}.py").write_text(text)
    with pytest.raises(ValueError, match=f"^{name}:setup: {name} ") as refused:
        load_setup(f"{name}:setup")
    assert (tmp_path / "was_run").exists() == is_run
    assert tuple(each for each in (BELOW_MAIN, RUN) if each.format(name=name) in str(refused.value)) == named
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("binding", [MAKE + "setup = made", MAKE + "def f():\n    global setup\n    setup = made\nf()"])
def test_a_script_with_the_function_is_imported_and_its_steps_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, binding: str
) -> None:
    monkeypatch.chdir(tmp_path)
    name = f"own_script_{abs(hash(binding))}"
    (tmp_path / f"{name}.py").write_text(SCRIPT.format(before="", after=binding))
    with pytest.warns(UserWarning, match=rf"^{name}:setup: {name} made 7 optimizer steps .*{BELOW_MAIN}"):
        assert isinstance(load_setup(f"{name}:setup"), trainability.Setup)


@pytest.mark.parametrize(
    ("value", "said"), [("3", "3"), ("None", "None"), ("[1]", "a list"), ("Setup(model=MODEL, train_loader=[])", "a Setup")]
)
def test_what_is_no_function_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, said: str) -> None:
    monkeypatch.chdir(tmp_path)
    module = f"own_values_{abs(hash(value))}"
    text = f"from torch import nn\nfrom trainability import Setup\n\nMODEL = nn.Linear(2, 1)\nnumber = {value}\n"
    (tmp_path / f"{module}.py").write_text(text)
    with pytest.raises(ValueError, match=f":number: number is {said}; expected a function that returns a trainability.Setup"):
        load_setup(f"{module}:number")


@pytest.mark.parametrize("command", ["check", "confirm", "plan", "map", "run"])
@pytest.mark.parametrize(
    ("flag", "near"),
    [("--nonsense", None), ("--zzz", None), ("--stepz", "--steps"), ("--secnds", "--seconds"), ("--lr", "--optim.lr")],
)
def test_a_flag_is_proposed_only_where_the_names_are_alike(
    command: str, flag: str, near: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, flag, "3", "a:b"])
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert f"unknown option {flag}" in said
    if near is None:
        assert "did you mean" not in said
    elif "did you mean" in said:
        assert near in said


MODEL = nn.Linear(2, 1)


@pytest.mark.parametrize(
    ("call", "near"),
    [
        (lambda: trainability.check(MODEL, [], optimiser=None), "optimizer"),  # pyright: ignore[reportCallIssue]
        (lambda: trainability.Monitor(MODEL, evry=3), "every"),  # pyright: ignore[reportCallIssue]
        (lambda: trainability.Setup(model=MODEL, train_loader=[], loss=None), "loss_fn"),  # pyright: ignore[reportCallIssue]
        (lambda: trainability.confirm(lambda: None, second=3), "seconds"),  # pyright: ignore[reportCallIssue, reportArgumentType]
    ],
)
def test_a_misspelled_argument_is_answered_with_the_nearest(call: Any, near: str) -> None:
    with pytest.raises(TypeError, match=f"did you mean {near}"):
        call()


@pytest.mark.parametrize(
    ("call", "called", "missing"),
    [
        (lambda: trainability.Setup(train_loader=[]), "Setup", "model="),  # pyright: ignore[reportCallIssue]
        (lambda: trainability.Setup(), "Setup", "model=, train_loader="),  # pyright: ignore[reportCallIssue]
        (lambda: trainability.check(), "check", "model="),  # pyright: ignore[reportCallIssue]
        (lambda: trainability.Monitor(), "Monitor", "model="),  # pyright: ignore[reportCallIssue]
    ],
)
def test_a_missing_argument_is_named_with_those_that_are_taken(call: Any, called: str, missing: str) -> None:
    with pytest.raises(TypeError, match=rf"^{called}\(\) needs {missing}; it takes model, ") as told:
        call()
    assert "\n" not in str(told.value)
    trainability.check(MODEL, [(torch.randn(4, 2), torch.randn(4, 1))], nn.MSELoss())


def test_a_check_without_an_optimizer_says_so_first() -> None:
    batches = [(torch.randn(8, 2), torch.randn(8, 1))] * 3
    found = trainability.check(MODEL, batches, nn.MSELoss())
    assert found.verdict == "cannot tell"
    assert found.reason.startswith("no optimizer")
    assert "optimizer=" in found.reason
    given = torch.optim.SGD(MODEL.parameters(), 0.01)
    assert "no optimizer" not in trainability.check(MODEL, batches, nn.MSELoss(), given, rehearse_seconds=0).reason


def test_a_wrong_option_of_run_is_told_without_the_script(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["run", "--steps", "abc", "reg.py"])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert "'abc'" in said
    assert "reg.py" not in said


@pytest.mark.parametrize("loss", ["x", "1.5", None, [1.0], torch.ones(2)])
def test_what_is_no_loss_is_named_once_and_the_loop_goes_on(loss: Any) -> None:
    optimizer = torch.optim.SGD(MODEL.parameters(), 0.1)
    said = pytest.warns(RuntimeWarning, match=r"loss is .*; expected one number")
    with said, trainability.Monitor(MODEL, optimizer) as monitor:
        for _ in range(2):
            MODEL(torch.randn(4, 2)).sum().backward()
            monitor.after_backward(loss)
            optimizer.step()
    assert sum("expected one number" in line for line in monitor.evidence().problems) == 1


@pytest.mark.parametrize("number", ["loss", "top1_error"])
def test_an_evaluation_takes_numbers(number: str) -> None:
    with trainability.Monitor(MODEL) as monitor:
        monitor.record_evaluation("validation", **{number: torch.tensor(0.5)})  # type: ignore[arg-type]
        with pytest.warns(RuntimeWarning, match=f"{number} is 'x'"):
            monitor.record_evaluation("validation", **{number: "x"})  # type: ignore[arg-type]
    (seen,) = monitor.evidence().evaluations
    assert getattr(seen, number) == 0.5


def test_a_command_stays_in_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    command = ["trainability", "report", "runs/a long name/generator", "runs/another-name/discriminator"]
    say_command("see it with", command)
    assert (
        "  trainability report 'runs/a long name/generator' runs/another-name/discriminator"
        in capsys.readouterr().err.splitlines()
    )
