"""The command line: one function per command, each parses, calls, prints.

Flags are the fields of `config.RunConfig`, with their docstrings as help. A recipe, or the configuration of a run that is
resumed, is expanded into flags put before the user's own, so that the last word is the user's and every value is checked the
same way. torch is imported inside the commands: `--help` answers at once.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import errno
import functools
import inspect
import io
import itertools
import json as json_module
import os
import re
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional, arg

from trainability import config as configuration
from trainability.config import DataConfig, RunConfig, RunSettings, nearest

if TYPE_CHECKING:
    from trainability.doctor import Diagnosis
    from trainability.terminal.display import TerminalDisplay
    from trainability.training.engine import Engine
    from trainability.training.logbook import Outcome
    from trainability.training.record import Record

USER_ERROR, FAILED, INTERRUPTED = 2, 1, 130
BOOK_FOLDER = Path("runs/trials")


def train(
    config: Annotated[RunConfig, arg(name="")],
    *,
    recipe: Path | None = None,
    resume: Path | None = None,
) -> int:
    """Train a VGG from random weights, evaluate it after every epoch, and write its report.

    Without flags: VGG-B at a quarter of its width on the built-in handwritten digits, half a minute on two cores.

    Everything goes to one run directory of plain files. Ctrl-C saves; --resume RUN continues exactly there, as
    does a run that was killed. Several processes: torchrun --nproc-per-node N -m trainability train ...

    Exit code: 0 finished, 1 stopped at a NaN or Inf or by --run.stop-on, 2 a value that cannot be used, 130
    interrupted.

    Args:
        config: the run.
        recipe: TOML file with the same names, in sections [model], [init], [data], [optim], [run]. Flags go above it.
        resume: run directory to continue. Its own configuration is taken; flags that change the result are refused.
    """
    from rich.console import Console

    from trainability.report.html import write_report
    from trainability.terminal.display import TerminalDisplay, result_table
    from trainability.training import engine as engines
    from trainability.training.evaluate import Asking, evaluate_runs

    config = config.completed()
    if resume is not None:
        _check_resumed(resume, config)
    console = Console()
    display = TerminalDisplay(console)
    with engines.start(config.run) as engine:
        record, outcome = _run(config, resume, engine, display)
        if outcome.status == "finished":
            # The same centre crops as after every epoch, now with every answer kept, for `errors` and the report.
            evaluate_runs([record.folder], Asking(protocol="centre"), engine=engine)
        if not engine.is_main:
            return 0
    report_path = write_report(record.folder)
    assert display.begin is not None
    console.print(result_table(display.begin, outcome, report_path))
    if outcome.status in ("non-finite", "stopped"):
        print(f"stopped: {outcome.message}", file=sys.stderr)
        return FAILED
    if outcome.status == "interrupted":
        print(f"continue with: trainability train --resume {record.folder}", file=sys.stderr)
        return INTERRUPTED
    return 0


def report(
    runs: Positional[tuple[Path, ...]],
    *,
    against: Literal["paper", "seed"] | None = None,
    out: Path | None = None,
    serve: bool = False,
    port: int | None = None,
) -> int:
    """Write report.html into run directories: one file each that works offline. Also of a run that is under way or was killed.

    Of two or more runs also one page that compares them.

    Args:
        runs: run directories.
        against: draw the paper's errors beside the run's, or those of the program that this one grew from. ImageNet only;
            for another run the page says that there is nothing to compare with.
        out: the page that compares two or more runs. None writes comparison.html beside the first run's directory.
        serve: show the report of one run under an address of this machine, that only this machine reaches, and refresh it by
            itself while the run goes on, until Ctrl-C. Writes nothing.
        port: for --serve. None takes a free one.
    """
    if not runs:
        raise ValueError("report needs a run directory: trainability report RUN [RUN ...]")
    if serve:
        return _serve(runs, port)
    if port is not None:
        raise ValueError(f"--port {port} is for --serve: trainability report RUN --serve --port {port}")
    if out is not None and len(runs) < 2:
        raise ValueError("--out names the page that compares runs; give two or more of them")
    from trainability.report.html import write_report

    for run in runs:
        print(write_report(run, against=against))
    if len(runs) > 1:
        from trainability.report.compare import write_comparison

        print(write_comparison(runs, out=out, against=against))
    return 0


def _serve(runs: tuple[Path, ...], port: int | None) -> int:
    """Serve the report of one run until Ctrl-C."""
    if len(runs) != 1:
        raise ValueError(f"--serve shows one run, and got {len(runs)}: {', '.join(map(str, runs))}")
    try:
        from trainability.report.serve import serve_report

        serve_report(runs[0], port=port)
    except KeyboardInterrupt:
        pass
    return 0


def check(
    config: Annotated[RunConfig, arg(name="")],
    target: Annotated[Positional[str | None], arg(metavar="[MODULE:FUNCTION]")] = None,
    *,
    recipe: Path | None = None,
    json: bool = False,
) -> int:
    """Say in seconds whether a training will work, before it is begun, and what to change.

    Looks at one forward and backward pass, the training and validation images, and the metric. Writes nothing.

    Exit code: 0 nothing worse than a hint, 1 something to change, 2 a value that cannot be used.

    Args:
        config: the run, with the flags of train.
        target: MODULE:FUNCTION, a function of your own that returns a trainability.Setup; then the other flags do
            not count.
        recipe: TOML file with the same names, as for train.
        json: print JSON instead, with everything that was measured.
    """
    from trainability.checking.setup import check_config, check_setup, load_setup

    if target is not None and (recipe is not None or config != RunConfig()):
        raise ValueError(f"check {target} looks at what your function returns; flags of train and --recipe do not go with it")
    diagnosis = check_config(config.completed()) if target is None else check_setup(load_setup(target))
    return _show(diagnosis, as_json=json)


def diagnose(run: Positional[Path], *, json: bool = False) -> int:
    """Say what a run suffers from and what to change, from what it wrote; also of one under way or killed.

    Exit code: 0 nothing worse than a hint, 1 something to change, 2 no run that can be read.

    Args:
        run: run directory.
        json: print JSON instead, with everything that was measured.
    """
    from trainability.training.run_monitor import diagnose_run

    return _show(diagnose_run(run), as_json=json)


def watch(run: Positional[Path], *, every: float = 2, once: bool = False) -> int:
    """Show a run in progress: curves, layers, findings, verdict. Of a run on a shared disk too; it is only read.

    In a terminal the whole screen, elsewhere a line per epoch and finding. Ends with the run; Ctrl-C ends the watching only.

    Exit code: 0 the run has ended, or Ctrl-C; 2 no run that can be read.

    Args:
        run: run directory.
        every: seconds between two looks.
        once: draw the run as it is now, and exit; also of one that has ended.
    """
    try:
        from trainability.watch.screen import watch_run

        watch_run(run, every=every, once=once)
    except KeyboardInterrupt:
        pass
    return 0


def _show(diagnosis: Diagnosis, *, as_json: bool) -> int:
    """Print a diagnosis; the exit code says whether it is worse than a hint."""
    if as_json:
        print(json_module.dumps(diagnosis.to_dict(), indent=2, allow_nan=False))
    else:
        from rich.console import Console

        from trainability.terminal.diagnosis import print_diagnosis

        print_diagnosis(Console(), diagnosis)
    return FAILED if diagnosis.worse_than_hint else 0


_NO_DATA = DataConfig()


def evaluate(
    runs: Positional[tuple[Path, ...]] = (),
    *,
    protocol: str = "dense",
    scales: str | None = None,
    flip: bool | None = None,
    against: Literal["paper", "seed"] | None = None,
    weights: Path | None = None,
    weights_input: Literal["torchvision", "caffe"] = "torchvision",
    step: int | None = None,
    batch_size: int = 64,
    data: DataConfig = _NO_DATA,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    precision: Literal["fp32", "bf16"] = "fp32",
    json: bool = False,
) -> int:
    """Ask a trained network, or several as an ensemble, about the whole validation set, by the paper's protocols.

    centre: one crop. ten-crop: four corners and the centre, and their mirror images. dense: the network over the whole
    image, its class map averaged, and the mirror image. multi-crop: 50 crops per scale. Joined with "+", as in
    dense+multi-crop. Softmax is averaged over crops, scales, mirror images and runs.

    Args:
        runs: run directories; of several the answers are averaged.
        protocol: centre, ten-crop, dense or multi-crop, or several joined by "+".
        scales: smaller sides of the test images in pixels, as in 224,256,288. None takes the run's own size.
        flip: mirror images too, where the protocol has them. None does as the run was trained.
        against: print the paper's errors beside (and what else was published), or those of the program that this one
            grew from, after 10 epochs. ImageNet only.
        weights: published weights (.pth or .safetensors) in place of a run; data.* then names the images.
        weights_input: how the published network wants its input: RGB in [0, 1] standardised, or BGR with the mean subtracted.
        step: which checkpoint. None takes the newest.
        batch_size: most views in one forward pass.
        data: the images, for published weights.
        device: auto takes the GPU where there is one.
        precision: bf16 asks in bfloat16.
        json: print JSON in place of tables.
    """
    from trainability.cli.commands import evaluate_networks

    return evaluate_networks(
        runs,
        protocol=protocol,
        scales=scales,
        flip=flip,
        against=against,
        weights=weights,
        weights_input=weights_input,
        step=step,
        batch_size=batch_size,
        data=data,
        settings=RunSettings(device=device, precision=precision),
        as_json=json,
    )


def errors(run: Positional[Path], *, num_classes: int = 10, num_pairs: int = 10, num_images: int = 5) -> int:
    """Say where a run is wrong: per class, who is taken for whom, whether the answers have collapsed, the worst images.

    Args:
        run: run directory; its answers were kept when it ended, or when it was last evaluated.
        num_classes: classes to list, those with the highest error.
        num_pairs: confused pairs to list.
        num_images: wrong images to list.
    """
    from trainability.cli.commands import print_errors

    return print_errors(run, num_classes=num_classes, num_pairs=num_pairs, num_images=num_images)


def pack(data: Annotated[DataConfig, arg(name="data")], *, processes: int | None = None) -> int:
    """Rescale every image of a data set once, so that its smaller side is data.size, and store them to be read fast.

    An interrupted packing goes on where it was; a finished one is verified by its checksums. Broken images are listed and
    left out; more than 1 % of them stops.

    Args:
        data: the data set.
        processes: that decode. None takes one per core.
    """
    from trainability.cli.commands import pack_data

    return pack_data(RunConfig(data=data).completed().data, processes=processes)


def trials() -> int:
    """The log's book: thirty-odd trials of training VGG from scratch, most of them failures, each re-run by one command.

    trials list shows them, trials run makes their runs, trials report judges what was made.
    """
    raise AssertionError("parsed by its own commands")


def list_trials() -> int:
    """Show every trial: its chapter, the data it stands for, what its runs cost, and what the log says happened."""
    from trainability.cli.trials import print_book

    print_book()
    return 0


def run_trials(
    names: Annotated[Positional[tuple[str, ...]], arg(metavar="ID|CHAPTER|all")],
    *,
    scale: Literal["pocket", "desk", "real", "full"] | None = None,
    as_run: bool = False,
    as_told: bool = False,
    repaired: bool = False,
    data_root: Path | None = None,
    data_path: tuple[str, ...] = (),
    dir: Path = BOOK_FOLDER,
    processes: int | None = None,
    keep_weights: bool = False,
) -> int:
    """Make the runs of trials and judge them: is it as the log saw it, and does the log's explanation hold.

    What is there already is not made again; a run that was broken off goes on where it was.

    Args:
        names: trials or chapters, as trials list shows them, or all.
        scale: pocket: minutes on two cores, 32 pixels, stand-ins for the data. desk: the real MNIST and CIFAR-10 on two
            cores, 32 pixels, a quarter of the width. real: the real sets, 32 pixels, the paper's width. full: as the log,
            224 pixels. None takes pocket, and desk too for the sets that --data-root has.
        as_run: only what the log's code ran, with its bugs.
        as_told: only what its text names where that is something else.
        repaired: only what was run, without the bugs. None of these makes all; several may be given.
        data_root: folder that holds mnist, cifar10, imagenet-1000, caltech256 and so on, as far as it does. With photographs
            (imagenet-1000 or imagenet) starts are probed on those, too.
        data_path: NAME=PATH of sets that lie elsewhere. Sets that have no place come from the Hub.
        dir: where the runs are kept.
        processes: runs side by side, each on one core. None takes one per core, or one on a GPU.
        keep_weights: keep the checkpoints of every run: gigabytes.
    """
    from trainability.cli.trials import replay_book
    from trainability.trials.trial import VARIANTS

    if not names:
        raise ValueError("trials run needs trials or chapters, or all; trainability trials list shows them")
    wanted = {"as-run": as_run, "as-told": as_told, "repaired": repaired}
    return replay_book(
        names,
        scale=scale,
        variants=[variant for variant in VARIANTS if wanted[variant] or not any(wanted.values())],
        data_root=data_root,
        data_paths=data_path,
        root=dir,
        num_processes=processes,
        keep_weights=keep_weights,
    )


def report_trials(
    names: Annotated[Positional[tuple[str, ...]], arg(metavar="[ID|CHAPTER|all]")] = ("all",),
    *,
    scale: Literal["pocket", "desk", "real", "full"] = "pocket",
    dir: Path = BOOK_FOLDER,
    out: Path | None = None,
    markdown: Path | None = None,
) -> int:
    """Write the book's page: every trial in the log's order, what the log says beside what was measured, with its pictures.

    One file that works offline, from the runs that are there; trials without runs are listed with the command that makes them.

    Args:
        names: trials or chapters, as trials list shows them, or all.
        scale: of the runs; pocket shows what was run at desk scale beside it.
        dir: where the runs are.
        out: the page. None puts book.html beside the runs.
        markdown: write the table and the reasons as a page of documentation, too.
    """
    from trainability.trials.book import select

    select(names)  # imports no torch: a name that is none is refused at once
    from trainability.trials.report.page import write_book

    written = write_book(names, scale=scale, root=dir, standard=BOOK_FOLDER, out=out, markdown_path=markdown)
    for line in written.problems:
        print(f"not read: {line}", file=sys.stderr)
    print(f"{written.num_made} of {written.num_trials} trials have runs")
    print(written.counted)
    for path in written.paths:
        print(path)
    return 0


TRIALS_COMMANDS: dict[str, Callable[..., int]] = {"list": list_trials, "run": run_trials, "report": report_trials}

COMMANDS: dict[str, Callable[..., int]] = {
    "train": train,
    "check": check,
    "diagnose": diagnose,
    "watch": watch,
    "evaluate": evaluate,
    "errors": errors,
    "report": report,
    "pack": pack,
    "trials": trials,
}


def _run(config: RunConfig, resume: Path | None, engine: Engine, display: TerminalDisplay) -> tuple[Record, Outcome]:
    """Train, and let go of the network before the processes part."""
    from trainability import faults
    from trainability.training.loop import fit
    from trainability.training.parts import assemble

    # Whatever cannot be run is found here, before a run directory exists.
    parts = faults.install(assemble(config, engine), config)
    record = _open_run(config, resume, engine)
    try:
        return record, fit(config, parts, record, engine=engine, display=display)
    finally:
        display.close()


def _open_run(config: RunConfig, resume: Path | None, engine: Engine) -> Record:
    """Make the run directory, or open the one to resume; the main process does, the others learn which it is.

    Raises:
        ValueError: it cannot be used; in every process.
    """
    from trainability.training.record import Record, next_folder

    if resume is not None:
        if engine.is_main:
            Record(resume).write_config(config)  # with the larger number of epochs, if that was asked for
        return Record(resume)
    folder = problem = None
    if engine.is_main:
        try:
            folder = config.run.dir or next_folder(config)
            Record.create(folder, config)
        except ValueError as error:
            problem = str(error)
    (folder, problem) = engine.gathered((folder, problem))[0]
    if problem:
        raise ValueError(problem)
    return Record(folder)


# What may differ when a run is continued: it says where and how, and does not change the result.
_FREE = {"run.dir", "run.device", "run.compile", "run.deterministic", "run.sinks", "run.log-every-steps"}
_FREE |= {"run.checkpoint-every-steps", "data.workers", "data.cache", "data.resident-gib"}
_FREE |= {"run.check", "run.monitor-every-steps", "run.stop-on", "run.period"}


def _check_resumed(folder: Path, config: RunConfig) -> None:
    """Refuse to continue a run under another configuration. More epochs are welcome where the schedule does not end with them.

    Raises:
        ValueError: the first field that differs, with both values.
    """
    stored = configuration.from_toml(folder / "config.toml").completed()
    if config.optim.epochs > stored.optim.epochs and stored.optim.schedule != "cosine":
        stored = dataclasses.replace(stored, optim=dataclasses.replace(stored.optim, epochs=config.optim.epochs))
    changed = [line for line in configuration.differences(stored, config) if line.split()[0] not in _FREE]
    if changed:
        raise ValueError(f"--resume {folder}: {changed[0]}; a run continues with its own configuration")


def _expand(arguments: list[str]) -> list[str]:
    """Put the flags of `--resume` and `--recipe` before the user's own."""
    if not arguments or arguments[0] not in ("train", "check"):
        return arguments
    expanded: list[str] = []
    resume = _value_of("--resume", arguments) if arguments[0] == "train" else None
    if resume is not None:
        if not (Path(resume) / "config.toml").is_file():
            raise ValueError(f"--resume {resume}: not a run directory, it has no config.toml")
        expanded += configuration.recipe_flags(Path(resume) / "config.toml")
    recipe = _value_of("--recipe", arguments)
    if recipe is not None:
        expanded += configuration.recipe_flags(Path(recipe))
    return [arguments[0], *expanded, *arguments[1:]]


def _value_of(flag: str, arguments: list[str]) -> str | None:
    for place, argument in enumerate(arguments):
        if argument == flag and place + 1 < len(arguments):
            return arguments[place + 1]
        if argument.startswith(f"{flag}="):
            return argument.removeprefix(f"{flag}=")
    return None


def _deferred(command: Callable[..., int]) -> Callable[..., Callable[[], int]]:
    """Give tyro a function of the same flags and help that only remembers what it was called with."""

    @functools.wraps(command)
    def remember(*positional: Any, **named: Any) -> Callable[[], int]:
        return functools.partial(command, *positional, **named)

    return remember


def _parse(arguments: list[str]) -> Callable[[], int]:
    """Parse a command line into a call.

    Raises:
        ValueError: it cannot be parsed; one line.
    """
    said = io.StringIO()
    commands, program = COMMANDS, "trainability"
    description = "Train very deep convolutional networks from scratch, and learn why one will not train."
    if arguments[0] == "trials":
        commands, program, description = TRIALS_COMMANDS, "trainability trials", trials.__doc__ or ""
        arguments = arguments[1:] or ["--help"]
    if "-h" in arguments or "--help" in arguments:
        _describe_fields()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.extras.subcommand_cli_from_dict(
                {name: _deferred(command) for name, command in commands.items()},
                prog=program,
                description=description,
                args=arguments,
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
    raise ValueError(_one_line(said.getvalue(), arguments, program, commands))


def _describe_fields() -> None:
    """Give tyro the docstring under each field as one paragraph; left to itself, it keeps the line breaks of our source."""
    for section in configuration.SECTIONS.values():
        (described,) = ast.parse(inspect.getsource(section)).body
        assert isinstance(described, ast.ClassDef)
        fields = {field.name: field for field in dataclasses.fields(section)}
        for statement, below in itertools.pairwise(described.body):
            match statement, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    fields[name].metadata = MappingProxyType({"help": " ".join(text.split())})


_BRACES = str.maketrans("", "", "{}")


def _one_line(box: str, arguments: list[str], program: str, commands: Collection[str]) -> str:
    """Say what tyro's box of an error says, in one line."""
    known = [f"--{section}.{flag}" for section, flags in configuration.field_flags().items() for flag in flags]
    # A title, what went wrong, and what could help, with rulers between; drawn in ASCII where the terminal is not UTF-8.
    lines = [line.strip("│╭╮╰╯─- ") for line in box.splitlines()]
    said = list(itertools.dropwhile(lambda line: not line, lines[1:]))
    text = " ".join(" ".join(itertools.takewhile(bool, said)).split())
    if match := re.match(r"Unrecognized (?:or misplaced )?options: ([^ ,]+)", text):
        name = next(argument for argument in arguments if argument.lstrip("-") == match[1].lstrip("-"))
        if name.startswith("-"):
            near = nearest(name, [*known, "--recipe", "--resume"])
            near = near if "did you mean" in near else f"; {program} {arguments[0]} --help lists them"
            return f"unknown option {name}{near}"
        return f"unknown command or value {name!r}; commands are {', '.join(commands)}"
    if match := re.match(r"Error parsing (--\S+): no type matching (.+?) could be instantiated from \[(.*?)\]", text):
        return f"{match[1].lstrip('-')} is {match[3]}; accepted: {match[2].replace('|', ' or ').translate(_BRACES)}"
    if match := re.match(r"Error parsing --(\S+): could not convert string to float: (.*)", text):
        return f"{match[1]} is {match[2]}; accepted: a number"
    if match := re.match(r"Error parsing --(\S+): invalid literal for int\(\) with base 10: (.*)", text):
        return f"{match[1]} is {match[2]}; accepted: a whole number"
    text = re.sub(r"^Error parsing __\S+: ", "", text)
    text = re.sub(r"^Error parsing (--\S+): ", r"\1: ", text)
    if match := re.match(r"invalid choice (.*) for argument '--(.*)'\. Expected one of \((.*)\)", text):
        return f"{match[2]} is {match[1]}; accepted: {match[3].replace(chr(39), '')}"
    return text.rstrip(".") or f"cannot read the command line {' '.join(arguments)!r}"


# A disk that is full, over its quota, read-only or broken is nobody's bug.
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with its code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    # Threads of torch's OpenMP wait for each other in a busy loop. On a machine that others use too, one that lost its core is
    # waited for at full speed for milliseconds, thousands of times a second: up to ten times slower. This ends the busy wait
    # after some microseconds; on an idle machine it costs a few percent. Read when torch is loaded; the user's own word counts.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    try:
        code = _parse(_expand(arguments or ["--help"]))()
    except ValueError as error:
        if os.environ.get("RANK", "0") == "0":
            print(f"trainability: {error}", file=sys.stderr)
        code = USER_ERROR
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        print(
            f"trainability: {error.strerror}; what was written before is whole, --resume and pack go on there", file=sys.stderr
        )
        code = FAILED
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)
