"""Imports run one way, and the light modules stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import trainability

ROOT = Path(trainability.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# What each part may import of this package; a part is a module or a folder at the top.
ALLOWED = {
    "config": set(),
    "keyed": set(),
    "doctor": set(),
    "period": {"config"},
    "vgg": {"config", "keyed"},
    "initialize": {"config", "keyed", "vgg"},
    "data": {"config", "keyed"},
    "evaluation": {"config", "data", "keyed", "vgg"},
    "planning": {"doctor", "initialize"},
    "training": {"config", "keyed", "vgg", "initialize", "data", "evaluation", "doctor", "period", "planning"},
    "faults": {"config", "data", "evaluation", "keyed", "training"},
    "checking": {"config", "data", "doctor", "faults", "training"},
    "trials": {"checking", "config", "doctor", "evaluation", "faults", "initialize", "report", "training", "vgg"},
    "terminal_trials": {"trials"},
    "report": {"config", "data", "doctor", "evaluation", "training"},
    "terminal_diagnosis": {"doctor"},
    "terminal": {"doctor", "initialize", "terminal_diagnosis", "training"},
    "live": {"config", "report", "terminal", "training"},
    "commands": {"config", "data", "evaluation", "terminal", "training"},
    "cli": {
        "checking",
        "commands",
        "config",
        "doctor",
        "faults",
        "live",
        "report",
        "terminal",
        "terminal_diagnosis",
        "terminal_trials",
        "training",
        "trials",
    },
    "__main__": {"cli"},
    "__init__": {"checking", "config", "doctor", "initialize", "training", "vgg"},
}


def part(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names if node.module == "trainability")]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("trainability.")}
        if "trainability" in names:
            found |= set() if any(name.startswith("trainability.") for name in names) else {"the package root"}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    own = part(path)
    assert imported(path) <= ALLOWED[own] | {own}


@pytest.mark.parametrize("module", ["trainability", "trainability.config", "trainability.cli", "trainability.live.watch"])
def test_light_modules_import_no_torch(module: str) -> None:
    script = f"import {module}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_public_names_are_there() -> None:
    for name in trainability.__all__:
        assert getattr(trainability, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = trainability.nothing
