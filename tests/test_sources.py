"""Every data set in its real format, from files to a step of training; and what is said when something is missing."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import sources_on_disk as on_disk
import torch
from conftest import config_of
from torch.nn import functional as F

from trainability.config import MIN_SIDE, SOURCES, RunConfig
from trainability.config.sources import markdown_table
from trainability.data import cache, dataset, hub
from trainability.data.catalog import TRAIN, UNSPLIT, VAL, Catalog
from trainability.data.dataset import DataSet
from trainability.data.images import decode
from trainability.data.layouts import catalog_of, function_of
from trainability.data.streaming import make_loader
from trainability.training.parts import build_model

pytestmark = pytest.mark.filterwarnings("error")


def config_for(name: str, path: Path | None, cache_folder: Path, **fields: Any) -> RunConfig:
    return config_of(
        **{"data__crop": 32, "data__size": 36, "optim__batch_size": 8, **fields},
        data__name=name,
        data__path=path,
        data__cache=cache_folder,
    )


FORMATS: dict[str, tuple[str, Callable[[Path], Path], int, int, int | None]] = {
    "class folders": ("folder", on_disk.class_folders, 3, 24, 6),
    "train and val folders": ("folder", on_disk.split_folders, 3, 31, 12),
    "train and test folders": ("folder", lambda root: on_disk.split_folders(root, "test"), 3, 31, 12),
    "parquet with text labels": ("folder", lambda root: on_disk.plain_parquet(root / "mine.parquet"), 2, 16, 4),
    "folder of parquet": ("folder", lambda root: on_disk.plain_parquet(root / "all.parquet").parent, 2, 16, 4),
    "mnist idx": ("mnist", lambda root: on_disk.mnist_idx(root, zipped=False), 10, 40, 20),
    "mnist idx gz": ("mnist", lambda root: on_disk.mnist_idx(root / "MNIST" / "raw", zipped=True).parents[1], 10, 40, 20),
    "mnist parquet": ("mnist", lambda root: on_disk.hub_parquet(root, image="image", label="label"), 3, 24, 9),
    "cifar10 python": ("cifar10", lambda root: on_disk.cifar(root, num_classes=10, binary=False), 10, 100, 20),
    "cifar10 binary": ("cifar10", lambda root: on_disk.cifar(root, num_classes=10, binary=True), 10, 100, 20),
    "cifar100 python": ("cifar100", lambda root: on_disk.cifar(root, num_classes=100, binary=False), 100, 20, 20),
    "cifar100 binary": ("cifar100", lambda root: on_disk.cifar(root, num_classes=100, binary=True), 100, 20, 20),
    "cifar100 parquet": ("cifar100", on_disk.hub_parquet, 3, 24, 9),
    "caltech256 folder": ("caltech256", on_disk.caltech, 4, 32, 8),
    "caltech256 parent": ("caltech256", lambda root: on_disk.caltech(root).parent, 4, 32, 8),
    "caltech256 tar": ("caltech256", on_disk.caltech_tar, 4, 32, 8),
    "caltech256 tar's folder": ("caltech256", lambda root: on_disk.caltech_tar(root).parent, 4, 32, 8),
    "imagenet kaggle": ("imagenet", on_disk.kaggle_imagenet, 3, 24, 6),
    "imagenet folders": ("imagenet", on_disk.split_folders, 3, 31, 12),
    "imagenet parquet": (
        "imagenet",
        lambda root: on_disk.hub_parquet(root, image="image", label="label", val="validation"),
        3,
        24,
        9,
    ),
}
"""What it is -> data.name, writer, number of classes, of training and of validation images."""


BUILT_IN = {"digits": (10, 1438, 359), "synthetic": (10, 1600, 400)}
"""Number of classes, of training and of validation images."""


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_by_itself(name: str, tmp_path: Path) -> None:
    source = SOURCES[name]
    # What a set suggests can be trained on.
    assert source.crop >= MIN_SIDE
    assert source.margin >= 0
    assert 0 < source.width <= 16
    # A set is made, or read: never both, never neither.
    assert (source.make is None) == bool(source.layouts)
    for reference in (source.make, source.labels, *(layout.reader for layout in source.layouts)):
        assert reference is None or callable(function_of(reference))
    if source.make is not None:
        path, (num_classes, num_train, num_val) = None, BUILT_IN[name]
    else:
        _, write, num_classes, num_train, num_val = next(form for form in FORMATS.values() if form[0] == name)
        path = write(tmp_path / "source")
    data = dataset.load(config_for(name, path, tmp_path / "cache").data, seed=0)
    assert (data.name, len(data.class_names), len(data.train), len(data.val)) == (name, num_classes, num_train, num_val)
    for split in (data.train, data.val):
        assert 0 <= int(split.labels.min()) <= int(split.labels.max()) < num_classes
        image = split.images[0]
        assert image.dtype == torch.uint8
        assert image.shape[2] == 3
        assert min(image.shape[:2]) == 36
    assert (data.mean > 0).all()
    assert (data.mean < 255).all()
    assert (data.std >= 0).all()
    part, num_all = dataset.sample(config_for(name, path, tmp_path / "cache").data, seed=0, num_train=12, num_val=8)
    assert (part.class_names, num_all) == (data.class_names, num_train)


def test_the_table_of_sources_is_that_of_the_documentation(request: pytest.FixtureRequest) -> None:
    page = Path(__file__).parents[1] / "docs" / "data.md"
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition("<!-- the sets: written by pytest --write-golden -->\n")
    _, end, after = rest.partition("<!-- end of the sets -->\n")
    assert begin
    assert end
    expected = before + begin + markdown_table() + end + after
    if request.config.getoption("--write-golden"):
        page.write_text(expected, encoding="utf-8")
    assert page.read_text(encoding="utf-8") == expected


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_loads_and_trains_a_step(form: str, tmp_path: Path) -> None:
    name, write, num_classes, num_train, num_val = FORMATS[form]
    path = write(tmp_path / "source")
    config = config_for(name, path, tmp_path / "cache")
    data = dataset.load(config.data, seed=0)
    assert (len(data.class_names), len(data.train), len(data.val)) == (num_classes, num_train, num_val)
    assert set(data.train.labels.tolist()) <= set(range(num_classes))
    for split in (data.train, data.val):
        for number in range(len(split)):
            assert split.images[number].dtype == torch.uint8
            assert min(split.images[number].shape[:2]) == 36
    train_a_step(config, data)


def train_a_step(config: RunConfig, data: DataSet) -> None:
    loader = make_loader(data, config.data, config.optim, seed=0, device=torch.device("cpu"))
    torch.manual_seed(0)
    model = build_model(config, num_classes=loader.num_classes)
    for micro in next(loader.steps(0)):
        assert micro.images.shape == (8, 3, 32, 32)
        loss = F.cross_entropy(model(micro.images), micro.labels)
        loss.backward()
        assert loss.isfinite()
    assert sum(len(labels) for _, labels, _ in loader.validation(5)) == len(data.val)


def labels_fit_the_images(catalog: Catalog) -> bool:
    """Whether every image has the mean colour that `on_disk` gave its class."""
    for position in range(len(catalog.images)):
        read = catalog.images.read(position)
        pixels = decode(read) if isinstance(read, bytes) else read
        label = int(catalog.labels[position])
        expected = np.array([(40 * label) % 200, (90 * label + 30) % 200, (150 * label + 60) % 200]) + 24.5
        if np.abs(pixels.mean((0, 1)) - expected).max() > 5:
            return False
    return True


@pytest.mark.parametrize("form", [form for form in FORMATS if "mnist idx" not in form and "text" not in form])
def test_labels_stay_with_their_images(form: str, tmp_path: Path) -> None:
    name, write, *_ = FORMATS[form]
    catalog = catalog_of(config_for(name, write(tmp_path / "source"), tmp_path).data)
    assert labels_fit_the_images(catalog)


def test_mnists_digits_stay_with_their_labels(tmp_path: Path) -> None:
    catalog = catalog_of(config_for("mnist", on_disk.mnist_idx(tmp_path / "m", zipped=True), tmp_path).data)
    assert catalog.labels.tolist() == [number % 10 for number in range(40)] + [number % 10 for number in range(20)]
    assert catalog.splits.tolist() == [TRAIN] * 40 + [VAL] * 20
    assert np.array_equal(catalog.images.read(43)[..., 1], on_disk.pixels_of(3, 3, (28, 28))[..., 0])  # type: ignore[call-overload]


def test_class_names_are_those_that_the_set_gives(tmp_path: Path) -> None:
    def names(name: str, path: Path) -> tuple[str, ...]:
        return catalog_of(config_for(name, path, tmp_path).data).class_names

    assert names("imagenet", on_disk.kaggle_imagenet(tmp_path / "i")) == ("tench", "crane (n02012849)", "crane (n03126707)")
    assert names("cifar100", on_disk.hub_parquet(tmp_path / "h")) == ("apple", "bear", "clock")
    assert names("cifar10", on_disk.cifar(tmp_path / "c", num_classes=10, binary=False))[3] == "kind_3"
    assert names("cifar100", on_disk.cifar(tmp_path / "d", num_classes=100, binary=True))[99] == "kind_99"
    assert names("caltech256", on_disk.caltech(tmp_path / "e"))[-1] == "257.clutter"
    assert names("folder", on_disk.plain_parquet(tmp_path / "p" / "x.parquet")) == ("cat", "dog")


def test_a_split_of_the_sets_own_is_kept_whatever_the_seed(tmp_path: Path) -> None:
    config = config_for("cifar100", on_disk.hub_parquet(tmp_path / "s"), tmp_path / "cache")
    one, other = dataset.load(config.data, seed=0), dataset.load(config.data, seed=1)
    assert torch.equal(one.val.labels, other.val.labels)
    assert torch.equal(torch.as_tensor(one.val.images[0]), torch.as_tensor(other.val.images[0]))


def test_caltech_is_split_80_to_20_by_class_and_seed(tmp_path: Path) -> None:
    config = config_for("caltech256", on_disk.caltech(tmp_path / "s"), tmp_path / "cache")
    catalog = catalog_of(config.data)
    assert set(catalog.splits.tolist()) == {UNSPLIT}
    one, other = dataset.load(config.data, seed=0), dataset.load(config.data, seed=1)
    assert torch.bincount(one.val.labels).tolist() == [2, 2, 2, 2]
    assert torch.bincount(one.train.labels).tolist() == [8, 8, 8, 8]
    assert not torch.equal(one.mean, other.mean)  # measured on each split's own training images


@pytest.mark.parametrize("form", ["class folders", "imagenet kaggle", "cifar10 binary"])
def test_moments_are_those_of_the_training_images(form: str, tmp_path: Path) -> None:
    name, write, *_ = FORMATS[form]
    config = config_for(name, write(tmp_path / "source"), tmp_path / "cache", data__encoding="raw")
    data = dataset.load(config.data, seed=3)
    flat = torch.cat([data.train.images[number].reshape(-1, 3) for number in range(len(data.train))]).double()
    torch.testing.assert_close(data.mean.double(), flat.mean(0), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(data.std.double(), flat.std(0, correction=0), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(data.covariance.double(), flat.T.cov(correction=0), rtol=1e-5, atol=1e-2)


def test_images_of_one_shape_are_held_in_memory_within_the_limit_only(tmp_path: Path) -> None:
    path = on_disk.cifar(tmp_path / "s", num_classes=10, binary=True)
    small = config_for("cifar10", path, tmp_path / "cache")
    assert isinstance(dataset.load(small.data, seed=0).train.images, torch.Tensor)
    for limit in (1e-5, None):
        config = config_for("cifar10", path, tmp_path / "cache", data__resident_gib=limit)
        assert not isinstance(dataset.load(config.data, seed=0).train.images, torch.Tensor)


REFUSALS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "no such place": ("folder", lambda _: None, "does not exist"),
    "empty folder": ("folder", lambda root: root.mkdir(), "0 class folders"),
    "one class": ("folder", lambda root: on_disk.class_folders(root, num_classes=1), "at least two"),
    "empty class": ("folder", lambda root: (on_disk.class_folders(root) / "z").mkdir(), " z "),
    "class only in val": (
        "folder",
        lambda root: on_disk.put(on_disk.split_folders(root) / "val" / "new" / "a.jpg", on_disk.jpeg(0, 0)),
        "val/new ",
    ),
    "flat val": (
        "imagenet",
        lambda root: (on_disk.class_folders(root / "train"), on_disk.put(root / "val" / "a.JPEG", on_disk.jpeg(0, 0))),
        "val/ ",
    ),
    "kaggle without solution": (
        "imagenet",
        lambda root: (on_disk.kaggle_imagenet(root) / "LOC_val_solution.csv").unlink(),
        "LOC_val_solution.csv is missing",
    ),
    "a text file": (
        "folder",
        lambda root: on_disk.put(root, b"text"),
        "accepted for folder: Parq",
    ),
    "no Caltech": ("caltech256", on_disk.class_folders, "no Caltech-256 here"),
    "half a tar": (
        "caltech256",
        lambda root: root.write_bytes(on_disk.caltech_tar(root.with_name("t")).read_bytes()[:700]),
        "uncompressed tar|no Caltech-256 in it",
    ),
    "half an idx": (
        "mnist",
        lambda root: os.truncate(on_disk.mnist_idx(root, zipped=False) / "train-images-idx3-ubyte", 999),
        "truncated",
    ),
    "missing idx": (
        "mnist",
        lambda root: (on_disk.mnist_idx(root, zipped=False) / "t10k-labels-idx1-ubyte").unlink(),
        "t10k-labels-idx1-ubyte .or .gz. is missing",
    ),
    "half a parquet": ("folder", lambda root: on_disk.put(root / "train.parquet", b"PAR1 nothing"), "train.parquet|arquet"),
    "missing cifar batch": (
        "cifar10",
        lambda root: (on_disk.cifar(root, num_classes=10, binary=False) / "cifar-10-batches-py" / "data_batch_3").unlink(),
        "data_batch_3 is missing",
    ),
}


@pytest.mark.parametrize("mistake", REFUSALS)
def test_a_mistake_is_told_in_one_line_that_names_the_place(mistake: str, tmp_path: Path) -> None:
    name, write, message = REFUSALS[mistake]
    path = tmp_path / "source"
    write(path)
    with pytest.raises(ValueError, match=message) as caught:
        dataset.load(config_for(name, path, tmp_path / "cache").data, seed=0)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_names_that_need_a_path_and_names_that_read_none_say_so(tmp_path: Path) -> None:
    for name in ("caltech256", "folder"):
        with pytest.raises(ValueError, match=r"needs --data\.path"):
            dataset.load(config_for(name, None, tmp_path).data, seed=0)
    with pytest.raises(ValueError, match="digits"):
        dataset.load(config_for("digits", tmp_path, tmp_path).data, seed=0)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    folder = on_disk.cifar(tmp_path / "s", num_classes=10, binary=False) / "cifar-10-batches-py"

    class Attack:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    (folder / "data_batch_1").write_bytes(pickle.dumps(Attack()))
    with pytest.raises(ValueError, match="pathlib"):
        dataset.load(config_for("cifar10", folder, tmp_path / "cache").data, seed=0)
    assert not (tmp_path / "ran").exists()


def fake_hub(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Put a small set in the Hub's place, behind the Hub's own types."""
    source = SOURCES[name].hub
    assert source is not None
    features = datasets.Features(
        {source.image: datasets.Image(), source.label: datasets.ClassLabel(names=[f"n{label}" for label in range(10)])}
    )

    def load_dataset(repo: str, split: list[str]) -> list[datasets.Dataset]:
        assert repo == source.repo
        assert split == ["train", source.val]
        return [
            datasets.Dataset.from_dict(
                {
                    source.image: [{"bytes": on_disk.png(n % 10, n, (32, 32)), "path": None} for n in range(num)],
                    source.label: [n % 10 for n in range(num)],
                },
                features=features,
            )
            for num in (40, 20)
        ]

    monkeypatch.setattr(hub, "is_reachable", lambda endpoint: True)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)


@pytest.mark.parametrize("name", [name for name, source in SOURCES.items() if source.hub is not None])
def test_a_hub_set_loads_and_trains_a_step(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_hub(monkeypatch, name)
    config = config_for(name, None, tmp_path / "cache")
    assert labels_fit_the_images(catalog_of(config.data))
    cache.pack(config.data)
    data = dataset.load(config.data, seed=0)
    assert (len(data.train), len(data.val), data.class_names[7]) == (40, 20, "n7")
    train_a_step(config, data)


def test_once_packed_a_hub_set_needs_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_hub(monkeypatch, "mnist")
    config = config_for("mnist", None, tmp_path / "cache")
    one = dataset.load(config.data, seed=0)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: pytest.fail("asked the Hub again"))
    assert torch.equal(dataset.load(config.data, seed=0).train.labels, one.train.labels)


def test_a_gated_set_says_how_to_get_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_for("imagenet", None, tmp_path / "cache")
    with pytest.raises(ValueError, match=r"trainability pack --data\.name imagenet .*gated.*https.*hf auth"):
        dataset.load(config.data, seed=0)

    def refused(*_: Any, **__: Any) -> None:
        raise datasets.exceptions.DatasetNotFoundError("Dataset 'ILSVRC/imagenet-1k' is a gated dataset on the Hub.\nMore.")

    monkeypatch.setattr(hub, "is_reachable", lambda endpoint: True)
    monkeypatch.setattr(datasets, "load_dataset", refused)
    with pytest.raises(ValueError, match=r"https://\S+ILSVRC/imagenet-1k.*--data\.path") as caught:
        cache.pack(config.data)
    assert "\n" not in str(caught.value)


NO_NETWORK = """
import os, sys, time
os.environ["HF_HOME"] = sys.argv[1]
os.environ["HF_ENDPOINT"] = sys.argv[2]
from pathlib import Path
from trainability.config import DataConfig, RunConfig
from trainability.data import cache
config = RunConfig(data=DataConfig(name=sys.argv[3], cache=Path(sys.argv[1]))).completed()
def seconds():  # without what this thread was kept waiting for a core, on a machine that others use too
    waited = Path("/proc/thread-self/schedstat")
    return time.monotonic() - (int(waited.read_text().split()[1]) / 1e9 if waited.exists() else 0)
started = seconds()
try:
    cache.pack(config.data)
except ValueError as error:
    print(error)
print(seconds() - started)
"""


@pytest.mark.parametrize(
    ("name", "endpoint"),
    [
        ("mnist", "https://hub.invalid"),  # a name that does not resolve
        ("cifar10", "http://127.0.0.1:9"),  # a port that refuses
        ("cifar100", "http://192.0.2.1"),  # an address that never answers
        ("imagenet", "https://hub.invalid"),
    ],
)
def test_without_a_network_a_hub_name_fails_in_five_seconds_in_one_line(name: str, endpoint: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", NO_NETWORK, str(tmp_path), endpoint, name],
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    message, seconds = done.stdout.splitlines()
    assert float(seconds) < 5
    assert "cannot be reached" in message
    assert "--data.path" in message
