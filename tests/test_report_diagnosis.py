"""What the report says of a diagnosis: its findings, where they arose, the predicted plateau."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from test_report import MARKUP, finish_run, page_of, plot_of, start_run, step_row

from trainability.report.diagnosis_section import diagnosis_section, layer_numbers
from trainability.report.figures import METRICS, metric_figure
from trainability.report.html import marks_on
from trainability.report.summary import status
from trainability.training.record import EVIDENCE, FINDING_EVENTS, FINDINGS, STEPS, read_run

FINDING = {"rule": "dying_relu", "severity": "warning", "seen": MARKUP, "remedy": "less lr", "layers": ["features.0"]}


def test_findings_stand_where_they_arose(tmp_path: Path) -> None:
    record = start_run(tmp_path / "run")
    record.append(STEPS, [step_row(step) for step in range(1, 101)])
    rows = [FINDING | {"step": step, "severity": severity} for step, severity in ((0, "hint"), (40, "warning"), (41, "error"))]
    record.append(FINDING_EVENTS, rows)
    record.write_findings(step=100, verdict="dead", reason="none", findings=[rows[2]], evidence=None)
    run = read_run(tmp_path / "run")
    for name in METRICS:
        layout = plot_of(metric_figure(run, name))["layout"]
        assert [mark["x0"] for mark in layout["shapes"] if mark["name"] == "finding"] == [0, 40]
        labels = [note for note in layout["annotations"] if note["name"] == "finding"]
        assert [(note["x"], note["text"]) for note in labels] == [(0, "1"), (40, "2–3")]  # too close to be told apart
        assert "2 warning: dying_relu, step 40" in labels[1]["hovertext"]
    page = page_of(run.folder)
    (key,) = re.findall(r'<p class="note marks">(.*?)</p>', page)  # what the numbers above the figures mean
    assert re.findall(r"<b>(\d)</b> (\w+) <code>(\w+)</code>, (?:step (\d+))?", key) == [
        ("1", "hint", "dying_relu", ""),
        ("2", "warning", "dying_relu", "40"),
        ("3", "error", "dying_relu", "41"),
    ]
    section = diagnosis_section(run)
    assert section is not None
    assert [re.findall(r"[\d.]+", event.when) for event in section.events] == [[], ["40", "10.0"], ["41", "10.2"]]
    assert [event.now == "present" for event in section.events] == [False, False, True]
    assert [finding.severity for finding in section.findings] == ["error"]
    assert "<img" not in page
    for part in ("trainability explain dying_relu", "less lr", "features.0"):
        assert part in page


@pytest.mark.parametrize(("predicted", "end", "words"), [(3.0, 3.0, "3 steps"), ("inf", 8.16, "never")])
def test_the_predicted_plateau_is_shaded(tmp_path: Path, predicted: object, end: float, words: str) -> None:
    run = finish_run(tmp_path / "run")
    (run.folder / EVIDENCE).write_text(json.dumps({"probe": {"plateau_steps": predicted}}))
    layout = plot_of(metric_figure(read_run(run.folder), "loss"))["layout"]
    span = next(shape for shape in layout["shapes"] if shape["name"] == "plateau")
    assert (span["x0"], span["x1"]) == (0, pytest.approx(end))
    assert any(words in note["text"] for note in layout["annotations"])
    assert "plateau" in marks_on([metric_figure(read_run(run.folder), "loss")], None)


def test_layers_are_there_in_numbers_as_far_as_the_run_has_them(tmp_path: Path) -> None:
    run = finish_run(tmp_path / "run")
    assert layer_numbers(run) == ()
    (run.folder / EVIDENCE).write_text(json.dumps({"probe": {"layers": [{"name": "a", "gain": 0.5, "activation_rms": "nan"}]}}))
    (table,) = layer_numbers(read_run(run.folder))
    assert [cell.text for cell in table.rows[0]] == ["a", "0.5", "NaN"]
    assert ">0.5</td>" in page_of(run.folder)


@pytest.mark.parametrize(
    ("verdict", "severity", "kind"),
    [
        ("has learned", None, "good"),
        ("has learned", "hint", "good"),
        ("has learned", "warning", "open"),
        ("dead", "hint", "bad"),
    ],
)
def test_only_a_verdict_that_nothing_speaks_against_is_green(
    tmp_path: Path, verdict: str, severity: str | None, kind: str
) -> None:
    run = finish_run(tmp_path / "run")
    found = [] if severity is None else [{**FINDING, "severity": severity}]
    (run.folder / FINDINGS).write_text(json.dumps({"step": 8, "verdict": verdict, "reason": "none", "findings": found}))
    section = diagnosis_section(read_run(run.folder))
    assert section is not None
    ended = "open" if kind == "bad" else kind  # red is for a run that did not come to its end
    assert (section.tone, status(read_run(run.folder)).kind) == (kind, ended)


def test_what_the_directory_lacks_stands_at_the_end(tmp_path: Path) -> None:
    run = finish_run(tmp_path / "run")
    (run.folder / "environment.json").unlink()
    headings = re.findall(r'<h2 id="([^"]+)"', page_of(run.folder))
    assert headings[-1] == "missing"
