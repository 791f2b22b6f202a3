"""Every block of code in README, CONTRIBUTING and docs: Python runs, commands exist with their flags.

A block that cannot run says why in a comment on the line above it: `<!-- not run: reason -->`.
"""

import contextlib
import io
import json
import pkgutil
import re
import shlex
import sys
import tomllib
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from unittest import mock

import pytest
import torch
from runs_on_disk import begin, epoch, steps
from sources_on_disk import class_folders
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import trainability
from trainability.cli import program
from trainability.cli.run import with_one_command
from trainability.doctor.diagnosis import VERDICTS
from trainability.extras import EXTRAS
from trainability.initialization import SCHEMES

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if page.name != "trials.md"]  # written by `trainability trials report`; test_trials_page.py


@dataclass(frozen=True)
class Block:
    """A fenced block, or a command in backquotes within a line."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page that are not marked."""
    found: list[Block] = []
    inside: tuple[int, str] | None = None
    lines = page.read_text().splitlines()
    for number, line in enumerate(lines, start=1):
        if not (fence := re.fullmatch(r"\s*```(\w*)", line)):
            continue
        if inside is None:
            inside = (number, fence[1])
            continue
        begun, language = inside
        inside = None
        if begun < 2 or not re.fullmatch(r"<!-- not run: .{10,} -->", lines[begun - 2]):
            found.append(Block(page, begun, language, "\n".join(lines[begun : number - 1])))
    assert inside is None, f"{page}: a fence is not closed"
    return found


BLOCKS = [block for page in PAGES if page.exists() for block in blocks(page)]
PYTHON = [block for block in BLOCKS if block.language in ("python", "py")]
CONSOLE = [block for block in BLOCKS if block.language in ("", "sh", "bash", "console")]


def own_program() -> dict[str, object]:
    """Names that the pages use without defining them: a small program of the reader's own."""
    torch.manual_seed(0)
    labels = torch.arange(160) % 10
    images = torch.randn(10, 12)[labels] + 0.3 * torch.randn(160, 12)
    loader = DataLoader(TensorDataset(images, labels), batch_size=32)
    model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 10))

    def evaluate(pairs: list) -> float:
        return sum(int((logits.argmax(1) != labels).sum()) for logits, labels in pairs) / sum(len(y) for _, y in pairs)

    return {
        "torch": torch,
        "nn": nn,
        "F": F,
        "model": model,
        "loss_fn": F.cross_entropy,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "images": images[:32],
        "labels": labels[:32],
        "loader": loader,
        "train_loader": loader,
        "val_loader": loader,
        "validation_loader": loader,
        "evaluate": evaluate,
        "accuracy": evaluate,
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with what the pages name: a folder of photos, and a run."""
    folder = tmp_path_factory.mktemp("docs")
    class_folders(folder / "photos")
    record = begin(folder / "runs" / "digits-B-001")
    steps(record, 1, 4)
    epoch(record, 1)
    return folder


NEEDS = {"lightning.md": ("lightning",), "transformers.md": ("transformers", "accelerate")}
"""Pages whose programs need an extra -> its packages."""


@pytest.mark.parametrize("page", dict.fromkeys(block.page for block in PYTHON), ids=lambda page: page.name)
def test_python_runs(page: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    # The blocks of a page go on from each other, as a reader takes them.
    monkeypatch.chdir(place)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for package in NEEDS.get(page.name, ()):
        pytest.importorskip(package, reason=f"needs the extra {page.stem}")
        warnings.simplefilter("ignore")  # of these libraries about each other; pytest puts the filters back
    names = own_program()
    with mock.patch.dict(SCHEMES):  # CONTRIBUTING adds one
        for block in (block for block in PYTHON if block.page == page):
            exec(compile("\n" * block.line + block.text, str(page), "exec"), names)
            # A comment beside a printed number promises that number.
            if promised := re.search(r"print\(.*\)  # .*?(-?\d+\.\d+)", block.text):
                assert float(capsys.readouterr().out.split()[-1]) == pytest.approx(float(promised[1]), abs=0.06)
    if callable(setup := names.get("setup")):
        assert isinstance(setup(), trainability.Setup)


def test_the_readme_shows_what_run_and_check_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    readme = blocks(ROOT / "README.md")
    for block in readme:
        if name := re.match(r"# (\w+\.py)\n", block.text):
            (tmp_path / name[1]).write_text(block.text)

    def exit_code(*arguments: str) -> int:
        with pytest.raises(SystemExit) as stop:
            program.main(list(arguments))
        return int(stop.value.code or 0)

    (shown,) = (block.text for block in readme if block.text.startswith("trainability: watching"))
    assert exit_code("run", "train.py") == 0
    heard = capsys.readouterr().err
    for part in shown.split("\n…\n"):
        assert part in heard
    sys.modules.pop("my_training", None)  # other tests have modules of this name, too
    try:
        assert exit_code("check", "my_training:setup") == 0
    finally:
        sys.modules.pop("my_training", None)
    assert "WILL TRAIN" in capsys.readouterr().out


def commands(text: str) -> list[str]:
    """The commands of a block, without prompts and comments, continued lines joined."""
    joined = re.sub(r" *\\\n *", " ", text)
    starts = ("trainability ", "python ", "torchrun ", "make ", "pip ", "git ")
    lines = [line.strip().removeprefix("$ ") for line in joined.splitlines()]
    return [re.sub(r"\s+#.*", "", line) for line in lines if f"{line} ".startswith(starts)]


def inline(page: Path) -> list[str]:
    """Commands that stand between backquotes in running text and tables."""
    text = re.sub(r"^\s*```.*?^\s*```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`((?:trainability|make|pip|python|torchrun) [^`\n|]*)`", text)


@cache
def flags_of(command: str, subcommand: str | None) -> frozenset[str]:
    """Every flag that the help of a command names."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), pytest.raises(SystemExit):
        program._parse([command, *([subcommand] if subcommand else []), "--help"])
    return frozenset(re.findall(r"--[a-z][a-z0-9.-]*", said.getvalue()))


PLACEHOLDER = re.compile(r"…|\.\.\.|\b[A-Z]{2,}\b|(?<!\S)N(?!\S)")


def check_trainability(arguments: list[str], *, is_whole: bool = True) -> None:
    if arguments[0].startswith("--"):
        return
    assert arguments[0] in program.COMMANDS, arguments[0]
    subcommand = next((word for word in arguments[1:2] if arguments[0] == "trials"), None)
    if arguments[0] == "trials":
        assert subcommand in program.TRIALS_COMMANDS or not (is_whole or subcommand), arguments
    known = flags_of(arguments[0], subcommand)
    # What follows the script of `run` is the script's own.
    for word in with_one_command(arguments)[1:] if arguments[0] == "run" else arguments[1:]:
        if word.startswith("--"):
            assert word.partition("=")[0] in known, word
    if is_whole and not PLACEHOLDER.search(" ".join(arguments)):
        program._parse(program._expand(arguments))


def check_command(line: str, *, is_whole: bool = True) -> None:
    line = re.sub(r" *(\||>|&&).*", "", line)
    words = shlex.split(line)
    match words[0]:
        case "trainability":
            check_trainability([word for word in words[1:] if word not in ("…", "...")] or ["--help"], is_whole=is_whole)
        case "torchrun":
            check_trainability([word for word in words[words.index("trainability") + 1 :] if word not in ("…", "...")])
        case "make":
            targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert {word for word in words[1:] if "=" not in word} <= set(targets), line
        case "python":
            scripts = [word for word in words[1:] if word.endswith(".py")]
            assert all((ROOT / script).is_file() for script in scripts), line
            if words[1:3] == ["-m", "trainability"]:
                check_trainability(words[3:])
        case "pip":
            project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
            named = {extra for group in re.findall(r"\[(.*?)\]", line) for extra in group.split(",")}
            assert named <= set(project["optional-dependencies"]), line
            assert set(EXTRAS) <= set(project["optional-dependencies"])


@pytest.mark.parametrize("block", CONSOLE, ids=str)
def test_commands_exist_with_their_flags(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for line in commands(block.text):
        check_command(line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_running_text_exist_with_their_flags(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for line in inline(page):  # a command may be named there without what it needs: `trainability diagnose`
        check_command(line, is_whole=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_files_exist(page: Path) -> None:
    text = re.sub(r"^\s*```.*?^\s*```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), target
    for name in re.findall(r"`((?:tests|benchmarks|examples|recipes|docs|src)/[\w/.-]+)`", text):
        assert (ROOT / name).exists(), name


def test_the_doctor_s_page_has_a_line_for_each_verdict() -> None:
    page = (ROOT / "docs" / "doctor.md").read_text()
    section = page.split("## Reading a diagnosis\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([a-z ]+?)(?: \(.*?\))? \| .+ \| .+ \|$", section, re.MULTILINE)[1:]
    assert rows == list(VERDICTS)


def test_the_readme_s_summary_follows_from_its_table() -> None:
    section = (ROOT / "README.md").read_text().split("### How often the cause is right\n")[1].split("\n## ")[0]
    number = r"(\d+)(?: %)? \([^)]*\) \| "
    rows = re.findall(rf"^\|[^|]+\| (\d+), (\d+) \| {number}{number}(\d+) ", section, re.MULTILINE)
    sizes, sound, detected, named, alarms = (list(map(int, column)) for column in zip(*rows, strict=True))
    assert len(sizes) == 15
    others = [place for place, size in enumerate(sizes) if size > 12]  # all but the programs of two networks

    def share(percents: list[int]) -> float:
        return sum(round(percents[n] * sizes[n] / 100) for n in others) / sum(sizes[n] for n in others)

    summary = section.split("Authors who")[0]
    assert "seven in ten" in summary
    assert share(named) == pytest.approx(0.7, abs=0.02)
    assert "one in five" in summary
    assert 1 - share(detected) == pytest.approx(1 / 5, abs=0.02)
    assert "one sound program in eighteen" in summary
    assert round(sum(sound[n] for n in others) / sum(alarms[n] for n in others)) == 18


REFERENCE = sorted((ROOT / "docs" / "reference").glob("*.md"))


@pytest.mark.parametrize("page", REFERENCE, ids=lambda page: page.stem)
def test_the_reference_names_what_there_is(page: Path) -> None:
    names = re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE)
    assert names
    for name in names:
        assert pkgutil.resolve_name(name) is not None


def test_the_navigation_has_every_page() -> None:
    named = set(re.findall(r"^ +- [^:]+: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    assert named == {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}


@pytest.mark.parametrize("language", sorted({block.language for block in BLOCKS}))
def test_every_language_has_its_check(language: str) -> None:
    readers = {"json": json.loads, "toml": tomllib.loads}
    for block in (block for block in BLOCKS if block.language == language):
        if language in readers:
            readers[language](block.text)
        else:
            assert block in PYTHON + CONSOLE, f"{block}: no check for {language}; mark it with <!-- not run: reason -->"


@pytest.mark.parametrize(
    "line",
    [
        "trainability trian",
        "trainability train --model.confg B",
        "trainability train --model.config Q",
        "trainability trials rnu all",
        "make tset",
        "python benchmarks/none.py",
        "pip install 'trainability[all]'",
    ],
)
def test_a_wrong_command_is_seen(line: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        check_command(line)
