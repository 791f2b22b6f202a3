"""`trainability run -m MODULE`: what `python -m MODULE` does, watched."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import trainability
from trainability.cli.program import main
from trainability.loops.program import Program

FILES = {
    "__init__.py": "import sys\n\nSEEN = list(sys.argv)\n",
    "data.py": "WIDTH = 4\n",
    "train.py": """
import json
import sys

import torch

from . import SEEN
from .data import WIDTH

model = torch.nn.Linear(WIDTH, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(4):
    optimizer.zero_grad()
    inputs = torch.randn(8, WIDTH)
    torch.nn.functional.cross_entropy(model(inputs), inputs[:, :3].argmax(dim=1)).backward()
    optimizer.step()
assert sys.modules["__main__"].__dict__ is globals()
print(json.dumps([SEEN, sys.argv, __name__, __package__, __spec__.name, __file__, sys.path[0]]))
if sys.argv[1:] == ["fail"]:
    raise KeyError("fail")
""",
    "broken.py": "def (\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package in the current folder, of a name that no other test has imported."""
    name = f"own_{tmp_path.name.replace('-', '_')}"
    monkeypatch.chdir(tmp_path)
    for folder in (name, f"{name}/inner"):
        Path(folder).mkdir()
    for file, text in FILES.items():
        Path(name, file).write_text(text)
    Path(name, "__main__.py").write_text(FILES["train.py"])
    Path(name, "inner/__init__.py").touch()
    return name


def python(*words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "src")}
    return subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("module", "arguments"), [("{}.train", ["--every", "3", "-m", "x y"]), ("{}", ["-h"]), ("{}.train", ["fail"])]
)
def test_it_is_run_as_python_runs_it(package: str, module: str, arguments: list[str]) -> None:
    words = ["-m", module.format(package), *arguments]
    alone, watched = python(*words), python("-m", "trainability", "run", *words)
    assert watched.stdout == alone.stdout != ""
    assert watched.returncode == alone.returncode == int(arguments == ["fail"])
    seen = json.loads(watched.stdout)
    assert seen[0] == ["-m", *arguments]
    assert seen[1][1:] == arguments
    assert seen[3] == package
    places = [line for line in watched.stderr.splitlines() if line.startswith("  File ")]
    assert places == [line for line in alone.stderr.splitlines() if line.startswith("  File ") and "runpy" not in line]
    run = trainability.read_run(f"runs/{module.format(package)}-001")
    assert run.loop["config"]["script"] == f"-m {module.format(package)}"
    assert len(run.steps) == 4


def test_flags_of_ours_stand_before_it(package: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["run", "--every", "2", "--steps", "3", "--dir", "mine", "-m", f"{package}.train", "--steps", "9"])
    assert stop.value.code == 0
    assert len(trainability.read_run("mine").steps) == 3


@pytest.mark.parametrize("module", ["own_nothing", "own_nothing.train", "{}.nothing", "{}.inner", ""])
def test_a_module_that_cannot_be_run_is_one_line(package: str, module: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["run", "-m", *filter(None, [module.format(package)])])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert f"-m {module.format(package)}".strip() in error
    assert not Path("runs").exists()


def test_a_module_that_does_not_compile_is_told_as_python_tells_it(package: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["run", "-m", f"{package}.broken"])
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith(f'  File "{Path(package, "broken.py").absolute()}", line 1')
    assert "Traceback" not in error


def test_an_empty_name_is_shown_as_one() -> None:
    with pytest.raises(ValueError, match=r"^'' is not a file; "):
        Program("").check()
