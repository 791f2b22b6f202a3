"""What is said of a finding or a layer is said alike in plain text, in a terminal, on the watching screen and in the report."""

import dataclasses
import html
import io
import math
import re
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table
from runs_on_disk import begin
from test_doctor_render import full_evidence

from trainability.doctor import Diagnosis, Evidence, LayerStats, diagnose
from trainability.doctor.layer_table import COLUMNS, init_cells, layer_table
from trainability.doctor.serial import to_plain
from trainability.doctor.text import WIDTH, render_layers
from trainability.doctor.view import diagnosis_view, finding_view, finding_views, measured, start_title, verdict_title
from trainability.report.html import render
from trainability.terminal.diagnosis import layer_grid, print_diagnosis
from trainability.terminal.display import init_table
from trainability.training.record import LAYERS, read_run
from trainability.watch.state import LiveRun
from trainability.watch.view import view


def words(text: str) -> str:
    """Without line breaks, frames and indents."""
    return " ".join(text.replace("│", " ").split())


def drawn(diagnosis: Diagnosis) -> list[str]:
    """As plain text, and in a terminal."""
    out = io.StringIO()
    print_diagnosis(Console(file=out, width=200, color_system=None), diagnosis)
    return [words(str(diagnosis)), words(out.getvalue())]


def from_a_run(folder: Path, diagnosis: Diagnosis) -> list[str]:
    """On the watching screen, and in the report."""
    record = begin(folder)
    record.write_findings(step=4, **to_plain(dataclasses.replace(diagnosis, evidence=Evidence())))
    sample = diagnosis.evidence.samples[-1]
    record.append(LAYERS, [{"step": sample.step, **to_plain(layer)} for layer in sample.layers])
    record.write_evidence(diagnosis.evidence.to_dict())
    out = io.StringIO()
    Console(file=out, width=200, color_system=None).print(view(LiveRun(folder), width=200, height=300))
    page = re.sub(r"<script.*?</script>|<style.*?</style>", "", render(read_run(folder)), flags=re.DOTALL)
    text = words(html.unescape(re.sub("<[^>]*>", " ", page))).replace(" :", ":")
    return [words(out.getvalue()), text.replace("−", "-")]


def test_every_drawer_shows_every_part_of_every_finding_under_the_same_name(tmp_path: Path) -> None:
    diagnosis = diagnose(full_evidence())
    assert diagnosis.findings
    shown = diagnosis_view(diagnosis)
    for text in (*drawn(diagnosis), *from_a_run(tmp_path / "run", diagnosis)):
        assert shown.title in text.lower()
        assert words(shown.reason) in text
        for finding in shown.findings:
            assert words(finding.heading) in text
            names = [name for name, _ in finding.rows]
            assert names[:2] == ["seen", "numbers"]
            assert names[-1] == "more"
            assert finding.rows[-1][1] == f"trainability explain {finding.code}"  # and no page of the repository
            for name, said in finding.rows:
                listed = finding.all_layers if name == "layers" else said
                assert f"{name} {words(said)}" in text or f"{name} {listed}" in text


def test_every_drawer_has_the_same_columns_and_numbers(tmp_path: Path) -> None:
    diagnosis = diagnose(full_evidence())
    start, step = diagnosis_view(diagnosis).tables
    order = [column.name for column in COLUMNS]
    plain, terminal = drawn(diagnosis)
    screen, report = from_a_run(tmp_path / "run", diagnosis)
    for table in (start, step):
        names = [column.name for column in table.columns]
        assert names == sorted(names, key=order.index)
        for text in (plain, terminal, report):
            assert table.title in text
        assert " ".join(names) in report
        for row in table.rows:
            assert " ".join(cell.text or "–" for cell in row) in report
    for key in ("activation_rms", "update_ratio"):
        cells = step.cells(key)
        assert len(cells) == len(step.rows)
        for cell in cells:
            assert all(cell.text in text for text in (plain, terminal, screen, report))


def test_a_table_leaves_columns_out_until_it_fits_and_never_the_output() -> None:
    layers = [LayerStats(name=f"features.{i}", kind="conv", gain=0.5, activation_rms=1e-9, zero_fraction=0.5) for i in range(3)]
    table = layer_table(layers, "t")
    assert [column.key for column in table.columns] == ["name", "kind", "gain", "activation_rms", "zero_fraction"]
    assert table.within(200, gap=2) == table
    assert [column.key for column in table.within(1, gap=2).columns] == ["name", "activation_rms"]
    out = io.StringIO()
    Console(file=out, width=40, color_system=None).print(layer_grid(table, 40))
    assert "…" not in out.getvalue()
    assert max(map(len, render_layers(table).splitlines())) <= WIDTH


def test_what_is_not_finite_or_not_measured_is_told_apart() -> None:
    row = {"name": "a", "activation_rms": None, "activation_nonfinite": True, "gradient_rms": "inf", "update_ratio": None}
    table = layer_table([row, {"name": "b", "update_ratio": 1e-3}])
    assert [(cell.text, cell.is_nonfinite) for cell in table.rows[0]] == [
        ("a", False),
        ("NaN/Inf", True),
        ("infinite", True),
        ("", False),
    ]


def test_findings_of_an_older_run_are_shown_as_far_as_they_go() -> None:
    old = finding_view({"rule": "r", "severity": "hint", "seen": "s"})
    assert dict(old.rows).keys() == {"seen", "more"}
    assert old.line == "hint r: s"
    endless = {"name": "steps at chance", "value": "inf", "unit": "steps", "threshold": 46.0}
    assert "never" in measured(endless)
    assert "46" in measured(endless)
    order = finding_views([{"severity": severity} for severity in ("hint", "error", "warning", "error")])
    assert [finding.severity for finding in order] == ["error", "error", "warning", "hint"]


def test_a_cause_that_a_rule_tells_apart_is_named_by_its_code() -> None:
    assert dict(finding_view({"rule": "r", "code": "r.input"}).rows)["code"] == "r.input"
    assert "code" not in dict(finding_view({"rule": "r", "code": "r"}).rows)


def test_a_plateau_is_told_with_how_far_it_may_be_believed() -> None:
    evidence = dataclasses.replace(full_evidence(), steps=(), samples=())
    assert evidence.probe is not None
    few = {"batch_size": 2, "num_logits": 1000}
    for fields, said in (
        ({"plateau_steps": math.inf}, ("never ends",)),
        ({"plateau_steps": 300.0}, ("about 300 steps",)),
        ({"plateau_steps": 300.0, **few}, ("at least 300 steps", "2 examples", "1,000 classes")),
    ):
        probe = dataclasses.replace(evidence.probe, **fields)
        for text in drawn(diagnose(dataclasses.replace(evidence, probe=probe))):
            start = text.index("predicted stay at chance")
            assert all(part in text[start : start + 150] for part in said)


def cells_on_lines(table: Table, width: int) -> str:
    """What a terminal of that width shows, without any white space."""
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(table)
    assert max(map(len, out.getvalue().splitlines())) <= width
    return "".join(out.getvalue().split())


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_narrow_terminal_breaks_names_over_lines_and_loses_nothing(width: int) -> None:
    row = {
        "index": 15,
        "name": "classifier.6",
        "shape": [4096, 4096, 1, 1],
        "scheme": "normal=0.01",
        "std": 0.0156,
        "gain": 0.5,
    }
    text = cells_on_lines(init_table([row]), width)  # type: ignore[list-item]
    if width == 80:  # one line holds it
        assert all(cell.replace(" ", "") in text for cell in init_cells(row))
    assert "…" not in text
    for cell in init_cells(row):
        assert not Counter(cell.replace(" ", "")) - Counter(text)
    names = [f"encoder.layers.{i}.attention.output.projection" for i in range(2)]
    layers = [LayerStats(name=name, kind="linear", gain=0.5, activation_rms=1e-9) for name in names]
    text = cells_on_lines(layer_grid(layer_table(layers), width), width)
    assert "…" not in text
    assert not Counter("".join(names)) - Counter(text)


@pytest.mark.parametrize(("left", "said"), [(0.0, False), (0.4, False), (40.0, True), (math.inf, False), (None, False)])
def test_a_verdict_tells_of_further_steps_only_where_there_are_any(left: float | None, said: bool) -> None:
    assert ("40" in verdict_title("slow start", left)) is said
    assert ("step" in verdict_title("slow start", left)) is said


def test_the_title_of_the_start_says_which_budget_includes_the_input() -> None:
    probe = full_evidence().probe
    assert probe is not None
    title = start_title(dataclasses.replace(probe, log10_gain=-3.0, input_mean_square=100.0))
    assert re.findall(r"(weights|input|both) ([-+][0-9.]+)", title) == [
        ("weights", "-3.0"),
        ("input", "+2.0"),
        ("both", "-1.0"),
    ]


@pytest.mark.parametrize(
    ("name", "unit", "value", "limit", "text"),
    [
        ("steps", "steps", 300.0, None, "steps 300"),
        ("such steps", "steps", 2.0, 0.0, "such steps 2 (limit 0)"),
        ("loss", "nats", 2.3, 4.6, "loss 2.3 nats (limit 4.6)"),
        ("gain budget", "log10", -5.1, -5.0, "gain budget 10^-5.1 (limit 10^-5)"),
        ("error", "", 0.4002, 0.4, "error 0.4002 (limit 0.4)"),
        ("lowest logit", "", 0.0, "-inf", "lowest logit 0"),
    ],
)
def test_a_measurement_can_be_read(name: str, unit: str, value: float, limit: object, text: str) -> None:
    assert measured({"name": name, "unit": unit, "value": value, "threshold": limit}) == text
