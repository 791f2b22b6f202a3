"""The screen of a watched run: it fits, and says what there is to say, whatever state the run is in."""

from __future__ import annotations

import io
import os
import re
import time
from pathlib import Path

import pytest
from rich.console import Console
from runs_on_disk import FINDING, begin, diagnosed, end, epoch, layers, steps

from trainability.disk import lock
from trainability.terminal.styles import SEVERITY_STYLES
from trainability.watch.layer_lines import layer_lines
from trainability.watch.state import MAX_SPANS, LiveRun, Means
from trainability.watch.view import CHANCE, TRAINING, VALIDATION, view

SIZES = [(80, 24), (140, 45), (40, 12), (20, 5), (300, 100), (9, 3)]
BRAILLE = re.compile("[\u2801-\u28ff]")


def screen(folder: Path, *, width: int = 80, height: int = 24) -> str:
    console = Console(
        record=True, width=width, height=height, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(view(LiveRun(folder), width=width, height=height))
    text = console.export_text(styles=False)
    lines = text.split("\n")[:-1]
    assert len(lines) <= height
    assert all(len(line) <= width for line in lines)
    return text


def usual(folder: Path) -> Path:
    record = begin(folder)
    steps(record, 1, 10)
    epoch(record, 1)
    epoch(record, 2)
    layers(record, 9)
    diagnosed(record, 9, "is training", FINDING)
    return folder


def test_a_run_in_progress(tmp_path: Path) -> None:
    folder = usual(tmp_path / "run")
    with lock.held(folder):
        text = screen(folder)
    for words in (
        "VGG-B on digits",
        "last record 0.",
        "epoch 2/3 done",
        "step 10/12",
        "83 %",
        "50 images/s",
        "1.0 s left",  # two of the epoch's four steps, of a hundred images, at 50 images a second
        "IS TRAINING  it is is training",
        "loss  train 0.250  val 0.250",
        "top-1 error  train 25.00 %  val 25.00 %",
        "epoch 2.5",
        f"error vanishing_gradient: {FINDING['cause']}",
        "features.0",
        "features.2",
        "50.0 %",
        "step 9",
    ):
        assert words in text
    assert "chance 2.303" in screen(tmp_path / "run", width=140)
    assert len(BRAILLE.findall(text)) > 40


def test_a_finding_is_one_line_where_layers_need_the_room(tmp_path: Path) -> None:
    record = begin(tmp_path / "run")
    layers(record, 9, 19)
    diagnosed(record, 9, "dead", FINDING)
    text = screen(tmp_path / "run")
    assert f"error vanishing_gradient: {FINDING['seen']}" in text
    assert FINDING["remedy"] not in text
    text = screen(tmp_path / "run", height=45)
    for words in (FINDING["cause"], FINDING["seen"], FINDING["remedy"]):
        assert words in text


def test_curves_have_their_colours_and_layers_those_of_their_findings(tmp_path: Path) -> None:
    drawn = view(LiveRun(usual(tmp_path / "run")), width=80, height=24).renderables
    spans = [(line.plain[span.start : span.end], str(span.style)) for line in drawn for span in line.spans]
    assert {style for text, style in spans if BRAILLE.fullmatch(text)} == {TRAINING, VALIDATION, CHANCE}
    (named,) = [line for line in drawn if line.plain.startswith("features.2")]
    assert str(named.style) == SEVERITY_STYLES["error"]
    (other,) = [line for line in drawn if line.plain.startswith("features.1")]
    assert str(other.style) == ""


def test_a_run_that_has_not_begun(tmp_path: Path) -> None:
    begin(tmp_path / "run")
    text = screen(tmp_path / "run")
    assert "waiting" in text
    assert "step 0/12" in text
    (tmp_path / "run" / "data.json").unlink()  # still loading its images
    assert "waiting" in screen(tmp_path / "run")


@pytest.mark.parametrize("status", ["finished", "interrupted", "non-finite", "stopped"])
def test_a_run_that_has_ended_says_how(tmp_path: Path, status: str) -> None:
    end(begin(usual(tmp_path / "a").parent / "b"), status, "because of that")
    text = screen(tmp_path / "b", width=140)
    assert re.search(f"{status} .*3 epochs, 12 steps.*because of that.* 12.50 % .*step 8", text)
    narrow = screen(tmp_path / "b", width=50)
    assert re.search("12.50 % .*step 8", " ".join(narrow.split()))
    assert "ago" not in text
    assert "left" not in text


def test_a_run_of_an_older_version_is_read_by_the_names_of_today(tmp_path: Path) -> None:
    record = begin(tmp_path / "run")
    steps(record, 1, 6)
    path = tmp_path / "run" / "steps.jsonl"
    path.write_text(path.read_text().replace("gradient_norm", "grad_norm"))
    assert "NaN or infinite" not in screen(tmp_path / "run", width=100)


def test_what_is_not_finite_is_a_gap_and_is_named(tmp_path: Path) -> None:
    record = begin(tmp_path / "run")
    steps(record, 1, 6)
    steps(record, 7, 7, loss=float("nan"), gradient_norm=None)
    epoch(record, 1, val_loss=float("inf"), val_top1_error=None)
    layers(record, 5, activation_rms=None, activation_nonfinite=True, gradient_rms=float("nan"), gradient_nonfinite=True)
    text = screen(tmp_path / "run", width=100)
    assert re.search(r"NaN.* step 7", text)
    assert re.search(r"val .*finite", text)
    assert text.count("NaN/Inf") == 6


def test_a_run_without_layers_gives_their_room_to_the_curves(tmp_path: Path) -> None:
    usual(tmp_path / "run")
    (tmp_path / "run" / "layers.jsonl").unlink()
    text = screen(tmp_path / "run")
    assert "features.0" not in text
    assert len(text.splitlines()) == 24


def silence(folder: Path, seconds: float) -> None:
    for path in folder.iterdir():
        os.utime(path, (time.time() - seconds,) * 2)


def test_a_run_without_a_sign_of_life_says_for_how_long(tmp_path: Path) -> None:
    silence(usual(tmp_path / "run"), 754)
    text = screen(tmp_path / "run")
    assert "12 min 34 s" in text
    assert "killed" in text
    assert "left" not in text


def test_slow_steps_are_no_silence(tmp_path: Path) -> None:
    # 10 steps of 32 images between two records, 0.5 images a second: 640 seconds.
    record = begin(tmp_path / "run")
    steps(record, 1, 10, images_per_second=0.5)
    silence(tmp_path / "run", 754)
    assert "12 min 34 s ago" in screen(tmp_path / "run")


def test_a_clock_that_is_ahead_does_not_matter(tmp_path: Path) -> None:
    silence(usual(tmp_path / "run"), -3600)
    assert "last record 0." in screen(tmp_path / "run")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("num_layers", [0, 3, 19])
def test_any_terminal_will_do(tmp_path: Path, size: tuple[int, int], num_layers: int) -> None:
    record = begin(tmp_path / "run")
    screen(tmp_path / "run", width=size[0], height=size[1])
    steps(record, 1, 10)
    epoch(record, 1)
    layers(record, 9, num_layers)
    diagnosed(record, 9, "dead", *[FINDING | {"severity": severity} for severity in ("hint", "error", "warning")])
    text = screen(tmp_path / "run", width=size[0], height=size[1])
    if size[1] >= 24:
        assert text.index("error vanishing") < text.index("warning vanishing") < text.index("hint vanishing")
        assert BRAILLE.search(text)


def test_findings_that_do_not_fit_are_counted(tmp_path: Path) -> None:
    record = begin(tmp_path / "run")
    diagnosed(record, 9, "dead", *[FINDING | {"rule": f"rule{i}"} for i in range(9)])
    text = screen(tmp_path / "run")
    assert [f"rule{i}" in text for i in range(9)] == [True, True, *[False] * 7]
    assert re.search(r"\b7 .*trainability diagnose", text)


def test_where_not_all_layers_fit_those_in_findings_and_both_ends_stay() -> None:
    rows = [{"step": 1, "name": f"layer{i:02d}"} for i in range(19)]
    lines = layer_lines(rows, {"layer07": "red", "layer11": "red"}, width=80, height=6)
    assert [line.plain.split()[0] for line in lines[1:]] == ["layer00", "layer04", "layer07", "layer11", "layer18"]
    assert lines[0].plain.startswith("5 of 19")
    assert len(layer_lines(rows, {}, width=80, height=30)) == 20
    assert layer_lines(rows, {}, width=80, height=1) == []


def test_a_run_that_is_continued_forgets_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    record = begin(tmp_path / "run")
    steps(record, 1, 8)
    epoch(record, 1)
    epoch(record, 2)
    layers(record, 8)
    run = LiveRun(tmp_path / "run")
    record.rewind(step=4, epoch=1)
    steps(record, 5, 5, loss=0.125)
    run.poll()
    assert run.num_restarts == 1
    assert [row["epoch"] for row in run.evaluations] == [1]
    assert run.step is not None
    assert run.step["step"] == 5
    assert len(run.losses.sums) == 5
    assert run.losses.sums[-1] == 0.125
    assert run.layers == []


def test_of_a_long_run_the_means_of_equal_spans_are_kept() -> None:
    means = Means()
    for step in range(1, 5 * MAX_SPANS + 1):
        means.add(step, None if step > 4 * MAX_SPANS else float(step))
    assert means.span == 8
    assert len(means.sums) <= MAX_SPANS
    points = means.points(MAX_SPANS)
    assert points[0] == (4.5, 4.5)
    for middle, mean in points:
        assert mean == (middle if middle < 4 * MAX_SPANS else None)
    fewer = means.points(10)
    assert len(fewer) == 10
    assert fewer[0][0] == pytest.approx(fewer[0][1])
