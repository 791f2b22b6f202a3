"""What the report shows of the inside of a network: layers over time, prediction against measurement, filters."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from browser import visit
from conftest import config_of, train
from test_report import evaluation_row, finish_run, needs_browser, page_of, plot_of, start_run, step_row, with_script
from torch import nn

from trainability.report import filters as filter_images
from trainability.report import summary
from trainability.report.filters import first_filters
from trainability.report.html import write_report
from trainability.report.layer_figures import MOST_COLUMNS, MOST_HISTOGRAMS, layer_figures
from trainability.report.look import PALETTES
from trainability.report.signal_figures import budget_scale, signal_figures, total_budget
from trainability.training import checkpoint
from trainability.training.checkpoint import Position
from trainability.training.engine import Engine
from trainability.training.record import EVALUATIONS, EVIDENCE, LAYERS, STEPS, Run, read_run

LAYER_NAMES = ("features.0", "features.2", "<b>odd</b>")


def histogram(shift: int = 0) -> dict[str, Any]:
    fractions = [0.0] * 60
    fractions[30 + shift], fractions[31 + shift], fractions[35] = 0.5, 0.25, 0.15
    return {"zero_fraction": 0.1, "lowest_exponent": -40, "fractions": fractions}


def layer_row(step: int, name: str, **changed: Any) -> dict[str, Any]:
    row = {"step": step, "name": name, "activation_rms": 10.0, "gradient_rms": 1e-3, "update_ratio": 1e-3, "zero_fraction": 0.5}
    kinds = {f"{kind}_histogram": histogram() for kind in ("weight", "gradient", "activation")}
    return row | kinds | changed


def watched_run(folder: Path, num_samples: int = 5, **changed: Any) -> Run:
    finish_run(folder)
    rows = [layer_row(1 + 50 * place, name, **changed) for place in range(num_samples) for name in LAYER_NAMES]
    (folder / LAYERS).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_run(folder)


def test_heat_maps_have_a_row_per_layer_and_a_column_per_sample(tmp_path: Path) -> None:
    run = watched_run(tmp_path / "run")
    figures = {figure.name: figure for figure in layer_figures(run)}
    assert list(figures) == [
        "layers-activation-rms",
        "layers-gradient-rms",
        "layers-update-ratio",
        "layers-zero-fraction",
        "histograms",
    ]
    (cells,) = plot_of(figures["layers-activation-rms"])["data"]
    assert cells["x"] == [1, 51, 101, 151, 201]
    assert cells["z"] == [[1.0] * 5] * 3  # log10 of 10
    assert plot_of(figures["layers-zero-fraction"])["data"][0]["z"] == [[0.5] * 5] * 3
    for figure in figures.values():
        text = re.sub(r'"@([a-z0-9-]+)"', lambda role: json.dumps(PALETTES["dark"][role[1]]), json.dumps(plot_of(figure)))
        assert "@" not in text
        go.Figure(json.loads(text))
        assert figure.description


def test_many_samples_are_thinned_out_and_the_page_says_so(tmp_path: Path) -> None:
    figures = layer_figures(watched_run(tmp_path / "run", 500))
    (cells,) = plot_of(figures[0])["data"]
    assert (len(cells["x"]), cells["x"][0], cells["x"][-1]) == (MOST_COLUMNS, 1, 1 + 50 * 499)
    assert "500 sampled steps in 200 columns" in figures[0].note
    steps = plot_of(figures[-1])["layout"]["meta"]["steps"]
    assert (len(steps), steps[0], steps[-1]) == (MOST_HISTOGRAMS, 1, 1 + 50 * 499)
    assert "60 of 500 sampled steps" in figures[-1].note


def test_a_peak_and_a_dip_of_one_step_are_seen_among_thousands(tmp_path: Path) -> None:
    run = watched_run(tmp_path / "run", 1000)
    peak, dip = (len(LAYER_NAMES) * place for place in (333, 712))  # the rows of the first layer at these sampled steps
    run.layers[peak] |= {"activation_rms": 1e4}
    run.layers[dip] |= {"activation_rms": 1e-3}
    (cells,) = plot_of(layer_figures(run)[0])["data"]
    assert len(cells["z"][0]) == MOST_COLUMNS
    assert (max(cells["z"][0]), min(cells["z"][0])) == (4.0, -3.0)
    assert cells["z"][0].count(1.0) == MOST_COLUMNS - 2
    assert cells["z"][1] == [1.0] * MOST_COLUMNS
    assert len(cells["colorbar"]["tickvals"]) == 3


@pytest.mark.parametrize("broken", ["nan", "inf", None, 0.0])
def test_what_is_not_finite_is_blank(tmp_path: Path, broken: object) -> None:
    run = watched_run(tmp_path / "run", activation_rms=broken, gradient_rms=broken, update_ratio=broken, zero_fraction=broken)
    run.layers.append(layer_row(251, LAYER_NAMES[0]))
    activations = layer_figures(run)[0]
    (cells,) = plot_of(activations)["data"]
    assert cells["z"][0] == [None] * 5 + [1.0]
    assert cells["z"][1] == [None] * 6
    everything = [
        {**row, **dict.fromkeys(("activation_rms", "gradient_rms", "update_ratio", "zero_fraction"))} for row in run.layers
    ]
    (run.folder / LAYERS).write_text("".join(json.dumps(row) + "\n" for row in everything))
    assert page_of(run.folder).count("No sampled step has a finite value above zero.") == 4


def test_histograms_keep_their_shares_and_bins(tmp_path: Path) -> None:
    run = watched_run(tmp_path / "run")
    figure = layer_figures(run)[-1]
    meta = plot_of(figure)["layout"]["meta"]
    packed = meta["histograms"]["gradient"]
    assert packed["lowest"] == -40 + 29  # a bin before the first that is used
    assert packed["shares"][0][0] == [0, 500, 250, 0, 0, 0, 150, 0]
    assert packed["zeros"][0] == [100] * 3
    assert (len(packed["shares"]), len(packed["shares"][0])) == (5, 3)
    assert meta["names"][2] == "&lt;b&gt;odd&lt;/b&gt;"
    bare = [{key: value for key, value in row.items() if "histogram" not in key} for row in run.layers]
    (run.folder / LAYERS).write_text("".join(json.dumps(row) + "\n" for row in bare))
    (figure,) = [figure for figure in layer_figures(read_run(run.folder)) if figure.name == "histograms"]
    assert figure.missing in page_of(run.folder)


def test_a_run_that_was_not_watched_says_so(tmp_path: Path) -> None:
    page = page_of(finish_run(tmp_path / "run").folder)
    assert layer_figures(read_run(tmp_path / "run")) == []
    assert "no layers.jsonl" in page
    assert "no evidence.json" in page


PROBE = {
    "log10_gain": -6.0,
    "input_mean_square": 100.0,
    "layers": [
        {"name": "a", "predicted_activation_rms": 20.0, "activation_rms": 10.0},
        {"name": "b", "predicted_activation_rms": 2.0, "activation_rms": 5.0, "output_gradient_rms": 1e-5},
    ],
}


def probed_run(folder: Path, probe: dict[str, Any]) -> Run:
    finish_run(folder)
    (folder / EVIDENCE).write_text(json.dumps({"probe": probe}))
    return read_run(folder)


def test_prediction_stands_beside_measurement(tmp_path: Path) -> None:
    run = probed_run(tmp_path / "run", PROBE)
    gain, forwards, backwards = signal_figures(run)
    predicted, measured = plot_of(gain)["data"]
    assert predicted["y"] == pytest.approx([4.0, 0.01])  # the first against the input's rms of 10
    assert measured["y"] == pytest.approx([1.0, 0.25])
    assert [trace["y"] for trace in plot_of(forwards)["data"]] == [[20.0, 2.0], [10.0, 5.0]]
    assert [trace["y"] for trace in plot_of(backwards)["data"]] == [[None, None], [None, 1e-5]]
    assert re.findall(r"at (\w+): a factor of ([\d.]+)\.$", gain.description) == [("b", "25")]
    assert total_budget(run) == pytest.approx(-4.0)
    page = page_of(run.folder)
    assert "-4.0, trainable" in page
    assert "<b>−4.0</b>" in page


@pytest.mark.parametrize(
    "probe",
    [
        {},
        {"layers": []},
        {"layers": [{"name": "a"}]},
        {"layers": [{"name": "a", "activation_rms": "nan"}], "log10_gain": "-inf"},
    ],
)
def test_a_probe_without_numbers_gives_a_page(tmp_path: Path, probe: dict[str, Any]) -> None:
    run = probed_run(tmp_path / "run", probe)
    assert total_budget(run) is None
    assert all(figure.plot is None for figure in signal_figures(run))
    assert "Starting weights" in page_of(run.folder)


@pytest.mark.parametrize(
    ("total", "zone"), [(-5.1, "dead"), (-4.9, "trainable"), (2.6, "trainable"), (2.8, "exploding"), (-80.0, "dead")]
)
def test_budgets_stand_in_their_zone(total: float, zone: str) -> None:
    scale = budget_scale([("", "ink", total)])
    assert scale is not None
    (mark,) = scale.marks
    assert 0 < mark.place < 100
    assert (mark.place < scale.low, mark.place > scale.high) == (zone == "dead", zone == "exploding")
    assert zone in scale.description
    assert budget_scale([]) is None


def with_checkpoint(run: Run, weight: torch.Tensor) -> Run:
    model = nn.Module()
    model.features = nn.ModuleList([nn.Conv2d(weight.shape[1], weight.shape[0], 3)])
    with torch.no_grad():
        model.features[0].weight.copy_(weight)  # type: ignore[operator]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    checkpoint.save(run.folder / "checkpoints", Position(step=8), model, optimizer, Engine(device=torch.device("cpu")), {})
    return run


def test_filters_are_scaled_each_to_its_own_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    weight[1] *= 100
    weight[2] = 0.5  # no range
    weight[3, 0, 0, 0] = math.nan
    drawn: list[np.ndarray] = []
    monkeypatch.setattr(filter_images, "data_uri", lambda pixels: drawn.append(pixels) or "data:,")
    found = first_filters(with_checkpoint(finish_run(tmp_path / "run"), weight))
    assert len(found.filters) == len(drawn) == 5
    for number in (0, 1, 4):
        assert drawn[number].shape == (3, 3, 3)
        assert (drawn[number].min(), drawn[number].max()) == (0, 255)
        place = np.unravel_index(drawn[number].argmax(), (3, 3, 3))
        assert weight[number].max() == weight[number][place[2], place[0], place[1]]
    assert set(drawn[2].flat) == {128}
    assert found.filters[3].description == "Filter 3: not finite"
    assert "after step 8" in found.caption


def test_filters_that_cannot_be_drawn_say_why(tmp_path: Path) -> None:
    run = finish_run(tmp_path / "run")
    assert "checkpoint" in str(first_filters(run).missing)
    with_checkpoint(run, torch.zeros(2, 7, 3, 3))
    assert "7 input channels" in str(first_filters(run).missing)
    (torn,) = (run.folder / "checkpoints").iterdir()
    torn.write_bytes(torn.read_bytes()[:100])
    assert "features.0.weight" in str(first_filters(run).missing)
    assert first_filters(run).missing in page_of(run.folder)
    (run.folder / "init.json").unlink()
    assert "init.json" in str(first_filters(read_run(run.folder)).missing)


def test_a_real_run_has_all_of_it(tmp_path: Path) -> None:
    faults = ("metric-of-last-batch",)
    config = config_of(run__check="on", run__monitor_every_steps=5, optim__epochs=1, run__faults=faults)
    run = train(tmp_path / "run", config).run
    page = page_of(run.folder)
    assert all(figure.plot is not None for figure in (*layer_figures(run), *signal_figures(run)))
    assert page.count('alt="Filter ') == len(first_filters(run).filters) == run.init[0]["shape"][0]
    assert "trainability explain metric_wrong" in page
    assert "Not in this run directory" not in page


@pytest.mark.parametrize("keep", range(8))
def test_a_run_killed_anywhere_gives_a_page(tmp_path: Path, keep: int) -> None:
    """Whatever of the files is there: a prefix of the order in which a run makes them, the last one torn."""
    whole = with_checkpoint(watched_run(tmp_path / "whole"), torch.zeros(2, 3, 3, 3)).folder
    (whole / EVIDENCE).write_text(json.dumps({"probe": PROBE}))
    order = ["config.toml", "environment.json", "data.json", "init.json", EVIDENCE, STEPS, LAYERS, EVALUATIONS]
    (tmp_path / "killed").mkdir()
    for name in order[: keep + 1]:
        shutil.copy(whole / name, tmp_path / "killed" / name)
    if order[keep].endswith(".jsonl"):
        text = (whole / order[keep]).read_text()
        (tmp_path / "killed" / order[keep]).write_text(text[: -len(text) // 3])
    status = summary.status(read_run(tmp_path / "killed"))
    assert status.kind == "open"
    assert status.text in page_of(tmp_path / "killed")


HUNDRED_THOUSAND = 100_000
PAINT = """
const said = document.createElement("p");
said.id = "paint";
new PerformanceObserver((list) => {
  said.textContent = list.getEntries().map((entry) => entry.name + " " + entry.startTime.toFixed(0)).join(", ");
}).observe({type: "paint", buffered: true});
document.body.append(said);
"""


@pytest.fixture(scope="module")
def long_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of 100,000 steps, every fiftieth of them looked at, of 13 layers."""
    folder = tmp_path_factory.mktemp("long") / "run"
    record = start_run(folder)
    noise = np.random.default_rng(0).lognormal(size=HUNDRED_THOUSAND).tolist()
    values = [
        {"loss": value, "top1_error": value % 1, "top5_error": value % 0.5, "gradient_norm": 2 * value} for value in noise
    ]
    record.append(STEPS, [step_row(step, **some) for step, some in enumerate(values, start=1)])
    rows = []
    for place in range(2000):
        shift = place % 7
        some = {"activation_rms": noise[place], "gradient_rms": noise[place + 1], "weight_histogram": histogram(shift)}
        some |= {"gradient_histogram": histogram(shift - 3), "activation_histogram": histogram(3 - shift)}
        rows += [layer_row(1 + 50 * place, f"features.{layer}", **some) for layer in range(13)]
    record.append(LAYERS, rows)
    record.append(EVALUATIONS, [evaluation_row(epoch) for epoch in range(1, 401)])
    record.write_evidence({"probe": PROBE})
    return write_report(folder)


def test_a_hundred_thousand_steps_are_a_page_under_8_mb(long_run: Path) -> None:
    assert long_run.stat().st_size < 8_000_000
    losses = np.random.default_rng(0).lognormal(size=HUNDRED_THOUSAND)
    drawn = json.loads(re.findall(r'<script type="application/json">(.*?)</script>', long_run.read_text())[0])["data"][0]["y"]
    assert (min(drawn), max(drawn)) == (pytest.approx(losses.min(), rel=1e-4), pytest.approx(losses.max(), rel=1e-4))


class TestInBrowser:
    pytestmark = needs_browser

    def test_a_hundred_thousand_steps_open(self, long_run: Path, tmp_path: Path) -> None:
        size = long_run.stat().st_size
        seen = visit(with_script(Path(shutil.copy(long_run, tmp_path)), PAINT), tmp_path)
        assert (seen.requests, seen.console) == ([], [])
        assert seen.dom.count("main-svg") >= 6 + 5 + 3
        (paint,) = re.findall(r'id="paint">(.*?)</p>', seen.dom)
        print(f"\n100,000 steps: {size / 1e6:.2f} MB, {paint or 'paint not seen'} (ms)")

    @pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
    def test_layers_and_signals_are_drawn(self, tmp_path: Path, dark: bool) -> None:
        run = watched_run(tmp_path / "run")
        (run.folder / EVIDENCE).write_text(json.dumps({"probe": PROBE | {"plateau_steps": 4.0}}))
        with_checkpoint(run, torch.randn(4, 3, 3, 3))
        seen = visit(write_report(run.folder), tmp_path, dark=dark)
        assert (seen.requests, seen.console) == ([], [])
        dom = re.sub(r"<(script|style)\b.*?</\1>", "", seen.dom, flags=re.DOTALL)
        drawn = {plot.split('"')[1]: plot for plot in dom.split("<figure ")[1:]}
        assert all("main-svg" in plot for plot in drawn.values())
        for name, plot in drawn.items():
            if name.startswith("layers-"):
                assert plot.count('class="hm"') == 1, name
        assert drawn["histograms"].count('class="trace scatter') == 2 * len(LAYER_NAMES)  # now, and at the first sample
        assert drawn["gain"].count('class="trace scatter') == 2
        assert "&lt;b&gt;odd&lt;/b&gt;" in drawn["histograms"]
        assert dom.count('alt="Filter ') == 4

    def test_nothing_but_nan_opens(self, tmp_path: Path) -> None:
        numbers = ("activation_rms", "gradient_rms", "update_ratio", "zero_fraction")
        run = watched_run(tmp_path / "run", **dict.fromkeys(numbers, "nan"))
        nothing = dict.fromkeys(("loss", "top1_error", "top5_error", "gradient_norm", "lr", "images_per_second"))
        (run.folder / STEPS).write_text(json.dumps(step_row(1, **nothing)) + "\n")
        (run.folder / EVALUATIONS).write_text(json.dumps(evaluation_row(1, val_top1_error=None, train_top1_error=None)) + "\n")
        (run.folder / EVIDENCE).write_text(json.dumps({"probe": {"layers": [{"name": "a", "activation_rms": "nan"}]}}))
        with_checkpoint(run, torch.full((2, 3, 3, 3), math.nan))
        seen = visit(write_report(run.folder), tmp_path)
        assert (seen.requests, seen.console) == ([], [])
        assert seen.dom.count("No sampled step has a finite value above zero.") == 4
        assert seen.dom.count('alt="Filter 1: not finite"') == 1

    def test_controls_answer(self, tmp_path: Path) -> None:
        script = """
        const key = (name, key) => document.querySelector(`#${name} .plot`).dispatchEvent(new KeyboardEvent("keydown", {key}));
        const set = (what, value, event) => {
          const item = document.querySelector(what);
          item.value = value;
          item.dispatchEvent(new Event(event));
        };
        const range = (name) => document.querySelector(`#${name} .plot`)._fullLayout.xaxis.range.map((x) => +x.toFixed(2));
        const said = [range("loss")];
        key("loss", "+"); said.push(range("loss"));
        key("loss", "ArrowRight"); said.push(range("loss"));
        key("loss", "0"); said.push(range("loss"));
        document.querySelector("[data-axis=step]").click(); said.push(range("loss"), range("layers-gradient-rms"));
        set("[data-smoothing]", 100, "input");
        said.push(document.querySelector("[data-smoothed]").textContent);
        said.push(document.querySelector("#loss .plot").data.map((trace) => trace.name));
        set("[data-sample]", 0, "input"); said.push(document.querySelector("[data-said]").textContent);
        set("[data-choice]", "gradient", "change"); said.push(document.querySelector("#histograms .plot").data.length);
        const p = document.createElement("p"); p.id = "said"; p.textContent = JSON.stringify(said); document.body.append(p);
        """
        run = watched_run(tmp_path / "run")
        (run.folder / STEPS).write_text("".join(json.dumps(step_row(step)) + "\n" for step in range(1, 101)))
        seen = visit(with_script(write_report(run.folder), script), tmp_path)
        assert seen.console == []
        said = json.loads(re.findall(r'id="said">(.*?)</p>', seen.dom)[0])
        assert said[0] == [0, 25.5]
        assert said[1] == [6.38, 19.13]
        assert said[2] == [9.56, 22.31]
        assert said[3] == [0, 25.5]
        assert said[4:6] == [[0, 102], [0, 226]]
        assert said[6] == "over 10 steps"
        assert said[7] == ["train-step", "train-step", "train", "validation"]
        assert said[8] == "step 1, epoch 0.3"
        assert said[9] == len(LAYER_NAMES)

    def test_smoothing_is_the_bias_corrected_mean(self, tmp_path: Path) -> None:
        run = finish_run(tmp_path / "run")
        (run.folder / STEPS).write_text(
            "".join(json.dumps(step_row(step, loss=float(step % 3))) + "\n" for step in range(1, 101))
        )
        script = """
        const slider = document.querySelector("[data-smoothing]");
        slider.value = 100; slider.dispatchEvent(new Event("input"));
        const p = document.createElement("p"); p.id = "said";
        p.textContent = JSON.stringify(document.querySelector("#loss .plot").data[1].y); document.body.append(p);
        """
        seen = visit(with_script(write_report(run.folder), script), tmp_path)
        got = json.loads(re.findall(r'id="said">(.*?)</p>', seen.dom)[0])
        kept = math.exp(-1 / 10)
        for place in (0, 1, 7, 99):
            weights = [kept ** (place - before) for before in range(place + 1)]
            expected = sum(weight * ((before + 1) % 3) for before, weight in enumerate(weights)) / sum(weights)
            assert got[place] == pytest.approx(expected)
