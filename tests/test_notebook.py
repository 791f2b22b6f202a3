"""What a notebook shows of diagnoses, runs and comparisons; rows as tables, figures to keep; the example notebook, executed."""

from __future__ import annotations

import csv
import html.parser
import json
import re
from pathlib import Path

import pytest
import torch
from test_report import MARKUP, finish_run
from test_report_errors import answered, learned
from torch import nn
from torch.nn import functional as F

import trainability
from trainability import extras
from trainability.disk import lock
from trainability.doctor import markup
from trainability.doctor.experimented import Arm, Experiments
from trainability.extras import MissingExtra
from trainability.report.look import PALETTES
from trainability.training.record import FINDINGS, read_run

NOTEBOOK = Path(__file__).parent.parent / "examples" / "notebooks" / "why_will_it_not_train.ipynb"


class Seen(html.parser.HTMLParser):
    """Tags, styles and text of a piece of HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.styles: list[str] = []
        self.said = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect a tag and its style; nothing else may stand in it."""
        self.tags.append(tag)
        assert {name for name, _ in attrs} <= {"style", "open"}
        self.styles += [value or "" for name, value in attrs if name == "style"]

    def handle_data(self, data: str) -> None:
        """Collect text."""
        self.said += data


def check_is_legible(text: str) -> Seen:
    """On any ground: no colour but that of dots, no ground of its own, no script."""
    seen = Seen(text)
    assert not {"script", "style", "link", "img"} & set(seen.tags)
    for style in seen.styles:
        for name, value in (part.split(":", 1) for part in style.split(";")):
            if name == "color":
                assert value in ("inherit", *markup.COLOURS.values())
            if name.startswith("background"):
                assert value == "transparent"
    return seen


def contrast(colour: str, ground: str) -> float:
    """The contrast of two colours, after WCAG 2."""

    def luminance(text: str) -> float:
        parts = [int(text[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(colour), luminance(ground)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("ground", ["#ffffff", "#000000", "#1e1e1e", "#383838"])  # the last two: VS Code and Colab
def test_dots_are_seen_on_light_and_dark_grounds(ground: str) -> None:
    assert min(contrast(colour, ground) for colour in markup.COLOURS.values()) >= (2.3 if ground == "#ffffff" else 2.7)


def dead_diagnosis() -> trainability.Diagnosis:
    torch.manual_seed(0)
    model = nn.Sequential(*[layer for _ in range(12) for layer in (nn.Linear(20, 20), nn.ReLU())], nn.Linear(20, 5))
    images, labels = torch.randn(64, 20), torch.randint(5, (64,))
    return trainability.diagnose(trainability.probe(model, F.cross_entropy, images, labels))


def test_a_diagnosis_and_its_layers() -> None:
    diagnosis = dead_diagnosis()
    seen = check_is_legible(diagnosis._repr_html_())
    assert diagnosis.findings
    for finding in diagnosis.findings:
        assert f"{finding.severity} {finding.rule}:" in seen.said
        assert finding.remedy in seen.said
    (table,) = diagnosis.layers
    layers = check_is_legible(table._repr_html_())
    assert layers.tags.count("tr") == 1 + 13
    assert table.columns[0].name == "layer"
    assert all(column.name in layers.said for column in table.columns)


def test_experiments_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    diagnosis = dead_diagnosis()
    arms = (
        Arm(name="unchanged", change="as it is", outcome="as it is", curve=((0, 1.6), (20, 1.6))),
        Arm(name="he", change="He's weights <b>", outcome="trains", curve=((0, 1.6), (20, 0.2))),
    )
    object.__setattr__(diagnosis.evidence, "experiments", Experiments(arms=arms, state="at chance", steps=20, chance=1.6))
    seen = check_is_legible(diagnosis._repr_html_())
    assert "He's weights <b>" in seen.said
    assert "confirmed" in seen.said


def test_what_is_shown_of_a_run_is_escaped(tmp_path: Path) -> None:
    run = finish_run(tmp_path / "run")
    finding = {"rule": "dead_units", "severity": "warning", "cause": MARKUP, "seen": MARKUP, "layers": [], "explains": []}
    said = {"verdict": "is training", "reason": MARKUP, "findings": [finding], "not_checked": []}
    (run.folder / FINDINGS).write_text(json.dumps({"step": 8, **said}))
    seen = check_is_legible(read_run(str(run.folder))._repr_html_())
    for words in ("VGG-B on digits", "finished", "8, 2 of 3 epochs", "25.00 %", MARKUP, "warning dead_units:"):
        assert words in seen.said


def test_a_run_that_has_not_begun_is_shown(tmp_path: Path) -> None:
    run = finish_run(tmp_path / "run")
    for path in run.folder.iterdir():
        if path.is_file() and path.name != "config.toml":
            path.unlink()
    assert "killed" in check_is_legible(read_run(run.folder)._repr_html_()).said


@pytest.mark.parametrize(("loss", "ended", "words"), [(0.3, True, "has learned"), (2.0, True, "was still training")])
def test_the_verdict_of_an_ended_run(tmp_path: Path, loss: float, ended: bool, words: str) -> None:
    run = finish_run(tmp_path / "run")
    (run.folder / FINDINGS).write_text(json.dumps({"step": 8, "verdict": "is training", "reason": "x", "findings": []}))
    rows = [{**row, "loss": loss} for row in run.steps]  # chance of eight classes: 2.08
    (run.folder / "steps.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert words in read_run(run.folder)._repr_html_()
    assert words in trainability.write_report(str(run.folder)).read_text()
    (run.folder / "result.json").unlink()
    assert words in read_run(run.folder)._repr_html_()  # killed
    with lock.held(run.folder):
        assert "is training" in read_run(run.folder)._repr_html_()


def test_rows_as_csv_and_as_a_data_frame(tmp_path: Path) -> None:
    run = finish_run(tmp_path / "run")
    path = run.to_csv(str(tmp_path / "rows.csv"), "evaluations")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val_loss"]) for row in rows] == [row["val_loss"] for row in run.evaluations]
    with pytest.raises(ValueError, match="did you mean steps"):
        run.to_csv(tmp_path / "x.csv", "step")  # type: ignore[arg-type]
    pytest.importorskip("pandas")
    frame = run.to_pandas()
    assert list(frame["loss"]) == [row["loss"] for row in run.steps]
    assert list(frame.columns) == list(run.steps[0])
    assert len(run.to_pandas("layers")) == 0


def test_without_pandas_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = finish_run(tmp_path / "run")
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "pandas" else object())
    with pytest.raises(MissingExtra, match=r"^this needs the extra notebook: pip install 'trainability\[notebook\]'$"):
        run.to_pandas()


def test_histograms_are_no_columns(tmp_path: Path) -> None:
    run = finish_run(tmp_path / "run")
    run.layers.append({"step": 1, "name": "conv", "update_ratio": 0.5, "weight_histogram": {"fractions": [1.0]}})
    path = run.to_csv(tmp_path / "layers.csv", "layers")
    assert path.read_text().splitlines() == ["step,name,update_ratio", "1,conv,0.5"]


@pytest.mark.parametrize("dark", [False, True])
def test_figures_are_those_of_the_page_and_need_no_page(tmp_path: Path, dark: bool) -> None:
    run = answered(tmp_path / "run", learned())
    figures = trainability.figures(str(run.folder), dark=dark)
    assert {"loss", "top1", "norm", "rate", "confusion"} <= set(figures)
    for figure in figures.values():
        text = figure.to_json()
        assert "@" not in text.replace("@bee", "")  # a class of this run
        assert "{position}" not in text
        assert figure.layout.paper_bgcolor == PALETTES["dark" if dark else "light"]["paper"]
    loss = figures["loss"]
    assert [trace.name for trace in loss.data] == ["Training, each step", "Training, epoch mean", "Validation"]
    assert list(loss.data[2].y) == [row["val_loss"] for row in run.evaluations]
    assert figures["norm"].layout.yaxis.type == "log"
    (level,) = (note.y for note in figures["norm"].layout.annotations if note.name == "clip")
    assert 10**level == pytest.approx(2.0)  # plotly counts annotations of a log axis in powers of ten


def test_a_comparison(tmp_path: Path) -> None:
    folders = [str(finish_run(tmp_path / name).folder) for name in ("one", "two")]
    comparison = trainability.compare([folders[0], read_run(folders[1])])
    assert comparison.names == ("one", "two")
    seen = check_is_legible(comparison._repr_html_())
    assert "Best top-1 error, validation" in seen.said
    figures = trainability.figures(comparison)
    assert {trace.name for trace in figures["loss"].data} >= {"one: Validation", "two: Validation"}
    assert {trace.name for trace in figures["rate"].data} == {"one", "two"}
    assert comparison.write(str(tmp_path / "page.html")).is_file()
    with pytest.raises(ValueError, match="two or more"):
        trainability.compare(folders[:1])
    with pytest.raises(ValueError, match="twice"):
        trainability.compare([folders[0], read_run(folders[0])])
    pytest.importorskip("pandas")
    assert list(comparison.to_pandas().columns) == ["one", "two"]
    assert comparison.to_pandas().loc["Steps", "one"] == "8"


def test_the_example_notebook_is_kept_without_outputs_and_without_places() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)
    assert not re.search(r"/(home|tmp|work|Users)/", NOTEBOOK.read_text())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what the notebook's own libraries warn of
def test_the_example_notebook_runs(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat", reason="nbclient is not installed (extra dev)")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed (extra dev)")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed (extra dev)")
    pytest.importorskip("pandas")
    book = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(book, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [
        check_is_legible(output.data["text/html"]).said
        for cell in book.cells
        for output in cell.get("outputs", ())
        if "text/html" in output.get("data", {}) and "dataframe" not in output.data["text/html"]
    ]
    assert len(shown) == 4
    assert "gain_budget_low" in shown[0]
    assert "Comparison of 2 runs" in shown[3]
    for name in ("he/report.html", "he/steps.csv", "comparison.html", "loss.html"):
        assert (tmp_path / "runs" / name).stat().st_size > 0
    errors = [trainability.read_run(tmp_path / "runs" / name).evaluations[-1]["val_top1_error"] for name in ("default", "he")]
    assert errors[1] < errors[0] - 0.1  # what the doctor asked for makes the net learn
