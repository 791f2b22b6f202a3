"""Every kind of mistake on a command line is one line that says what is accepted, whatever tyro is installed."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import pytest

from trainability.cli import program as cli
from trainability.config import OptimConfig


def mistake(*arguments: str) -> str:
    with pytest.raises(ValueError) as caught:
        cli._parse(cli._expand(list(arguments)))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def parsed(*arguments: str) -> functools.partial[int]:
    call = cli._parse(cli._expand(list(arguments)))
    assert isinstance(call, functools.partial)
    return call


@pytest.mark.parametrize(
    ("line", "message"),
    [
        # One of each of tyro's events.
        ("train --fast", "unknown option --fast; trainability train --help lists them"),
        ("train --optim.lrr 1", "unknown option --optim.lrr; did you mean --optim.lr?"),
        ("train --optim.lrr=1", "unknown option --optim.lrr; did you mean --optim.lr?"),
        ("evaluate run --protocl dense", "unknown option --protocl; did you mean --protocol?"),
        ("train --model.config F", "model.config is 'F'; accepted: A, A-LRN, B, C, D, E"),
        ("train --optim.lr fast", "optim.lr is 'fast'; accepted: a number"),
        ("train --optim.lr=fast", "optim.lr is 'fast'; accepted: a number"),
        ("train --optim.lr 1 --optim.lr x", "optim.lr is 'x'; accepted: a number"),
        ("train --optim.epochs 1.5", "optim.epochs is '1.5'; accepted: a whole number"),
        ("train --optim.lr", "--optim.lr needs a value; accepted: a number"),
        ("train --data.jitter 256", "data.jitter is '256'; accepted: None or INT INT"),
        ("diagnose", "trainability diagnose needs RUN; trainability diagnose --help shows how"),
        # Values where no value belongs.
        (
            "trials list a,b",
            "trainability trials list takes no value 'a,b'; trainability trials list --help shows what it takes",
        ),
        ("train 64,,32", "trainability train takes no value '64,,32'; trainability train --help shows what it takes"),
        # Commands.
        ("--recipe x", "unknown option --recipe; a command comes first: "),
        ("trials lst", "unknown command lst; did you mean list? commands are list, run, report"),
        ("diagnos run", "unknown command diagnos; did you mean diagnose? commands are train, check, diagnose"),
        ("64,,32", "unknown command 64,,32; commands are train, check, diagnose"),
        # Switches.
        ("train --optim.nesterov=maybe", "optim.nesterov is 'maybe'; accepted: true, false"),
        ("report run --serve=2", "serve is '2'; accepted: true, false"),
        # Whole numbers that are no numbers to a computer.
        (f"train --optim.batch-size {'9' * 400}", "optim.batch-size is a whole number of 400 digits"),
    ],
)
def test_a_mistake_is_one_line(line: str, message: str) -> None:
    assert mistake(*line.split()).startswith(message)


SWITCHES = ["--optim.nesterov", "--optim.nesterov=true", "--optim.nesterov=True", "--optim.nesterov true"]
SWITCHES += ["--optim.no-nesterov --optim.nesterov=true"]


@pytest.mark.parametrize("flags", SWITCHES)
def test_a_switch_may_be_written_with_a_value(flags: str) -> None:
    assert parsed("train", *flags.split()).keywords["config"].optim == OptimConfig(nesterov=True)


def test_a_switch_that_is_turned_off_and_one_that_has_a_third_state() -> None:
    config = parsed("train", "--optim.nesterov=false", "--run.compile", "false", "--data.flip=true").keywords["config"]
    assert (config.optim.nesterov, config.run.compile, config.data.flip) == (False, False, True)
    assert parsed("train", "--data.flip", "false").keywords["config"].data.flip is False
    assert parsed("train", "--data.flip", "None").keywords["config"].data.flip is None


def test_a_switch_of_a_command_leaves_what_follows_alone() -> None:
    call = parsed("report", "--serve", "true")
    assert call.keywords["serve"] is True
    assert call.keywords["runs"] == (Path("true"),)
    assert parsed("report", "run", "--serve=false").keywords["serve"] is False


@pytest.mark.parametrize("arguments", [["trials", "list"], ["check", "--help"], ["trials", "run", "--help"]])
def test_what_needs_no_network_imports_no_torch(arguments: list[str]) -> None:
    script = f"import sys; from trainability.cli import program\ntry: program.main({arguments!r})\n"
    script += "except SystemExit as stop: assert not stop.code\n"
    script += "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
