"""The command line as a stranger meets it: help, two commands, and every mistake in one line."""

import errno
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import config_of, flags_of, hear_ctrl_c

from trainability.cli import parsing
from trainability.cli import program as cli
from trainability.training.record import read_run

SMALL_FLAGS = flags_of(config_of(optim__epochs=1))


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Call the command line in this process; return the one line that it says to a mistake."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> str:
        with pytest.raises(SystemExit) as stop:
            cli.main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        assert stop.value.code == 2, said
        assert said.out == ""
        assert said.err.startswith("trainability: ")
        assert said.err.count("\n") == 1
        return said.err

    return call


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--model.config", "F"], ["model.config", "'F'", "A, A-LRN, B, C, D, E"]),
        (["--model.width", "wide"], ["model.width", "'wide'", "a number"]),
        (["--model.width", "0"], ["model.width is 0", "above 0"]),
        (["--model.dropout", "1"], ["model.dropout is 1", "below 1"]),
        (["--init.plan", "xavier:3,he:3"], ["6", "13"]),
        (["--init.plan", "kaiming"], ["kaiming", "he"]),
        (["--init.from", "nowhere"], ["nowhere", "config.toml"]),
        (["--data.crop", "16"], ["data.crop is 16", "at least 32"]),
        (["--data.size", "20"], ["data.size is 20", "at least 32"]),
        (["--data.size", "40", "--data.crop", "48"], ["40", "48"]),
        (["--data.name", "digit"], ["data.name", "digits"]),
        (["--optim.batch-size", "5000"], ["5000", "1438"]),
        (["--optim.lr", "0"], ["optim.lr is 0", "above 0"]),
        (["--optim.lr", "-0.1"], ["optim.lr is -0.1", "above 0"]),
        (["--optim.lr", "nan"], ["optim.lr", "nan"]),
        (["--optim.lr", "inf"], ["optim.lr", "inf", "finite"]),
        (["--optim.lr", "fast"], ["optim.lr is 'fast'", "a number"]),
        (["--optim.epochs", "1.5"], ["optim.epochs is '1.5'", "a whole number"]),
        (["--data.jitter", "256"], ["data.jitter is '256'", "two whole numbers"]),
        (["--fast"], ["unknown option --fast", "trainability train --help"]),
        (["--optim.schedule", "steps"], ["step-epochs"]),
        (["--optim.clip", "0"], ["optim.clip is 0", "above 0"]),
        (["--optim.lrr", "1"], ["--optim.lrr", "--optim.lr"]),
        (["--optim.lr"], ["--optim.lr"]),
        (["--run.device", "cuda"], ["cuda", "no GPU"]),
        (["--run.precision", "tf32", "--run.device", "cpu"], ["tf32", "fp32, bf16"]),
        (["--resume", "nowhere"], ["nowhere", "config.toml"]),
        (["--recipe", "nowhere.toml"], ["nowhere.toml", "cannot be read"]),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(refused, tmp_path: Path, flags: list[str], words: list[str]) -> None:
    if flags == ["--run.device", "cuda"]:
        import torch

        if torch.cuda.is_available():
            pytest.skip("there is a GPU here")
    said = refused("train", *flags)
    assert all(word in said for word in words), said
    assert list(tmp_path.iterdir()) == []


def test_unknown_commands_and_missing_runs(refused) -> None:
    assert "train?" in refused("trian")
    assert "report RUN" in refused("report")
    assert "nowhere" in refused("report", "nowhere")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[optim]\nlearning-rate = 1", ["optim.learning-rate"]),
        ("[optim]\nbatch_size = 1", ["optim.batch_size", "batch-size"]),
        ("[optimizer]\nlr = 1", ["[optimizer]", "[optim]"]),
        ("lr = 1", ["lr", "[optim]"]),
        ("[optim]\nlr = 0", ["optim.lr is 0"]),
        ("[optim]\nlr = 'x'", ["recipe.toml: optim.lr is 'x'", "a number"]),
        ("[model]\nconfig = ['A', 'B']", ["recipe.toml: model.config is ['A', 'B']", "'A-LRN'"]),
        ("[data]\njitter = 256", ["data.jitter is 256", "a list or 'None'"]),
        ("[optim\n", ["not a TOML file"]),
    ],
)
def test_a_bad_recipe_is_one_line(refused, tmp_path: Path, text: str, words: list[str]) -> None:
    (tmp_path / "recipe.toml").write_text(text)
    said = refused("train", "--recipe", "recipe.toml")
    assert all(word in said for word in words), said


def test_the_user_s_flags_go_above_the_recipe_s(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('[model]\nconfig = "D"\nwidth = 0.5\n[data]\nflip = false\n[optim]\nnesterov = true\nclip = "None"\n')
    call = cli._parse(cli._expand(["train", "--recipe", str(recipe), "--model.width", "0.1"]))
    config = call.keywords["config"]  # type: ignore[attr-defined]
    assert (config.model.config, config.model.width) == ("D", 0.1)
    assert (config.data.flip, config.optim.nesterov, config.optim.clip) == (False, True, None)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["train", "--help"], ["report", "--help"]])
def test_help_reads_like_documentation_and_needs_no_torch(command, arguments: list[str]) -> None:
    answer = command(*arguments)
    assert answer.returncode == 0
    assert "usage: trainability" in answer.stdout
    if arguments[:1] == ["train"]:
        said = " ".join(answer.stdout.replace("│", " ").split())
        for words in ("Weight layers: A 11, B 13, C and D 16, E 19.", "--init.from", "--optim.micro-batch-size"):
            assert words in said
        # Paragraphs are filled: a line ends where the next word would not have fitted.
        assert "C and D 16, E 19." in answer.stdout
    script = f"import sys; from trainability.cli import program as cli\ntry: cli.main({arguments!r})\nexcept SystemExit: pass\n"
    script += "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
    script += "assert not [name for name in sys.modules if name.startswith(('trainability.doctor', 'trainability.training'))]"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True).returncode == 0


@pytest.mark.parametrize("commands", [cli.COMMANDS, cli.TRIALS_COMMANDS])
def test_the_list_of_commands_has_a_line_for_each(commands: dict) -> None:
    lines = parsing.overview(commands, program="trainability", description="").splitlines()
    listed = lines[lines.index("commands:") + 1 : -2]
    assert [line.split()[0] for line in listed] == list(commands)
    assert max(map(len, lines)) <= 80


def test_two_commands_from_nothing_to_a_report(command, refused, tmp_path: Path) -> None:
    answer = command("train", *SMALL_FLAGS)
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""
    assert "epoch 1/1" in answer.stdout
    assert "gain budget" in answer.stdout
    assert "runs/digits-A-001/report.html" in answer.stdout
    assert (tmp_path / "runs/digits-A-001/report.html").stat().st_size > 100_000
    assert "--resume runs/digits-A-001" in refused("train", *SMALL_FLAGS, "--run.dir", "runs/digits-A-001")
    assert command("report", "runs/digits-A-001").stdout.strip() == "runs/digits-A-001/report.html"
    recipe = command("train", "--recipe", "runs/digits-A-001/config.toml")
    assert recipe.returncode == 0, recipe.stderr
    first, second = (read_run(tmp_path / "runs" / name) for name in ("digits-A-001", "digits-A-002"))
    assert [row["loss"] for row in first.steps] == [row["loss"] for row in second.steps]


def test_resuming_under_another_configuration_is_refused(command, refused, tmp_path: Path) -> None:
    command("train", *SMALL_FLAGS, "--run.dir", "r")
    for flags, words in (
        (["--model.config", "B"], "model.config is B, the run has A"),
        (["--run.seed", "1"], "run.seed is 1, the run has 0"),
        (["--optim.lr", "0.02"], "optim.lr is 0.02, the run has 0.01"),
        ([], "is finished: 1 of 1 epochs"),
    ):
        assert words in refused("train", "--resume", "r", *flags)
    more = command("train", "--resume", "r", "--optim.epochs", "2")
    assert more.returncode == 0, more.stderr
    run = read_run(tmp_path / "r")
    assert [row["epoch"] for row in run.evaluations] == [1, 2]
    assert run.config.optim.epochs == 2


def test_fewer_than_five_classes(command) -> None:
    answer = command("train", *SMALL_FLAGS, "--data.name", "synthetic", "--data.num-classes", "3", "--data.num-images", "300")
    assert answer.returncode == 0, answer.stderr
    assert re.search(r"top-5 error.*not defined", answer.stdout)


def test_a_non_finite_run_says_which_step_and_layer(command) -> None:
    answer = command("train", *SMALL_FLAGS, "--optim.lr", "1e6", "--run.dir", "r")
    assert answer.returncode == 1
    assert re.search(r"step \d+: ", answer.stderr)
    assert "Traceback" not in answer.stderr
    assert "non-finite" in answer.stdout


def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_room(command, tmp_path: Path) -> None:
    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    full = subprocess.run(
        [sys.executable, "-m", "trainability", "train", *SMALL_FLAGS, "--run.dir", "r"],
        cwd=tmp_path,
        preexec_fn=little_room,
        capture_output=True,
        text=True,
    )
    assert full.returncode == 1
    assert full.stderr.startswith("trainability: ")
    assert os.strerror(errno.EFBIG) in full.stderr
    assert full.stderr.count("\n") == 1
    assert list((tmp_path / "r" / "checkpoints").iterdir()) == []
    assert command("train", "--resume", "r").returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_says_how_to_resume(tmp_path: Path, number: int) -> None:
    flags = flags_of(config_of(optim__epochs=200, run__log_every_steps=1))
    process = subprocess.Popen(
        [sys.executable, "-m", "trainability", "train", *flags, "--run.dir", "r"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        preexec_fn=hear_ctrl_c,
    )
    steps = tmp_path / "r" / "steps.jsonl"
    while not steps.exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    _out, err = process.communicate()
    assert process.returncode == 130, err
    assert err.strip().endswith("trainability train --resume r")
    assert "Traceback" not in err
    done = len(read_run(tmp_path / "r").steps)
    assert list((tmp_path / "r" / "checkpoints").glob(f"step-{done:09d}.pt"))


@pytest.mark.parametrize("module", ["tyro", "trainability.cli.train"])
def test_ctrl_c_during_the_imports_is_one_line(module: str) -> None:
    script = f"""
import builtins, runpy
real = builtins.__import__
def imported(name, *rest, **named):
    if name == {module!r}:
        raise KeyboardInterrupt
    return real(name, *rest, **named)
builtins.__import__ = imported
runpy.run_module("trainability", run_name="__main__")
"""
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (answer.returncode, answer.stdout, answer.stderr) == (130, "", "trainability: interrupted\n")
