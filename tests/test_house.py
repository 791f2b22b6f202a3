"""Imports run one way, and the light modules stay light."""

import ast
import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

import trainability

ROOT = Path(trainability.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# What each part may import of this package; a part is a module or a folder at the top.
ALLOWED = {
    "config": {"disk"},
    "disk": set(),
    "keyed": set(),
    "extras": set(),
    "executors": {"extras"},
    "formats": set(),
    "doctor": set(),
    "models": {"config", "keyed"},
    "initialization": {"config", "doctor", "keyed", "models"},
    "data": {"config", "disk", "keyed"},
    "evaluation": {"config", "data", "disk", "keyed", "models"},
    "prescribe": {"doctor", "executors", "initialization"},
    "training": {"config", "disk", "formats", "keyed", "models", "initialization", "data", "evaluation", "doctor", "prescribe"},
    "faults": {"config", "data", "evaluation", "keyed", "training"},
    "checking": {
        "config",
        "data",
        "disk",
        "doctor",
        "executors",
        "faults",
        "initialization",
        "models",
        "prescribe",
        "training",
    },
    "report": {"config", "data", "disk", "doctor", "evaluation", "formats", "prescribe", "training"},
    "trials": {
        "checking",
        "config",
        "data",
        "doctor",
        "evaluation",
        "executors",
        "faults",
        "formats",
        "initialization",
        "models",
        "report",
        "training",
    },
    "terminal": {"doctor", "formats", "initialization", "prescribe", "training"},
    "watch": {"config", "doctor", "formats", "terminal", "training"},
    "cli": {
        "checking",
        "config",
        "data",
        "disk",
        "doctor",
        "evaluation",
        "executors",
        "faults",
        "formats",
        "loops",
        "prescribe",
        "report",
        "terminal",
        "training",
        "trials",
        "watch",
    },
    "__main__": {"cli"},
    "loops": {"doctor", "extras", "training"},
    "integrations": {"checking", "doctor", "extras", "loops"},
    "__init__": {
        "checking",
        "config",
        "doctor",
        "initialization",
        "integrations",
        "loops",
        "models",
        "prescribe",
        "report",
        "training",
    },
}

for room in ("data", "evaluation", "training", "report", "trials", "cli"):  # what asks for an extra that is not installed
    ALLOWED[room].add("extras")


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


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    return {
        ".".join(("trainability", *(name for name in path.relative_to(ROOT).with_suffix("").parts if name != "__init__"))): path
        for path in FILES
    }


def imports_of(path: Path, known: dict[str, Path]) -> set[str]:
    """Modules that a file imports, wherever in the file; what is imported for the type checker alone is none."""
    tree = ast.parse(path.read_text())
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in known else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & set(known)


def test_no_module_imports_itself_in_a_circle() -> None:
    known = modules()
    graph = {name: imports_of(path, known) - {name} for name, path in known.items()}
    with contextlib.suppress(StopIteration):
        while True:  # modules that import nothing left are taken away until only circles remain
            free = next(name for name, needed in graph.items() if not needed)
            del graph[free]
            for needed in graph.values():
                needed.discard(free)
    assert not graph, "circles, or what hangs on one: " + ", ".join(sorted(graph))


def test_the_root_keeps_few_files() -> None:
    assert len(list(ROOT.glob("*.py"))) < 10


@pytest.mark.parametrize(
    "module",
    [
        "trainability",
        "trainability.config",
        "trainability.cli.program",
        "trainability.doctor.rules.verdict",
        "trainability.watch.screen",
    ],
)
def test_light_modules_import_no_torch(module: str) -> None:
    script = f"import {module}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_public_names_are_shown_without_importing_torch() -> None:
    script = "import trainability, sys; print(dir(trainability)); sys.exit('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert shown.returncode == 0
    assert ast.literal_eval(shown.stdout) == sorted(trainability.__all__)


def test_public_names_are_there() -> None:
    assert set(trainability.__all__) == {*trainability._PUBLIC, "__version__"}
    for name in trainability.__all__:
        assert getattr(trainability, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = trainability.nothing
