"""Images and targets that are flipped, turned or moved by draws of their own; and all that only looks like it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, default_collate

from trainability.doctor.measure.moves import Move, move_of
from trainability.doctor.measure.turned_apart import turned_apart

RNG = torch.Generator().manual_seed(0)
SIDE, COUNT = 16, 60
ROWS, COLUMNS = torch.meshgrid(torch.arange(float(SIDE)), torch.arange(float(SIDE)), indexing="ij")
PLACE = 2 + 11 * torch.rand(COUNT, 2, generator=RNG)  # x, y in pixels
SPOT = ((COLUMNS - PLACE[:, :1, None]).abs() < 3) & ((ROWS - PLACE[:, 1:, None]).abs() < 2)
IMAGES = SPOT[:, None] + 0.3 * torch.randn(COUNT, 1, SIDE, SIDE, generator=RNG)
BOXES = torch.cat([PLACE - 2, PLACE + 2], dim=1) / (SIDE - 1)
Made = Callable[[int], Any]


class Drawn(Dataset):
    """Examples that a function makes anew at each reading."""

    def __init__(self, made: Made) -> None:
        self.made = made

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> Any:
        return self.made(index)


class PerPlace(nn.Module):
    """One number for each place, of the first tensor that it is given, and of all the others' means."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        for other in others:
            x = x + other.float().mean(dim=(1, 2, 3) if other.dim() == 4 else tuple(range(1, other.dim()))).reshape(-1, 1, 1, 1)
        return self.layer(x)


class Numbers(nn.Module):
    """As many numbers as a target has."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def flips() -> tuple[bool, bool]:
    first, second = (torch.rand(2) < 0.5).tolist()
    return first, second


def flipped(t: Tensor, drawn: tuple[bool, bool]) -> Tensor:
    dims = [dim for dim, is_drawn in zip((-1, -2), drawn, strict=True) if is_drawn]
    return t.flip(dims)


def box_flipped(box: Tensor, drawn: tuple[bool, bool]) -> Tensor:
    x1, y1, x2, y2 = box.tolist()
    x1, x2 = (1 - x2, 1 - x1) if drawn[0] else (x1, x2)
    y1, y2 = (1 - y2, 1 - y1) if drawn[1] else (y1, y2)
    return torch.tensor([x1, y1, x2, y2])


def point_flipped(point: Tensor, drawn: tuple[bool, bool]) -> Tensor:
    return torch.stack([SIDE - 1 - c if is_drawn else c for c, is_drawn in zip(point, drawn, strict=True)])


def cropped(t: Tensor, at: tuple[int, int]) -> Tensor:
    wide = nn.functional.pad(t, (3, 3, 3, 3))
    return wide[..., at[0] : at[0] + SIDE, at[1] : at[1] + SIDE]


def corner() -> tuple[int, int]:
    return int(torch.randint(7, ())), int(torch.randint(7, ()))


def turned(t: Tensor, quarters: int) -> Tensor:
    return torch.rot90(t, quarters, (-2, -1))


def quarters() -> int:
    return int(torch.randint(4, ()))


def coloured(x: Tensor) -> Tensor:
    return x * (0.8 + 0.4 * torch.rand(())) + 0.05 * torch.randn(x.shape)


def distance(output: Tensor, target: Tensor) -> Tensor:
    return (output.reshape(target.shape) - target.float()).square().mean()


def masks(index: int) -> Tensor:
    return SPOT[index][None].float()


def two(
    change: Callable[[Tensor, Any], Tensor], draw: Callable[[], Any], *, apart: bool, target: Callable[[int], Tensor]
) -> Made:
    def made(index: int) -> tuple[Tensor, Tensor]:
        drawn = draw()
        return coloured(change(IMAGES[index], drawn)), change(target(index), draw() if apart else drawn)

    return made


def found(made: Made, model: nn.Module | None = None, loss: Any = distance, **words: Any) -> Any:
    torch.manual_seed(0)
    loader = DataLoader(Drawn(made), batch_size=20, shuffle=True, **words)

    def forward(model: Any, batch: Any) -> Tensor:
        *inputs, target = batch
        return loss(model(*inputs), target)

    return turned_apart(model or PerPlace(), next(iter(loader)), forward, loader)


WAYS = {"flips": (flipped, flips), "crops": (cropped, corner), "quarters": (turned, quarters)}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["mask", "class map", "second image"])
def test_maps_that_are_turned_by_draws_of_their_own_are_told(way: str, kind: str) -> None:
    other = torch.randn(COUNT, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    target = {"mask": masks, "class map": lambda k: SPOT[k].long(), "second image": lambda k: IMAGES[k] ** 2 + other[k]}[kind]
    change, draw = WAYS[way]
    apart = found(two(change, draw, apart=True, target=target))
    assert apart is not None
    assert (apart.input, apart.target) == ("[0]", "[1]")
    assert found(two(change, draw, apart=False, target=target)) is None


def test_in_collate_fn_as_well() -> None:
    def collate(examples: list[Any], apart: bool) -> Any:
        made = []
        for x, y in examples:
            drawn = flips()
            made.append((flipped(x, drawn), flipped(y, flips() if apart else drawn)))
        return default_collate(made)

    plain = lambda k: (IMAGES[k], masks(k))  # noqa: E731
    assert found(plain, collate_fn=lambda e: collate(e, True)) is not None
    assert found(plain, collate_fn=lambda e: collate(e, False)) is None


@pytest.mark.parametrize("kind", ["boxes", "points"])
def test_numbers_that_are_places(kind: str) -> None:
    change = {"boxes": box_flipped, "points": point_flipped}[kind]
    values = {"boxes": BOXES, "points": PLACE}[kind]

    def made(index: int, apart: bool) -> tuple[Tensor, Tensor]:
        drawn = flips()
        return flipped(IMAGES[index], drawn), change(values[index], flips() if apart else drawn)

    torch.manual_seed(0)  # with the weights of one seed of twelve the points tell too little
    model = Numbers(values.shape[1])
    assert found(lambda k: made(k, True), model) is not None
    assert found(lambda k: made(k, False), model) is None


def test_sequences_with_a_tag_for_each_step() -> None:
    rows = torch.randn(COUNT, 1, 24, generator=RNG)

    def made(index: int, apart: bool) -> tuple[Tensor, Tensor]:
        first, second = (torch.rand(2) < 0.5).tolist()
        x, y = rows[index], (rows[index][0] > 0).float()
        return x.flip(-1) if first else x, y.flip(-1) if (second if apart else first) else y

    model = nn.Conv1d(1, 1, 3, padding=1)
    assert found(lambda k: made(k, True), model) is not None
    assert found(lambda k: made(k, False), model) is None


def aside(index: int) -> Tensor:
    """A mask that is the same in the mirror image."""
    return ((COLUMNS - (SIDE - 1) / 2).abs() < 2 + index % 3)[None].float()


def relabelled(index: int) -> Tensor:
    """Left is 1 and right is 2, also in the mirror image."""
    return (1 + (COLUMNS > SIDE / 2).float())[None] * ((ROWS - PLACE[index, 1]).abs() < 3)


WIDE = nn.functional.avg_pool2d(torch.randn(COUNT, 1, 2 * SIDE + 18, 2 * SIDE + 18, generator=RNG), 3, 1)


def finer(index: int, *, apart: bool = False) -> Any:
    """A crop, and the same place at twice the resolution."""
    down, right = (int(torch.randint(8, ())) for _ in range(2))
    small = nn.functional.avg_pool2d(WIDE[index], 2)[:, down : down + SIDE, right : right + SIDE]
    if apart:
        down, right = (int(torch.randint(8, ())) for _ in range(2))
    return small, WIDE[index][:, 2 * down : 2 * (down + SIDE), 2 * right : 2 * (right + SIDE)]


def coarser(index: int) -> Any:
    """The mask of a crop at half the resolution."""
    fine, mask = finer(index)[::-1]
    return fine, mask


def inner(index: int) -> Any:
    """The mask of the middle of a crop, as of convolutions without padding."""
    at = corner()
    return cropped(IMAGES[index], at), cropped(masks(index), at)[..., 3:-3, 3:-3]


def both_views(index: int) -> Any:
    return flipped(IMAGES[index], flips()), flipped(IMAGES[index], flips()), torch.tensor(index % 3)


def to_order(index: int) -> Any:
    """Which way round is asked for by a word beside the image."""
    drawn, asked = flips(), flips()
    x = flipped(IMAGES[index], drawn)
    return x, torch.tensor(asked).float()[:, None], flipped(x, asked)


def beside_its_own(index: int) -> Any:
    """The target goes with the second of two images."""
    own = flips()
    return flipped(IMAGES[index - 1], flips()), flipped(IMAGES[index], own), flipped(masks(index), own)


def named(index: int) -> Tensor:
    """One thing on the left and one on the right, as far from each other as all of them."""
    left, row = 2 + index % 3, (PLACE[index, 1] - ROWS).abs() < 2
    return ((COLUMNS - left).abs() < 2) * row + 2.0 * (((COLUMNS - left - 8).abs() < 2) * row)[None]


def names_go_over(index: int) -> Any:
    """Mirrored, and then left is left again: which is a shift of both."""
    drawn = flips()[0], False
    mask = flipped(named(index), drawn)
    return flipped(IMAGES[index], drawn), torch.where(mask > 0, 3 - mask, mask) if drawn[0] else mask


def names_stay(index: int) -> Any:
    drawn = flips()[0], False
    return flipped(IMAGES[index], drawn), relabelled(index)


def by_another(index: int) -> Any:
    """Two people drew masks, and one of them is drawn."""
    drawn = flips()
    mask = SPOT[index] if torch.rand(()) < 0.5 else SPOT[index] & (PLACE[index, 0] - 2 < COLUMNS)
    return flipped(IMAGES[index], drawn), flipped(mask[None].float(), drawn)


def of_textures(output: Tensor, target: Tensor) -> Tensor:
    return (output.flatten(1).std(dim=1) - target.flatten(1).std(dim=1)).square().mean()


def of_sets(output: Tensor, target: Tensor) -> Tensor:
    return (output.mean(dim=0) - target.mean(dim=0)).square().mean()


def mean_of(output: Tensor, target: Tensor) -> Tensor:
    return (output.flatten(1).mean(dim=1) - target.float()).square().mean()


SOUND: dict[str, tuple[Made, Any]] = {
    "twice the resolution": (finer, lambda output, target: distance(output, nn.functional.avg_pool2d(target, 2))),
    "half the resolution": (coarser, lambda output, target: distance(nn.functional.avg_pool2d(output, 2), target)),
    "without the margin": (inner, lambda output, target: distance(output[..., 3:-3, 3:-3], target)),
    "classes": (lambda k: (flipped(IMAGES[k], flips()), torch.tensor(k % 3)), mean_of),
    "two views": (both_views, mean_of),
    "asked for the picture as it was": (lambda k: (flipped(IMAGES[k], flips()), IMAGES[k]), distance),
    "a picture is rebuilt": (lambda k: (x := flipped(IMAGES[k], flips()), x), distance),
    "symmetrical masks": (two(flipped, lambda: (flips()[0], False), apart=True, target=aside), distance),
    "left and right keep their names": (names_stay, distance),
    "left and right have their names in the mirror image": (names_go_over, distance),
    "a word says which way round": (to_order, distance),
    "the target goes with the second image": (beside_its_own, distance),
    "one of two masks": (by_another, distance),
    "textures": (two(flipped, flips, apart=True, target=lambda k: IMAGES[-k]), of_textures),
    "sets of images": (two(flipped, flips, apart=True, target=lambda k: IMAGES[-k]), of_sets),
    "noise alone": (lambda k: (IMAGES[k] + torch.randn(1, SIDE, SIDE), masks(k) + 0.1 * torch.randn(1, SIDE, SIDE)), distance),
}


def test_crops_at_another_resolution_by_draws_of_their_own() -> None:
    loss = SOUND["twice the resolution"][1]
    assert found(lambda k: finer(k, apart=True), loss=loss) is not None


@pytest.mark.parametrize("name", SOUND)
def test_sound_programs_are_left_alone(name: str) -> None:
    made, loss = SOUND[name]
    assert found(made, loss=loss) is None


def test_both_pictures_that_are_given_to_the_model() -> None:
    """Two sets of pictures without pairs: each goes in, and each is asked for again."""
    made = two(flipped, flips, apart=True, target=lambda k: IMAGES[-k])
    loader = DataLoader(Drawn(made), batch_size=20)
    model = PerPlace()

    def step(model: Any, batch: Any) -> Tensor:
        return (model(model(batch[0])) - batch[0]).abs().mean() + (model(batch[1]) - batch[1]).abs().mean()

    assert turned_apart(model, next(iter(loader)), step, loader) is None


def test_moves_are_found() -> None:
    x = torch.randn(2, 12, 12, generator=RNG)
    assert move_of(x, x.flip(-1)) == Move("left and right")
    assert move_of(x, 2 * x.rot90(1, (-2, -1)) + 0.1 * torch.randn(x.shape)) == Move("a quarter back")
    shifted = torch.zeros_like(x)
    shifted[:, 3:, :-2] = x[:, :-3, 2:]
    assert move_of(x, shifted) == Move("as it is", (3, -2))
    assert move_of(x, torch.randn_like(x)) is None
    assert move_of(x + x.flip(-1), x + x.flip(-1)) is None  # the mirror image is the same
