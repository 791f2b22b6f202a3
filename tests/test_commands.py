"""evaluate, errors and pack, as a user calls them."""

import json
from pathlib import Path

import pytest
from conftest import config_of, flags_of
from PIL import Image

from trainability.cli import program as cli
from trainability.training.record import read_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trained runs, `one` and `two`."""
    folder = tmp_path_factory.mktemp("runs")
    for name, config in (("one", "A"), ("two", "B")):
        flags = flags_of(config_of(optim__epochs=3, model__config=config, optim__lr=0.02))
        with pytest.raises(SystemExit) as stop:
            cli.main(["train", *flags, "--run.dir", str(folder / name)])
        assert stop.value.code == 0
    return folder


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, runs: Path):
    """Run a command in the folder of the runs; return exit code, output, errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.chdir(runs)
        monkeypatch.setenv("COLUMNS", "120")
        with pytest.raises(SystemExit) as stop:
            cli.main(list(arguments))
        said = capsys.readouterr()
        assert isinstance(stop.value.code, int)
        return stop.value.code, said.out, said.err

    return run


def test_centre_is_what_training_measured(call, runs: Path) -> None:
    code, out, _ = call("evaluate", "one", "--protocol", "centre", "--json")
    found, last = json.loads(out), read_run(runs / "one").evaluations[-1]
    assert code == 0
    assert (found["top1_error"], found["num_examples"]) == (last["val_top1_error"], last["val_num_examples"])


def test_an_ensemble_and_several_scales(call) -> None:
    code, out, err = call("evaluate", "one", "two", "--protocol", "dense", "--scales", "36,40")
    assert code == 0, err
    assert "VGG-A+VGG-B" in out
    assert "36, 40" in out


def test_a_finished_run_has_kept_its_answers(call) -> None:
    code, out, err = call("errors", "one")
    assert code == 0, err
    for words in ("Most confused pairs", "Worst images", "entropy", "Classes with the highest error"):
        assert words in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate"], "--weights"),
        (["evaluate", "one", "--weights", "x.pth"], "not both"),
        (["evaluate", "nowhere"], "nowhere"),
        (["evaluate", "one", "--protocol", "centre-crop"], "ten-crop, dense, multi-crop"),
        (["evaluate", "one", "--scales", "small"], "'small'"),
        (["evaluate", "one", "--scales", "8"], "8"),
        (["evaluate", "one", "--scales", ""], "scales: "),
        (["evaluate", "one", "--batch-size", "0"], "batch-size is 0"),
        (["evaluate", "one", "--data.name", "folder"], "data.*"),
        (["evaluate", "--weights", "x.pth", "--step", "5"], "step is 5; "),
        (["evaluate", "one", "--step", "5"], "step 5"),
        (["evaluate", "one", "--against", "paper"], "ImageNet"),
        (["evaluate", "--weights", "nowhere.pth"], "nowhere.pth"),
        (["errors", "nowhere"], "nowhere"),
        (["errors", "one", "--num-classes", "0"], "num-classes is 0"),
        (["errors", "one", "--num-pairs", "-1"], "num-pairs is -1"),
        (["pack", "--processes", "0"], "processes is 0"),
        (["pack"], "digits"),
        (["pack", "--data.name", "folder"], "needs --data.path"),
        (["pack", "--data.name", "folder", "--data.path", "nowhere"], "nowhere"),
    ],
)
def test_mistakes_are_one_line(call, arguments: list[str], words: str) -> None:
    code, out, err = call(*arguments)
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert words in err


def test_pack_then_train_then_evaluate_a_folder(call, runs: Path, tmp_path: Path) -> None:
    for number in range(60):
        folder = tmp_path / "images" / ("bright" if number % 2 else "dark")
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (50 + number % 3, 44), (200 if number % 2 else 30, number, 90)).save(folder / f"{number}.jpg")
    (tmp_path / "images" / "dark" / "x.txt").write_text("not an image")
    flags = ["--data.name", "folder", "--data.path", str(tmp_path / "images"), "--data.cache", str(tmp_path / "cache")]
    flags += ["--data.size", "40", "--data.crop", "32"]
    code, out, err = call("pack", *flags)
    assert code == 0, err
    assert "60 images of 2 classes" in out
    assert "verified 60 images" in call("pack", *flags)[1]
    train = ["--model.config", "A", "--model.width", "0.05", "--optim.batch-size", "16", "--optim.epochs", "1"]
    code, _, err = call("train", *flags, *train, "--run.dir", str(tmp_path / "run"))
    assert code == 0, err
    code, out, err = call("evaluate", str(tmp_path / "run"), "--protocol", "dense", "--json")
    assert code == 0, err
    assert json.loads(out)["num_examples"] == 12
    assert json.loads(out)["top5_error"] is None
