"""The commit of a run: that of the user's folder, not of this package."""

import subprocess
from pathlib import Path

import pytest

from trainability import read_run
from trainability.cli.program import main

SCRIPT = """
import torch
from torch import nn

model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(3):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.randint(3, (8,))).backward()
    optimizer.step()
"""


def git(folder: Path, *command: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    return subprocess.run(["git", *who, *command], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def repository(folder: Path) -> str:
    """Make a folder a repository with one commit, which has a tag, and return that commit."""
    (folder / "notes.txt").write_text("one\n")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    git(folder, "tag", "-am", "first", "v1")
    return git(folder, "rev-parse", "HEAD")[:12]


@pytest.mark.parametrize("place", ["script", "current", "neither"])
@pytest.mark.parametrize("is_changed", [False, True])
def test_it_is_that_of_the_script_or_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, is_changed: bool
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))  # whatever the test's own folder is in
    scripts, here = tmp_path / "scripts", tmp_path / "here"
    scripts.mkdir()
    here.mkdir()
    script = scripts / "train.py"
    script.write_text(SCRIPT)
    commit = None if place == "neither" else repository(scripts if place == "script" else here)
    if commit is not None and is_changed:
        (scripts if place == "script" else here).joinpath("notes.txt").write_text("two\n")
        commit += "-dirty"
    monkeypatch.chdir(here)
    with pytest.raises(SystemExit) as stop:
        main(["run", "--dir", str(tmp_path / "run"), str(script)])
    assert stop.value.code == 0
    facts = read_run(tmp_path / "run").environment
    assert facts["commit"] == commit
    assert facts["packages"]["trainability"]
