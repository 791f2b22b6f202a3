"""The command line: its commands by name, and `main`, which runs one and exits with its code.

Flags are the fields of `config.RunConfig`, with their docstrings as help. A recipe, or the configuration of a run to resume, is
expanded into flags that come before the user's own, so that the user's flags override them and every value passes the same
checks. torch is imported inside the commands, so that `--help` prints at once.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from trainability import config as configuration
from trainability.cli.check import check, diagnose
from trainability.cli.confirm import confirm
from trainability.cli.cost import cost
from trainability.cli.evaluate import errors, evaluate
from trainability.cli.exit_codes import FAILED, INTERRUPTED, USER_ERROR
from trainability.cli.explain import explain
from trainability.cli.map import map_command
from trainability.cli.pack import pack
from trainability.cli.parsing import Command, parse, print_completion, value_of
from trainability.cli.plan import plan
from trainability.cli.report import report, watch
from trainability.cli.run import run, with_one_command
from trainability.cli.runs import runs
from trainability.cli.train import train
from trainability.cli.trials import list_trials, report_trials, run_trials
from trainability.extras import MissingExtra


def trials() -> int:
    """Re-run the book of trials: VGG as a public log trained it. More than thirty runs, most of them failures.

    trials list shows them, trials run makes their runs, trials report writes the book from these runs.
    """
    raise AssertionError("parsed by its own commands")


def completion(shell: Positional[Literal["bash", "zsh"]]) -> int:
    """Print a script that completes commands and flags in bash or zsh.

    bash: source <(trainability completion bash), in ~/.bashrc. zsh: trainability completion zsh > _trainability, in a folder
    of $fpath.

    Args:
        shell: the shell that will read the script.
    """
    print_completion(shell, COMMANDS, program="trainability")
    return 0


TRIALS_COMMANDS: dict[str, Command] = {"list": list_trials, "run": run_trials, "report": report_trials}

COMMANDS: dict[str, Command] = {
    "train": train,
    "check": check,
    "confirm": confirm,
    "run": run,
    "diagnose": diagnose,
    "plan": plan,
    "map": map_command,
    "cost": cost,
    "explain": explain,
    "watch": watch,
    "runs": runs,
    "evaluate": evaluate,
    "errors": errors,
    "report": report,
    "pack": pack,
    "trials": trials,
    "completion": completion,
}


def _expand(arguments: list[str]) -> list[str]:
    """Put the flags of `--resume` and `--recipe` before the user's own, and join a script with its own arguments."""
    if arguments and arguments[0] == "run":
        return with_one_command(arguments)
    if not arguments or arguments[0] not in ("train", "check", "confirm", "plan", "map", "cost"):
        return arguments
    expanded: list[str] = []
    resume = value_of("--resume", arguments) if arguments[0] == "train" else None
    if resume is not None:
        from trainability.training.run_list import find_run

        config = find_run(resume) / "config.toml"
        if not config.is_file():
            raise ValueError(f"--resume {resume}: it is the run of another training loop, which train cannot continue")
        expanded += configuration.recipe_flags(config)
    recipe = value_of("--recipe", arguments)
    if recipe is not None:
        expanded += configuration.recipe_flags(Path(recipe))
    return [arguments[0], *expanded, *arguments[1:]]


def _parse(arguments: list[str]) -> Callable[[], int]:
    """Parse a command line, including recipe and resumed run, into a call.

    Raises:
        ValueError: it cannot be parsed; one line.
    """
    if arguments == ["--version"]:
        return _print_version
    if arguments[0] == "trials":
        return parse(
            arguments[1:] or ["--help"],
            TRIALS_COMMANDS,
            program="trainability trials",
            description=trials.__doc__ or "",
        )
    return parse(
        arguments,
        COMMANDS,
        program="trainability",
        description="Train very deep convolutional networks from scratch, and find out why one does not train.",
    )


def _print_version() -> int:
    from importlib import metadata

    print(f"trainability {metadata.version('trainability')}")
    return 0


# A disk that is full, over its quota, read-only or broken is not a bug.
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
_CLOSED_PIPE = 128 + signal.SIGPIPE
_PATIENCE = 20  # seconds that another process than the first leaves it to say what is wrong


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with its code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    # torch's OpenMP threads wait for each other in a busy loop. On a shared machine, a thread may lose its core while the
    # others spin for milliseconds, thousands of times a second: up to ten times slower. This setting ends the busy wait after
    # some microseconds; on an idle machine it costs a few percent. torch reads it when it is loaded; the user's value is kept.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    try:
        code = _code_of(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of the output has closed the pipe, as `head` does. Python would report this again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = _CLOSED_PIPE
    sys.exit(code)


def _code_of(arguments: list[str]) -> int:
    """Run a command; an error that is not a bug becomes one line and an exit code."""
    try:
        return _parse(_expand(arguments or ["--help"]))()
    except (ValueError, MissingExtra) as error:
        _say(str(error))
        return USER_ERROR
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f"{_text(error.filename)}: " if error.filename is not None else ""
        go_on = "; earlier files are complete; train --resume and pack continue from them"
        _say(f"{where}{error.strerror or error}{go_on if error.errno in _DISK_ERRORS else ''}")
        return FAILED if error.errno is None or error.errno in _DISK_ERRORS else USER_ERROR
    except (MemoryError, RuntimeError) as error:
        if type(error).__name__ == "ProcessLost":  # by its name, since its module imports torch
            _say(str(error), everywhere=True)
            return FAILED
        if not isinstance(error, MemoryError) and not _is_out_of_memory(error):
            raise
        _say("out of memory; a smaller --optim.micro-batch-size, --data.crop or --model.width needs less")
        return FAILED
    except KeyboardInterrupt as error:
        if _is_first():  # the others were interrupted with it
            _say(f"interrupted{error}")
        return INTERRUPTED
    except SystemExit as stop:  # help was requested and printed
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else FAILED


def _say(message: str, *, everywhere: bool = False) -> None:
    """Print a line; with several processes, only in the first one, or in one that the first one leaves to itself."""
    if not (everywhere or _is_first()):
        # A launcher stops all processes when one of them ends. If this one ended now, the first one might be stopped before it
        # has said what is wrong; if it is still running after a while, then what is wrong is wrong here alone.
        time.sleep(_PATIENCE)
    print(f"trainability: {configuration.one_line(message)}", file=sys.stderr)


def _is_first() -> bool:
    """Whether this is the only process, or the first of several."""
    return os.environ.get("RANK", "0") == "0"


def _text(name: object) -> str:
    return os.fsdecode(name) if isinstance(name, (str, bytes)) else str(name)


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch could not allocate memory; torch has a type for this error only on GPUs."""
    return type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
