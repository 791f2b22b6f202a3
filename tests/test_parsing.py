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
    ("line", "named"),
    [
        # One of each of tyro's events.
        ("train --fast", ["--fast", "train --help"]),
        ("train --optim.lrr 1", ["--optim.lrr", "--optim.lr?"]),
        ("train --optim.lrr=1", ["--optim.lrr", "--optim.lr?"]),
        ("evaluate run --protocl dense", ["--protocl", "--protocol?"]),
        ("train --model.config F", ["model.config", "'F'", "A, A-LRN, B, C, D, E"]),
        ("train --optim.lr fast", ["optim.lr", "'fast'", "number"]),
        ("train --optim.lr=fast", ["optim.lr", "'fast'", "number"]),
        ("train --optim.lr 1 --optim.lr x", ["optim.lr", "'x'", "number"]),
        ("train --optim.epochs 1.5", ["optim.epochs", "'1.5'", "whole number"]),
        ("run --steps x script.py", ["steps", "'x'", "whole number"]),
        ("train --optim.lr", ["--optim.lr", "number"]),
        ("train --data.jitter 256", ["data.jitter", "'256'", "accepted: two whole numbers"]),
        ("diagnose", ["diagnose", "RUN", "diagnose --help"]),
        ("run --wat reg.py", ["unknown option --wat"]),
        ("run --stesp 5 reg.py", ["--stesp", "--steps?"]),
        ("run", ["needs SCRIPT"]),
        # Values where no value belongs.
        ("trials list a,b", ["trials list", "'a,b'", "trials list --help"]),
        ("train 64,,32", ["'64,,32'", "train --help"]),
        # Commands.
        ("--recipe x", ["--recipe", "command"]),
        ("trials lst", ["lst", "list?", "list, run, report"]),
        ("diagnos run", ["diagnos;", "diagnose?", "train, check"]),
        ("64,,32", ["64,,32", "train, check"]),
        # Switches.
        ("train --optim.nesterov=maybe", ["optim.nesterov", "'maybe'", "true, false"]),
        ("report run --serve=2", ["serve", "'2'", "true, false"]),
        # Whole numbers that are no numbers to a computer.
        (f"train --optim.batch-size {'9' * 400}", ["optim.batch-size", "400 digits"]),
    ],
)
def test_a_mistake_is_one_line_that_names_it_and_what_is_accepted(line: str, named: list[str]) -> None:
    said = mistake(*line.split())
    assert all(word in said for word in named), said


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("confirm my:setup --steps 0", ["--steps is 0", "20"]),
        ("confirm my:setup --seconds 0", ["--seconds is 0"]),
        ("map --runs -3", ["runs is -3", "at least 0"]),
        ("train --optim.epochs 0", ["optim.epochs is 0", "at least 1"]),
        ("check my/training.py:setup", ["my.training:setup?"]),
    ],
)
def test_a_number_out_of_range_is_named_alone(line: str, named: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(line.split())
    said = capsys.readouterr().err
    assert (stop.value.code, said.count("\n")) == (2, 1)
    assert all(word in said for word in named), said
    assert "e+18" not in said


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
