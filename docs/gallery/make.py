"""Takes the pictures of README and docs/gallery.md anew, from real runs: `make gallery`. Needs chromium.

The runs are made under FOLDER if they are not there: the demo run, two starts beside it, and of the book whatever
`trainability trials run` has left in runs/trials.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from rich.console import Console

from trainability.checking.phase_map import read_runs
from trainability.checking.run import check_config
from trainability.config import DataConfig, InitConfig, ModelConfig, OptimConfig, RunConfig
from trainability.prescribe import phase_map as maps
from trainability.report.phase_map import write_map
from trainability.terminal.diagnosis import print_diagnosis
from trainability.watch.state import LiveRun
from trainability.watch.view import view

HERE = Path(__file__).parent
CHROMIUM = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
CHROMIUM += ("--disable-sync", "--no-first-run", "--hide-scrollbars")
BEFORE_TRIAL = "body > header, section:not(.chapter), .chapter > :not(article)"
RUNS = {
    "digits-B-001": (),
    "digits-B-he": ("--init.plan", "he", "--data.input", "standard"),
    "digits-D-small": ("--model.config", "D", "--init.plan", "xavier:4,normal=0.01,xavier:3", "--optim.epochs", "8"),
}


def main() -> None:
    """Make what is missing, and every picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--map-only", action="store_true", help="only the picture of the map, from benchmarks/results/phase-map"
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/gallery"))
    parser.add_argument("--book", type=Path, default=Path("runs/trials"), help="folder of the book's runs")
    arguments = parser.parse_args()
    if shutil.which("chromium") is None:
        parser.error("chromium is not installed; it takes the pictures")
    if arguments.map_only:
        phase_map(HERE)
        return
    runs = [arguments.folder / name for name in RUNS]
    for run, flags in zip(runs, RUNS.values(), strict=True):
        if not (run / "result.json").exists():
            trainability("train", *flags, "--run.dir", str(run))
    trainability("report", *map(str, runs))
    demo, comparison = runs[0] / "report.html", arguments.folder / "comparison.html"
    photograph(demo, HERE.parent / "report.png", height=1260)
    photograph(demo, HERE / "report-dark.png", height=1260, dark=True)
    photograph(demo, HERE / "layers.png", height=1500, hidden="header, main > section:not([aria-labelledby=layers])")
    photograph(comparison, HERE / "comparison.png", height=2300)
    if (arguments.book / "pocket").is_dir():
        trainability("trials", "report", "--dir", str(arguments.book))
        book = arguments.book / "pocket" / "book.html"
        photograph(book, HERE / "book.png", height=1400)
        photograph(book, HERE / "trial.png", height=1700, hidden=f"{BEFORE_TRIAL}, article:not([aria-labelledby='imagenet-D'])")
    phase_map(HERE)
    check(HERE / "check.svg")
    watch(runs[0], HERE / "watch.svg")


def trainability(*arguments: str) -> None:
    """Call the command line."""
    subprocess.run(["trainability", *arguments], check=True, stdout=subprocess.DEVNULL)


def photograph(page: Path, to: Path, *, height: int, hidden: str = "", dark: bool = False) -> None:
    """Take a picture of a page's first screen.

    Args:
        page: an HTML file.
        to: PNG file.
        height: of the window in pixels.
        hidden: CSS selectors of what is left out, so that what is wanted comes first.
        dark: the reader's colour scheme.
    """
    with tempfile.TemporaryDirectory() as scratch:
        shown = Path(scratch) / "page.html"
        style = f"<style>{hidden} {{ display: none !important; }}</style>" if hidden else ""
        shown.write_text(page.read_text(encoding="utf-8").replace("</head>", f"{style}</head>", 1), encoding="utf-8")
        subprocess.run(
            [
                "chromium",
                *CHROMIUM,
                f"--user-data-dir={scratch}/profile",
                f"--blink-settings=preferredColorScheme={0 if dark else 1}",
                f"--window-size=1180,{height}",
                "--virtual-time-budget=4000",
                f"--screenshot={to}",
                shown.as_uri(),
            ],
            check=True,
            capture_output=True,
        )


def phase_map(to: Path) -> None:
    """Draw the map of `benchmarks/phase_map.py` from its runs, light and dark."""
    benchmarks = HERE.parents[1] / "benchmarks"
    sys.path.insert(0, str(benchmarks))
    from phase_map import RESULTS, STEPS, setup

    found, runs = maps.phase_map(setup(), steps=STEPS, seconds=300.0), read_runs(RESULTS)
    with tempfile.TemporaryDirectory() as scratch:
        title = "A plain net of twelve layers on the digits"
        page = write_map(Path(scratch) / "map.html", found, runs, maps.outcomes(runs), title=title)
        hidden = "header, section[aria-labelledby=meaning], figcaption h3"
        for name, dark in (("map.png", False), ("map-dark.png", True)):
            photograph(page, to / name, height=720, hidden=hidden, dark=dark)
            Image.open(to / name).crop((0, 76, 1180, 706)).save(to / name, optimize=True)


def check(to: Path) -> None:
    """Draw what `trainability check` says of the log's plan for net D at 224 pixels and 1000 classes."""
    config = RunConfig(
        model=ModelConfig(config="D"),
        init=InitConfig(plan="xavier:4,normal=0.01,xavier:3"),
        data=DataConfig(name="synthetic", crop=224, num_classes=1000, num_images=20_000, input="standard"),
        optim=OptimConfig(schedule="plateau", batch_size=256, epochs=74),
    ).completed()
    console = Console(record=True, width=110, file=io.StringIO())
    print_diagnosis(console, check_config(config))
    console.save_svg(str(to), title="trainability check --model.config D --init.plan xavier:4,normal=0.01,xavier:3 …")


def watch(run: Path, to: Path) -> None:
    """Draw what `trainability watch` shows of a run."""
    console = Console(record=True, width=110, height=42, file=io.StringIO())
    console.print(view(LiveRun(run), width=110, height=42))
    console.save_svg(str(to), title=f"trainability watch {run.name}")


if __name__ == "__main__":
    main()
