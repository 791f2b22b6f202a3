"""The report: what it says, what it leaves out, and that a browser opens it without the network."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import random
import re
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
import torch
from browser import CHROMIUM, visit
from plotly.offline import get_plotlyjs

from trainability.config import DataConfig, InitConfig, ModelConfig, OptimConfig, RunConfig
from trainability.data import dataset
from trainability.formats import NONE
from trainability.initialization import LayerInit
from trainability.report import summary
from trainability.report.figures import all_figures, metric_figure
from trainability.report.html import write_report
from trainability.report.look import LEGEND, NUM_RUN_COLOURS, PALETTES, Figure
from trainability.report.series import bucket_means, downsample, epoch_means, evenly
from trainability.training.record import EVALUATIONS, STEPS, Run, RunWriter, read_run

NUM_TRAIN, BATCH = 100, 32
STEPS_PER_EPOCH = 4
MARKUP = '<img src="http://example.com/x.png" onerror="document.title=1">&</script><script>document.title=1</script>'

needs_browser = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]


def step_row(step: int, **changed: Any) -> dict[str, Any]:
    loss = 3 * math.exp(-step / 10)
    row = {"step": step, "epoch": (step - 1) // STEPS_PER_EPOCH + 1, "lr": 0.01, "loss": loss, "top1_error": 0.5}
    row |= {"top5_error": 0.25, "gradient_norm": loss * 2, "clipped": loss > 1, "images_per_second": 1000.0}
    return row | changed


def evaluation_row(epoch: int, **changed: Any) -> dict[str, Any]:
    row = {"epoch": epoch, "step": epoch * STEPS_PER_EPOCH, "val_num_examples": 40, "best_top1_error": 0.5, "lr_drops": 0}
    row |= {"train_loss": 2 / epoch, "train_top1_error": 0.8 / epoch, "train_top5_error": 0.4 / epoch}
    row |= {"val_loss": 2 / epoch, "val_top1_error": 1 / (2 * epoch), "val_top5_error": 0.1}
    return row | {"train_seconds": 2.0, "images_per_second": 50.0} | changed


def start_run(folder: Path, *, class_names: tuple[str, ...] = tuple("abcdefgh"), **sections: Any) -> RunWriter:
    """Make a run directory as far as the first step."""
    config = RunConfig(optim=OptimConfig(batch_size=BATCH, epochs=3, clip=2.0), **sections)
    record = RunWriter.create(folder, config.completed())
    record.write_environment(device=torch.device("cpu"), world_size=1)
    conv = LayerInit(index=0, name="features.0", shape=(16, 3, 3, 3), scheme="he", std=0.27, gain=0.1)
    last = LayerInit(index=1, name="classifier.6", shape=(8, 16), scheme="normal=1e-5", std=1e-5, gain=0.001)
    record.write_init([conv, last])
    images = torch.zeros(NUM_TRAIN, 2, 2, 3, dtype=torch.uint8)
    train = dataset.Split(images=images, labels=torch.zeros(NUM_TRAIN, dtype=torch.int64))
    val = dataset.Split(images=images[:40], labels=torch.zeros(40, dtype=torch.int64))
    moments = torch.full((3,), 80.0)
    record.write_data(
        dataset.DataSet(
            name="digits", class_names=class_names, train=train, val=val, mean=moments, std=moments, covariance=torch.eye(3)
        )
    )
    return record


def finish_run(folder: Path, **kept: Any) -> Run:
    """Make a run directory of two epochs that finished."""
    record = start_run(folder, **kept)
    record.append(STEPS, [step_row(step) for step in range(1, 9)])
    record.append(EVALUATIONS, [evaluation_row(1), evaluation_row(2)])
    record.write_result(status="finished", message=None, step=8, epoch=2, best_top1_error=0.25, images_per_second=2345.6)
    return read_run(folder)


def page_of(folder: Path) -> str:
    """Write the report and return what a reader can see of it: no scripts, no style."""
    text = write_report(folder).read_text(encoding="utf-8")
    return re.sub(r"\s+", " ", re.sub(r"<(script|style)\b.*?</\1>", "", text, flags=re.DOTALL))


def with_script(page: Path, script: str) -> Path:
    """Let a script act on a page. The page's policy lets no other script run, so it is taken out, too."""
    text = re.sub(r"<meta http-equiv[^>]*>", "", page.read_text(encoding="utf-8"), count=1)
    page.write_text(text.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    return page


def plot_of(figure: Figure) -> dict[str, Any]:
    assert figure.plot is not None, figure.missing
    return figure.plot


def shape(figure: Figure, name: str) -> dict[str, Any]:
    return next(shape for shape in plot_of(figure)["layout"]["shapes"] if shape["name"] == name)


def test_a_short_curve_is_kept_as_it_is() -> None:
    assert downsample([1, 2, 3], [5.0, None, 4.0]) == ([1, 2, 3], [5.0, None, 4.0])


def test_downsampling_keeps_every_peak_dip_gap_and_both_ends() -> None:
    draw = random.Random(0)
    ys: list[float | None] = [draw.random() for _ in range(100_003)]
    ys[40_000], ys[70_001], ys[99_999] = 50.0, -50.0, None
    xs, thin = downsample(list(range(len(ys))), ys)
    assert len(thin) <= 2001  # one more for the gap
    assert xs == sorted(set(xs))
    assert [ys[int(x)] for x in xs] == thin
    assert (xs[0], xs[-1]) == (0, len(ys) - 1)
    assert {50.0, -50.0, None} <= set(thin)
    # Whatever bucket one looks at: the range of a hundredth of the curve is kept to the value.
    for start in range(0, 99_800, 998):
        window = [y for y in ys[start : start + 998] if y is not None]
        kept = [y for x, y in zip(xs, thin, strict=True) if start - 200 <= x < start + 1198 and y is not None]
        assert min(kept) <= min(window)
        assert max(kept) >= max(window)


def test_bucket_means_are_the_mean_of_every_value() -> None:
    draw = random.Random(1)
    ys: list[float | None] = [draw.random() for _ in range(40_000)]
    xs, means = bucket_means(list(range(len(ys))), ys)
    assert len(xs) == 1000
    assert sum(value for value in means if value is not None) / 1000 == pytest.approx(
        sum(y for y in ys if y is not None) / 40_000
    )
    assert bucket_means([1, 2, 3, 4, 5, 6], [1.0, None, 3.0, 4.0, None, None], 4) == ([2, 5], [2.0, 4.0])
    assert bucket_means([1, 2], [1.0, None], 4) == ([1, 2], [1.0, None])


@pytest.mark.parametrize(("num", "most"), [(1, 5), (5, 5), (6, 5), (2000, 60)])
def test_evenly_keeps_the_first_and_the_last(num: int, most: int) -> None:
    places = evenly(num, most)
    assert (places[0], places[-1]) == (0, num - 1)
    assert len(places) == min(num, most) == len(set(places))
    gaps = {after - before for before, after in itertools.pairwise(places)}
    assert max(gaps, default=1) - min(gaps, default=1) <= 1


@pytest.mark.parametrize("num_classes", [5, 10, 1000])
def test_chance_levels(tmp_path: Path, num_classes: int) -> None:
    run = finish_run(tmp_path / "run", class_names=tuple(map(str, range(num_classes))))
    levels = {"loss": math.log(num_classes), "top1": 100 - 100 / num_classes, "top5": 100 - 500 / num_classes}
    for name, level in levels.items():
        line = shape(metric_figure(run, name), "chance")
        assert line["y0"] == line["y1"] == pytest.approx(level)
        assert line["line"]["dash"] == "dash"


def test_top5_below_five_classes_is_said_not_drawn(tmp_path: Path) -> None:
    run = finish_run(tmp_path / "run", class_names=("yes", "no", "maybe"))
    (figure,) = [figure for figure in all_figures(run) if figure.plot is None]
    assert figure.name == "top5"
    assert "3 classes" in figure.missing
    tile = summary.headline(run, "top5")
    assert tile.value == NONE
    assert "3 classes" in tile.details[0]
    assert figure.missing in page_of(run.folder)


@pytest.mark.parametrize("scheme", list(PALETTES))
def test_figures_are_valid_plotly_in_every_colour_scheme(tmp_path: Path, scheme: str) -> None:
    for figure in all_figures(finish_run(tmp_path / "run")):
        text = re.sub(r'"@([a-z-]+)"', lambda role: json.dumps(PALETTES[scheme][role[1]]), json.dumps(plot_of(figure)))
        assert "@" not in text
        go.Figure(json.loads(text))
        assert {trace["name"] for trace in plot_of(figure)["data"]} <= {*LEGEND, "ink"}
        for trace in plot_of(figure)["data"]:
            assert len(trace["x"]) == len(trace["y"])


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, WCAG 2.1 section 1.4.3."""

    def luminance(colour: str) -> float:
        parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", list(PALETTES))
def test_colours_have_contrast(scheme: str) -> None:
    palette = PALETTES[scheme]
    for ground in ("paper", "panel"):
        assert min(contrast(palette[role], palette[ground]) for role in ("ink", "muted", "bad", "good")) >= 4.5
    assert min(contrast(palette[role], palette["paper"]) for role in ("train", "validation", "chance")) >= 4
    runs = [palette[f"run-{number + 1}"] for number in range(NUM_RUN_COLOURS)]
    assert len(set(runs)) == NUM_RUN_COLOURS
    assert min(contrast(colour, palette["paper"]) for colour in runs) >= 4


def test_curves_stand_where_their_epochs_are(tmp_path: Path) -> None:
    run = finish_run(tmp_path / "run")
    steps, train, validation = plot_of(metric_figure(run, "top1"))["data"]
    assert plot_of(metric_figure(run, "top1"))["layout"]["meta"]["per_epoch"] == STEPS_PER_EPOCH
    assert steps["x"] == list(range(1, 9))
    assert (train["x"], train["y"]) == ([2, 6], [80.0, 40.0])  # the middle of an epoch, and its end
    assert (validation["x"], validation["y"]) == ([4, 8], [50.0, 25.0])
    xs, means = epoch_means(run.steps, [1.0, 3.0, None, None, 5.0, 5.0, 5.0, 9.0])
    assert xs == pytest.approx([1.5, 6.5])
    assert means == [2.0, 6.0]


def test_summary(tmp_path: Path) -> None:
    run = finish_run(tmp_path / "run")
    with (run.folder / EVALUATIONS).open("a") as file:
        file.write(json.dumps(evaluation_row(3, val_top1_error=0.3)) + "\n")
    page = page_of(run.folder).replace("\u00a0", " ")
    assert summary.status(read_run(run.folder)).kind == "good"
    best, last, chance = summary.headline(read_run(run.folder), "top1").details
    assert re.findall(r"[\d.]+", best) == ["2", "10", "40"]  # epoch, wrong images, all images
    assert re.findall(r"[\d.]+", last) == ["30.00", "3", "12", "40"]
    assert re.findall(r"[\d.]+", chance) == ["87.50"]
    for line in (best, last, chance):
        assert f"<dd>{line}</dd>" in page
    assert "3 / 3" in page
    assert "2,346" in page  # images/s
    assert f"{16 * 27 + 16 + 8 * 16 + 8:,}" in page  # parameters
    assert "Gain budget of the weights <b>−4.0</b>" in page  # log10 0.1 + log10 0.001
    assert "<td>0.27</td><td>0.1</td><td>−1.00</td>" in page
    assert "<td>1.0e−05</td><td>1.0e−03</td><td>−3.00</td>" in page
    assert "clipped to 2 in 8 of 8 steps" in page
    assert f"trainability train --recipe {run.folder}/config.toml --run.dir {run.folder}-again" in page
    assert "--resume" not in page
    assert 'lang="en"' in page
    for figure in all_figures(read_run(run.folder)):
        description = re.sub(r"\s+", " ", figure.description)
        assert f'aria-label="{description}"' in page


def test_folder_names_are_quoted_for_the_shell(tmp_path: Path) -> None:
    run = finish_run(tmp_path / "two words; <b>")
    assert f"--run.dir &#39;{tmp_path}/two words; &lt;b&gt;-again&#39;" in page_of(run.folder)


def test_a_run_directory_with_nothing_but_its_configuration(tmp_path: Path) -> None:
    RunWriter.create(tmp_path / "run", RunConfig().completed())
    page = page_of(tmp_path / "run")
    for name in ("data.json", "init.json", "environment.json", "Training: no step", "Validation: no epoch"):
        assert name in page
    run = read_run(tmp_path / "run")
    assert len(summary.missing(run)) == 7
    assert sum(bool(figure.missing) for figure in all_figures(run)) == 6
    assert summary.status(run).kind == "open"
    assert f"trainability train --resume {tmp_path}/run" in page


def test_a_run_in_its_first_epoch_shows_its_steps(tmp_path: Path) -> None:
    start_run(tmp_path / "run").append(STEPS, [step_row(1), step_row(2)])
    with (tmp_path / "run" / STEPS).open("a") as file:
        file.write('{"step": 3, "epo')  # a kill in mid-write
    page = page_of(tmp_path / "run")
    run = read_run(tmp_path / "run")
    assert summary.headline(run, "top1").value == NONE
    status = summary.status(run)
    assert (status.kind, re.findall(r"\d+", status.text)) == ("open", ["2"])
    assert status.text in page
    loss = metric_figure(read_run(tmp_path / "run"), "loss")
    assert plot_of(loss)["data"][0]["x"] == [1, 2]


@pytest.mark.parametrize(("verdict", "kind"), [("unstable", "open"), ("cannot tell", "good"), ("has learned", "good")])
def test_a_finished_run_whose_verdict_is_a_failure_is_not_shown_as_good(tmp_path: Path, verdict: str, kind: str) -> None:
    run = dataclasses.replace(read_run(finish_run(tmp_path / "run").folder), findings={"verdict": verdict})
    assert (summary.status(run).kind, summary.status(run).label) == (kind, "Finished")


@pytest.mark.parametrize(("step", "anchor"), [(2, "left"), (9, "right")])
def test_the_label_of_the_first_nan_is_written_towards_the_middle(tmp_path: Path, step: int, anchor: str) -> None:
    record = start_run(tmp_path / "run")
    record.append(STEPS, [step_row(at, loss=math.nan if at >= step else 1.0) for at in range(1, 11)])
    layout = plot_of(metric_figure(read_run(tmp_path / "run"), "loss"))["layout"]
    assert [each["xanchor"] for each in layout["annotations"] if each["name"] == "nonfinite"] == [anchor]


def test_without_data_json_steps_are_drawn_over_steps(tmp_path: Path) -> None:
    start_run(tmp_path / "run").append(STEPS, [step_row(1), step_row(2)])
    (tmp_path / "run" / "data.json").unlink()
    loss = metric_figure(read_run(tmp_path / "run"), "loss")
    assert plot_of(loss)["data"][0]["x"] == [1, 2]
    assert plot_of(loss)["layout"]["meta"]["per_epoch"] is None
    assert not plot_of(loss)["layout"]["shapes"]
    assert "ln" not in loss.note


def test_a_nan_is_a_gap_and_its_step_is_marked(tmp_path: Path) -> None:
    record = start_run(tmp_path / "run")
    record.append(STEPS, [*(step_row(step) for step in range(1, 6)), step_row(6, loss=math.nan, gradient_norm=math.inf)])
    record.append(EVALUATIONS, [evaluation_row(1, val_loss=math.nan)])
    message = "loss or gradient is not finite at step 6: the output of <features.0> was NaN"
    record.write_result(status="non-finite", message=message, step=5, epoch=1, images_per_second=None)
    page = page_of(tmp_path / "run")
    assert summary.status(read_run(tmp_path / "run")).kind == "bad"
    assert "&lt;features.0&gt;" in page
    for figure in all_figures(read_run(tmp_path / "run")):
        if figure.name != "speed":
            assert shape(figure, "nonfinite")["x0"] == 6
    steps, _, validation = plot_of(metric_figure(read_run(tmp_path / "run"), "loss"))["data"]
    assert steps["y"][-1] is None
    assert validation["y"] == [None]


def test_nothing_but_nan_still_gives_a_page(tmp_path: Path) -> None:
    record = start_run(tmp_path / "run")
    nothing = {"loss": math.nan, "top1_error": math.nan, "top5_error": math.nan, "gradient_norm": math.nan}
    record.append(STEPS, [step_row(1, **nothing)])
    record.append(EVALUATIONS, [evaluation_row(1, **{f"{p}_{k}": math.nan for p in ("train", "val") for k in nothing})])
    run = read_run(tmp_path / "run")
    assert [figure.name for figure in all_figures(run) if figure.missing] == ["loss", "top1", "top5", "norm"]
    assert [summary.headline(run, name).value for name in ("top1", "top5")] == [NONE, NONE]
    page_of(run.folder)


def test_markup_in_names_is_text(tmp_path: Path) -> None:
    run = finish_run(tmp_path / "run", class_names=(MARKUP, *"bcdefgh"), init=InitConfig(plan=MARKUP))
    page = page_of(run.folder)
    assert "<img" not in page
    assert page.count("&lt;img src=") == 3  # class names, configuration, recipe


def test_no_run_directory_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"config\.toml"):
        write_report(tmp_path)


def test_a_report_is_replaced_whole(tmp_path: Path) -> None:
    run = finish_run(tmp_path / "run")
    first = write_report(run.folder).read_bytes()
    assert write_report(run.folder).read_bytes() == first
    assert not list(run.folder.glob("*.partial"))


def test_every_configured_field_is_shown(tmp_path: Path) -> None:
    run = finish_run(tmp_path / "run", model=ModelConfig(config="E", width=0.125), data=DataConfig(input="standard"))
    page = page_of(run.folder)
    assert "VGG-E on digits" in page
    for name, value in (("width", "0.125"), ("input", "standard"), ("batch-size", str(BATCH)), ("from", "none")):
        assert f'<th scope="row">{name}</th><td>{value}</td>' in page


def test_a_long_run_stays_a_small_page(tmp_path: Path) -> None:
    record = start_run(tmp_path / "run")
    draw = random.Random(0)
    record.append(STEPS, [step_row(step, loss=draw.random(), gradient_norm=draw.random()) for step in range(1, 20_001)])
    record.append(EVALUATIONS, [evaluation_row(epoch) for epoch in range(1, 101)])
    page = write_report(tmp_path / "run").stat().st_size
    assert page - len(get_plotlyjs()) < 600_000


class TestInBrowser:
    pytestmark = needs_browser

    @pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
    def test_opens_offline_and_draws_everything(self, tmp_path: Path, dark: bool) -> None:
        run = finish_run(tmp_path / "run", class_names=(MARKUP, *"bcdefgh"))
        seen = visit(write_report(run.folder), tmp_path, dark=dark)
        assert seen.requests == []
        assert seen.console == []
        dom = re.sub(r"<(script|style)\b.*?</\1>", "", seen.dom, flags=re.DOTALL)
        plots = dom.split("<figure ")[1:]
        assert [plot.count('class="trace scatter') for plot in plots] == [3, 3, 3, 2, 1, 1]
        assert all("main-svg" in plot for plot in plots)
        for plot, text in zip(plots, ("2.079", "87.5\u00a0%", "37.5\u00a0%"), strict=False):
            assert re.search(r'class="shapelayer">.*?stroke-dasharray', plot, flags=re.DOTALL)
            assert f">{text}<" in plot.split('class="infolayer"')[1].replace("&nbsp;", "\u00a0")
        train = PALETTES["dark" if dark else "light"]["train"]
        assert f"rgb({int(train[1:3], 16)}, {int(train[3:5], 16)}, {int(train[5:7], 16)})" in plots[0]
        assert "&lt;img src=" in dom
        assert "<img" not in dom
        assert "<title>VGG-B on digits – Finished</title>" in dom

    def test_a_page_with_nothing_to_draw_opens_too(self, tmp_path: Path) -> None:
        RunWriter.create(tmp_path / "run", RunConfig().completed())
        seen = visit(write_report(tmp_path / "run"), tmp_path)
        assert (seen.requests, seen.console) == ([], [])
        assert seen.dom.count('class="nothing"') > 6

    def test_scale_and_legend_answer_to_clicks(self, tmp_path: Path) -> None:
        page = write_report(finish_run(tmp_path / "run").folder)
        clicks = "".join(f"document.querySelector('[{what}]').click();" for what in ("data-scale=log", "data-role=validation"))
        seen = visit(with_script(page, clicks), tmp_path)
        assert seen.console == []
        dom = re.sub(r"<(script|style)\b.*?</\1>", "", seen.dom, flags=re.DOTALL)
        assert [re.findall(r'aria-pressed="(\w+)" data-scale', plot) for plot in dom.split("<figure ")[1:3]] == [
            ["false", "true"],
            ["true", "false"],
        ]
        assert {name: state for state, name in re.findall(r'aria-pressed="(\w+)" data-role="([\w-]+)"', dom)} == {
            "train-step": "true",
            "train": "true",
            "validation": "false",
            "chance": "true",
        }
        assert [plot.count('class="trace scatter') for plot in dom.split("<figure ")[1:]] == [2, 2, 2, 2, 1, 1]

    def test_the_browser_would_have_noticed(self, tmp_path: Path) -> None:
        page = tmp_path / "page.html"
        page.write_text('<!DOCTYPE html><script>console.error("seen")</script><img src="http://example.com/x.png">')
        seen = visit(page, tmp_path)
        assert seen.requests == ["http://example.com/x.png"]
        assert '"seen"' in seen.console[0]
