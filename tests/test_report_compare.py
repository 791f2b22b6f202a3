"""The page that compares runs, and what others got."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
import torch
from browser import visit
from test_report import MARKUP, evaluation_row, finish_run, needs_browser, plot_of, shape, step_row
from test_report_errors import answered

import trainability
from trainability.cli import program as cli
from trainability.config import DataConfig, InitConfig, ModelConfig
from trainability.report import overlay
from trainability.report.against import reference_for
from trainability.report.compare import configured_differences, short_names, start_rows, write_comparison
from trainability.report.compared_errors import compared_errors
from trainability.report.figures import metric_figure
from trainability.report.html import write_report
from trainability.report.look import NUM_RUN_COLOURS
from trainability.training.record import EVALUATIONS, EVIDENCE, STEPS, Run, read_run


def visible(page: Path) -> str:
    text = page.read_text(encoding="utf-8")
    return re.sub(r"\s+", " ", re.sub(r"<(script|style)\b.*?</\1>", "", text, flags=re.DOTALL))


def pair(folder: Path) -> list[Path]:
    one = finish_run(folder / "one")
    two = finish_run(folder / "two", model=ModelConfig(config="D"), init=InitConfig(plan=MARKUP))
    (two.folder / EVIDENCE).write_text(
        json.dumps({"probe": {"log10_gain": -9.0, "input_mean_square": 10.0, "plateau_steps": "inf"}})
    )
    return [one.folder, two.folder]


def test_what_differs_and_nothing_else(tmp_path: Path) -> None:
    folders = pair(tmp_path)
    found = configured_differences([read_run(folder) for folder in folders])
    assert found.rows == [("model.config", ["B", "D"]), ("init.plan", ["xavier", MARKUP])]
    assert found.only_some == []
    assert found.num_equal > 40
    page = visible(write_comparison(folders))
    assert "<img" not in page
    assert 'href="one/report.html"' in page
    starts = dict(start_rows([read_run(folder) for folder in folders]))
    assert starts["Gain budget with the input"] == ["–", "-8.0"]
    assert starts["With this budget a net is"] == ["–", "dead"]
    assert starts["Predicted steps at chance"][1] in page
    assert all(f"VGG-{letter} on digits" in page for letter in "BD")


def test_loops_of_other_kinds_have_their_curves_and_no_empty_boxes(tmp_path: Path) -> None:
    for name, config in (("one", {"lr": 0.1, "depth": 3}), ("two", {"lr": 0.2})):
        model = torch.nn.Linear(4, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=config["lr"])
        with trainability.Monitor(model, optimizer, every=10, run=tmp_path / name, config=config) as monitor:
            for _ in range(100):
                loss = model(torch.randn(8, 4)).square().mean()
                loss.backward()
                monitor.after_backward(loss)
                optimizer.step()
                optimizer.zero_grad()
    compared = trainability.compare([tmp_path / "one", tmp_path / "two"])
    assert compared.differences == [("lr", ["0.1", "0.2"])]
    assert configured_differences(compared.runs).only_some == [("depth", ["3", "–"])]
    runs = [("run-1", "one", compared.runs[0]), ("run-2", "two", compared.runs[1])]
    figures = {figure.name: figure for figure in overlay.all_figures(runs)}
    assert set(figures) == {"loss", "norm", "rate"}
    for name, num in (("loss", 40), ("norm", 44)):  # the norm is measured at 44 of 100 steps, so few that they are not averaged
        means = [trace for trace in plot_of(figures[name])["data"] if trace["name"] == "train"]
        assert [len(trace["x"]) for trace in means] == [num, num]
    page = visible(compared.write(tmp_path / "page.html"))
    assert "Linear" in page
    assert start_rows(compared.runs) == []
    assert "Starting weights" not in page
    assert "No layer is followed by a ReLU." in visible(write_report(tmp_path / "one"))


@pytest.mark.parametrize(("rates", "widths"), [((0.1, 0.1, 0.2), [4, 2, 2]), ((0.1, 0.1, 0.1), [6, 4, 2])])
def test_equal_rates_do_not_hide_each_other(tmp_path: Path, rates: tuple[float, ...], widths: list[int]) -> None:
    runs = []
    for number, rate in enumerate(rates, start=1):
        run = finish_run(tmp_path / str(number))
        path = run.folder / "steps.jsonl"
        rows = [json.loads(line) | {"lr": rate} for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        runs.append((f"run-{number}", str(number), read_run(run.folder)))
    figure = next(figure for figure in overlay.all_figures(runs) if figure.name == "rate")
    assert [trace["line"]["width"] for trace in plot_of(figure)["data"]] == widths


def test_errors_stand_side_by_side(tmp_path: Path) -> None:
    assert compared_errors(["a"], [finish_run(tmp_path / "none")]) is None
    right = answered(tmp_path / "right", [i % 8 for i in range(40)])
    one_class = answered(tmp_path / "wrong", [7] * 40)
    runs = [right, read_run(tmp_path / "none"), one_class]
    found = compared_errors(["right", "none", "wrong"], runs)
    assert found is not None
    rows = dict(found.rows)
    assert rows["Validation images wrong"] == ["0 of 40 (0.00 %)", "–", "35 of 40 (87.50 %)"]
    assert rows["Effective number of predicted classes"] == ["8.0", "–", "1.0"]
    assert len(found.classes) == 8
    assert all(values == ["0.00 %", "–", "100.00 %"] for _, values in found.classes[:7])
    assert found.classes[-1][1] == ["0.00 %", "–", "0.00 %"]  # what differs least comes last
    assert [figure.name for figure in found.confusions] == ["confusion-0", "confusion-2"]
    page = visible(write_comparison([run.folder for run in runs]))
    assert "87.50 %" in page
    assert 'id="confusion-2"' in page


def test_contents_name_every_section(tmp_path: Path) -> None:
    page = visible(write_comparison(pair(tmp_path)))
    links = re.findall(r'<a href="#([^"]+)">', page)
    assert links == re.findall(r'<h2 id="([^"]+)"', page)
    assert {"results", "curves", "configuration"} <= set(links)


def test_the_page_lies_beside_the_first_run_or_where_it_was_asked_for(tmp_path: Path) -> None:
    folders = pair(tmp_path / "runs")
    assert write_comparison(folders) == tmp_path / "runs" / "comparison.html"
    (tmp_path / "pages").mkdir()
    page = write_comparison(folders, out=tmp_path / "pages" / "x.html")
    assert 'href="../runs/two/report.html"' in visible(page)
    with pytest.raises(ValueError, match="nowhere"):
        write_comparison(folders, out=tmp_path / "nowhere" / "x.html")
    with pytest.raises(ValueError, match="given twice"):
        write_comparison([folders[0], folders[0]])


def test_names_are_as_short_as_they_can_be() -> None:
    assert short_names([Path("/a/x"), Path("/b/y")]) == ["x", "y"]
    assert short_names([Path("/a/x"), Path("/b/x"), Path("/b/y")]) == ["a/x", "b/x", "b/y"]


def test_more_runs_than_colours_have_other_symbols(tmp_path: Path) -> None:
    run = finish_run(tmp_path / "run")
    many = [(f"run-{number % NUM_RUN_COLOURS + 1}", str(number), run) for number in range(NUM_RUN_COLOURS + 1)]
    loss = overlay.all_figures(many)[0]
    shown = [trace for trace in plot_of(loss)["data"] if trace["name"] == "validation"]
    looks = [(trace["line"]["color"], trace["marker"]["symbol"]) for trace in shown]
    assert len(set(looks)) == len(looks) == NUM_RUN_COLOURS + 1
    assert looks[0][0] == looks[-1][0]


def test_runs_without_records_or_numbers_are_compared_too(tmp_path: Path) -> None:
    folders = pair(tmp_path)
    nothing = dict.fromkeys(("loss", "top1_error", "top5_error", "gradient_norm", "lr"), math.nan)
    (folders[0] / STEPS).write_text(json.dumps(step_row(1, **dict.fromkeys(nothing))) + "\n")
    (folders[0] / EVALUATIONS).write_text(json.dumps(evaluation_row(1, **{f"val_{key}": None for key in nothing})) + "\n")
    (folders[1] / STEPS).unlink()
    (folders[1] / EVALUATIONS).unlink()
    assert "Comparison of 2 training runs" in visible(write_comparison(folders))


def imagenet(folder: Path, *, against: str = "D", width: float = 1.0, **data: object) -> Run:
    settings = DataConfig(name="imagenet", **data)  # type: ignore[arg-type]
    names = tuple(map(str, range(1000)))
    return finish_run(folder, class_names=names, model=ModelConfig(config=against, width=width), data=settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("against", "config", "top1", "top5"), [("paper", "D", 28.73, 9.95), ("paper", "C", 28.1, 9.4), ("log", "A", 57.48, 30.84)]
)
def test_the_reference_is_drawn_and_its_source_named(
    tmp_path: Path, against: str, config: str, top1: float, top5: float
) -> None:
    run = imagenet(tmp_path / "run", against=config)
    reference = reference_for(run, against)  # type: ignore[arg-type]
    for name, value in (("top1", top1), ("top5", top5)):
        line = shape(metric_figure(run, name, reference), "reference")
        assert line["y0"] == line["y1"] == pytest.approx(value)
        assert line["line"]["dash"] == "dot"
    assert all(mark["name"] != "reference" for mark in plot_of(metric_figure(run, "loss", reference))["layout"]["shapes"])
    page = visible(write_report(run.folder, against=against))  # type: ignore[arg-type]
    assert f"VGG-{config}, trained at 256" in page
    assert f"{top1:.2f} %" in page
    assert f"{top5:.2f} %" in page


def test_the_paper_s_net_of_the_same_training_scale_is_taken(tmp_path: Path) -> None:
    assert "trained at 384" in reference_for(imagenet(tmp_path / "a", against="C", size=384), "paper").source
    assert "trained at 256-512" in reference_for(imagenet(tmp_path / "b", against="C", jitter=(256, 512)), "paper").source


def test_where_nothing_fits_the_page_says_so(tmp_path: Path) -> None:
    digits = finish_run(tmp_path / "digits")
    assert "No reference line" in visible(write_report(digits.folder, against="paper"))
    narrow = imagenet(tmp_path / "narrow", width=0.25)
    assert "model.width 0.25" in visible(write_report(narrow.folder, against="log"))
    lrn = imagenet(tmp_path / "lrn", against="A-LRN")
    assert "A-LRN; " in visible(write_report(lrn.folder, against="log"))
    both = visible(write_comparison([digits.folder, narrow.folder], against="log"))
    assert "No reference line" in both


def test_the_command_writes_every_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = pair(tmp_path)
    assert cli.report(tuple(folders)) == 0
    pages = [*(folder / "report.html" for folder in folders), tmp_path / "comparison.html"]
    assert capsys.readouterr().out.split() == list(map(str, pages))
    assert all(page.is_file() for page in pages)
    with pytest.raises(ValueError, match="two or more"):
        cli.report((folders[0],), out=tmp_path / "x.html")


class TestInBrowser:
    pytestmark = needs_browser

    @pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
    def test_opens_offline_and_draws_everything(self, tmp_path: Path, dark: bool) -> None:
        seen = visit(write_comparison(pair(tmp_path)), tmp_path, dark=dark)
        assert (seen.requests, seen.console) == ([], [])
        dom = re.sub(r"<(script|style)\b.*?</\1>", "", seen.dom, flags=re.DOTALL)
        plots = dom.split("<figure ")[1:]
        assert [plot.count('class="trace scatter') for plot in plots] == [6, 6, 6, 4, 2]
        assert "<img" not in dom
