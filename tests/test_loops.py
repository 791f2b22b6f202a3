"""The doctor in other people's loops: each example with its fault and without, with its lines and without, bitwise."""

import re
import runpy
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

import trainability
from trainability.cli.program import main
from trainability.doctor.diagnosis import Diagnosis
from trainability.doctor.measure.pass_scales import Divisors, divisors_of
from trainability.extras import EXTRAS
from trainability.loops import events
from trainability.loops.events import listening
from trainability.loops.metrics import validation_numbers
from trainability.loops.monitor import Monitor
from trainability.loops.script_watch import ScriptWatch
from trainability.training.run_monitor import diagnose_run

EXAMPLES = Path(__file__).parent.parent / "examples" / "loops"
# Which extra an example needs, the code of its planted fault, and how many lines the doctor takes.
KINDS = {
    "plain_loop": (None, "missing_zero_grad", 3),
    "gan_loop": (None, "missing_zero_grad", 2),
    "accelerate_loop": ("accelerate", "softmax_twice", 3),
    "lightning_trainer": ("lightning", "untrained_parameter.unmanaged", 2),
    "gpt2_trainer": ("transformers", "foreign_optimizer", 2),
    "bert_trainer": ("transformers", "identical_units.zeros", 2),
}
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _quiet_libraries(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of these libraries about each other
        yield


def needs(name: str) -> None:
    extra = KINDS[name][0]
    for package in EXTRAS[extra] if extra else ():
        pytest.importorskip(package, reason=f"needs the extra {extra}")


def run_as_it_is(name: str, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> list[Diagnosis]:
    """Run an example with its doctor; returns what its monitors say."""
    made: list[Monitor] = []
    enter = Monitor.__enter__
    monkeypatch.setattr(Monitor, "__enter__", lambda monitor: made.append(monitor) or enter(monitor))
    watches: list[ScriptWatch] = []
    begin = ScriptWatch.begin
    monkeypatch.setattr(ScriptWatch, "begin", lambda watch: watches.append(watch) or begin(watch))
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
    try:
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    finally:
        for watch in watches:
            watch.end(None)
    assert made
    return [monitor.diagnose() for monitor in made]


def stripped(name: str, folder: Path) -> Path:
    """The example without the doctor's lines."""
    lines = (EXAMPLES / f"{name}.py").read_text().splitlines(keepends=True)
    script = folder / f"{name}.py"
    kept = (line if "# doctor" not in line else "if True:\n" if line.startswith("with ") else "" for line in lines)
    script.write_text("".join(kept))
    return script


def codes(diagnoses: list[Diagnosis]) -> set[str]:
    return {finding.code for diagnosis in diagnoses for finding in diagnosis.findings if finding.severity != "hint"}


def final(printed: str) -> str:
    """The last number that an example prints, at full precision, after its training."""
    return re.findall(r"weights (\S+)", printed)[-1]


@pytest.mark.parametrize("name", KINDS)
def test_the_planted_fault_is_named_and_the_healthy_twin_is_silent(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    needs(name)
    healthy = run_as_it_is(name, monkeypatch=monkeypatch)
    assert codes(healthy) == set()
    faulty = run_as_it_is(name, "--fault", monkeypatch=monkeypatch)
    assert KINDS[name][1] in codes(faulty)
    if (frame := sys.modules.get("torch._dynamo.eval_frame")) is not None:
        assert frame._stance.stance == "default"  # what was watched runs plain, and nothing stays so


def test_the_lines_that_a_user_adds_are_counted() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(KINDS)
    page = (EXAMPLES.parent.parent / "docs" / "loops.md").read_text()
    for name, (_, code, count) in KINDS.items():
        text = (EXAMPLES / f"{name}.py").read_text()
        assert text.count("# doctor") == count <= 3
        assert f"python examples/loops/{name}.py --fault" in text
        row = next(line for line in page.splitlines() if f"{name}.py" in line and line.startswith("|"))
        assert f"| {count} |" in row
        assert code in row


@pytest.mark.parametrize("name", KINDS)
def test_run_finds_the_same_without_a_line_and_changes_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needs(name)
    script = stripped(name, tmp_path)
    monkeypatch.chdir(tmp_path)
    for arguments in ([], ["--fault"]):
        monkeypatch.setattr(sys, "argv", [str(script), *arguments])
        runpy.run_path(str(script), run_name="__main__")
        alone = final(capsys.readouterr().out)
        folder = tmp_path / f"run{len(arguments)}"
        with pytest.raises(SystemExit) as stop:
            main(["run", "--every", "10", "--dir", str(folder), str(script), *arguments])
        assert stop.value.code == 0
        printed = capsys.readouterr()
        assert final(printed.out) == alone
        named = printed.err.split("trainability report")[-1].split()  # the command that it ends with
        assert [path for path in named if (Path(path) / "loop.json").exists()] == named != []
        runs = [path.parent for path in sorted(folder.rglob("loop.json"))]
        assert len(runs) == (2 if name == "gan_loop" else 1)
        if name == "gan_loop":  # both are a Sequential
            assert [run.name for run in runs] == ["critic", "generator"]
        found = codes([diagnose_run(run) for run in runs])
        if arguments:
            assert KINDS[name][1] in found
        else:
            assert found == set()


SCRIPT = """
import argparse
import subprocess
import sys

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--every", type=int, default=1, help="has a name that trainability run has too")
parser.add_argument("--exit", default="0")
arguments = parser.parse_args()

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs = torch.randn(512, 16)
labels = inputs[:, :4].argmax(dim=1)
encoder, head = nn.Sequential(nn.Linear(16, 32), nn.ReLU()), nn.Linear(32, 4)
parameters = [*encoder.parameters(), *head.parameters()]
optimizer = torch.optim.SGD(parameters, lr=arguments.lr)
for step in range(150):
    optimizer.zero_grad()
    for part in range(2):  # two micro-batches
        chosen = torch.randint(512, (16,))
        (F.cross_entropy(head(encoder(inputs[chosen])), labels[chosen]) / 2).backward()
    torch.nn.utils.clip_grad_norm_(parameters, 0.3)
    optimizer.step()
print(__name__, sys.argv[1:], sys.path[0], torch.cat([p.detach().flatten() for p in parameters]).double().sum().item())
if arguments.exit == "raise":
    raise ValueError("of the script")
sys.exit(int(arguments.exit) if arguments.exit.isdigit() else arguments.exit)
"""

CLOSURE = """
import argparse
import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--optimizer", default="LBFGS")
arguments = parser.parse_args()
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
optimizer = getattr(torch.optim, arguments.optimizer)(model.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
inputs = torch.randn(64, 4)


def closure():
    optimizer.zero_grad()
    loss = (model(inputs) - inputs[:, :1]).square().mean()
    loss.backward()
    return loss


for step in range(8):
    if arguments.optimizer == "LBFGS":
        optimizer.step(closure)
        continue
    optimizer.zero_grad()
    loss = (model(inputs) - inputs[:, :1]).square().mean() * (float("inf") if step == 3 else 1.0)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
print("weights", sum(p.detach().double().sum() for p in model.parameters()).item())
"""


def ours(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["run", *arguments])
    return int(stop.value.code or 0)


def alone(script: Path, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(script), *arguments])
    monkeypatch.syspath_prepend(str(script.parent))
    runpy.run_path(str(script), run_name="__main__")


def test_a_script_that_does_not_compile_is_told_as_python_tells_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "broken.py"
    path.write_text("import torch\nprint(1\n")
    assert ours("--check", str(path)) == 1  # as Python
    error = capsys.readouterr().err
    assert error.startswith(f'  File "{path}", line 2')
    assert "SyntaxError" in error
    assert "no training" not in error


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "flat.py"
    path.write_text(SCRIPT)
    return path


def test_output_exit_code_arguments_and_path_are_the_scripts_own(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--lr", "0.05", "--every", "3", "--exit", "7"]
    with pytest.raises(SystemExit) as stop:
        alone(script, *flags, monkeypatch=monkeypatch)
    assert stop.value.code == 7
    expected = capsys.readouterr().out
    assert ours("--every", "10", str(script), *flags) == 7
    seen = capsys.readouterr()
    assert seen.out == expected
    run = trainability.read_run("runs/flat-001")
    assert [row["step"] for row in run.steps] == list(range(2, 151))  # two modules share the optimizer: from the second step on
    assert {row["micro_batches"] for row in run.steps} == {2}
    assert all(0 < row["loss"] < 2 for row in run.steps)  # the mean, not the sum of halves
    measured = [row for row in run.steps if "gradient_norm" in row]
    assert {row["step"] for row in measured} >= {*range(2, 21), *range(21, 151, 4), *range(21, 151, 10)}
    for row in measured:
        assert row["clip_ratio"] == pytest.approx(min(1.0, 0.3 / row["gradient_norm"]), rel=1e-3)
    assert run.result is not None
    assert run.result["status"] == "failed"
    assert ours(str(script), "--exit", "with words") == 1
    assert "with words" in capsys.readouterr().err
    assert ours(str(script), "--exit", "raise") == 1
    trace = capsys.readouterr().err
    assert "ValueError: of the script" in trace
    assert "runpy" not in trace
    assert ours(str(script), "--help") == 0
    assert "has a name that" in capsys.readouterr().out


def test_steps_and_check_stop_the_script(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ours("--steps", "20", "--dir", "mine", str(script)) == 0
    assert trainability.read_run("mine").steps[-1]["step"] == 20
    assert "__main__" not in capsys.readouterr().out
    assert ours("--check", str(script)) == 0
    one_model = SCRIPT.replace("head(encoder(inputs[chosen]))", "model(inputs[chosen])")
    one_model = one_model.replace("parameters = [", "model = nn.Sequential(encoder, head)\nparameters = [")
    script.write_text(one_model.replace("optimizer.zero_grad()", "pass"))
    assert ours("--check", str(script)) == 1
    assert "missing_zero_grad" in capsys.readouterr().err
    assert [path.name for path in Path(".").iterdir() if path.is_dir()] == ["mine"]
    capsys.readouterr()
    Path("file").write_text("")
    for taken in ("mine", "file/run"):  # refused before the script starts
        assert ours("--dir", taken, str(script)) == 2
        seen = capsys.readouterr()
        assert seen.out == ""
        assert taken in seen.err
        assert len(seen.err.splitlines()) == 1
    assert ours("nothing.py") == 2
    assert ours("--steps", "0", str(script)) == 2


@pytest.mark.parametrize(
    "text",
    [
        "print('nothing')",
        "import torch\nmodel = torch.nn.Linear(2, 1)\ntorch.optim.SGD(model.parameters(), lr=0.1)\nmodel(torch.randn(8, 2))",
    ],
)
def test_a_check_of_what_trains_nothing_says_so_and_cannot_tell(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "nothing.py"
    script.write_text(text)
    assert ours("--check", str(script)) == 2
    assert "no training was seen" in capsys.readouterr().err
    assert ours(str(script)) == 0
    script.write_text(f"{text}\nraise SystemExit(7)")
    assert ours("--check", str(script)) == 7
    for failing in (f"{text}\nraise RuntimeError", "no Python"):
        script.write_text(failing)
        assert ours("--check", str(script)) == 1  # as without --check
        assert ours(str(script)) == 1


def test_a_check_without_torch_says_so_and_cannot_tell(tmp_path: Path) -> None:
    (tmp_path / "nothing.py").write_text("print('nothing')")
    done = subprocess.run(
        [sys.executable, "-m", "trainability", "run", "--check", "nothing.py"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "no training was seen" in done.stderr


def test_closures_and_loss_scalers_are_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "closure.py"
    script.write_text(CLOSURE)
    for kind in ("LBFGS", "SGD"):
        alone(script, "--optimizer", kind, monkeypatch=monkeypatch)
        expected = capsys.readouterr().out
        assert ours("--every", "2", "--dir", kind, str(script), "--optimizer", kind) == 0
        assert capsys.readouterr().out == expected
    steps = trainability.read_run("SGD").steps
    assert [row["step"] for row in steps if row["skipped"]] == [4]
    losses = [row["loss"] for row in steps if not row["skipped"]]
    assert len(steps) == 8
    assert max(losses) < 10  # not scaled by 64
    norms = [row["gradient_norm"] for row in steps if not row["skipped"]]
    assert max(norms) < 10
    steps = trainability.read_run("LBFGS").steps
    assert [row["micro_batches"] for row in steps] == [1] * 8  # the monitor comes when the first step is under way


def steps_on_noise(optimizers: list[torch.optim.Optimizer], loss_of, *, num_steps: int = 8) -> set[str]:
    """Codes that a script's watch finds of a loop that steps these optimizers on one loss."""
    watch = ScriptWatch(Path("script.py"), every=2, most_steps=None, place=None)
    watch.begin()
    try:
        for optimizer in optimizers:
            watch._wait_for(optimizer)  # as at its construction
            watch._optimizers.append(optimizer)
        for _ in range(num_steps):
            loss_of().backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
    finally:
        watch.end(None)
    return codes(list(watch.diagnoses.values()))


def test_run_names_an_optimizer_that_holds_nothing_of_what_runs() -> None:
    torch.manual_seed(0)
    old, new, inputs = nn.Linear(4, 3), nn.Linear(4, 3), torch.randn(8, 4)
    assert steps_on_noise([torch.optim.SGD(old.parameters(), lr=0.1)], lambda: new(inputs).square().mean()) == {
        "foreign_optimizer"
    }


def test_run_takes_no_optimizer_of_something_else_for_a_foreign_one() -> None:
    torch.manual_seed(0)
    idle, net, inputs = nn.Linear(4, 3), nn.Linear(4, 3), torch.randn(8, 4)
    pair = [torch.optim.SGD(part.parameters(), lr=0.1) for part in (idle, net)]  # a phase in which one of two networks rests
    assert "foreign_optimizer" not in steps_on_noise(pair, lambda: net(inputs).square().mean())
    image = torch.randn(8, 4, requires_grad=True)  # what is trained is the input
    other = nn.Linear(4, 3)
    assert not steps_on_noise([torch.optim.Adam([image], lr=0.1)], lambda: other(image).square().mean())


@pytest.mark.parametrize(
    ("ends", "is_divided"),
    [
        (lambda loss: loss, False),
        (lambda loss: loss / 1, False),  # as Accelerate ends every loss
        (lambda loss: loss / 2, True),
        (lambda loss: loss / 2 / 1, True),
        (lambda loss: loss * 0.25, True),
        (lambda loss: loss / torch.tensor(48), True),
        (lambda loss: loss + 1, False),
    ],
)
def test_a_loss_that_ends_in_a_division_is_told_from_one_that_does_not(ends, is_divided: bool) -> None:
    assert divisors_of(ends(torch.ones(3, requires_grad=True).sum())).is_divided == is_divided


def test_an_error_of_the_follower_does_not_reach_the_loop() -> None:
    class Broken:
        def on_backward(self, loss: object, scaler: object = None, *, divisors: Divisors | None = None) -> None:
            raise ZeroDivisionError

        on_clip = on_scaler_step = on_clear = on_backward

    value = torch.ones(1, requires_grad=True)
    kept = torch.autograd.backward
    with pytest.warns(RuntimeWarning, match="no longer followed"), listening(Broken()):
        value.sum().backward()
    assert value.grad is not None
    assert torch.autograd.backward is kept


def test_a_graph_that_cannot_be_followed_does_not_reach_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []

    class Follower:
        def on_backward(self, loss: object, scaler: object, *, divisors: Divisors) -> None:
            told.append(loss)

        def on_clip(self, parameters: object) -> None: ...

        def on_scaler_step(self, optimizer: object) -> None: ...

        def on_clear(self, owner: object) -> None: ...

    def broken(loss: torch.Tensor) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr(events, "divisors_of", broken)
    value = torch.ones(1, requires_grad=True)
    with pytest.warns(RuntimeWarning, match="no longer followed"), listening(Follower()):
        value.sum().backward()
    assert value.grad is not None
    assert told == []


def test_validation_numbers_are_read_by_their_names() -> None:
    named = {"val_loss": 1.5, "val_acc": torch.tensor(0.75), "train_loss": 9}
    assert validation_numbers(named) == {"loss": 1.5, "top1_error": 0.25}
    assert validation_numbers({"eval_loss": 2.0, "eval_runtime": 3.0, "epoch": 1}) == {"loss": 2.0}
    named = {"valid/error": 0.5, "val_acc5": 0.9, "val_top5_acc": 0.9, "val_acc": 75.0}
    assert validation_numbers(named) == {"top1_error": 0.5}


def test_warnings_of_a_loop_are_not_repeated_from_our_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "broadcasts.py"
    script.write_text(
        "import torch\nfrom torch import nn\ntorch.manual_seed(0)\nx = torch.randn(256, 4)\ny = x[:, 0]\n"
        "loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), 32)\n"
        "model = nn.Linear(4, 1)\noptimizer = torch.optim.SGD(model.parameters(), lr=0.01)\n"
        "for _ in range(4):\n    for a, b in loader:\n        loss = nn.MSELoss()(model(a), b)\n"
        "        optimizer.zero_grad()\n        loss.backward()\n        optimizer.step()\n"
    )
    ours(str(script))
    told = {Path(each.filename).parts[-3:-1] for each in recwarn if "target size" in str(each.message)}
    assert told == {("nn", "modules")}
