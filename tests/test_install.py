"""The wheel in an environment that holds torch, tyro, rich and what they need: the doctor works, the rest says its one line."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from runs_on_disk import begin, epoch, steps

from trainability.extras import EXTRAS

REPOSITORY = Path(__file__).parent.parent
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
pytestmark = pytest.mark.slow

OWN_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F


def data(num=8):
    generator = torch.Generator().manual_seed(0)
    for _ in range(num):
        labels = torch.randint(4, (32,), generator=generator)
        yield F.one_hot(labels, 16).float() + 0.3 * torch.randn(32, 16, generator=generator), labels


torch.manual_seed(0)
model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
optimizer = torch.optim.SGD(model.parameters(), lr=0.5)


def setup():
    from trainability import Setup

    return Setup(model=model, train_loader=list(data()), loss_fn=F.cross_entropy, optimizer=optimizer, num_classes=4)
"""

WATCHED = """
from own import *
from trainability import Monitor, check

before = check(model, list(data()), F.cross_entropy, optimizer=optimizer, val_loader=list(data(2)), num_classes=4)
print(before)
with Monitor(model, optimizer, every=20, num_classes=4, before=before) as monitor:
    for images, labels in data(200):
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        monitor.after_backward(loss)
        optimizer.step()
        optimizer.zero_grad()
diagnosis = monitor.diagnose()
assert diagnosis.verdict == "has learned", str(diagnosis)
import sys
assert not {"numpy", "plotly", "PIL"} & set(sys.modules)
"""

EVERY_MODULE = """
import importlib, json, pkgutil
import trainability
from trainability.extras import MissingExtra

without = {}
for module in pkgutil.walk_packages(trainability.__path__, "trainability.", onerror=lambda name: None):
    if not module.name.endswith(".__main__"):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            without[module.name] = str(error) if isinstance(error, MissingExtra) else f"needs {error.name}"
print(json.dumps(without))
"""


def closure(requirements: list[str]) -> set[str]:
    """Names of distributions that these need, themselves included, as they are installed here."""
    found: set[str] = set()
    todo = list(requirements)
    while todo:
        requirement = Requirement(todo.pop())
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name not in found:
            found.add(name)
            todo += importlib.metadata.requires(name) or []
    return found


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and its own dependencies; returns the directory of its programs.

    What is installed here is linked, not installed again: torch alone is half a gigabyte.
    """
    folder = tmp_path_factory.mktemp("bare")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(REPOSITORY / name, source)
    shutil.copytree(REPOSITORY / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheel_flags = ["--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder]
    subprocess.run([*pip, "wheel", *map(str, wheel_flags), str(source)], check=True)

    venv.create(folder / "venv", with_pip=False)
    programs = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    where = [str(programs / "python"), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = Path(subprocess.run(where, check=True, capture_output=True, text=True).stdout.strip())
    for name in closure(PROJECT["dependencies"]):
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")}:
            if not (packages / top).exists():
                (packages / top).symlink_to(Path(str(distribution.locate_file(top))))
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "--python", str(programs / "python"), "install", "--no-deps", "--no-index", str(wheel)], check=True)
    (folder / "own.py").write_text(OWN_PROGRAM)
    return programs


def run(bare: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(bare / command[0]), *command[1:]], cwd=bare.parent.parent, env=environment, capture_output=True, text=True
    )


def test_it_brings_torch_and_little_else() -> None:
    names = {re.sub(r"[-_.]+", "-", Requirement(line).name).lower() for line in PROJECT["dependencies"]}
    assert names == {"torch", "tyro", "rich"}
    assert set(EXTRAS) <= set(PROJECT["optional-dependencies"])


def test_the_doctor_works_without_the_lab(bare: Path) -> None:
    done = run(bare, "python", "-c", WATCHED)
    assert done.returncode == 0, done.stderr
    assert "gain budget" in done.stdout


def test_the_command_checks_and_diagnoses_without_the_lab(bare: Path) -> None:
    checked = run(bare, "trainability", "check", "own:setup", "--json")
    assert checked.returncode in (0, 1), checked.stderr
    assert len(json.loads(checked.stdout)["evidence"]["probe"]["layers"]) == 2
    record = begin(bare.parent.parent / "run")
    steps(record, 1, 4)
    epoch(record, 1)
    diagnosed = run(bare, "trainability", "diagnose", str(record.folder), "--json")
    assert diagnosed.returncode in (0, 1), diagnosed.stderr
    assert len(json.loads(diagnosed.stdout)["evidence"]["steps"]) == 4


def test_every_module_is_there_or_names_its_extra(bare: Path) -> None:
    done = run(bare, "python", "-c", EVERY_MODULE)
    assert done.returncode == 0, done.stderr
    without = json.loads(done.stdout)
    # Imported by trials.run and trials.report alone, which have asked for the extra by then.
    for name in ("measure", "photographs"):
        assert without.pop(f"trainability.trials.{name}") == "needs numpy"
    # Imported on a GPU alone, with whose PyTorch it comes.
    assert without.pop("trainability.models.relu_kernels", "needs triton") == "needs triton"
    extras = ("lab", "lightning", "transformers")
    assert set(without.values()) == {f"this needs the extra {extra}: pip install 'trainability[{extra}]'" for extra in extras}
    rooms = {name.split(".")[1] for name in without}
    assert rooms.isdisjoint({"config", "doctor", "initialization", "models", "prescribe", "terminal", "watch"})
    assert {"data", "evaluation", "report"} <= rooms
    assert {"trainability.training.record", "trainability.training.run_monitor"}.isdisjoint(without)


def test_a_public_name_of_the_lab_names_its_extra(bare: Path) -> None:
    done = run(bare, "python", "-c", "import trainability; trainability.fit")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("this needs the extra lab: pip install 'trainability[lab]'")


@pytest.mark.parametrize("command", ["train", "check", "report runs/x", "evaluate runs/x", "trials run all"])
def test_a_command_of_the_lab_says_one_line_and_exits_with_2(bare: Path, command: str) -> None:
    done = run(bare, "trainability", *command.split())
    assert done.returncode == 2
    ours = [line for line in done.stderr.splitlines() if line.startswith("trainability: ")]
    assert ours == ["trainability: this needs the extra lab: pip install 'trainability[lab]'"]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["--help", "train --help", "trials list"])
def test_light_commands_work_without_the_lab(bare: Path, command: str) -> None:
    done = run(bare, "trainability", *command.split())
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) > 200
