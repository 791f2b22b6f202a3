"""The guides: each ends in one command, which is run here on the program of the guide and says what the guide says.

The pages of the first five minutes are the same without a fault.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
GUIDES = sorted((DOCS / "guides").glob("*.md"))
pytestmark = pytest.mark.slow


def files_of(text: str) -> dict[str, str]:
    """Python blocks that name their file in the first line."""
    blocks = re.findall(r"^```python\n(# (\w+\.py)\n.*?)^```", text, re.DOTALL | re.MULTILINE)
    return {name: code for code, name in blocks}


def last_command(text: str) -> str:
    """The one command in the page's last block, with which the page ends."""
    found = re.search(r"\n```\n(trainability [^\n]+)\n```\n\Z", text)
    assert found is not None, "the page does not end in one command"
    return found[1]


def run(text: str, command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    for name, code in files_of(text).items():
        (folder / name).write_text(code)
    words = [sys.executable, "-m", "trainability", *shlex.split(command)[1:]]
    if words[3] == "check":
        words += ["--rehearse", "60"]  # a busy machine is given the time that it needs
    return subprocess.run(words, cwd=folder, env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True)


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_a_guide_ends_in_one_command_that_names_the_cause(page: Path, tmp_path: Path) -> None:
    text = page.read_text()
    done = run(text, last_command(text), tmp_path)
    assert done.returncode == 1, done.stderr
    (said,) = re.findall(r"<!-- said -->\n```\n(.*?)\n```", text, re.DOTALL)
    heard = done.stdout + done.stderr
    for line in said.splitlines():
        assert line in heard, f"{page.name} says {line!r}; heard:\n{heard}"


def test_the_guides_are_the_four_questions() -> None:
    assert [page.stem for page in GUIDES] == ["accuracy", "flat-loss", "nan", "validation"]


def test_a_guide_links_the_rules_that_it_names() -> None:
    headings = set(re.findall(r"^## (\w+)$", (DOCS / "rules.md").read_text(), re.MULTILINE))
    for page in GUIDES:
        named = re.findall(r"\[(\w+)\]\(\.\./rules\.md#(\w+)\)", page.read_text())
        assert len(named) >= 5
        for text, anchor in named:
            assert text == anchor
            assert anchor in headings


def test_the_first_five_minutes_find_nothing(tmp_path: Path) -> None:
    text = (DOCS / "start" / "pytorch.md").read_text()
    done = run(text, "trainability check my_training:setup", tmp_path)
    assert done.returncode == 0, done.stdout
    assert "WILL TRAIN" in done.stdout
