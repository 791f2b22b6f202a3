"""Where in the image an answer looks, beside where the target is that it is held against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor.batches import first_tensor
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.graph import nodes_of_loss
from trainability.doctor.measure.instead import exchanged, pull, returned_once
from trainability.doctor.measure.nodes import name_of, shape_at
from trainability.doctor.measure.randomness import randomness_restored
from trainability.doctor.measure.workspace import set_training
from trainability.doctor.pair_facts import Misplaced

_FEWEST, _ASKED = 48, 96  # answers
_LEAST_SIDE = 4
_TRIES = 24  # places, of which neighbours must differ
_MOST_CHANGED = 0.5  # share of an example's outputs: more is a loss that weighs all by all
_APART = 0.12  # standard deviation of where answers look, over the side: of all places alike it is 0.29, of a whole image 0

_VIEWS = ("View", "UnsafeView", "ReshapeAlias")

Forward = Callable[[Any, Any], Tensor]


def misplaced(model: nn.Module, batch: Any, forward: Forward, seen: ForwardPass) -> Misplaced | None:
    """Exchange targets of two neighbouring places, see which outputs are asked otherwise, and where in the image these look.

    Args:
        model: called once; runs in eval mode, and the caller puts modes back.
        batch: images (batch, channels, height, width) that the model is given, and targets (batch, height, width) or (batch,
            channels, height, width) or (batch, height, width, ...), of that or a coarser grid; or images alone, which are
            their own targets.
        forward: of (model, batch), the loss.
        seen: the same pass.

    Returns:
        How well the two places go together; None where an answer looks at no place, or it cannot be asked.
    """
    images = next((x for x in seen.inputs if isinstance(x, Tensor) and x.dim() == 4 and x.is_floating_point()), None)
    own = returned_once(model, batch, forward) if images is not None else None
    if images is None or own is None or not own.tensors or len(images) < 8:
        return None
    if own.tensors[0].dim() < 2 or len(own.tensors[0]) != len(images):
        return None
    batch_images = next((t for _, t in seen.batch if t.data_ptr() == images.data_ptr() and t.shape == images.shape), None)
    others = [t for _, t in seen.batch if t is not batch_images and t.dim() in (3, 4, 5) and len(t) == len(images)]
    target = others[0] if len(others) == 1 else batch_images if not others else None
    if batch_images is None or target is None:
        return None
    is_last = _has_channels_last(images, target)
    grid = target.flatten(3).movedim(-1, 1) if is_last else target
    side = (grid.shape[-2], grid.shape[-1])
    if min(side) < _LEAST_SIDE or images.shape[2] < side[0] or images.shape[3] < side[1]:
        return None
    rng, held, looks = torch.Generator().manual_seed(0), [], []
    set_training(model, False)
    viewed = _is_viewed(model, batch, forward)
    plain = pull(model, batch, forward, own)
    for _ in range(1 + _ASKED // len(images)):
        moved, middles = _neighbours_exchanged(grid, rng)
        changed = pull(
            model, exchanged(batch, target, moved.movedim(1, -1).reshape(target.shape) if is_last else moved), forward, own
        )
        if plain is None or changed is None:
            return None
        apart = (changed - plain).abs().flatten(1)
        asked = apart > 0.1 * apart.amax(dim=1, keepdim=True)
        used = (apart.amax(dim=1) > 0) & (asked.float().mean(dim=1) <= _MOST_CHANGED)
        if not bool(used.any()):
            return None
        chosen = torch.multinomial(asked.float().cpu() + 1e-12, 1, generator=rng)[:, 0]
        centres = _centres(model, batch, forward, (batch_images, chosen), side)
        if centres is None:
            return None
        kept = used.cpu() & centres.isfinite().all(dim=1) & middles.isfinite().all(dim=1)
        held.append(middles[kept])
        looks.append(centres[kept])
    found = _compared(torch.cat(held), torch.cat(looks), side)
    return replace(found, viewed=viewed) if found is not None else None


def _has_channels_last(images: Tensor, target: Tensor) -> bool:
    """Whether a target is (batch, height, width, ...), like a detector's cells: these sizes fit the image's."""
    if target.dim() == 5:
        return True
    if target.dim() != 4 or target.data_ptr() == images.data_ptr():
        return False
    height, width = images.shape[2:]

    def fits(rows: int, columns: int) -> bool:
        return rows * width == columns * height and height % rows == 0

    return fits(*target.shape[1:3]) and not fits(*target.shape[2:4])


def _is_viewed(model: nn.Module, batch: Any, forward: Forward) -> bool:
    """Whether maps (batch, channels, height, width) are read as (batch, height, width, ...) in the order of memory."""
    with torch.enable_grad(), randomness_restored():
        loss = forward(model, batch)
    if loss.grad_fn is None:
        return False
    for node in nodes_of_loss(loss.grad_fn, through_bounds=True):
        if name_of(node).removesuffix("Backward") not in _VIEWS or node.next_functions[0][0] is None:
            continue
        above, place = node.next_functions[0]
        made, given = shape_at(node, 0), shape_at(above, place)
        if len(given) == 4 and len(made) >= 4 and made[:3] == (given[0], *given[2:]) and made != given:
            return True
    return False


def _compared(held: Tensor, looks: Tensor, side: tuple[int, int]) -> Misplaced | None:
    if len(held) < _FEWEST:
        return None
    spread = [float(looks[:, k].std()) / side[k] for k in (0, 1)]
    wide = [float(held[:, k].std()) / side[k] for k in (0, 1)]
    if min(spread) < _APART or min(wide) < _APART:
        return None
    together = [float(torch.corrcoef(torch.stack([held[:, k], looks[:, k]]))[0, 1]) for k in (0, 1)]
    return Misplaced(num_asked=len(held), down=together[0], across=together[1])


def _neighbours_exchanged(target: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """The targets with two neighbouring places of each example exchanged, which differ, and the middle between the two."""
    moved, middles = target.clone(), torch.full((len(target), 2), torch.nan)
    height, width = target.shape[-2:]
    for row in range(len(target)):
        for _ in range(_TRIES):
            down = bool(torch.randint(2, (1,), generator=rng))
            i = int(torch.randint(height - down, (1,), generator=rng))
            j = int(torch.randint(width - (not down), (1,), generator=rng))
            k, m = (i + 1, j) if down else (i, j + 1)
            a, b = target[row, ..., i, j].clone(), target[row, ..., k, m].clone()
            if not torch.equal(a, b):
                moved[row, ..., i, j], moved[row, ..., k, m] = b, a
                middles[row] = torch.tensor([(i + k) / 2, (j + m) / 2])
                break
    return moved, middles


def _centres(
    model: nn.Module, batch: Any, forward: Forward, asked: tuple[Tensor, Tensor], side: tuple[int, int]
) -> Tensor | None:
    """Where in its image the chosen output of each example looks: the centre of the squares of its gradient, in places."""
    images, chosen = asked
    given = images.detach().clone().requires_grad_()
    outputs: list[Tensor | None] = []
    handle = model.register_forward_hook(lambda module, args, output: outputs.append(first_tensor(output)))
    try:
        with torch.enable_grad(), randomness_restored():
            forward(model, exchanged(batch, images, given))
    finally:
        handle.remove()
    output = outputs[0] if len(outputs) == 1 else None
    if output is None or not output.requires_grad:
        return None
    picked = output.flatten(1).gather(1, chosen[:, None].to(output.device)).sum()
    (gradient,) = torch.autograd.grad(picked, given, allow_unused=True)
    if gradient is None:
        return None
    power = F.adaptive_avg_pool2d(gradient.square().sum(dim=1, keepdim=True), side)[:, 0].double().cpu()
    total = power.sum(dim=(1, 2))
    rows, columns = (torch.arange(size, dtype=torch.double) for size in side)
    return torch.stack([(power.sum(dim=2) @ rows) / total, (power.sum(dim=1) @ columns) / total], dim=1).float()
