"""The doctor in other people's loops: each example with its fault and without, with its lines and without, bitwise."""

import re
import runpy
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainability.cli.program import main
from trainability.doctor.diagnosis import Diagnosis
from trainability.extras import EXTRAS
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
    "bert_trainer": ("transformers", "untrained_parameter.zero_gradient", 2),
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
        assert final(capsys.readouterr().out) == alone
        runs = [path.parent for path in sorted(folder.rglob("loop.json"))]
        assert len(runs) == (2 if name == "gan_loop" else 1)
        found = codes([diagnose_run(run) for run in runs])
        if arguments:
            assert KINDS[name][1] in found
        else:
            assert found == set()
