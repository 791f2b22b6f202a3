"""What the data of a followed loop show once it has ended: mistakes of data set and sampler, and none of sound ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset, WeightedRandomSampler

from trainability.doctor.diagnosis import Diagnosis
from trainability.doctor.measure import of_loader
from trainability.loops.script_watch import ScriptWatch


class Images(Dataset):
    """Images whose brighter half is their class, with a random square cut out of each as it is read."""

    def __init__(self, count: int, seed: int, *, copies: bool) -> None:
        rng = torch.Generator().manual_seed(seed)
        self.labels = torch.randint(4, (count,), generator=rng)
        self.images = torch.rand(count, 1, 12, 12, generator=rng)
        for image, label in zip(self.images, self.labels, strict=True):
            image[0, 3 * int(label) : 3 * int(label) + 3] += 1
        self.copies = copies

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = self.images[index].clone() if self.copies else self.images[index]
        x, y = torch.randint(9, (2,)).tolist()
        image[:, y : y + 3, x : x + 3] = 0
        return image, self.labels[index]


class Boxes(Dataset):
    """One bright rectangle; half of the images are mirrored, and the box with them."""

    def __init__(self, count: int, seed: int, *, mirrors: bool, crosses: bool) -> None:
        rng = torch.Generator().manual_seed(seed)
        corners, sizes = torch.randint(8, (count, 2), generator=rng), torch.randint(3, 8, (count, 2), generator=rng)
        self.boxes = torch.cat([corners, corners + sizes], dim=1).float() / 16
        self.images = torch.rand(count, 1, 16, 16, generator=rng) / 2
        for image, (x1, y1), (w, h) in zip(self.images, corners.tolist(), sizes.tolist(), strict=True):
            image[0, y1 : y1 + h, x1 : x1 + w] += 1
        self.mirrors, self.crosses = mirrors, crosses

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, box = self.images[index], self.boxes[index]
        if self.mirrors and float(torch.rand(())) < 0.5:
            x1, y1, x2, y2 = box
            image, box = image.flip(-1), torch.stack([1 - x1, y1, 1 - x2, y2] if self.crosses else [1 - x2, y1, 1 - x1, y2])
        return image, box


def followed(train: DataLoader[Any], other: DataLoader[Any], loss_fn: nn.Module, width: int) -> tuple[Diagnosis, list[Tensor]]:
    """Three epochs, with a pass over other data behind each; the diagnosis and the weights."""
    watch = ScriptWatch(Path("loop.py"), every=5, most_steps=None, place=None)
    watch.begin()
    try:
        model, final = trained(train, other, loss_fn, width)
    finally:
        watch.end(None)
    (diagnosis,) = watch.diagnoses.values()
    return diagnosis, [p.detach() for p in model.parameters()] + [final]


def trained(train: DataLoader[Any], other: DataLoader[Any], loss_fn: nn.Module, width: int) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    pixels = train.dataset[0][0].numel()
    model = nn.Sequential(nn.Flatten(), nn.Linear(pixels, 32), nn.ReLU(), nn.Linear(32, width))
    optimizer, total = torch.optim.Adam(model.parameters(), lr=1e-3), 0.0
    for _ in range(3):
        model.train()
        for images, targets in train:
            optimizer.zero_grad()
            loss_fn(model(images), targets).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            total = sum(loss_fn(model(images), targets) for images, targets in other)
    return model, torch.as_tensor(total)


@pytest.mark.parametrize("copies", [False, True])
def test_images_that_are_cut_in_place_are_named_and_the_loop_computes_the_same(copies: bool) -> None:
    def parts() -> tuple[DataLoader[Any], DataLoader[Any]]:
        return DataLoader(Images(400, 0, copies=copies), 32, shuffle=True), DataLoader(Images(200, 1, copies=True), 64)

    diagnosis, watched = followed(*parts(), nn.CrossEntropyLoss(), 4)
    found = {f.code for f in diagnosis.findings if f.severity != "hint"}
    assert found == (set() if copies else {"overwritten_data.stored"})
    model, final = trained(*parts(), nn.CrossEntropyLoss(), 4)
    assert all(torch.equal(a, b) for a, b in zip(watched, [*model.parameters(), final], strict=True))


@pytest.mark.parametrize("crosses", [False, True])
def test_boxes_that_are_not_mirrored_with_their_images_are_named(crosses: bool) -> None:
    train = DataLoader(Boxes(300, 0, mirrors=True, crosses=crosses), 32, shuffle=True)
    diagnosis, _ = followed(train, DataLoader(Boxes(200, 1, mirrors=False, crosses=False), 64), nn.MSELoss(), 4)
    found = {f.code for f in diagnosis.findings if f.severity != "hint"}
    assert found == ({"mirrored.corners"} if crosses else set())


def test_data_that_are_slow_to_read_are_not_read_through(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    whole = Images.__getitem__

    def counted(self: Images, index: int) -> tuple[Tensor, Tensor]:
        reads.append(index)
        return whole(self, index)

    monkeypatch.setattr(Images, "__getitem__", counted)
    for seconds, fewest, most in ((20.0, 600, 10_000), (1e-6, 0, 100)):
        monkeypatch.setattr(of_loader, "_SECONDS", seconds)
        loader = DataLoader(Images(400, 0, copies=True), 32, shuffle=True)
        reads.clear()
        found = of_loader.of_loader(nn.Linear(1, 1), loader, None, before=None, is_paired=True)
        assert found is not None
        assert (found.data is None) == (seconds < 1)
        assert fewest <= len(reads) <= most


@pytest.mark.parametrize("weights", [4, 400])
def test_a_sampler_with_a_weight_for_each_class_is_named(weights: int) -> None:
    data = Images(400, 0, copies=True)
    train = DataLoader(data, 32, sampler=WeightedRandomSampler(torch.ones(weights).tolist(), 400))
    diagnosis, _ = followed(train, DataLoader(Images(200, 1, copies=True), 64), nn.CrossEntropyLoss(), 4)
    assert ("short_length.weights" in {f.code for f in diagnosis.findings}) == (weights == 4)


@pytest.mark.parametrize("is_order", [False, True])
def test_columns_of_categories_are_named_unless_their_size_says_something(is_order: bool) -> None:
    rng = torch.Generator().manual_seed(0)
    product, price = torch.randint(200, (3000,), generator=rng), torch.rand(3000, generator=rng)
    worth = torch.linspace(-1, 1, 200) if is_order else torch.randn(200, generator=rng)
    targets = (worth[product] - price)[:, None]
    data = TensorDataset(torch.stack([product / 1.0, price], dim=1), targets)
    train, other = (DataLoader(part, 64, shuffle=True) for part in torch.utils.data.random_split(data, [2400, 600]))
    diagnosis, _ = followed(train, other, nn.MSELoss(), 1)
    assert ("numbers_for_words.column" in {f.code for f in diagnosis.findings}) == (not is_order)


@pytest.mark.parametrize("is_lost", [False, True])
def test_masks_whose_classes_were_lost_are_named(is_lost: bool) -> None:
    masks = torch.randint(3, (300, 6, 6), generator=torch.Generator().manual_seed(0))
    images = masks[:, None] + torch.rand(300, 1, 6, 6)
    masks = (masks.float() / 255).long() if is_lost else masks
    data = TensorDataset(images, masks)
    watch = ScriptWatch(Path("loop.py"), every=5, most_steps=None, place=None)
    watch.begin()
    try:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 3, 1))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(3):
            for image, mask in DataLoader(data, 16, shuffle=True):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(image), mask).backward()
                optimizer.step()
    finally:
        watch.end(None)
    (diagnosis,) = watch.diagnoses.values()
    assert {f.code for f in diagnosis.findings if f.severity != "hint"} == ({"class_imbalance.one_class"} if is_lost else set())


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_evaluating_training_data_is_no_leak_and_evaluating_some_of_them_is(share: float) -> None:
    rng = torch.Generator().manual_seed(0)
    images, labels = torch.rand(600, 1, 8, 8, generator=rng), torch.randint(3, (600,), generator=rng)
    images += labels[:, None, None, None]
    first = int(400 - 200 * share)
    train = DataLoader(TensorDataset(images[:400], labels[:400]), 32, shuffle=True)
    other = DataLoader(TensorDataset(images[first : first + 200], labels[first : first + 200]), 64)
    diagnosis, _ = followed(train, other, nn.CrossEntropyLoss(), 3)
    assert any(f.rule == "split_overlap" for f in diagnosis.findings) == (share < 1)
