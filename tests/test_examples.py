"""Every script of examples/ runs as it is, and shows what its first lines say."""

import runpy
import sys
from pathlib import Path

import pytest
from conftest import config_of, train

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str) -> dict:
    return runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")


def test_check_own_model() -> None:
    diagnosis = run("check_own_model")["diagnosis"]
    assert diagnosis.worse_than_hint
    assert diagnosis.findings[0].rule == "gain_budget_low"


def test_monitor_own_loop() -> None:
    diagnosis = run("monitor_own_loop")["diagnosis"]
    assert diagnosis.verdict == "unstable"
    assert [finding.rule for finding in diagnosis.findings] == ["missing_zero_grad"]


def test_initialise_deep_mlp() -> None:
    done = run("initialise_deep_mlp")
    assert done["before"] < -10
    assert abs(done["after"]) < 1


def test_read_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    trained = train(tmp_path / "run", config_of(optim__epochs=2))
    monkeypatch.setattr(sys, "argv", ["read_run.py", str(tmp_path / "run")])
    run("read_run")
    epochs = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert len(epochs) == 2
    assert f"{trained.run.evaluations[-1]['train_loss']:.3f}" in epochs[-1]


def test_every_example_is_run_here_and_says_its_command() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert names == {name.removeprefix("test_") for name in globals() if name.removeprefix("test_") in names}
    for path in EXAMPLES.glob("*.py"):
        assert f"python examples/{path.name}" in path.read_text()
