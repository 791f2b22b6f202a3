"""Coins on a table: a box around the one in each picture, told by the cell of a grid in which it lies."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import default_collate

from programs.forum.causes import UNPAIRED
from programs.held_out.causes import CUT
from programs.program import Data, Loop, Program, but, fault
from programs.unseen.causes import DETACHED

GRID = 4


@functools.cache
def coins(train: bool) -> Data:
    """Pictures (n, 1, 16, 16) of an ellipse on a shaded table, and its box (n, 4): centre and size as parts of the side."""
    rng = torch.Generator().manual_seed(8141 if train else 8142)
    n = 500 if train else 200
    ys, xs = torch.meshgrid(torch.arange(16.0) + 0.5, torch.arange(16.0) + 0.5, indexing="ij")
    size = 3.5 + 5 * torch.rand(n, 2, generator=rng)
    centre = size / 2 + (16 - size) * torch.rand(n, 2, generator=rng)
    (cx, cy), (w, h) = centre.T[:, :, None, None], size.T[:, :, None, None]
    inside = ((xs - cx) / (w / 2)) ** 2 + ((ys - cy) / (h / 2)) ** 2 < 1
    slope = torch.randn(n, 2, 1, 1, generator=rng) / 12
    x = 1.8 * inside + slope[:, 0] * (xs - 8) + slope[:, 1] * (ys - 8) + 0.4 * torch.randn(n, 16, 16, generator=rng)
    return x[:, None], torch.cat([centre, size], dim=1) / 16


def trunk() -> nn.Sequential:
    """Four convolutions to a grid of 4 x 4."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 24, 3, 2, 1), nn.BatchNorm2d(24)),
        *(nn.ReLU(), nn.Conv2d(24, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()),
    )


def detector() -> nn.Sequential:
    """Five numbers for each cell: whether a coin lies there, where in the cell, and how large."""
    return nn.Sequential(*trunk(), nn.Conv2d(32, 5, 1))


def cell_of(box: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of the centre of each box."""
    at = (GRID * box[:, :2]).long().clamp(0, GRID - 1)
    return at[:, 1], at[:, 0]


def at_cells(grid: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """What a grid (n, 5, 4, 4) holds in one cell of each picture, (n, 5)."""
    return grid[torch.arange(len(grid)), :, row, column]


def box_of(told: Tensor, row: Tensor, column: Tensor, *, rooted: bool = False) -> Tensor:
    """Boxes (n, 4) as parts of the side, of what a cell tells; sizes are told by their root or their logarithm."""
    centre = (torch.stack([column, row], dim=1) + told[:, 1:3].sigmoid()) / GRID
    size = told[:, 3:].square() if rooted else 0.35 * told[:, 3:].clamp(-4, 4).exp()
    return torch.cat([centre, size], dim=1)


def overlap(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union of boxes (n, 4) of the same order and unit."""
    low = torch.maximum(one[:, :2] - one[:, 2:] / 2, other[:, :2] - other[:, 2:] / 2)
    high = torch.minimum(one[:, :2] + one[:, 2:] / 2, other[:, :2] + other[:, 2:] / 2)
    both = (high - low).clamp_min(0).prod(dim=1)
    return both / (one[:, 2:].prod(dim=1) + other[:, 2:].prod(dim=1) - both + 1e-9)


def presence(grid: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Cross-entropy of the cell in which the coin lies."""
    return F.cross_entropy(grid[:, 0].flatten(1), GRID * row + column)


def by_squares(model: Any, batch: Any, *, root_of_output: bool = False) -> Tensor:
    """Sums of squares, as the first YOLO has them: of presence in all cells, and of place and root of size in one."""
    x, box = batch
    grid, (row, column) = model(x), cell_of(box)
    there = torch.zeros_like(grid[:, 0])
    there[torch.arange(len(x)), row, column] = 1.0
    told = at_cells(grid, row, column)
    centre = GRID * box[:, :2] - torch.stack([column, row], dim=1)
    size = told[:, 3:].sqrt() if root_of_output else told[:, 3:]
    off = (told[:, 1:3].sigmoid() - centre).square().sum() + (size - box[:, 2:].sqrt()).square().sum()
    weight = 0.5 + 0.5 * there
    return (weight * (grid[:, 0] - there) ** 2).sum() + 5 * off


def by_overlap(model: Any, batch: Any, *, side: float = 1.0, cut: bool = False) -> Tensor:
    """One minus the overlap, and the cross-entropy of the cell; `side` is the unit of the model's boxes."""
    x, box = batch
    grid, (row, column) = model(x), cell_of(box)
    made = side * box_of(at_cells(grid, row, column), row, column)
    if cut:
        made = torch.tensor(made.tolist())
    return (1 - overlap(made, box)).mean() + presence(grid, row, column)


def by_distance(model: Any, batch: Any) -> Tensor:
    """The absolute distance of boxes and the cross-entropy of the cell."""
    x, box = batch
    grid, (row, column) = model["head"](model["trunk"](x)), cell_of(box)
    made = box_of(at_cells(grid, row, column), row, column)
    return 10 * F.l1_loss(made, box) + presence(grid, row, column)


def mirrored(examples: list[Data], *, boxes: bool = True) -> list[Tensor]:
    """A batch in which each picture is mirrored by chance, with its box or without."""
    made = []
    for x, box in examples:
        if torch.rand(()) < 0.5:
            x = x.flip(-1)
            box = torch.cat([1 - box[:1], box[1:]]) if boxes else box
        made.append((x, box))
    return default_collate(made)


def _score(grid: Tensor, box: Tensor, *, rooted: bool) -> float:
    best = grid[:, 0].flatten(1).argmax(dim=1)
    row, column = best // GRID, best % GRID
    told = box_of(at_cells(grid, row, column), row, column, rooted=rooted)
    return (float(overlap(told, box).mean()) - 0.2) / 0.8


def box_score(model: Any, data: Data) -> float:
    """Mean overlap of the boxes of the best cells; 0 for the best box that is always the same."""
    return _score(model(data[0]), data[1], rooted=False)


def rooted_score(model: Any, data: Data) -> float:
    """The same for sizes that are told by their root."""
    return _score(model(data[0]), data[1], rooted=True)


def pair_score(model: Any, data: Data) -> float:
    """The same for trunk and head."""
    return _score(model["head"](model["trunk"](data[0])), data[1], rooted=False)


def steps_both(model: Any, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
    """One loss, and a step of each optimizer."""
    for name in model:
        model[name].train()
        optimizer[name].zero_grad()
    loss = loop.loss_of(model, batch)
    loss.backward()
    for name in model:
        loop.seen(loss, name)
        optimizer[name].step()
    return loss


def two_optimizers(groups: dict[str, list]) -> dict[str, torch.optim.Optimizer]:
    """SGD for the trunk, Adam for the head."""
    return {
        "trunk": torch.optim.SGD(groups["trunk"], lr=0.03, momentum=0.9, weight_decay=1e-4),
        "head": torch.optim.Adam(groups["head"], lr=3e-3),
    }


SQUARES = Program(
    model=detector,
    train=lambda: coins(True),
    held_out=lambda: coins(False),
    score=rooted_score,
    training_step=by_squares,
    options={"lr": 3e-3},
    steps=250,
)
OVERLAP = but(SQUARES, training_step=by_overlap, score=box_score, optimizer=torch.optim.AdamW, collate=mirrored)
BOTH = but(
    SQUARES,
    model=lambda: {"trunk": trunk(), "head": nn.Conv2d(32, 5, 1)},
    training_step=by_distance,
    score=pair_score,
    body=steps_both,
    trained=lambda models: {name: list(model.parameters()) for name, model in models.items()},
    optimizer=two_optimizers,
    options={},
)

SOUND = {
    "coins by sums of squares": SQUARES,
    "coins by overlap, mirrored": OVERLAP,
    "coins by two optimizers": BOTH,
}

FAULTS = {
    "root of a size that may be negative": fault(
        SQUARES,
        "the root is taken of the model's output, too",
        "not_finite",
        training_step=lambda model, batch: by_squares(model, batch, root_of_output=True),
    ),
    "coins mirrored, boxes not": fault(
        OVERLAP,
        "pictures are mirrored at random, boxes are left as they are",
        f"{UNPAIRED} mirrored",
        collate=lambda examples: mirrored(examples, boxes=False),
    ),
    "overlap of pixels and parts": fault(
        OVERLAP,
        "the model's boxes are in pixels, the others in parts of the side: they never overlap",
        "flat_loss zero_gradient target_scale unreachable_target confirmed_change.targets_standard",
        training_step=lambda model, batch: by_overlap(model, batch, side=16.0),
    ),
    "overlap of lists": fault(
        OVERLAP,
        "boxes are turned into a list and back, so that no gradient reaches them",
        f"{CUT} {DETACHED}",
        training_step=lambda model, batch: by_overlap(model, batch, cut=True),
    ),
}
