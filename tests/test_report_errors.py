"""The report's section on errors: what it says of kept answers, and that no state of their files breaks the page."""

from __future__ import annotations

import base64
import html
import io
import json
import re
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from browser import visit
from PIL import Image
from test_report import MARKUP, finish_run, needs_browser, page_of, plot_of

from trainability.evaluation import predictions, thumbnails
from trainability.evaluation.error_analysis import error_analysis
from trainability.report.confusion import NUM_SHOWN, confusion_figure
from trainability.report.error_section import error_section
from trainability.report.html import write_report
from trainability.report.look import PALETTES
from trainability.training.record import Run, read_run

NAMES = ("ant", "@bee", "<b>cat</b>", "$x$", "eel", "fox", "gnu", MARKUP)


def answered(folder: Path, answers: list[int], names: tuple[str, ...] = NAMES) -> Run:
    """Make a run whose network gave these answers for the classes 0, 1, 2 … in turn; of every image a thumbnail is kept."""
    labels = torch.arange(len(answers)) % len(names)
    logits = 3 * torch.eye(len(names), dtype=torch.float64)[torch.tensor(answers)]
    kept = predictions.from_log_probabilities(logits.log_softmax(1), labels, class_names=names, protocol="centre at 32 pixels")
    run = finish_run(folder, class_names=names)
    data = json.loads((folder / "data.json").read_text()) | {"num_val": len(answers)}
    (folder / "data.json").write_text(json.dumps(data))
    predictions.save(kept, folder / predictions.FILE)
    small = {i: np.full((12, 18, 3), i, dtype=np.uint8) for i in range(len(answers))}
    thumbnails.save(small, folder / thumbnails.FILE)
    return run


def learned(num_images: int = 40) -> list[int]:
    """Answer rightly but for class 1, which is always taken for class 2."""
    return [2 if i % 8 == 1 else i % 8 for i in range(num_images)]


def test_errors_in_words_and_numbers(tmp_path: Path) -> None:
    page = page_of(answered(tmp_path / "run", learned()).folder).replace("\u00a0", " ")
    section, problems = error_section(read_run(tmp_path / "run"))
    assert section is not None
    assert problems == []
    assert re.findall(r"[\d.]+\d", section.intro) == ["40", "12.50", "32"]
    assert not section.has_collapsed
    assert "“@bee”" in section.answers  # never the answer
    assert section.answers in html.unescape(page)
    table = page.split("Error of each class</h3>")[1]
    rows = re.findall(r'title="([^"]*)"[^>]*>[^<]*</span>\s*</th><td>(\d+)</td><td>([\d.]+) %</td>', table.split("</table>")[0])
    assert rows[0] == ("@bee", "5", "100.00")
    assert [row[2] for row in rows[1:]] == ["0.00"] * 7
    equal = page.split("Effective classes")[1]
    assert re.findall(r"<td>([\d.]+)</td>", equal)[:2] == ["6.7", "8.0"]  # exp(entropy of 6 × 1/8 and 2/8), of 8 × 1/8
    assert "predictions.npz" not in page.split("Not in this run directory")[1].split("</section>")[0]


def test_collapse_is_said_plainly(tmp_path: Path) -> None:
    section, _ = error_section(answered(tmp_path / "run", [0] * 36 + [5] * 4))
    assert section is not None
    assert section.has_collapsed
    for part in ("1 of 8 classes", "90.00 %", "12.50 %", "“ant”"):
        assert part in section.answers
    assert 'class="lede collapsed"' in page_of(tmp_path / "run")


def test_thumbnails_are_the_images_and_say_what_they_are(tmp_path: Path) -> None:
    run = answered(tmp_path / "run", learned())
    page = page_of(run.folder)
    found = re.findall(r'<img src="data:image/png;base64,([^"]+)" [^>]*alt="([^"]*)"', page)
    analysis = error_analysis(predictions.load(run.folder / predictions.FILE))
    listed = list({image.position: image for image in (*analysis.worst, *analysis.most_confident)}.values())
    assert len(listed) == 5  # each image once, though both orders name it
    listed.sort(key=lambda image: image.true_probability)
    for (data, alt), image in zip(found, listed, strict=True):
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        assert pixels.shape == (12, 18, 3)
        assert (pixels == image.position).all()
        assert alt == f"Validation image {image.position}: true class @bee, predicted &lt;b&gt;cat&lt;/b&gt;"


def test_markup_in_class_names_is_text(tmp_path: Path) -> None:
    page = page_of(answered(tmp_path / "run", [7] * 40).folder)
    assert "<b>cat" not in page
    assert set(re.findall(r"<img [^>]{12}", page)) == {'<img src="data:im'}
    assert "&lt;img src=" in page


def test_a_network_without_errors_or_without_answers(tmp_path: Path) -> None:
    right, _ = error_section(answered(tmp_path / "right", [i % 8 for i in range(40)]))
    assert right is not None
    assert (right.pairs, right.gallery) == ((), None)
    assert "<img" not in page_of(tmp_path / "right")
    run = answered(tmp_path / "nan", learned())
    kept = predictions.from_log_probabilities(
        torch.full((40, 8), torch.nan, dtype=torch.float64), torch.arange(40) % 8, class_names=NAMES, protocol="centre"
    )
    predictions.save(kept, run.folder / predictions.FILE)
    silent, _ = error_section(read_run(run.folder))
    assert silent is not None
    assert "100.00 %" in silent.answers
    assert silent.shares == ()
    assert silent.answers in page_of(run.folder)


def test_without_answers_the_page_says_how_to_get_them(tmp_path: Path) -> None:
    page = page_of(finish_run(tmp_path / "run").folder)
    assert error_section(read_run(tmp_path / "run")) == (None, [])
    assert f"trainability evaluate {tmp_path}/run" in page


@pytest.mark.parametrize("name", [predictions.FILE, thumbnails.FILE])
def test_torn_files_are_named_and_the_page_stands(tmp_path: Path, name: str) -> None:
    run = answered(tmp_path / "run", learned())
    path = run.folder / name
    path.write_bytes(path.read_bytes()[:200])
    page = page_of(run.folder)
    assert name in page.split("</section>")[-2]  # what could not be read stands at the end
    assert ("Confusion matrix" in page) == (name == thumbnails.FILE)
    assert "data:image/png" not in page


def test_missing_thumbnails_and_foreign_answers_are_said(tmp_path: Path) -> None:
    run = answered(tmp_path / "run", learned())
    small = thumbnails.load(run.folder / thumbnails.FILE)
    thumbnails.save({position: small[position] for position in (1, 9)}, run.folder / thumbnails.FILE)
    page = page_of(run.folder)
    assert error_section(run)[1][0].count("3 of 5") == 1
    assert page.count("<img src=") == 2  # each image once
    assert "image 17,<br>" in page
    (run.folder / thumbnails.FILE).unlink()
    section, (problem,) = error_section(run)
    assert section is not None
    assert thumbnails.FILE in problem
    assert problem in page_of(run.folder)
    data = json.loads((run.folder / "data.json").read_text())
    (run.folder / "data.json").write_text(json.dumps(data | {"num_val": 41}))
    section, (problem,) = error_section(read_run(run.folder))
    assert section is None
    assert predictions.FILE in problem


@pytest.mark.parametrize("num_classes", [1, 2, 12, 13, 50])
def test_the_matrix_shows_every_class_up_to_fifty(num_classes: int) -> None:
    counts = np.arange(num_classes**2).reshape(num_classes, num_classes)
    names = tuple(f"@{i}" for i in range(num_classes))
    figure = confusion_figure(counts, names)
    right, wrong = plot_of(figure)["data"]
    totals = counts.sum(1)
    for i in range(num_classes):
        for j in range(num_classes):
            share = round(100 * counts[i, j] / max(1, totals[i]), 3) if counts[i, j] else None
            assert ((right if i == j else wrong)["z"][i][j], (wrong if i == j else right)["z"][i][j]) == (share, None)
    assert plot_of(figure)["layout"]["xaxis"]["ticktext"] == [f"&#64;{i}" for i in range(num_classes)]
    assert "only" not in figure.note


def test_of_many_classes_the_most_confused_pairs_are_shown_and_that_is_said() -> None:
    counts = 100 * np.eye(200, dtype=np.int64)
    for i in range(40):
        counts[4 * i, 4 * i + 1] = 50 - i
    figure = confusion_figure(counts, tuple(map(str, range(200))))
    expected = [str(4 * i + k) for i in range(NUM_SHOWN // 2) for k in (0, 1)]
    assert plot_of(figure)["layout"]["yaxis"]["ticktext"] == expected
    assert "30 of 200 classes" in figure.note
    assert confusion_figure(np.eye(200, dtype=np.int64), tuple(map(str, range(200)))).plot is None


@pytest.mark.parametrize("scheme", list(PALETTES))
def test_the_matrix_is_valid_plotly_in_every_colour_scheme(scheme: str) -> None:
    text = json.dumps(plot_of(confusion_figure(np.ones((8, 8), dtype=np.int64), NAMES)))
    text = re.sub(r'"@([a-z-]+)"', lambda role: json.dumps(PALETTES[scheme][role[1]]), text)
    assert "@" not in text
    go.Figure(json.loads(text))


class TestInBrowser:
    pytestmark = needs_browser

    @pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
    def test_opens_offline_and_draws_the_matrix(self, tmp_path: Path, dark: bool) -> None:
        seen = visit(write_report(answered(tmp_path / "run", learned()).folder), tmp_path, dark=dark)
        assert (seen.requests, seen.console) == ([], [])
        matrix = re.sub(r"<(script|style)\b.*?</\1>", "", seen.dom, flags=re.DOTALL).split('id="confusion"')[1]
        assert matrix.count('class="hm"') == 2
        for shown in ("@bee", "&lt;b&gt;cat&lt;/b&gt;", "$x$"):
            assert f">{shown}</text>" in matrix
        assert "<title>VGG-B on digits – Finished</title>" in seen.dom
