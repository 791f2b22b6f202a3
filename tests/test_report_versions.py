"""The report of a run that another version of this package wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_report import finish_run, page_of

from trainability.report.figures import all_figures
from trainability.report.html import write_report
from trainability.training.record import EVALUATIONS, STEPS, read_run


def test_a_run_of_an_older_version_gives_a_page(tmp_path: Path) -> None:
    run = finish_run(tmp_path / "run")
    (run.folder / "config.toml").write_text('[model]\nconfig = "B"\n')  # all else takes its default
    for name, keys in ((STEPS, ("step", "loss")), (EVALUATIONS, ("epoch", "step", "val_top1_error"))):
        rows = [json.loads(line) for line in (run.folder / name).read_text().splitlines()]
        (run.folder / name).write_text("".join(json.dumps({key: row[key] for key in keys}) + "\n" for row in rows))
    (run.folder / "environment.json").write_text('{"python": "3.9"}')
    (run.folder / "data.json").write_text('{"name": "digits"}')
    (run.folder / "init.json").write_text('[{"index": 0, "name": "features.0", "shape": [4, 3, 3, 3], "scheme": "he"}]')
    (run.folder / "findings.json").write_text('{"step": 8, "verdict": "cannot tell"}')
    (run.folder / "result.json").write_text('{"status": "finished"}')
    page = page_of(run.folder)
    assert "Diagnosis: cannot tell" in page
    assert "<dd>Best, epoch 2</dd>" in page
    assert [figure.name for figure in all_figures(read_run(run.folder)) if figure.missing] == ["top5", "norm", "rate", "speed"]


def test_a_newer_version_is_one_clear_line(tmp_path: Path) -> None:
    run = finish_run(tmp_path / "run")
    with (run.folder / "config.toml").open("a") as file:
        file.write("\n[quantum]\nqubits = 3\n")
    with pytest.raises(ValueError, match="quantum") as caught:
        write_report(run.folder)
    assert "\n" not in str(caught.value)
