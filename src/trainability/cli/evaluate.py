"""`trainability evaluate` and `errors`: errors of trained networks on the validation set, and their analysis."""

from __future__ import annotations

import dataclasses
import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

from trainability.config import DataConfig, RunConfig, RunSettings, in_range

if TYPE_CHECKING:
    from rich.table import Table

    from trainability.evaluation.reference import Against
    from trainability.training.evaluate import Evaluation

_NO_DATA = DataConfig()


def evaluate(
    runs: Positional[tuple[Path, ...]] = (),
    *,
    protocol: str = "dense",
    scales: str | None = None,
    flip: bool | None = None,
    against: Literal["paper", "log"] | None = None,
    weights: Path | None = None,
    weights_input: Literal["torchvision", "caffe"] = "torchvision",
    step: int | None = None,
    batch_size: int = 64,
    data: DataConfig = _NO_DATA,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    precision: Literal["fp32", "tf32", "bf16"] = "fp32",
    json: bool = False,
) -> int:
    """Evaluate trained networks by the paper's protocols. One, or several as an ensemble, on the whole validation set.

    centre: one crop. ten-crop: four corners and the centre, and their flips. dense: the network over the whole image and
    its flip, its class map averaged. multi-crop: 50 crops per scale. Several are joined with "+", as in dense+multi-crop.
    Softmax probabilities are averaged over crops, scales, flips and runs.

    Args:
        runs: run directories, or their names below runs; the predictions of several are averaged.
        protocol: centre, ten-crop, dense or multi-crop, or several joined by "+".
        scales: smaller sides of the test images in pixels, as in 224,256,288. None takes the run's size.
        flip: evaluate flipped images too, if the protocol has them. None takes the run's data.flip.
        against: also print published errors: the paper's and those of other weights, or those of the public training log
            that `trials` re-runs, after 10 epochs. ImageNet only.
        weights: published weights (.pth or .safetensors) instead of a run; data.* then selects the images.
        weights_input: input of the published network: RGB in [0, 1] standardised, or BGR with the mean subtracted.
        step: step of the checkpoint. None takes the newest.
        batch_size: most views in one forward pass.
        data: the images, for published weights.
        device: auto takes the GPU if there is one.
        precision: bf16 evaluates in bfloat16; tf32, on a GPU, with inputs rounded to 10 bits of mantissa.
        json: print JSON instead of tables.
    """
    _check_sources(runs, weights, data, step)
    in_range("batch-size", batch_size, at_least=1)

    from trainability.cli.progress import counted, progress_of
    from trainability.evaluation.protocols import parse_protocol, parse_scales
    from trainability.terminal.console import plain_console
    from trainability.training import engine as engines
    from trainability.training.evaluate import EvaluationOptions, evaluate_runs, evaluate_weights
    from trainability.training.run_list import find_run

    runs = tuple(map(find_run, runs))
    parse_protocol(protocol)
    options = EvaluationOptions(
        protocol=protocol, scales=None if scales is None else parse_scales(scales), flip=flip, batch_size=batch_size
    )
    settings = RunSettings(device=device, precision=precision)
    console = plain_console()
    with engines.start(settings) as engine, progress_of(console) as progress:
        advance = counted(progress, "views") if engine.is_main else lambda num_views: None
        if weights is not None:
            config = RunConfig(data=data, run=settings).completed()
            result = evaluate_weights(weights, config, options, engine=engine, input=weights_input, advance=advance)
        else:
            result = evaluate_runs(runs, options, engine=engine, step=step, advance=advance)
        if not engine.is_main:
            return 0
    if json:
        kept = {name: getattr(result, name) for name in ("names", "configs", "data_name", "protocol", "scales")}
        print(json_module.dumps({**kept, **dataclasses.asdict(result.errors)}))
        return 0
    console.print(_evaluation_table(result, against))
    return 0


def _check_sources(runs: tuple[Path, ...], weights: Path | None, data: DataConfig, step: int | None) -> None:
    if bool(runs) == (weights is not None):
        raise ValueError("evaluate needs run directories, or --weights FILE, and not both")
    if weights is None and data != DataConfig():
        raise ValueError("data.* is for --weights FILE; a run is evaluated on its own images")
    if weights is not None and step is not None:
        raise ValueError(f"step is {step}; it selects a checkpoint of a run, and --weights FILE has none")


def _evaluation_table(result: Evaluation, against: Against | None) -> Table:
    from rich.table import Table

    from trainability.evaluation.reference import comparable_errors
    from trainability.formats import percent

    found = result.errors
    table = Table(title=f"{', '.join(result.names)}: {result.described}", title_justify="left")
    table.add_column("who")
    for name in ("top-1 error", "top-5 error", "loss", "images"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row(
        "+".join(f"VGG-{config}" for config in result.configs),
        percent(found.top1_error),
        percent(found.top5_error, missing="not defined"),
        f"{found.loss:.4f}",
        f"{found.num_examples:,}",
    )
    if against is not None:
        rows = comparable_errors(
            result.configs, data_name=result.data_name, protocol=result.protocol, scales=result.scales, against=against
        )
        for row in rows:
            sides = ", ".join(map(str, row.test))
            who = f"{row.config}, trained at {row.train}, {row.protocol} at {sides}: {row.source}"
            first = "-" if row.top1_error is None else percent(row.top1_error)
            table.add_row(who, first, percent(row.top5_error, missing="not defined"), "-", "50,000")
    return table


def errors(
    run: Positional[Path], *, num_classes: int = 10, num_pairs: int = 10, num_images: int = 5, json: bool = False
) -> int:
    """Analyse the errors of a run: per class, and the worst images. Also the most confused classes, and collapsed predictions.

    It reads the newest predictions: those of the run's end, or of the last `trainability evaluate` of only this run.

    Args:
        run: run directory, or its name below runs.
        num_classes: how many classes to list, those with the highest error.
        num_pairs: how many confused pairs to list.
        num_images: how many wrong images to list.
        json: print JSON instead of tables: protocol, errors, and the rows of every table.
    """
    for name, value in (("num-classes", num_classes), ("num-pairs", num_pairs), ("num-images", num_images)):
        in_range(name, value, at_least=1)

    from trainability.evaluation import predictions
    from trainability.evaluation.error_analysis import as_dict, error_analysis, tables
    from trainability.formats import percent
    from trainability.terminal.console import plain_console
    from trainability.training.run_list import find_run

    run = find_run(run)
    kept = run / predictions.FILE
    if not kept.is_file() and not (run / "config.toml").is_file():
        raise ValueError(f"{run} is a run of a loop of its own, which keeps no predictions; errors is for runs of train")
    if not kept.is_file():
        raise ValueError(f"{run} has no {predictions.FILE}; make it with: trainability evaluate {run} --protocol centre")
    saved = predictions.load(kept)
    analysis = error_analysis(saved, num_pairs=num_pairs, num_images=num_images)
    if json:
        print(json_module.dumps(as_dict(analysis, saved.errors, num_classes=num_classes), allow_nan=False))
        return 0
    console = plain_console()
    console.print(
        f"{len(saved):,} validation images, {analysis.protocol}: top-1 error {percent(saved.errors.top1_error)}",
        highlight=False,
        soft_wrap=True,
    )
    for title, rows in tables(analysis, num_classes=num_classes).items():
        console.print(_plain_table(title, rows))
    return 0


def _plain_table(title: str, rows: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for heading, value in rows[0].items():
        table.add_column(heading.removesuffix(" %"), justify="left" if isinstance(value, str) else "right")
    for row in rows:
        table.add_row(
            *(
                "-" if value is None else f"{value:.2f} %" if heading.endswith("%") else str(value)
                for heading, value in row.items()
            )
        )
    return table
