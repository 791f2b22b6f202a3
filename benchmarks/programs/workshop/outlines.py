"""Where shapes are: their outlines by a U-Net, and their cells by a detector."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.forum.causes import UNPAIRED
from programs.held_out.causes import LARGE
from programs.program import Data, Loop, Program, but, fault
from programs.unseen.causes import FAR_TARGETS, MISALIGNED
from programs.workshop.cameras import conv, shapes


def masks(train: bool) -> Data:
    """The shapes and their kind at each pixel, 4 for none."""
    x, kind, mask, _ = shapes(train)
    return x, torch.where(mask > 0, kind[:, None, None], 4)


def cells(train: bool) -> Data:
    """The shapes, and for each of 4 x 4 cells (n, 4, 4, 4): whether one is there, where in it, and its kind's number."""
    x, kind, _, place = shapes(train)
    cell = (place / 4).long()
    target = torch.zeros(len(x), 4, 4, 4)
    told = torch.cat([torch.ones(len(x), 1), place / 4 - cell, kind[:, None].float()], dim=1)
    target[torch.arange(len(x)), :, cell[:, 0], cell[:, 1]] = told
    return x, target


class UNet(nn.Module):
    """Down twice and up again, with what was there before."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([conv(3, 12), conv(12, 16, stride=2), conv(16, 24, stride=2)])
        self.up = nn.ModuleList([conv(24 + 16, 16), conv(16 + 12, 12)])
        self.last = nn.Conv2d(12, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, h, w) to logits (n, 5, h, w)."""
        kept: list[Tensor] = []
        for part in self.down:
            x = part(x)
            kept.append(x)
        for part, before in zip(self.up, (kept[1], kept[0]), strict=True):
            x = part(torch.cat([F.interpolate(x, scale_factor=2.0), before], dim=1))
        return self.last(x)


def overlap(model: Any, batch: Any, *, view: bool = False) -> Tensor:
    """Cross-entropy at each pixel, and how little the shapes overlap."""
    logits, true = model(batch[0]), batch[1]
    if view:
        return F.cross_entropy(logits.view(-1, 5), true.view(-1))
    odds, wanted = logits.softmax(dim=1)[:, :4], F.one_hot(true, 5).permute(0, 3, 1, 2)[:, :4]
    return F.cross_entropy(logits, true) + 1 - 2 * ((odds * wanted).sum() + 1) / ((odds + wanted).sum() + 2)


def found(made: Tensor, true: Tensor, *, focus: float = 0.0, pixels: bool = False) -> Tensor:
    """Whether a shape is in a cell; where and what only in the cell with one."""
    here = true[:, 0]
    where = ((made[:, 1:3].sigmoid() - true[:, 1:3]) ** 2).sum(dim=1)
    if pixels:
        where = 5 * ((made[:, 1:3] - 160 * true[:, 1:3]) ** 2).sum(dim=1)
    what = F.cross_entropy(made[:, 3:], true[:, 3].long(), reduction="none")
    sure = torch.where(here > 0, made[:, 0], -made[:, 0])
    whether = ((1 - sure.sigmoid()) ** focus * -F.logsigmoid(sure)).mean()
    return whether + (here * (where + what)).sum() / here.sum()


def finds(model: Any, data: Data) -> float:
    """Share of pictures whose best cell and kind are right, of what is above chance."""
    made, true = model(data[0]), data[1]
    best = made[:, 0].flatten(1).argmax(dim=1)
    right = best == true[:, 0].flatten(1).argmax(dim=1)
    kind = made[:, 3:].flatten(2)[torch.arange(len(best)), :, best].argmax(dim=1)
    return float((right & (kind == true[:, 3].flatten(1)[torch.arange(len(best)), best])).float().mean())


def detector() -> nn.Sequential:
    """Convolutions to 7 numbers for each of 4 x 4 cells."""
    return nn.Sequential(conv(3, 16), conv(16, 32, stride=2), conv(32, 32), conv(32, 32, stride=2), nn.Conv2d(32, 7, 1))


def pixels_told(model: Any, data: Data) -> float:
    """Mean overlap of the four shapes, intersection over union."""
    made, true = model(data[0]).argmax(dim=1), data[1]
    return sum(float(((made == c) & (true == c)).sum() / ((made == c) | (true == c)).sum()) for c in range(4)) / 4


def _torn(train: bool) -> Data:
    x, y = masks(train)
    return x.permute(0, 2, 3, 1).reshape(x.shape), y


def _crossed(train: bool) -> Data:
    x, y = cells(train)
    return x, y.transpose(2, 3).contiguous()


def in_parts(model: Any, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
    """A batch in four parts, one step."""
    optimizer.zero_grad()
    total = torch.zeros(())
    for x, y in zip(batch[0].chunk(4), batch[1].chunk(4), strict=True):
        part = loop.loss_of(model, (x, y)) / 4
        part.backward()
        total += part.detach()
    loop.seen(total)
    optimizer.step()
    return total


OUTLINES = Program(
    model=UNet,
    train=lambda: masks(True),
    held_out=lambda: masks(False),
    score=pixels_told,
    training_step=overlap,
    options={"lr": 5e-3},
    batch=16,
    steps=250,
)
CELLS = Program(
    model=detector,
    train=lambda: cells(True),
    held_out=lambda: cells(False),
    score=finds,
    loss=found,
    optimizer=torch.optim.SGD,
    options={"lr": 0.05, "momentum": 0.9},
    steps=250,
)

SOUND = {
    "outlines by a u-net": OUTLINES,
    "outlines by a u-net in four parts of a batch": but(OUTLINES, body=in_parts, batch=32, steps=150),
    "cells of shapes": CELLS,
    "cells of shapes by focal loss": but(
        CELLS, loss=lambda o, y: found(o, y, focus=2.0), optimizer=torch.optim.AdamW, options={"lr": 3e-3}
    ),
}

FAULTS = {
    "outlines of torn pictures": fault(
        OUTLINES,
        "(n, h, w, 3) is read as (n, 3, h, w) by a view, the masks are right",
        f"channels_last {UNPAIRED}",
        train=lambda: _torn(True),
        held_out=lambda: _torn(False),
    ),
    "logits of pixels by view": fault(
        OUTLINES,
        "logits (n, 5, h, w).view(-1, 5) against masks.view(-1)",
        MISALIGNED,
        training_step=lambda model, batch: overlap(model, batch, view=True),
    ),
    "cells with down and across exchanged": fault(
        CELLS, "target[x, y] for target[y, x]", f"{MISALIGNED} {UNPAIRED}", train=lambda: _crossed(True)
    ),
    "squares of pixels in a detector": fault(
        CELLS,
        "places in pixels of the photograph, up to 160, squared and weighted by 5",
        f"{FAR_TARGETS} {LARGE} not_finite",
        loss=lambda o, y: found(o, y, pixels=True),
    ),
}
