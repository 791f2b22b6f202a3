"""Wheel and sdist, built from a clean copy of what is tracked: what they contain, and whether an index would take them."""

import importlib.util
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import trainability

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Of the package: data, rates of the rules, templates and pictures of the report, the marker of types.
NEEDED = (
    "data/digits.npz",
    "doctor/rules/rates.json",
    "report/templates",
    "py.typed",
    "__init__.py",
)
ROOT_FILES = ("pyproject.toml", "README.md", "LICENSE", "NOTICE", "CHANGELOG.md", "MANIFEST.in")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel and the sdist, built by `python -m build` in a temporary copy."""
    pytest.importorskip("build", reason="needs the extra dev: build")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in ROOT_FILES:
        shutil.copy(ROOT / name, source)
    for name in ("src", "recipes", "docs", "examples"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.png", "*.svg")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    # What builds it is installed here; an isolated build would fetch it.
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    return out


@pytest.mark.slow
def test_the_wheel_contains_what_the_package_reads(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for needed in NEEDED:
        assert any(name.startswith(f"trainability/{needed}") for name in names), needed
    package = Path(trainability.__file__).parent
    code = {str(path.relative_to(package.parent)) for path in package.rglob("*.py")}
    assert code <= set(names)
    assert {Path(name).name for name in names if "licenses/" in name} == {"LICENSE", "NOTICE"}
    assert not [name for name in names if name.startswith(("tests", "benchmarks"))]


@pytest.mark.slow
def test_the_sdist_contains_what_builds_it_and_the_recipes(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    recipes = {str(path.relative_to(ROOT)) for path in (ROOT / "recipes").rglob("*.toml")}
    assert recipes
    assert recipes <= names
    assert {*ROOT_FILES, "src/trainability/py.typed", "src/trainability/data/digits.npz"} <= names


@pytest.mark.slow
def test_an_index_would_take_both(built: Path) -> None:
    pytest.importorskip("twine", reason="needs the extra dev: twine")
    files = [str(path) for path in built.iterdir()]
    done = subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2


def test_the_version_is_written_in_two_places_alike() -> None:
    assert PROJECT["version"] == trainability.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", trainability.__version__)
    first = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first is not None
    assert first[1] == trainability.__version__


def test_the_page_of_an_index_has_no_link_that_leads_nowhere() -> None:
    assert importlib.util.find_spec("trainability") is not None
    for target in PROJECT.get("urls", {}).values():
        assert target.startswith("https://")
        assert "localhost" not in target
