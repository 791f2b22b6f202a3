"""What `trainability run` says of a script at its end, and what it leaves behind."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import trainability
from trainability.cli.program import main
from trainability.loops.refused_label import refused_label
from trainability.loops.script_error import NO_STEP_BEFORE
from trainability.loops.script_watch import ScriptWatch

START = """
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def step(inputs):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(inputs), inputs[:, :3].argmax(dim=1))
    loss.backward()
    optimizer.step()


"""


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run a script and return its exit code and what was said, without line breaks."""
    monkeypatch.chdir(tmp_path)

    def run(text: str, *flags: str) -> tuple[int, str]:
        Path("train.py").write_text(text)
        with pytest.raises(SystemExit) as stop:
            main(["run", *flags, "train.py"])
        return int(stop.value.code or 0), " ".join(capsys.readouterr().err.split())

    return run


FAILING = {
    "at once": "raise RuntimeError('early')",
    "before the model runs": START + "raise RuntimeError('early')",
    "in the model": START + "step(torch.randn(8, 5))",
    "before the step": START + "model(torch.randn(8, 4)).sum().backward()\nraise RuntimeError('early')",
}


@pytest.mark.parametrize("flags", [(), ("--check",), ("--dir", "mine")])
@pytest.mark.parametrize("name", FAILING)
def test_of_a_script_that_fails_before_its_first_step_no_report_is_left(said, name: str, flags: tuple[str, ...]) -> None:
    if "--dir" in flags:
        Path("mine").mkdir()
        Path("mine/notes.txt").write_text("of the user\n")
    code, text = said(FAILING[name], *flags)
    assert code == 1
    assert len(re.findall(r"Traceback \(most recent", text)) == 1
    assert text.endswith(f"trainability: {NO_STEP_BEFORE}")
    assert text.count("trainability:") == 1 + text.count("trainability: watching")
    assert list(Path().glob("runs/*")) == []
    assert [path.name for path in Path().glob("mine/*")] == (["notes.txt"] if "--dir" in flags else [])


@pytest.mark.parametrize("is_regression", [True, False])
def test_that_no_evaluation_was_seen_is_said_of_classifiers_alone(said, is_regression: bool) -> None:
    loss = "nn.functional.mse_loss(model(inputs), inputs[:, :3])"
    text = re.sub(r"nn.functional.cross_entropy\(.*\)\n", f"{loss}\n", START) if is_regression else START
    _, heard = said(text + "for _ in range(60):\n    step(torch.randn(64, 4))")
    assert ("No evaluation" in heard) == (not is_regression)


def test_of_a_script_that_fails_after_its_first_step_the_run_is_left(said) -> None:
    code, text = said(START + "step(torch.randn(8, 4))\nraise RuntimeError('late\\nand more')")
    assert code == 1
    assert NO_STEP_BEFORE not in text
    assert re.findall(r"trainability: [^:]+ after (\d+) step: (.+?) trainability:", text) == [("1", "RuntimeError: late")]
    run = trainability.read_run("runs/train-001")
    assert len(run.steps) == 1
    assert run.result is not None
    assert run.result["status"] == "failed"


@pytest.mark.parametrize("label", [-1, 3])
@pytest.mark.parametrize("steps", [0, 20])
def test_a_label_that_ends_the_script_is_named_with_the_number_of_outputs(said, steps: int, label: int) -> None:
    last = f"nn.functional.cross_entropy(model(torch.randn(2, 4)), torch.tensor([0, {label}]))"
    code, text = said(START + f"for _ in range({steps}):\n    step(torch.randn(8, 4))\n{last}")
    assert code == 1
    assert re.findall(r"after (\d+) steps: IndexError: Target", text) == ([str(steps)] if steps else [])
    assert text.count("Traceback (most recent") == 1
    run = trainability.read_run("runs/train-001")
    assert run.findings is not None
    (found,) = (each for each in run.findings["findings"] if each["code"] == "label_range")
    assert [(each["value"], each["threshold"]) for each in found["measurements"]] == [(label, max(0, 2 * (label > 0)))]
    assert f"label {label} for 3 outputs" in text


def test_of_two_models_the_label_is_told_of_the_one_that_was_asked(said) -> None:
    other = "other = nn.Linear(4, 2)\nsecond = torch.optim.SGD(other.parameters(), lr=0.1)\n"
    steps = "for _ in range(5):\n    step(torch.randn(8, 4))\n    second.zero_grad()\n"
    steps += "    nn.functional.cross_entropy(other(torch.randn(8, 4)), torch.ones(8).long()).backward()\n    second.step()\n"
    code, _ = said(START + other + steps + "nn.functional.cross_entropy(other(torch.randn(8, 4)), torch.full((8,), 2))")
    assert code == 1
    found = {}
    for name in ("model", "other"):
        run = trainability.read_run(f"runs/train-001/{name}")
        assert run.findings is not None
        found[name] = {each["code"] for each in run.findings["findings"]}
    assert [name for name, codes in found.items() if "label_range" in codes] == ["other"]


REFUSED = {
    "of a batch": (lambda f: f.cross_entropy(torch.zeros(4, 3), torch.tensor([0, 5, 4, 1])), (5, 3)),
    "below zero": (lambda f: f.cross_entropy(torch.zeros(2, 3), torch.tensor([0, -1])), (-1, 3)),
    "of pixels": (lambda f: f.cross_entropy(torch.zeros(2, 3, 4, 5), torch.full((2, 4, 5), 7)), (7, 3)),
    "beside an ignored one": (lambda f: f.cross_entropy(torch.zeros(2, 3), torch.tensor([9, 3]), ignore_index=9), (3, 3)),
    "of one example": (lambda f: f.nll_loss(torch.zeros(3), torch.tensor(3)), (3, 3)),
    "another error": (lambda f: f.cross_entropy(torch.zeros(2, 3), torch.tensor([0, 1, 2])), None),
    "another loss": (lambda f: f.multi_margin_loss(torch.zeros(2, 3), torch.tensor([0, 3])), None),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_label_is_read_where_the_error_arose(name: str) -> None:
    call, expected = REFUSED[name]
    with pytest.raises((IndexError, RuntimeError, ValueError)) as failed:
        call(nn.functional)
    found = refused_label(failed.value)
    assert (found and (found.label, found.num_outputs)) == expected


@pytest.mark.parametrize(
    ("flags", "steps"), [(("--check",), 100), (("--check", "--steps", "30"), 30), (("--steps", "40"), 40), ((), None)]
)
def test_that_it_stopped_the_script_is_said(said, flags: tuple[str, ...], steps: int | None) -> None:
    code, text = said(START + "for _ in range(150):\n    step(torch.randn(8, 4))", *flags)
    assert code == 0
    found = re.findall(r"the script was stopped after (\d+) steps \((--\w+)\)", text)
    assert found == ([] if steps is None else [(str(steps), flags[0])])


def test_that_a_script_ended_by_itself_is_not_said_to_be_stopped(said) -> None:
    _, text = said(START + "for _ in range(50):\n    step(torch.randn(8, 4))", "--check")
    assert "stopped" not in text


def test_the_end_names_every_error_and_warning(said) -> None:
    faulty = START.replace("nn.ReLU(), nn.Linear(16, 3))", "nn.Dropout(0.97), nn.Linear(16, 3), nn.Softmax(1))")
    faulty = faulty.replace("    optimizer.zero_grad()\n", "")
    _, text = said(faulty + "for _ in range(120):\n    step(torch.randn(8, 4))")
    run = trainability.read_run("runs/train-001")
    assert run.findings is not None
    worse = [(found["severity"], found["code"]) for found in run.findings["findings"] if found["severity"] != "hint"]
    assert {"softmax_twice", "missing_zero_grad"} <= {code for _, code in worse}
    assert len(worse) > 2
    last = text.rpartition("trainability: not looked at")[0].rpartition("trainability: ")[2]
    assert re.findall(r"(error|warning) ([\w.]+): ", last) == worse


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
