"""What the check says of MNIST and CIFAR-10 as they are, and with one mistake planted in them.

    python benchmarks/real_audits.py --data-root ../shared/data                 # both sets whole; two minutes of one core
    python benchmarks/real_audits.py --data-root ../shared/data --images 2000   # the first 2,000 and 500; as the tests do

VGG-A at an eighth of its width, He's weights, standardised input of 32 pixels out of 36. As they are, nothing worse than a hint
may be found; a planted mistake is found if the rule of its row is among the findings. The mistakes are in images and labels (or
are those of `run.faults`), so network, loader and check are the ones of `train`; wrong statistics are given to
`trainability.check` with loaders of the user's own.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import trainability
from trainability import faults
from trainability.config import DataConfig, InitConfig, ModelConfig, OptimConfig, RunConfig, RunSettings
from trainability.data.catalog import TRAIN, VAL, Catalog
from trainability.data.colour_statistics import colour_statistics, pixel_sums
from trainability.data.dataset import DataSet, Split
from trainability.data.images import decode, rescale
from trainability.data.layouts import catalog_of
from trainability.data.loader import num_steps
from trainability.doctor import Diagnosis, diagnose
from trainability.training import engine as engines
from trainability.training.parts import assemble
from trainability.training.precheck import evidence_before
from trainability.training.record import environment

DATA = Path(__file__).parents[2] / "shared" / "data"
RESULTS = Path(__file__).parent / "results" / "real-audits.json"
SETS = ("mnist", "cifar10")
SIZE, CROP = 36, 32
EPOCHS = 15


def config_of(name: str, root: Path, *, flip: bool | None = None, fault: str | None = None) -> RunConfig:
    """A run that trains on the set."""
    return RunConfig(
        model=ModelConfig(config="A", width=1 / 8),
        init=InitConfig(plan="he"),
        data=DataConfig(name=name, path=root / name, size=SIZE, crop=CROP, input="standard", flip=flip),
        optim=OptimConfig(lr=0.01, epochs=EPOCHS),
        run=RunSettings(device="cpu", faults=() if fault is None else (fault,)),  # type: ignore[arg-type]
    ).completed()


def data_of(name: str, root: Path, num_images: int | None) -> DataSet:
    """The set in memory: all of it, or its first images and a quarter as many to validate with."""
    catalog = catalog_of(config_of(name, root).data)
    num_val = None if num_images is None else num_images // 4
    train, val = _split(catalog, TRAIN, num_images), _split(catalog, VAL, num_val)
    return data_set(name, catalog.class_names, train, val)


def data_set(name: str, class_names: tuple[str, ...], train: Split, val: Split) -> DataSet:
    """A set with the statistics of its training images."""
    assert isinstance(train.images, Tensor)
    measured = colour_statistics(pixel_sums(train.images.numpy()))
    moments = {"mean": measured.mean, "std": measured.std, "covariance": measured.covariance}
    return DataSet(name=name, class_names=class_names, train=train, val=val, **moments)


def _split(catalog: Catalog, which: int, num: int | None) -> Split:
    positions = np.flatnonzero(catalog.splits == which)[:num]
    pixels = []
    for position in positions:
        stored = catalog.images.read(int(position))
        pixels.append(rescale(decode(stored) if isinstance(stored, bytes) else stored, SIZE))
    return Split(images=torch.from_numpy(np.stack(pixels)), labels=torch.from_numpy(catalog.labels[positions].astype(np.int64)))


def checked(config: RunConfig, data: DataSet, *, rehearse_seconds: float | None = None) -> Diagnosis:
    """What `trainability check` says of the run on that data."""
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, rehearse_seconds=rehearse_seconds))
    steps = num_steps(len(data.train), config.optim.batch_size) * config.optim.epochs
    with engines.start(config.run) as engine:
        parts = faults.install(assemble(config, engine, data=data), config)
        return diagnose(evidence_before(parts, config, engine, planned_steps=steps))


def own_loop(data: DataSet, train: Callable[[Tensor], Tensor], val: Callable[[Tensor], Tensor]) -> Diagnosis:
    """What `trainability.check` says of a loop whose loaders normalise by these functions of pixels from 0 to 255."""
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64 * (SIZE // 4) ** 2, len(data.class_names))),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    sets = [TensorDataset(*_normalised(split, by)) for split, by in ((data.train, train), (data.val, val))]
    train_loader, val_loader = DataLoader(sets[0], batch_size=64, shuffle=True), DataLoader(sets[1], batch_size=256)
    return trainability.check(model, train_loader, optimizer=optimizer, val_loader=val_loader, rehearse_seconds=None)


def _normalised(split: Split, by: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    assert isinstance(split.images, Tensor)
    return by(split.images.permute(0, 3, 1, 2).float()), split.labels


def standard_of(data: DataSet, unit: float = 1.0) -> Callable[[Tensor], Tensor]:
    """Normalisation by a set's own statistics; `unit` 255 gives those of pixels from 0 to 1."""
    mean, std = data.mean[:, None, None] / unit, data.std[:, None, None] / unit
    return lambda pixels: (pixels - mean) / std


# ------------------------------------------------------------------------------------------------------------- mistakes


def _as_it_is(data: DataSet, root: Path, other: DataSet) -> Diagnosis:
    return checked(config_of(data.name, root), data, rehearse_seconds=10.0)


def _overlap(data: DataSet, root: Path, other: DataSet) -> Diagnosis:
    shared = Split(images=data.train.images[: len(data.val)], labels=data.train.labels[: len(data.val)])  # type: ignore[index]
    return checked(config_of(data.name, root), dataclasses.replace(data, val=shared))


def _shared_transform(data: DataSet, root: Path, other: DataSet) -> Diagnosis:
    return checked(config_of(data.name, root, fault="shared-data-set"), data)


def _other_unit(data: DataSet, root: Path, other: DataSet) -> Diagnosis:
    by = standard_of(data, unit=255)
    return own_loop(data, by, by)


def _validation_of_other_set(data: DataSet, root: Path, other: DataSet) -> Diagnosis:
    return own_loop(data, standard_of(data), standard_of(other))


def _mirrored(data: DataSet, root: Path, other: DataSet) -> Diagnosis:
    return checked(config_of(data.name, root, flip=True), data)


def _blanked(data: DataSet, root: Path, other: DataSet) -> Diagnosis:
    images = data.train.images.clone()  # type: ignore[union-attr]
    images[torch.rand(len(images), generator=torch.Generator().manual_seed(0)) < 0.1] = 0
    train = Split(images=images, labels=data.train.labels)
    return checked(config_of(data.name, root), data_set(data.name, data.class_names, train, data.val))


def _blanked_by_colours(data: DataSet, root: Path, other: DataSet) -> Diagnosis:
    return checked(config_of(data.name, root, fault="blank-images"), data)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A set with a mistake, or as it is.

    Attributes:
        what: the mistake, in words.
        rule: that names it; `None` where nothing worse than a hint may be found.
        look: what the check says, of (the set, root of the sets, the other set).
        sets: where it is one.
    """

    what: str
    rule: str | None
    look: Callable[[DataSet, Path, DataSet], Diagnosis]
    sets: tuple[str, ...] = SETS


CASES: dict[str, Case] = {
    "as it is": Case(what="as it is", rule=None, look=_as_it_is),
    "overlap": Case(what="the validation images are training images", rule="split_overlap", look=_overlap),
    "shared transform": Case(
        what="both splits share one data set object, so that training gets validation's centre crop",
        rule="augmentation_missing",
        look=_shared_transform,
    ),
    "other unit": Case(
        what="pixels from 0 to 255 are normalised by the statistics of pixels from 0 to 1", rule="input_scale", look=_other_unit
    ),
    "other set": Case(
        what="validation images are normalised by the other set's statistics", rule="split_shift", look=_validation_of_other_set
    ),
    "mirrored": Case(what="digits are mirrored at random", rule="mirrored", look=_mirrored, sets=("mnist",)),
    "blanked": Case(what="a tenth of the training images are empty", rule="blank_images", look=_blanked),
    "blanked by colours": Case(
        what="a colour shift after normalisation, clipped to [0, 1], on half of the images",
        rule="blank_images",
        look=_blanked_by_colours,
    ),
}


def is_right(case: Case, diagnosis: Diagnosis) -> bool:
    """Whether the mistake is named; of a set as it is, whether nothing is worse than a hint."""
    if case.rule is None:
        return all(finding.severity == "hint" for finding in diagnosis.findings)
    return case.rule in {finding.rule for finding in diagnosis.findings}


def main() -> None:
    """Print a line a case, and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, default=DATA, help="folder of mnist (idx files) and cifar10 (Parquet)")
    parser.add_argument("--images", type=int, default=None, help="training images; a quarter as many to validate with")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    sets = {name: data_of(name, options.data_root, options.images) for name in SETS}
    rows: list[dict[str, Any]] = []
    for name, other in (SETS, SETS[::-1]):
        for title, case in CASES.items():
            if name not in case.sets:
                continue
            began = time.process_time()
            diagnosis = case.look(sets[name], options.data_root, sets[other])
            found = [[finding.code, finding.severity] for finding in diagnosis.findings]
            row = {"set": name, "case": title, "rule": case.rule, "right": is_right(case, diagnosis), "findings": found}
            rows.append({**row, "verdict": diagnosis.verdict, "processor_seconds": round(time.process_time() - began, 1)})
            print("right" if row["right"] else "WRONG", name, "-", case.what, "-", diagnosis.verdict, found, flush=True)
    machine = environment(device=torch.device("cpu"), world_size=1)
    del machine["command"]
    num = {name: [len(data.train), len(data.val)] for name, data in sets.items()}
    options.out.write_text(json.dumps({"machine": machine, "images": num, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
