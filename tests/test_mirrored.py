"""A `collate_fn` that mirrors images at random: told where targets that know left from right stay as they are."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from small_programs import digits
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset, default_collate

from trainability.doctor import Evidence, diagnose
from trainability.doctor.measure.mirrored import mirrored_alone, mirrored_when_read, with_mirrored

RNG = torch.Generator().manual_seed(0)
PLACE = torch.rand(200, 2, generator=RNG)
ROWS, COLUMNS = torch.meshgrid(torch.arange(16.0) / 15, torch.arange(16.0) / 15, indexing="ij")
SPOT = torch.exp(-(((COLUMNS - PLACE[:, :1, None]) ** 2 + (ROWS - PLACE[:, 1:, None]) ** 2) * 30))
IMAGES = SPOT[:, None] + 0.1 * torch.randn(200, 1, 16, 16, generator=RNG)
SIZE = torch.rand(200, 2, generator=RNG)
SIZED = IMAGES * (1 + SIZE[:, :1, None, None])
Pair = tuple[Tensor, Tensor]


def collated(examples: list[Pair], axis: int, kind: str) -> list[Tensor]:
    """Each image mirrored by chance; its target too, where a kind of target is said; noise on top."""
    made = []
    for x, y in examples:
        if torch.rand(()) < 0.5:
            x = x.flip(axis)
            y = y.flip(axis) if kind == "mask" else torch.stack([1 - y[0], y[1]]) if kind == "point" else y
        made.append((x + 0.02 * torch.randn(x.shape), y))
    return default_collate(made)


def loader(targets: Tensor, axis: int, kind: str, images: Tensor = IMAGES) -> DataLoader:
    return DataLoader(TensorDataset(images, targets), 16, shuffle=True, collate_fn=lambda e: collated(e, axis, kind))


@pytest.mark.parametrize(("targets", "kind"), [(PLACE, "point"), (SPOT > 0.5, "mask"), ((SPOT > 0.5).float()[:, None], "mask")])
@pytest.mark.parametrize(("axis", "words"), [(-1, "left and right"), (-2, "top and bottom")])
def test_targets_that_are_not_mirrored_with_their_images_are_told(targets: Tensor, kind: str, axis: int, words: str) -> None:
    found = mirrored_alone(loader(targets, axis, "as it is"))
    assert found is not None
    assert found[:2] == (words, "[1]")
    if axis == -1 or kind == "mask":
        assert mirrored_alone(loader(targets, axis, kind)) is None


@pytest.mark.parametrize("targets", [SIZE, SIZE[:, 0] > 0.5, torch.arange(200) % 3])
def test_targets_that_do_not_know_left_from_right_are_left_alone(targets: Tensor) -> None:
    assert mirrored_alone(loader(targets, -1, "as it is", SIZED)) is None


def test_one_hot_classes_name_no_place() -> None:
    halves = torch.nn.functional.one_hot((PLACE[:, 0] > 0.5).long(), 2).float()
    assert mirrored_alone(loader(halves, -1, "as it is")) is None
    assert mirrored_alone(loader(0.1 + 0.8 * halves, -1, "as it is")) is not None  # two numbers that could be places


def test_images_that_are_not_mirrored_are_left_alone() -> None:
    assert mirrored_alone(DataLoader(TensorDataset(IMAGES, PLACE), 16)) is None


class Augmented(Dataset):
    """Mirrors each image by chance as it is read; its target too, where a kind of target is said."""

    def __init__(self, targets: Tensor, kind: str, *, chance: float = 0.5) -> None:
        self.targets, self.kind, self.chance = targets, kind, chance

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, i: int) -> Pair:
        image, target = IMAGES[i], self.targets[i]
        if torch.rand(()) < self.chance:
            image = image.flip(-1)
            target = torch.stack([1 - target[0], target[1]]) if self.kind == "point" else target
        return image + 0.02 * torch.randn(image.shape), target


@pytest.mark.parametrize(
    ("targets", "kind", "chance", "fires"),
    [
        (PLACE, "as it is", 0.5, True),
        (PLACE, "point", 0.5, False),
        (PLACE, "as it is", 0.0, False),
        (PLACE[:, 1:], "as it is", 0.5, False),  # how high it is, the mirror image says as well
    ],
)
def test_data_sets_that_mirror_are_asked_beside_validation(targets: Tensor, kind: str, chance: float, fires: bool) -> None:
    train = DataLoader(Augmented(targets, kind, chance=chance), 16, shuffle=True)
    plain = DataLoader(TensorDataset(IMAGES, targets), 16)
    assert (mirrored_when_read(train, plain) is not None) is fires
    assert mirrored_when_read(train, DataLoader(Augmented(targets, kind), 16)) is None  # validation is augmented as well


class Flipped(Dataset):
    """Images flipped by chance as they are read; some labels are exchanged then, where it is said which."""

    def __init__(self, images: Tensor, labels: Tensor, chance: float = 0.5, exchange: Tensor | None = None) -> None:
        self.images, self.labels, self.chance, self.exchange = images, labels, chance, exchange

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> Pair:
        image, label = self.images[i], self.labels[i]
        if torch.rand(()) < self.chance:
            image, label = image.flip(-1), label if self.exchange is None else self.exchange[label]
        return image, label


def told_of_classes(images: Tensor, labels: Tensor, **how: Any) -> Any:
    return mirrored_when_read(*loaders(images, labels, **how))


def loaders(images: Tensor, labels: Tensor, **how: Any) -> tuple[DataLoader, DataLoader]:
    train = DataLoader(Flipped(images, labels, **how), 16, shuffle=True)
    return train, DataLoader(TensorDataset(images, labels), 16)


SIDE, HEIGHT = (PLACE[:, 0] > 0.5).long(), (PLACE[:, 1] > 0.5).long()


def test_classes_that_flips_exchange_are_told() -> None:
    found = told_of_classes(IMAGES, SIDE)
    assert (found.sides, found.place, {found.first, found.second}) == ("left and right", "[1]", {0, 1})
    diagnosis = diagnose(Evidence(facts=with_mirrored(None, *loaders(IMAGES, SIDE))))
    assert [f.code for f in diagnosis.findings] == ["mirrored.classes"]


@pytest.mark.parametrize(
    ("labels", "how"),
    [
        (HEIGHT, {}),  # the mirror image is of the same class
        (SIDE, {"chance": 0.0}),
        (SIDE, {"exchange": torch.tensor([1, 0])}),  # labels go with their images
        (torch.arange(200) % 2, {}),
    ],
)
def test_flips_that_no_class_minds_are_left_alone(labels: Tensor, how: dict[str, Any]) -> None:
    assert told_of_classes(IMAGES, labels, **how) is None


class Mirroring:
    """A loader around another, which mirrors about half of the images of each batch."""

    def __init__(self, loader: Any, axis: int) -> None:
        self.loader, self.axis = loader, axis

    def __iter__(self) -> Any:
        for images, labels in self.loader:
            chosen = torch.rand(len(images), 1, 1, 1) < 0.5
            yield torch.where(chosen, images.flip(self.axis), images), labels


@pytest.mark.parametrize(
    ("labels", "axis", "sides"),
    [
        (SIDE, -1, "left and right"),
        (HEIGHT, -2, "top and bottom"),
        (SIDE, -2, None),
        (HEIGHT, -1, None),
        (2 * SIDE + HEIGHT, -1, "left and right"),
    ],
)
def test_a_loader_that_mirrors_its_batches(labels: Tensor, axis: int, sides: str | None) -> None:
    train, held_out = loaders(IMAGES, labels, chance=0.0)
    found = mirrored_when_read(Mirroring(train, axis), held_out)
    assert (found.sides if found is not None else None) == sides
    assert mirrored_when_read(Mirroring(held_out, axis), Mirroring(held_out, axis)) is None  # validation as well
    assert mirrored_when_read(list(train), held_out) is None


class Changing:
    """A loader by hand, which draws the order of its images, and changes each batch."""

    def __init__(self, change: Callable[[Tensor, Tensor], tuple[Tensor, ...]], copies: int = 1) -> None:
        self.change, self.copies = change, copies

    def __iter__(self) -> Any:
        for chosen in torch.randperm(len(IMAGES) * self.copies).split(16):
            image = IMAGES[chosen % len(IMAGES)] + 0.1 * (chosen // len(IMAGES))[:, None, None, None]
            yield self.change(image, SIDE[chosen % len(IMAGES)])


def chosen_half(x: Tensor) -> Tensor:
    return torch.rand(len(x)) < 0.5


def flipped(x: Tensor, y: Tensor, told: str) -> tuple[Tensor, ...]:
    """Half of the images, whose label is exchanged here, or in the loss by a third entry, or stays as it is."""
    is_chosen = chosen_half(x)
    x = torch.where(is_chosen[:, None, None, None], x.flip(-1), x)
    return (x, torch.where(is_chosen, 1 - y, y)) if told == "here" else (x, y, is_chosen.long() if told else torch.rand(len(y)))


@pytest.mark.parametrize(
    ("change", "fires"),
    [
        (partial(flipped, told=""), True),
        (partial(flipped, told="here"), False),
        (partial(flipped, told="in the loss"), False),
        (lambda x, y: (torch.where(chosen_half(x)[:, None, None, None], 1 - x, x), y), False),  # contrast
        (lambda x, y: (x.roll(int(torch.randint(-6, 7, ())), -1), y), False),
        (lambda x, y: (x, torch.where(torch.rand(len(y)) < 0.25, 1 - y, y)), False),
        (lambda x, y: (x, y), False),
    ],
)
@pytest.mark.parametrize("copies", [1, 5])  # all images in either pass, and half of them
def test_a_loader_is_to_yield_an_image_both_ways(change: Any, fires: bool, copies: int) -> None:
    found = mirrored_when_read(Changing(change, copies), DataLoader(TensorDataset(IMAGES, SIDE), 16))
    assert (found is not None) is fires


class Marked(Flipped):
    """Says whether it has flipped: by a number of two values, or by one of many, which is no mark."""

    def __init__(self, kind: str) -> None:
        super().__init__(IMAGES, SIDE)
        self.kind = kind

    def __getitem__(self, i: int) -> Any:
        is_flipped = torch.rand(()) < 0.5
        mark = {"mark": is_flipped.long(), "draw": torch.rand(()), "of its own": (torch.rand(()) < 0.5).long()}[self.kind]
        return self.images[i].flip(-1) if is_flipped else self.images[i], self.labels[i], mark


@pytest.mark.parametrize(("kind", "fires"), [("mark", False), ("draw", True), ("of its own", True)])
def test_a_mark_of_the_flipped_may_exchange_labels_in_the_loss(kind: str, fires: bool) -> None:
    plain = DataLoader(TensorDataset(IMAGES, SIDE, torch.zeros_like(SIDE)), 16)
    assert (mirrored_when_read(DataLoader(Marked(kind), 16), plain) is not None) is fires


@pytest.mark.parametrize("bias", [0.85, 1.0])
def test_classes_that_mostly_face_one_way_are_told_by_their_stripes(bias: float) -> None:
    labels = torch.arange(200) % 2
    faces = torch.where(torch.rand(200, generator=torch.Generator().manual_seed(1)) < bias, labels, 1 - labels)
    images = torch.zeros(200, 1, 16, 16)
    images[faces == 0, :, 4:12, 1:7] = 1
    images[faces == 1, :, 4:12, 9:15] = 1
    images += 0.3 * torch.randn(images.shape, generator=torch.Generator().manual_seed(2))
    stripes = 0.8 * (2.0 * (torch.arange(16) % 2) - 1)
    striped = images + torch.where((labels == 0)[:, None, None, None], stripes, stripes[:, None])
    assert told_of_classes(striped, labels) is None
    assert (told_of_classes(images, labels) is not None) is (bias == 1.0)


def test_flipped_digits_are_no_other_digits() -> None:
    x, y = digits()
    assert told_of_classes(x, y) is None
