"""The command line: its commands by name, and `main`, which runs one and exits with its code.

Flags are the fields of `config.RunConfig`, with their docstrings as help. A recipe, or the configuration of a run to resume, is
expanded into flags that come before the user's own, so that the user's flags override them and every value passes the same
checks. torch is imported inside the commands, so that `--help` prints at once.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

from trainability import config as configuration
from trainability.cli.check import check, diagnose
from trainability.cli.evaluate import errors, evaluate
from trainability.cli.exit_codes import FAILED, INTERRUPTED, USER_ERROR
from trainability.cli.explain import explain
from trainability.cli.pack import pack
from trainability.cli.parsing import Command, parse, value_of
from trainability.cli.report import report, watch
from trainability.cli.train import train
from trainability.cli.trials import list_trials, report_trials, run_trials
from trainability.extras import MissingExtra


def trials() -> int:
    """The book of trials: more than thirty trials of training VGG from scratch that a public training log reports, most of
    them failures, each re-run by one command.

    trials list shows them, trials run makes their runs, trials report writes the book from these runs.
    """
    raise AssertionError("parsed by its own commands")


TRIALS_COMMANDS: dict[str, Command] = {"list": list_trials, "run": run_trials, "report": report_trials}

COMMANDS: dict[str, Command] = {
    "train": train,
    "check": check,
    "diagnose": diagnose,
    "explain": explain,
    "watch": watch,
    "evaluate": evaluate,
    "errors": errors,
    "report": report,
    "pack": pack,
    "trials": trials,
}


def _expand(arguments: list[str]) -> list[str]:
    """Put the flags of `--resume` and `--recipe` before the user's own."""
    if not arguments or arguments[0] not in ("train", "check"):
        return arguments
    expanded: list[str] = []
    resume = value_of("--resume", arguments) if arguments[0] == "train" else None
    if resume is not None:
        if not (Path(resume) / "config.toml").is_file():
            raise ValueError(f"--resume {resume}: not a run directory, it has no config.toml")
        expanded += configuration.recipe_flags(Path(resume) / "config.toml")
    recipe = value_of("--recipe", arguments)
    if recipe is not None:
        expanded += configuration.recipe_flags(Path(recipe))
    return [arguments[0], *expanded, *arguments[1:]]


def _parse(arguments: list[str]) -> Callable[[], int]:
    """Parse a command line, including recipe and resumed run, into a call.

    Raises:
        ValueError: it cannot be parsed; one line.
    """
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


# A disk that is full, over its quota, read-only or broken is not a bug.
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with its code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    # torch's OpenMP threads wait for each other in a busy loop. On a shared machine, a thread may lose its core while the
    # others spin for milliseconds, thousands of times a second: up to ten times slower. This setting ends the busy wait after
    # some microseconds; on an idle machine it costs a few percent. torch reads it when it is loaded; the user's value is kept.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    try:
        code = _parse(_expand(arguments or ["--help"]))()
    except (ValueError, MissingExtra) as error:
        if os.environ.get("RANK", "0") == "0":
            print(f"trainability: {configuration.one_line(error)}", file=sys.stderr)
        code = USER_ERROR
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        print(
            f"trainability: {error.strerror}; earlier files are complete; train --resume and pack continue from them",
            file=sys.stderr,
        )
        code = FAILED
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)
