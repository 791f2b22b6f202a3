"""One zoom for all figures over time."""

from __future__ import annotations

import json
import re
from pathlib import Path

from browser import visit
from test_report import needs_browser, step_row, with_script
from test_report_layers import watched_run

from trainability.report.html import write_report
from trainability.training.record import STEPS

pytestmark = needs_browser


def test_zoom_is_shared_by_all_figures_over_time(tmp_path: Path) -> None:
    script = """
    const plot = (name) => document.querySelector(`#${name} .plot`);
    const names = ["loss", "top1", "layers-gradient-rms", "histograms"];
    const ranges = () => names.map((name) => plot(name)._fullLayout.xaxis.range.map((x) => +x.toFixed(2)));
    const wait = () => new Promise((done) => setTimeout(done, 200));
    (async () => {
      const said = [ranges()];
      const dragged = { "xaxis.range[0]": 5, "xaxis.range[1]": 10, "yaxis.range[0]": 0, "yaxis.range[1]": 1 };
      await Plotly.relayout(plot("loss"), dragged);
      await wait(); said.push(ranges());
      plot("top1").dispatchEvent(new KeyboardEvent("keydown", { key: "0" }));
      await wait(); said.push(ranges());
      const p = document.createElement("p"); p.id = "said"; p.textContent = JSON.stringify(said); document.body.append(p);
    })();
    """
    run = watched_run(tmp_path / "run")
    (run.folder / STEPS).write_text("".join(json.dumps(step_row(step)) + "\n" for step in range(1, 101)))
    seen = visit(with_script(write_report(run.folder), script), tmp_path, until='document.querySelector("#said")')
    assert seen.console == []
    first, zoomed, reset = json.loads(re.findall(r'id="said">(.*?)</p>', seen.dom)[0])
    assert zoomed[:3] == [[5, 10]] * 3
    assert zoomed[3] == first[3]
    assert reset == first
    assert len({tuple(span) for span in first}) > 1  # heat maps begin elsewhere, and go back to their own
