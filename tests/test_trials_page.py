"""The book's page: what it says of made, missing and damaged runs, its figures, and that a browser shows it offline."""

from __future__ import annotations

import dataclasses
import html
import json
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from browser import CHROMIUM, visit
from conftest import config_of, train

from trainability.doctor.evidence import Evidence, ProbeResult
from trainability.doctor.layer_stats import LayerStats
from trainability.evaluation.predictions import load
from trainability.models.vgg import CONFIGS
from trainability.report.html import write_report
from trainability.report.look import PALETTES, Figure
from trainability.training import engine as engines
from trainability.training.evaluate import EvaluationOptions, evaluate_runs
from trainability.training.record import STEPS, read_rows
from trainability.trials import run as trial_runs
from trainability.trials.book import LOG, TRIALS, select
from trainability.trials.report.curves import REPORTED, figure_rows, probe_figure, read_trial_runs, watched_layers
from trainability.trials.report.page import overview_figure, write_book
from trainability.trials.report.start import BAND, layer_names, marks_of, place, stay, strip
from trainability.trials.report.table import HOLDS_WORDS
from trainability.trials.run import Job, result_of

MARKUP = '<img src="http://example.com/x.png" onerror="document.title=1">&</script><script>document.title=1</script>'
STANDARD = Path("runs/trials")
MADE, DAMAGED, PROBE = "mnist-fail", "caltech-1", "conclusion-2"

needs_browser = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]


def place_of(root: Path, trial: str, **which: Any) -> Path:
    return Job(trial=trial, scale="pocket", **which).place(root)


@pytest.fixture(scope="module", autouse=True)
def any_configuration() -> Iterator[None]:
    """Let runs of a second stand for the book's, which have another configuration."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial_runs, "_check_same", lambda place, config: None)
        yield


def diagnosis(label: str, size: float, gain: float) -> dict[str, Any]:
    """A probed start of net D, as `replay.make` writes it."""
    layers = tuple(
        LayerStats(
            name=f"layer.{number}{MARKUP if number == 0 else ''}",
            kind="conv",
            gain=gain,
            gradient_min=-size * (number + 1),
            gradient_max=size / 2,
        )
        for number in range(len(layer_names("D")))
    )
    probe = ProbeResult(
        layers=layers,
        batch_size=2,
        input_shape=(2, 3, 224, 224),
        input_mean=0.0,
        input_mean_square=1.0,
        log10_gain=16 * math.log10(gain),
        structure="plain",
        loss=6.9,
        cross_entropy=6.9,
        gradient_norm=1.0,
    )
    plan = next(plan for plan in TRIALS[PROBE].plans if plan.label == label)
    return {"plan": dataclasses.asdict(plan), "evidence": Evidence(probe=probe, num_classes=1000).to_dict()}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A book of one trial that was run, one that was probed, and one whose run was damaged."""
    root = tmp_path_factory.mktemp("book")
    bugs = ("metric-of-last-batch", "halved-loss")
    for variant, faults in (("as-run", bugs), ("repaired", ())):
        folder = place_of(root, MADE, variant=variant)
        # The check predicts the stay at chance; one run is enough to show it.
        config = config_of(run__faults=faults, run__check="off" if faults else "on", run__monitor_every_steps=6)
        train(folder, config)
        with engines.start(config.run) as engine:
            evaluate_runs([folder], EvaluationOptions(protocol="centre"), engine=engine)
        write_report(folder)
        shutil.rmtree(folder / "checkpoints")
    for label, size in (("deep-xavier", 1e-3), ("deep-0.01", 1e-6)):
        path = place_of(root, PROBE, plan=label)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(diagnosis(label, size, 0.4)))
    damaged = place_of(root, DAMAGED, variant="repaired")
    shutil.copytree(place_of(root, MADE, variant="repaired"), damaged)
    (damaged / STEPS).write_text('{"step": 1\n' + (damaged / STEPS).read_text())
    return root


def written(root: Path, out: Path, *names: str) -> str:
    """Write the page and return it."""
    write_book(names or ("all",), scale="pocket", root=root, standard=STANDARD, out=out, markdown_path=None)
    return out.read_text(encoding="utf-8")


def seen(page: str) -> str:
    """What a reader can see of a page: no scripts, no style."""
    return re.sub(r"\s+", " ", re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL))


def article(page: str, trial: str) -> str:
    return next(part for part in seen(page).split("<article ")[1:] if f'<h3 id="{trial}">' in part)


def plot_of(figure: Figure) -> dict[str, Any]:
    assert figure.plot is not None, figure.missing
    return figure.plot


def shapes(figure: Figure, name: str) -> list[dict[str, Any]]:
    return [shape for shape in plot_of(figure)["layout"]["shapes"] if shape["name"] == name]


def figures_of(root: Path) -> dict[str, Figure]:
    """The small pictures of the trial that was run, by their names after the trial's."""
    result = result_of(TRIALS[MADE], "pocket", root)
    rows = figure_rows(result, read_trial_runs(result))
    return {figure.name.removeprefix(f"{MADE}-"): figure for row in rows for figure in row.figures}


def test_every_trial_is_there_in_order_and_those_without_runs_say_how_to_make_them(root: Path, tmp_path: Path) -> None:
    page = written(root, tmp_path / "book.html")
    assert re.findall(r'<h3 id="((?:(?!-title)[^"])+)">', page) == list(TRIALS)
    assert re.findall(r'<li><a href="#([^"]+)"><i class="sign', page) == list(TRIALS)
    missing = article(page, "imagenet-A")
    assert "not run" in missing
    assert f"<code>trainability trials run imagenet-A --dir {root}</code>" in missing
    fold = r".*?<details>\s*<summary><h3.*?</summary>(.*)</details>\s*"
    folded = re.fullmatch(fold, missing.split("</article>")[0], re.DOTALL)
    assert folded is not None  # all but its heading
    assert TRIALS["imagenet-A"].reports in folded[1]
    assert re.search(r"This makes it, \d+ runs, about \d+ min of one core", folded[1])
    assert not re.search(r"<details>\s*<summary><h3", article(page, MADE))
    assert html.unescape(page).count(LOG) == 1
    assert "trials run" not in article(page, MADE).split("Settings, where each comes from")[0]


def test_a_trial_says_what_was_claimed_and_what_was_measured(root: Path, tmp_path: Path) -> None:
    said = article(written(root, tmp_path / "book.html"), MADE)
    trial, result = TRIALS[MADE], result_of(TRIALS[MADE], "pocket", root)
    for words in (trial.reports, trial.explanation, trial.reading):
        assert words in said
    assert f"the explanation {HOLDS_WORDS[result.verdict.holds]}" in said
    assert said.count("<figure ") == 6 + 1  # A has no ninth and tenth convolution
    assert said.count('class="strip"') == 1
    for fault in trial.faults:
        assert f"<code>{fault}</code>" in said
    link = re.search(r'href="([^"]+)">repaired</a>', said)
    assert link is not None
    assert (tmp_path / link[1]).resolve() == (place_of(root, MADE, variant="repaired") / "report.html").resolve()


def test_words_that_trials_share_are_told_once(root: Path, tmp_path: Path) -> None:
    page = written(root, tmp_path / "book.html", "caltech", MADE)
    assert seen(page).count(TRIALS["caltech-1"].reading) == 1
    assert article(page, "caltech-2").count('As for <a href="#caltech-1">') == 3


def test_a_damaged_run_is_named_and_the_rest_stands(root: Path, tmp_path: Path) -> None:
    page = written(root, tmp_path / "book.html")
    line = f"{place_of(root, DAMAGED, variant='repaired') / STEPS}: line 1 is not JSON; the file was changed or damaged"
    assert line in article(page, DAMAGED)
    assert line in seen(page).split('id="top-of-book"')[0]
    assert "As run" in article(page, MADE)


@pytest.mark.parametrize("text", ["{", "[]", '{"evidence": {}}'])
def test_a_damaged_probe_is_named_too(root: Path, tmp_path: Path, text: str) -> None:
    shutil.copytree(root, tmp_path / "runs")
    path = place_of(tmp_path / "runs", PROBE, plan="deep-0.01")
    path.write_text(text)
    said = article(written(tmp_path / "runs", tmp_path / "book.html"), PROBE)
    assert f"{path}: " in said
    assert said.count('class="strip"') == 1


def test_the_true_error_of_a_run_stands_beside_what_its_metric_showed(root: Path) -> None:
    figures = figures_of(root)
    errors = load(place_of(root, MADE, variant="as-run") / "predictions.npz").errors
    for name, error in (("top1", errors.top1_error), ("top5", errors.top5_error)):
        assert error is not None
        [line] = shapes(figures[f"as-run-{name}"], "true")
        assert line["y0"] == pytest.approx(100 * error)
        # What the metric showed is far from it: the last batch over the whole set.
        assert plot_of(figures[f"as-run-{name}"])["data"][2]["y"][-1] > 100 * error + 5
        assert not shapes(figures[f"repaired-{name}"], "true")
        assert plot_of(figures[f"repaired-{name}"])["data"][2]["y"][-1] == pytest.approx(
            100 * getattr(load(place_of(root, MADE, variant="repaired") / "predictions.npz").errors, f"{name}_error"), rel=1e-3
        )


def test_pictures_of_a_trial_share_their_axes_and_have_chance_level(root: Path) -> None:
    figures = figures_of(root)
    for name, level in (("loss", math.log(10)), ("top1", 90), ("top5", 50)):
        one, other = (plot_of(figures[f"{variant}-{name}"])["layout"] for variant in ("as-run", "repaired"))
        assert (one["xaxis"]["range"], one["yaxis"]["range"]) == (other["xaxis"]["range"], other["yaxis"]["range"])
        for variant in ("as-run", "repaired"):
            [line] = shapes(figures[f"{variant}-{name}"], "chance")
            assert (line["y0"], line["line"]["dash"]) == (pytest.approx(level), "dash")


def test_figures_are_valid_plotly(root: Path) -> None:
    results = [result_of(TRIALS[name], "pocket", root) for name in (MADE, PROBE)]
    for figure in [*figures_of(root).values(), probe_figure(results[1]), overview_figure(results)]:
        for palette in PALETTES.values():
            text = re.sub(
                r'"@([a-z0-9-]+)"', lambda role, palette=palette: json.dumps(palette[role[1]]), json.dumps(plot_of(figure))
            )
            assert "@" not in text
            go.Figure(json.loads(text))


def test_the_predicted_stay_is_shaded_and_hatched_if_it_never_ends(root: Path) -> None:
    result = result_of(TRIALS[MADE], "pocket", root)

    def span(predicted: float | None) -> list[dict[str, Any]]:
        runs = {key: {**numbers, "plateau_steps": predicted} for key, numbers in result.runs.items()}
        changed = type(result)(**{**vars(result), "runs": runs})
        return shapes(figure_rows(changed, read_trial_runs(changed))[0].figures[0], "plateau")

    [rectangle] = span(12.0)
    assert (rectangle["type"], rectangle["x0"]) == ("rect", 0)
    assert rectangle["x1"] == pytest.approx(12 / (1.02 * 24))
    assert span(1e9)[0]["x1"] == 1
    assert span(math.inf)[0]["type"] == "path"
    assert span(None) == []


def test_a_stay_in_words_and_on_its_bar() -> None:
    left = stay("run", 100.0, 400, 200.0, None)
    assert (left.length, left.left, left.is_endless) == (25, 50, False)
    assert re.findall(r"\d+", left.text) == ["100", "200"]
    endless = stay("run", math.inf, 400, None, None)
    assert (endless.length, endless.left, endless.is_endless) == (100, None, True)
    assert re.findall(r"never|\d+", endless.text) == ["never", "400"]
    assert stay("run", 4000.0, 400, None, 3.0).text.endswith(" 3")


def test_a_plan_as_a_strip_of_layers() -> None:
    gains = [(f"layer.{number}", gain) for number, gain in enumerate([0.05, *[1.0] * 8, 100, 23])]
    layers = strip("", "A", "xavier:1,normal=0.1,he:1", gains).layers
    assert [layer.name for layer in layers] == layer_names("A")
    assert [layer.kind for layer in layers] == ["fades", *["keeps"] * 8, "grows", "grows"]
    assert [layer.scheme for layer in (layers[0], layers[1], layers[-1])] == ["Xavier", "σ 0.1", "He"]
    assert (layers[9].strength, layers[5].strength) == (100, 0)


@pytest.mark.parametrize(("config", "num_layers"), [("A", 11), ("A-LRN", 11), ("B", 13), ("C", 16), ("D", 16), ("E", 19)])
def test_layers_have_the_papers_names(config: str, num_layers: int) -> None:
    names = layer_names(config)
    assert len(names) == len(set(names)) == num_layers
    assert (names[0], names[-4:]) == (
        "conv1_1",
        [f"conv5_{len([k for k in CONFIGS[config][4] if k != 'LRN'])}", "fc6", "fc7", "fc8"],
    )


def test_the_layers_that_the_log_watched() -> None:
    deep = [f"features.{number}" for number in range(13)] + ["classifier.0", "classifier.3", "classifier.6"]
    assert watched_layers(deep) == {"extractor16": "features.8", "extractor18": "features.9", "output3": "classifier.3"}
    assert watched_layers(deep[:8] + deep[-3:]) == {"output3": "classifier.3"}


def test_budgets_stand_on_the_scale(root: Path) -> None:
    assert [place(budget) for budget in (-40, -12, 0, 12, 40)] == [0, 0, 50, 100, 100]
    assert list(BAND) == pytest.approx([100 * 7 / 24, 100 * 14.7 / 24])
    marks = marks_of(result_of(TRIALS[PROBE], "pocket", root), {"deep-xavier": "run-3", "deep-0.01": "run-4"})
    assert [(mark.name, mark.text) for mark in marks] == [("deep-xavier", "-6.4"), ("deep-0.01", "-6.4")]
    assert marks[0].place == pytest.approx(100 * (12 + 16 * math.log10(0.4)) / 24)


def test_probed_gradients_stand_against_what_the_log_reports(root: Path) -> None:
    figure = probe_figure(result_of(TRIALS[PROBE], "pocket", root))
    assert [trace["y"][-1] for trace in plot_of(figure)["data"]] == [pytest.approx(16e-3), pytest.approx(16e-6)]
    assert [shape["y0"] for shape in shapes(figure, "reported")] == list(REPORTED)
    assert "1.0e-06" in figure.description


def test_no_runs_at_all_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="trainability trials run all --dir") as error:
        written(tmp_path / "nothing", tmp_path / "book.html")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "book.html").exists()


def test_the_command(root: Path, command, tmp_path: Path) -> None:
    done = command("trials", "report", PROBE, "--dir", root, "--out", "page.html", "--markdown", "trials.md")
    assert done.returncode == 0
    first, counted, *paths = done.stdout.splitlines()
    assert (re.findall(r"\d+", first), paths) == (["1", "1"], ["page.html", "trials.md"])
    assert re.findall(r"\d+", counted)[0] == "1"
    text = (tmp_path / "trials.md").read_text(encoding="utf-8")
    assert PROBE in text
    assert str(root) not in text
    assert f"`trainability trials run {PROBE}`" in text
    for arguments, words in ((("nothing",), "'nothing'"), (("all",), "trainability trials run all")):
        refused = command("trials", "report", *arguments)
        assert refused.returncode == 2
        assert words in refused.stderr
        assert len(refused.stderr.splitlines()) == 1


def full_book(root: Path, folder: Path, chapter: str = "all") -> int:
    """Fill every place of a chapter, or of the book, with a run of a thousand steps. Returns how many runs that is."""
    source = place_of(root, MADE, variant="repaired")
    rows = read_rows(source / STEPS)
    num_runs = 0
    for trial in select((chapter,)):
        for variant in trial.variants:
            for seed in () if trial.plans else trial.seeds:
                run = place_of(folder, trial.id, variant=variant, seed=seed)
                shutil.copytree(source, run)
                long = [{**rows[number % len(rows)], "step": number + 1} for number in range(1000)]
                (run / STEPS).write_text("".join(json.dumps(row) + "\n" for row in long))
                num_runs += 1
    return num_runs


class TestInBrowser:
    pytestmark = needs_browser

    @pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
    def test_opens_offline_and_draws_everything(self, root: Path, tmp_path: Path, dark: bool) -> None:
        written(root, tmp_path / "book.html", MADE, PROBE, DAMAGED)
        page = visit(tmp_path / "book.html", tmp_path, dark=dark)
        assert (page.requests, page.console) == ([], [])
        dom = re.sub(r"<(script|style)\b.*?</\1>", "", page.dom, flags=re.DOTALL)
        figures = dom.split("<figure ")[1:]
        assert len(figures) == 1 + 7 + 1
        assert all("main-svg" in figure for figure in figures)
        assert "&lt;img src=" in dom
        assert "<img" not in dom
        assert "<title>The book of trials – pocket scale</title>" in dom

    def test_a_whole_book_is_small_paints_early_and_draws_what_is_near(
        self, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        num_runs = full_book(root, tmp_path / "runs")
        path = tmp_path / "book.html"
        text = written(tmp_path / "runs", path)
        assert path.stat().st_size < 8e6
        # The page's policy lets no other script run, this one neither.
        script = "new PerformanceObserver((list) => { document.title = list.getEntries()[0].startTime; })"
        script += ".observe({ type: 'paint', buffered: true });"
        text = re.sub(r"<meta http-equiv[^>]*>", "", text, count=1).replace("<body>", f"<body><script>{script}</script>", 1)
        path.write_text(text, encoding="utf-8")
        until = 'Number(document.title) > 0 && document.querySelector("figure .main-svg")'
        page = visit(path, tmp_path, size=(1280, 1000), until=until)
        assert (page.requests, page.console) == ([], [])
        title = re.search(r"<title>([\d.]+)</title>", page.dom)
        assert title is not None
        with capsys.disabled():
            print(f"\n{num_runs} runs: {path.stat().st_size / 1e6:.1f} MB, first paint after {float(title[1]):.0f} ms")
        dom = re.sub(r"<(script|style)\b.*?</\1>", "", page.dom, flags=re.DOTALL)
        figures = dom.split("<figure ")[1:]
        drawn = ["main-svg" in figure for figure in figures]
        assert len(figures) > 200
        assert drawn[0]
        assert sum(drawn) < 30

    def test_what_is_far_is_drawn_when_it_comes_near(self, root: Path, tmp_path: Path) -> None:
        full_book(root, tmp_path / "runs", chapter="more-random")
        written(tmp_path / "runs", tmp_path / "book.html", "more-random")
        until = '[...document.querySelectorAll("figure")].every((figure) => figure.querySelector(".main-svg"))'
        page = visit(tmp_path / "book.html", tmp_path, size=(1280, 16000), until=until)
        dom = re.sub(r"<(script|style)\b.*?</\1>", "", page.dom, flags=re.DOTALL)
        figures = dom.split("<figure ")[1:]
        assert len(figures) > 24
        assert all("main-svg" in figure for figure in figures)
