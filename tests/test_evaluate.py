"""Trained runs, and published weights, asked again from their directories."""

import ast
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from conftest import config_of, train

from trainability.config import DataConfig, RunConfig
from trainability.data import dataset
from trainability.evaluation import predictions, reference, thumbnails
from trainability.evaluation.error_analysis import error_analysis
from trainability.models.vgg import build_vgg
from trainability.training import evaluate
from trainability.training.engine import Engine
from trainability.training.evaluate import EvaluationOptions, evaluate_runs, evaluate_weights
from trainability.training.record import read_run
from trainability.training.same_run import identity

ENGINE = Engine(device=torch.device("cpu"))


def made(folder: Path, *, config: str = "A", classifier: str = "conv", seed: int = 0, **data: object) -> Path:
    usual = {"name": "synthetic", "num_images": 60, "num_classes": 6, "size": 40, "crop": 32}
    fields = {f"data__{name}": value for name, value in {**usual, **data}.items()}
    small = {"model__width": 0.05, "model__hidden": 12, "optim__batch_size": 24, "optim__epochs": 1}
    run = config_of(model__config=config, model__classifier=classifier, run__seed=seed, **small, **fields)
    assert train(folder, run).outcome.status == "finished"
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("runs") / "first")


def ask(*folders: Path, **options: object):
    return evaluate_runs(folders, EvaluationOptions(**options), engine=ENGINE)  # type: ignore[arg-type]


def test_the_centre_crop_gives_what_training_measured(run: Path) -> None:
    row = read_run(run).evaluations[-1]
    result = ask(run, protocol="centre")
    assert result.errors.top1_error == row["val_top1_error"]
    assert result.errors.top5_error == row["val_top5_error"]
    assert result.errors.loss == pytest.approx(row["val_loss"], rel=1e-5)
    assert (result.configs, result.data_name, result.scales) == (("A",), "synthetic", (40,))


def test_one_runs_answers_are_kept_with_it(run: Path) -> None:
    result = ask(run, protocol="dense", scales=(32, 48))
    kept = predictions.load(run / predictions.FILE)
    assert kept.protocol == result.described
    assert re.findall(r"dense|\d+|flips", kept.protocol) == ["dense", "32", "48", "flips"]
    assert (kept.top == result.predictions.top).all()
    assert kept.errors == result.errors
    assert ask(run, protocol="dense", flip=False).described.count("flips") == 0


def test_the_images_that_the_analysis_lists_are_kept_small(run: Path) -> None:
    analysis = error_analysis(ask(run, protocol="centre").predictions)
    kept = thumbnails.load(run / thumbnails.FILE)
    assert analysis.worst
    assert set(kept) == {image.position for image in (*analysis.worst, *analysis.most_confident)}
    images = dataset.load(read_run(run).config.data, seed=0).val.images
    for position, pixels in kept.items():
        assert (pixels == images[position].numpy()).all()
    assert not list(run.glob("*.partial"))


def test_thumbnails_have_at_most_96_pixels_on_the_smaller_side() -> None:
    shapes = ((96, 96), (300, 200), (96, 3000), (20, 30), (1, 5000))
    images = [(torch.full((*shape, 3), 7, dtype=torch.uint8), 0) for shape in shapes]
    kept = thumbnails.thumbnails(images, [0, 1, 2, 3, 4, 0])
    assert [pixels.shape for pixels in kept.values()] == [(96, 96, 3), (144, 96, 3), (9, 288, 3), (20, 30, 3), (1, 288, 3)]
    assert all(pixels.dtype == np.uint8 and (pixels == 7).all() for pixels in kept.values())


@pytest.mark.parametrize("kind", [predictions, thumbnails])
def test_damaged_files_are_one_clear_line(run: Path, tmp_path: Path, kind: ModuleType) -> None:
    ask(run, protocol="centre")
    data = (run / kind.FILE).read_bytes()
    path = tmp_path / kind.FILE
    with pytest.raises(ValueError, match="trainability evaluate"):
        kind.load(path)
    np.savez(tmp_path / "other.npz", labels=np.zeros((2, 2)))
    np.save(tmp_path / "array.npy", np.zeros(3))
    others = [(tmp_path / name).read_bytes() for name in ("other.npz", "array.npy")]
    for text in (b"", b"nonsense", data[: len(data) // 2], *others):
        path.write_bytes(text)
        with pytest.raises(ValueError, match=re.escape(str(path))):
            kind.load(path)
    for place in range(60, len(data), 97):
        path.write_bytes(data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :])
        with pytest.raises(ValueError, match="changed or damaged"):
            kind.load(path)


SPREAD = """
import sys
from dataclasses import astuple
from pathlib import Path
from trainability.config import RunSettings
from trainability.training.engine import start
from trainability.training.evaluate import EvaluationOptions, evaluate_runs

with start(RunSettings(device="cpu")) as engine:
    result = evaluate_runs([Path(sys.argv[1])], EvaluationOptions(protocol="ten-crop", batch_size=30), engine=engine)
    print(engine.rank, engine.world_size, astuple(result.errors))
"""


@pytest.mark.slow
def test_two_processes_count_what_one_does(run: Path, tmp_path: Path) -> None:
    alone = ask(run, protocol="ten-crop").errors
    script = tmp_path / "spread.py"
    script.write_text(SPREAD)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run([*launcher, str(script), str(run)], capture_output=True, text=True, check=True)
    lines = sorted(done.stdout.splitlines())
    assert [line.split()[:2] for line in lines] == [["0", "2"], ["1", "2"]]
    for line in lines:
        loss, top1_error, top5_error, num_images = ast.literal_eval(line.split(maxsplit=2)[2])
        assert (top1_error, top5_error, num_images) == (alone.top1_error, alone.top5_error, alone.num_examples)
        assert loss == pytest.approx(alone.loss, rel=1e-6)


def test_an_ensemble_has_runs_stored_at_different_sizes_only_if_their_images_are_the_same(run: Path, tmp_path: Path) -> None:
    digits = [
        made(tmp_path / f"{size}", config=config, name="digits", size=size, val_fraction=0.95)
        for config, size in (("A", 36), ("B", 40))
    ]
    both = ask(*digits, protocol="centre", batch_size=256)
    assert both.scales == (36, 40)
    assert re.findall(r"centre|\d+", both.described) == ["centre", "36", "40", "2"]
    assert not (digits[0] / predictions.FILE).exists()
    other = made(tmp_path / "other", seed=1)
    with pytest.raises(ValueError, match=r"run\.seed"):
        ask(run, other, protocol="centre")
    with pytest.raises(ValueError, match="classes"):
        ask(run, digits[0], protocol="centre")


def test_a_linear_classifier_is_asked_about_whole_images(run: Path, tmp_path: Path) -> None:
    linear = made(tmp_path / "linear", classifier="linear")
    assert ask(linear, protocol="dense", scales=(64,)).errors == ask(run, protocol="dense", scales=(64,)).errors


def test_jitter_is_asked_at_the_middle_of_its_range(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whose = identity(read_run(run).config)  # the weights of a run without jitter, which is quicker to train
    monkeypatch.setattr(evaluate, "identity", lambda config: whose)
    jittered = tmp_path / "jittered"
    jittered.mkdir()
    for name in ("data.json", "checkpoints"):
        (jittered / name).symlink_to(run / name)
    text = (run / "config.toml").read_text()
    (jittered / "config.toml").write_text(text.replace('jitter = "None"', "jitter = [32, 64]"))
    assert ask(jittered, protocol="centre").scales == (48,)


def test_published_weights_are_asked_about_any_data(tmp_path: Path) -> None:
    model = build_vgg("A", num_classes=10, crop=32, width=0.1, hidden=12, classifier="linear")
    torch.save(model.state_dict(), tmp_path / "vgg.pth")
    config = RunConfig(data=DataConfig(name="digits", val_fraction=0.1)).completed()
    result = evaluate_weights(tmp_path / "vgg.pth", config, EvaluationOptions(protocol="centre"), engine=ENGINE)
    data = dataset.load(config.data, seed=0)
    images = torch.stack([data.val.images[i] for i in range(len(data.val))])
    pixels = images[:, 2:34, 2:34].permute(0, 3, 1, 2) / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        answers = model.eval()((pixels - mean[:, None, None]) / std[:, None, None]).argmax(1)
    assert result.errors.top1_error == (answers != data.val.labels).double().mean().item()
    six = replace(config, data=DataConfig(name="synthetic", num_classes=6, num_images=60))
    with pytest.raises(ValueError, match=r"vgg\.pth .*10\D+ 6"):
        evaluate_weights(tmp_path / "vgg.pth", six.completed(), EvaluationOptions(), engine=ENGINE)


def test_what_cannot_be_asked_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"31\D*32"):
        ask(run, scales=(31,))
    with pytest.raises(ValueError, match=r"config\.toml"):
        ask(tmp_path)
    with pytest.raises(ValueError, match=r"step\D*7"):
        evaluate_runs([run], EvaluationOptions(), engine=ENGINE, step=7)


def test_the_papers_row_stands_first() -> None:
    def first(*configs: str, protocol: str, scales: tuple[int, ...]) -> reference.Published:
        return reference.comparable_errors(configs, data_name="imagenet", protocol=protocol, scales=scales)[0]

    assert first("D", protocol="dense", scales=(384,)).top5_error == 0.087
    assert first("A-LRN", protocol="centre", scales=(256,)).top1_error == 0.297
    assert first("D", protocol="dense", scales=(224, 256, 288)).top1_error == 0.266
    assert first("E", protocol="dense+multi-crop", scales=(256, 384, 512)).top5_error == 0.071
    assert first("E", "D", protocol="multi-crop", scales=(256, 384, 512)).top1_error == 0.239
    assert first("D", protocol="ten-crop", scales=(256,)).top1_error is None
    assert len(reference.comparable_errors(("D",), data_name="imagenet", protocol="dense", scales=(256,))) == 11
    with pytest.raises(ValueError, match="digits"):
        reference.comparable_errors(("D",), data_name="digits", protocol="dense", scales=(256,))
    with pytest.raises(ValueError, match=r"B\+C"):
        reference.comparable_errors(("C", "B"), data_name="imagenet", protocol="dense", scales=(256,))
