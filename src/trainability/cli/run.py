"""`trainability run`: run an unmodified training script, and watch it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from trainability.config import nearest

_WITH_VALUE, _SWITCHES, _HELP = ("--every", "--steps", "--dir"), ("--check", "--no-check"), ("-h", "--help")


def run(
    command: Annotated[Positional[str], arg(name="script", metavar="SCRIPT|-m MODULE [ARGUMENT ...]")],
    *,
    every: int = 50,
    steps: int | None = None,
    check: bool = False,
    dir: Path | None = None,
) -> int:
    """Run a training script unmodified and watch what it trains.

    Prints findings as they appear, and writes a run directory.

    Everything after SCRIPT or MODULE belongs to it. Its output, exit code and weights do not change; the doctor's output
    goes to standard error. Works on plain loops, GANs, and Trainers of Lightning and Transformers.

    Exit code: the script's; with --check, where that is 0: 0 no finding worse than a hint, 1 something to change, 2 no training
    was found, or its optimizer has a number with which no step can be made.

    Args:
        command: a Python file and its arguments; or -m, a module that is run as python -m runs it, and its arguments.
        every: number of optimizer steps between samples of the layers.
        steps: stop the script after this many optimizer steps.
        check: stop after the first 100 steps (or --steps) with the verdict, and write no run directory.
        dir: run directory. None takes the next free runs/SCRIPT-NNN.
    """
    from trainability.loops.program import Program
    from trainability.loops.script import run_script

    name, *arguments = shlex.split(command)
    if is_module := name == "-m":
        name, *arguments = arguments or [""]
    if is_module and not name:
        raise ValueError("-m needs a module, as in trainability run -m package.train")
    program = Program(name, is_module=is_module)
    return run_script(program, arguments, every=every, steps=steps, is_check=check, folder=dir)


def with_one_command(arguments: list[str]) -> list[str]:
    """Join the script, or -m and a module, and the arguments into one word, whose flags are not parsed as flags of `run`.

    Args:
        arguments: begins with "run".

    Raises:
        ValueError: an option before the script is unknown.
    """
    place = 1
    while place < len(arguments) and arguments[place].startswith("-"):
        flag = arguments[place].partition("=")[0]
        if flag in _HELP:
            return arguments
        if flag == "-m":
            break
        if flag not in (*_WITH_VALUE, *_SWITCHES):
            raise ValueError(f"unknown option {flag}{nearest(flag, [*_WITH_VALUE, _SWITCHES[0]])}")
        place += 2 if arguments[place] in _WITH_VALUE else 1
    # The space keeps a word that begins with -m from being taken for a flag.
    return [*arguments[:place], f" {shlex.join(arguments[place:])}"] if place < len(arguments) else arguments
