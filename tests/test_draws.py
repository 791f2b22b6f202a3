"""Random augmentation, drawn again: by worker processes, by epochs, and by a transform that is random by its name."""

import random
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, get_worker_info

from trainability.doctor import Evidence, audit_data, diagnose
from trainability.doctor.measure.declared import how_often
from trainability.doctor.measure.draws import redrawn


class Noisy(Dataset):
    """Images with noise from a generator of its own, from the global ones, or none."""

    def __init__(self, how: str) -> None:
        self.how, self.own = how, random.Random(0)

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int):
        noise = {"own": self.own.random, "torch": lambda: float(torch.rand(())), "python": random.random, "none": float}[
            self.how
        ]()
        return torch.full((1, 4, 4), index / 64) + noise * torch.arange(4.0) / 4 + torch.arange(16.0).view(
            1, 4, 4
        ) / 16, index % 4


def fixed_seed(worker: int) -> None:
    torch.manual_seed(worker)


def own_seed(worker: int) -> None:
    info: Any = get_worker_info()
    info.dataset.own.seed(torch.initial_seed())


@pytest.mark.parametrize(
    ("how", "fields", "found"),
    [
        ("torch", {}, []),
        ("python", {}, []),
        ("none", {}, []),
        ("torch", {"persistent_workers": True}, []),
        ("own", {"worker_init_fn": own_seed}, []),
        ("torch", {"worker_init_fn": fixed_seed, "persistent_workers": True}, []),
        ("own", {}, ["repeated_draws.workers"]),
        ("torch", {"worker_init_fn": fixed_seed}, ["repeated_draws.epochs"]),
        ("torch", {"worker_init_fn": lambda worker: torch.manual_seed(0)}, ["repeated_draws.workers"]),
    ],
)
def test_what_worker_processes_draw(how, fields, found):
    loader = DataLoader(Noisy(how), batch_size=8, num_workers=2, multiprocessing_context="fork", **fields)
    state = torch.get_rng_state()
    audit = audit_data(loader, redraw=True)
    assert [f.code for f in diagnose(Evidence(data=audit)).findings if f.severity != "hint"] == found
    assert torch.equal(state, torch.get_rng_state())
    assert audit.redrawn is not None
    assert audit.redrawn.varies == (how != "none")


def test_one_worker_has_nobody_to_agree_with():
    drawn = redrawn(DataLoader(Noisy("own"), batch_size=8, num_workers=1, multiprocessing_context="fork"))
    assert drawn is not None
    assert drawn.workers_alike is None
    assert drawn.epochs_alike


class RandomShift:
    def __call__(self, image):
        return image + torch.rand(())

    def __repr__(self) -> str:
        return "RandomShift()"


class Once(Dataset):
    """A transform that is random, applied for every draw or once."""

    def __init__(self, every_time: bool) -> None:
        self.transform = RandomShift()
        images = [torch.arange(16.0).view(1, 4, 4) / 16 + i / 40 for i in range(40)]
        self.every_time, self.images = every_time, images if every_time else [self.transform(image) for image in images]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int):
        image = self.images[index]
        return self.transform(image) if self.every_time else image, index % 4


@pytest.mark.parametrize("every_time", [True, False])
def test_a_random_transform_that_changes_nothing(every_time):
    audit = audit_data(DataLoader(Once(every_time), batch_size=8), redraw=True)
    codes = [f.code for f in diagnose(Evidence(data=audit)).findings if f.severity != "hint"]
    assert codes == ([] if every_time else ["augmentation_missing.declared"])


class RandomPatch:
    """Acts with probability p; not on borders that are empty anyway."""

    def __init__(self, p: float) -> None:
        self.p = p

    def __call__(self, image):
        return image * 2 if torch.rand(()) < self.p else image


class RandomProjection:
    """Drawn once."""

    def __init__(self) -> None:
        self.weight = torch.randn(4, 4)

    def __call__(self, image):
        return image @ self.weight


class Transformed(Dataset):
    """What a transform returns, the same for every draw, or nothing of it."""

    def __init__(self, transform, how: str = "each time") -> None:
        self.transform, self.how, self.kept = transform, how, {}

    def __len__(self) -> int:
        return 400

    def __getitem__(self, index: int):
        image = torch.arange(16.0).view(1, 4, 4) / 16 + index / 40
        if self.how == "each time" or (self.how == "rarely" and torch.rand(()) < 0.1):
            image = self.transform(image)
        elif self.how == "dropped":
            self.transform(image)
        elif self.how == "kept":
            image = self.kept.setdefault(index, self.transform(image))
        return image, index % 4


@pytest.mark.parametrize(("transform", "how", "found"), [
    (RandomPatch(0.5), "each time", False),
    (RandomPatch(0.05), "each time", False),
    (RandomPatch(0.02), "each time", False),
    (RandomPatch(0.001), "each time", False),  # more readings than anybody makes
    (RandomPatch(1.0), "rarely", False),
    (RandomProjection(), "each time", False),
    (RandomPatch(0.5), "never", True),
    (RandomPatch(0.05), "never", True),
    (RandomPatch(0.5), "dropped", True),
    (RandomPatch(0.5), "kept", True),
])  # fmt: skip
def test_a_transform_is_read_until_chance_explains_no_more(transform, how: str, found: bool):
    torch.manual_seed(0)
    audit = audit_data(DataLoader(Transformed(transform, how), batch_size=8), redraw=True)
    codes = [f.code for f in diagnose(Evidence(data=audit)).findings if f.rule == "augmentation_missing"]
    assert codes == (["augmentation_missing.declared"] if found else [])


@pytest.mark.parametrize(("held", "often"), [
    (RandomPatch(0.5), 0.05),
    (RandomPatch(0.04), 0.02),
    ([RandomPatch(0.04), RandomPatch(0.5)], 0.05),
    (Transformed(RandomPatch(0.5)), 0.05),
    ({"a": [RandomPatch(0.04)]}, 0.02),
])  # fmt: skip
def test_how_often_a_declared_transform_acts(held, often: float):
    assert how_often(Transformed(held)) == pytest.approx(often)


def test_what_is_not_random_by_name_is_not_drawn_again():
    data = TensorDataset(torch.zeros(8, 1, 4, 4), torch.zeros(8).long())
    assert redrawn(DataLoader(data)) is None
    assert redrawn([(torch.zeros(8, 1, 4, 4), torch.zeros(8))]) is None


class Stream(IterableDataset):
    def __init__(self, shares: bool) -> None:
        self.shares = shares

    def __iter__(self):
        worker = get_worker_info() if self.shares else None
        step, first = (worker.num_workers, worker.id) if worker else (1, 0)
        for i in range(first, 200, step):
            yield torch.full((3,), i / 100), i % 4


@pytest.mark.parametrize("shares", [True, False])
def test_workers_that_each_read_the_whole_stream(shares):
    loader = DataLoader(Stream(shares), batch_size=10, num_workers=2, multiprocessing_context="fork")
    codes = [f.code for f in diagnose(Evidence(data=audit_data(loader))).findings if f.severity != "hint"]
    assert codes == ([] if shares else ["repeated_batch.copies"])


class Echo:
    """Data echoing: each batch is used twice in a row."""

    def __init__(self, loader: DataLoader) -> None:
        self.loader = loader

    def __iter__(self):
        return (batch for batch in self.loader for _ in range(2))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_that_are_repeated_on_purpose(workers):
    fork = "fork" if workers else None
    loader = DataLoader(Stream(shares=True), batch_size=10, num_workers=workers, multiprocessing_context=fork)
    found = [f for f in diagnose(Evidence(data=audit_data(Echo(loader)))).findings if f.rule == "repeated_batch"]
    assert [(f.code, f.severity) for f in found] == [("repeated_batch.copies", "hint")]
