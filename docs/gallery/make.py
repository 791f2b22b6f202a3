"""Takes the pictures of README and docs/gallery.md anew, from real runs: `make gallery`. Needs chromium.

Names of pictures make these alone: `python docs/gallery/make.py report-phone trials-list`. The runs are made under FOLDER if
they are not there: the demo run, two starts beside it, a loop with experiments, and of the book whatever
`trainability trials run` has left in runs/trials.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from rich.console import Console
from rich.text import Text
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import trainability as tb
from trainability.checking.phase_map import read_runs
from trainability.checking.run import check_config
from trainability.cli.book import print_book
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
    """Make the runs that are missing, and the pictures that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", nargs="*", help="names of pictures; all of them unless any are given")
    parser.add_argument("--folder", type=Path, default=Path("runs/gallery"))
    parser.add_argument("--book", type=Path, default=Path("runs/trials"), help="folder of the book's runs")
    arguments = parser.parse_args()
    if shutil.which("chromium") is None:
        parser.error("chromium is not installed; it takes the pictures")
    pictures = pictures_of(arguments.folder, arguments.book)
    wanted = arguments.pictures or list(pictures)
    if unknown := [name for name in wanted if name not in pictures]:
        parser.error(f"no picture {', '.join(unknown)}; known are {', '.join(pictures)}")
    for name in wanted:
        pictures[name]()


def pictures_of(folder: Path, book_folder: Path) -> dict[str, Callable[[], None]]:
    """List the pictures by the names of their files."""
    runs = [folder / name for name in RUNS]
    demo, comparison = runs[0] / "report.html", folder / "comparison.html"
    mine = folder / "own-loop"

    def photo(page: Path, make: Callable[[], None], to: Path, **how: object) -> Callable[[], None]:
        def take() -> None:
            make()
            photograph(page, to, **how)  # type: ignore[arg-type]

        return take

    def reports() -> None:
        for run, flags in zip(runs, RUNS.values(), strict=True):
            if not (run / "result.json").exists():
                trainability("train", *flags, "--run.dir", str(run))
        if not comparison.exists():
            trainability("report", *map(str, runs))

    def of_runs(draw: Callable[[list[Path], Path], None], to: Path) -> Callable[[], None]:
        def take() -> None:
            reports()
            draw(runs, to)

        return take

    def own() -> None:
        if not (mine / "report.html").exists():
            confirmed_loop(mine)

    layers, experiments = "header, nav, main > section:not([aria-labelledby=layers])", "[aria-labelledby=experiments]"
    pictures = {
        "report": photo(demo, reports, HERE.parent / "report.png", height=1260),
        "report-dark": photo(demo, reports, HERE / "report-dark.png", height=1260, dark=True),
        "report-phone": photo(demo, reports, HERE / "report-phone.png", height=1500, width=400, dark=True),
        "layers": photo(demo, reports, HERE / "layers.png", height=1300, hidden=layers),
        "experiments": photo(
            mine / "report.html",
            own,
            HERE / "experiments.png",
            height=720,
            width=1400,
            hidden=f"header, nav, main > section:not({experiments})",
        ),
        "comparison": photo(comparison, reports, HERE / "comparison.png", height=3300),
        "notebook": of_runs(notebook, HERE / "notebook.png"),
        "check": lambda: check(HERE / "check.svg"),
        "watch": of_runs(watch, HERE / "watch.svg"),
        "run": lambda: unmodified(folder.resolve() / "gan", HERE / "run.svg"),
        "trials-list": lambda: trials_list(HERE / "trials-list.svg"),
        "map": lambda: phase_map("plain", "A plain net of twelve layers on the digits", HERE / "map.png"),
        "map-dark": lambda: phase_map("plain", "A plain net of twelve layers on the digits", HERE / "map-dark.png", dark=True),
        "map-vgg": lambda: phase_map("vgg", "VGG-B at a sixteenth of its width on the digits", HERE / "map-vgg.png"),
    }
    if (book_folder / "pocket").is_dir():
        page = book_folder / "pocket" / "book.html"

        def written() -> None:
            trainability("trials", "report", "--dir", str(book_folder))

        trial = f"{BEFORE_TRIAL}, article:not([aria-labelledby='imagenet-D'])"
        pictures["book"] = photo(page, written, HERE / "book.png", height=1400)
        pictures["trial"] = photo(page, written, HERE / "trial.png", height=1700, hidden=trial)
    return pictures


def confirmed_loop(folder: Path) -> None:
    """Train a net whose weights are too small, after experiments have said so, and write its report."""
    torch.manual_seed(0)
    inputs = torch.randn(768, 20)
    labels = (inputs @ torch.randn(20, 5)).argmax(dim=1)
    loader = DataLoader(TensorDataset(inputs, labels), batch_size=32, shuffle=True)
    layers = [layer for place in range(6) for layer in (nn.Linear(64 if place else 20, 64), nn.ReLU())]
    model, loss_fn = nn.Sequential(*layers, nn.Linear(64, 5)), nn.CrossEntropyLoss()
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.01)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    setup = tb.Setup(model=model, train_loader=loader, loss_fn=loss_fn, optimizer=optimizer, planned_steps=192)
    with tb.Monitor(model, optimizer, every=24, before=tb.confirm(setup, seconds=20), run=folder) as monitor:
        for _ in range(8):
            for batch, answers in loader:
                loss = loss_fn(model(batch), answers)
                loss.backward()
                monitor.after_backward(loss)
                optimizer.step()
                optimizer.zero_grad()
    tb.write_report(folder)


def notebook(runs: list[Path], to: Path) -> None:
    """Draw what a notebook shows of a run and of a comparison, on a dark ground."""
    shown = [tb.read_run(runs[-1])._repr_html_(), tb.compare(runs)._repr_html_()]
    with tempfile.TemporaryDirectory() as scratch:
        page = Path(scratch) / "notebook.html"
        style = "body { background: #1e1e1e; color: #d4d4d4; font-family: sans-serif; padding: 12px 24px } hr { opacity: 0.3 }"
        page.write_text(f"<head><style>{style}</style></head><body>{'<hr>'.join(shown)}</body>", encoding="utf-8")
        photograph(page, to, height=1050, dark=True)


def trials_list(to: Path) -> None:
    """Draw what `trainability trials list` prints."""
    console = Console(record=True, width=110, file=io.StringIO())
    print_book(console)
    console.save_svg(str(to), title="trainability trials list")


def terminal(to: Path, *arguments: str, folder: Path | None = None) -> None:
    """Draw what a command prints, both of its streams, in a terminal of 100 columns."""
    done = subprocess.run(
        ["trainability", *arguments],
        check=True,
        cwd=folder,
        env={**os.environ, "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(Text(done.stdout.rstrip()))
    console.save_svg(str(to), title=" ".join(("trainability", *arguments)))


def unmodified(folder: Path, to: Path) -> None:
    """Draw what `trainability run` says of the example of a GAN without the doctor's lines, with its fault."""
    lines = (HERE.parents[1] / "examples" / "loops" / "gan_loop.py").read_text(encoding="utf-8").splitlines(keepends=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "gan.py").write_text("".join(line for line in lines if "# doctor" not in line), encoding="utf-8")
    terminal(to, "run", "--every", "10", "gan.py", "--fault", folder=folder)


def trainability(*arguments: str) -> None:
    """Call the command line."""
    subprocess.run(["trainability", *arguments], check=True, stdout=subprocess.DEVNULL)


def photograph(page: Path, to: Path, *, height: int, width: int = 1180, hidden: str = "", dark: bool = False) -> None:
    """Take a picture of a page's first screen.

    Args:
        page: an HTML file.
        to: PNG file.
        height: of the window in pixels.
        width: likewise; below 500, which no window of chromium is, the page stands in a frame.
        hidden: CSS selectors of what is left out, so that what is wanted comes first.
        dark: the reader's colour scheme.
    """
    with tempfile.TemporaryDirectory() as scratch:
        shown = Path(scratch) / "page.html"
        style = f"<style>{hidden} {{ display: none !important; }}</style>" if hidden else ""
        shown.write_text(page.read_text(encoding="utf-8").replace("</head>", f"{style}</head>", 1), encoding="utf-8")
        if width < 500:
            frame = f'<iframe src="page.html" style="border:0;width:{width}px;height:{height}px"></iframe>'
            shown = Path(scratch) / "frame.html"
            shown.write_text(f'<meta name="color-scheme" content="light dark"><body style="margin:0">{frame}', encoding="utf-8")
        subprocess.run(
            [
                "chromium",
                *CHROMIUM,
                "--allow-file-access-from-files",
                f"--user-data-dir={scratch}/profile",
                f"--blink-settings=preferredColorScheme={0 if dark else 1}",
                f"--window-size={max(width, 500)},{height}",
                "--virtual-time-budget=4000",
                f"--screenshot={to}",
                shown.as_uri(),
            ],
            check=True,
            capture_output=True,
        )
    if width < 500:
        with Image.open(to) as picture:
            picture.crop((0, 0, width, height)).save(to)


def phase_map(net: str, title: str, to: Path, *, dark: bool = False) -> None:
    """Draw a map of `benchmarks/phase_map.py` from its runs."""
    benchmarks = HERE.parents[1] / "benchmarks"
    sys.path.insert(0, str(benchmarks))
    from phase_map import NETS

    program, steps, folder = NETS[net]
    found, runs = maps.phase_map(program(), steps=steps, seconds=300.0), read_runs(folder)
    with tempfile.TemporaryDirectory() as scratch:
        page = write_map(Path(scratch) / "map.html", found, runs, maps.outcomes(runs), title=title)
        photograph(page, to, height=720, hidden="header, section[aria-labelledby=meaning], figcaption h3", dark=dark)
    Image.open(to).crop((0, 76, 1180, 706)).save(to, optimize=True)


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


def watch(runs: list[Path], to: Path) -> None:
    """Draw what `trainability watch` shows of the first run."""
    console = Console(record=True, width=110, height=42, file=io.StringIO())
    console.print(view(LiveRun(runs[0]), width=110, height=42))
    console.save_svg(str(to), title=f"trainability watch {runs[0].name}")


if __name__ == "__main__":
    main()
